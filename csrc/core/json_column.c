/* Values of scanned JSON texts as rows of columns: see json_column.h. */
#include "core/json_column.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool read_int64(kp_bytes text, int64_t *out) {
    bool negative = text.data[0] == '-';
    uint64_t limit = (uint64_t)INT64_MAX + negative;
    uint64_t number = 0;
    for (size_t i = negative; i < text.length; i++) {
        uint64_t digit = (uint64_t)(text.data[i] - '0');
        if (!is_digit(text.data[i]) || number > (limit - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *out = negative ? (int64_t)(0 - number) : (int64_t)number;
    return true;
}

/* strtod reads the decimal point of the process's locale, JSON has its own: the number is spelled without one, as
 * digits and an exponent that counts for those behind the point. */
static kp_status spell_without_point(kp_bytes text, kp_buf *scratch, kp_error *err) {
    kp_status st;
    int64_t exponent = 0;
    size_t i = 0;
    bool behind = false;
    kp_buf_reset(scratch);
    for (; i < text.length && (text.data[i] | 0x20) != 'e'; i++) {
        if (text.data[i] == '.') {
            behind = true;
            continue;
        }
        KP_TRY(kp_buf_append(scratch, text.data + i, 1, err));
        exponent -= behind;
    }
    if (i < text.length) {
        bool negative = text.data[i + 1] == '-';
        int64_t written = 0;
        for (i += is_digit(text.data[i + 1]) ? 1 : 2; i < text.length; i++) {
            written = written < 1000000000 ? written * 10 + (text.data[i] - '0') : written; /* beyond any double */
        }
        exponent += negative ? -written : written;
    }
    KP_TRY(kp_buf_append(scratch, "e", 1, err));
    KP_TRY(kp_buf_append_int(scratch, exponent, err));
    st = kp_buf_text(scratch) ? KP_OK : kp_error_nomem(err);
done:
    return st;
}

static kp_status append_float64(kp_column *column, kp_bytes text, kp_buf *scratch, kp_error *err) {
    kp_status st;
    int64_t whole;
    if (read_int64(text, &whole) && whole > -(INT64_C(1) << 53) && whole < INT64_C(1) << 53 && whole != 0) {
        return kp_column_append_double(column, (double)whole, err); /* exact */
    }
    KP_TRY(spell_without_point(text, scratch, err));
    double number = strtod(scratch->data, NULL);
    st = isfinite(number) ? kp_column_append_double(column, number, err) : kp_column_append_null(column, err);
done:
    return st;
}

static kp_status append_string(kp_column *column, kp_json_span span, kp_buf *scratch, kp_error *err) {
    kp_status st;
    if (!span.escaped) {
        return kp_column_append_bytes(column, (kp_bytes){span.raw.data + 1, span.raw.length - 2}, err);
    }
    kp_buf_reset(scratch);
    KP_TRY(kp_json_unescape(span, scratch, err));
    st = kp_column_append_bytes(column, (kp_bytes){scratch->data, scratch->length}, err);
done:
    return st;
}

kp_status kp_column_append_json(kp_column *column, kp_json_span span, kp_buf *scratch, kp_error *err) {
    int64_t whole;
    if (column->kind == KP_COLUMN_UTF8 && span.kind == KP_JSON_STRING) {
        return append_string(column, span, scratch, err);
    }
    if (column->kind == KP_COLUMN_INT64 && span.kind == KP_JSON_NUMBER && read_int64(span.raw, &whole)) {
        return kp_column_append_int(column, whole, err);
    }
    if (column->kind == KP_COLUMN_FLOAT64 && span.kind == KP_JSON_NUMBER) {
        return append_float64(column, span.raw, scratch, err);
    }
    if (column->kind == KP_COLUMN_BOOL && (span.kind == KP_JSON_TRUE || span.kind == KP_JSON_FALSE)) {
        return kp_column_append_bool(column, span.kind == KP_JSON_TRUE, err);
    }
    return kp_column_append_null(column, err);
}
