/* Columns: see column.h. The refcounts are atomic, as whoever imports a batch may let go of it in any thread. */
#include "core/column.h"

#include "core/mem.h"

#include <string.h>

/* ---- columns ---- */

static void column_deinit(kp_column *column) {
    for (size_t i = 0; i < column->child_count; i++) {
        column_deinit(&column->children[i]);
    }
    kp_free(column->children);
    kp_buf_deinit(&column->valid);
    kp_buf_deinit(&column->values);
    kp_buf_deinit(&column->bytes);
}

static kp_status append_end(kp_column *column, int64_t end, kp_error *err) {
    int32_t narrow = (int32_t)end;
    return kp_buf_append(&column->values, &narrow, sizeof narrow, err);
}

/* column is zeroed, and stays good for column_deinit. */
static kp_status column_init(kp_column *column, const kp_field *field, kp_error *err) {
    kp_status st = KP_OK;
    static const kp_field word = {.name = "", .kind = KP_COLUMN_UTF8};
    size_t count = field->kind == KP_COLUMN_WORD ? 1 : field->child_count;
    column->kind = field->kind;
    if (field->kind == KP_COLUMN_UTF8 || field->kind == KP_COLUMN_BINARY || field->kind == KP_COLUMN_LIST) {
        KP_TRY(append_end(column, 0, err));
    }
    if (count > 0 && !(column->children = kp_calloc(count, sizeof *column->children))) {
        return kp_error_nomem(err);
    }
    for (; column->child_count < count; column->child_count++) {
        kp_column *child = &column->children[column->child_count];
        const kp_field *child_field = field->kind == KP_COLUMN_WORD ? &word : &field->children[column->child_count];
        st = column_init(child, child_field, err);
        if (st != KP_OK) {
            column_deinit(child);
            return st;
        }
    }
    for (size_t i = 0; i < field->word_count; i++) {
        KP_TRY(kp_column_append_bytes(&column->children[0], kp_bytes_of(field->words[i]), err));
    }
done:
    return st;
}

/* Bits of a bitmap of this many rows: what lies behind the last row is zero. */
static kp_status append_bit(kp_buf *bits, int64_t row, bool set, kp_error *err) {
    kp_status st = KP_OK;
    static const char zero = 0;
    if ((size_t)row / 8 == bits->length) {
        st = kp_buf_append(bits, &zero, 1, err);
    }
    if (st == KP_OK && set) {
        bits->data[row / 8] = (char)(bits->data[row / 8] | 1 << row % 8);
    }
    return st;
}

static bool bit(const kp_buf *bits, int64_t row) {
    return bits->data[row / 8] >> row % 8 & 1;
}

/* The bitmap begins with the first null: all rows before it are valid. */
static kp_status begin_valid(kp_column *column, kp_error *err) {
    size_t bytes = (size_t)(column->length + 7) / 8;
    kp_status st = kp_buf_reserve(&column->valid, bytes + 1, err);
    if (st != KP_OK) {
        return st;
    }
    memset(column->valid.data, 0xFF, bytes);
    column->valid.length = bytes;
    if (column->length % 8) {
        column->valid.data[bytes - 1] = (char)((1 << column->length % 8) - 1);
    }
    return KP_OK;
}

static kp_status end_row(kp_column *column, kp_error *err) {
    kp_status st = column->nulls ? append_bit(&column->valid, column->length, true, err) : KP_OK;
    column->length += st == KP_OK;
    return st;
}

kp_status kp_column_append_int(kp_column *column, int64_t number, kp_error *err) {
    kp_status st;
    if (column->kind == KP_COLUMN_WORD) {
        int8_t narrow = (int8_t)number;
        KP_TRY(kp_buf_append(&column->values, &narrow, sizeof narrow, err));
    } else if (column->kind == KP_COLUMN_INT32) {
        int32_t narrow = (int32_t)number;
        KP_TRY(kp_buf_append(&column->values, &narrow, sizeof narrow, err));
    } else {
        KP_TRY(kp_buf_append(&column->values, &number, sizeof number, err));
    }
    st = end_row(column, err);
done:
    return st;
}

kp_status kp_column_append_double(kp_column *column, double number, kp_error *err) {
    kp_status st;
    KP_TRY(kp_buf_append(&column->values, &number, sizeof number, err));
    st = end_row(column, err);
done:
    return st;
}

kp_status kp_column_append_bool(kp_column *column, bool truth, kp_error *err) {
    kp_status st;
    KP_TRY(append_bit(&column->values, column->length, truth, err));
    st = end_row(column, err);
done:
    return st;
}

kp_status kp_column_append_bytes(kp_column *column, kp_bytes bytes, kp_error *err) {
    kp_status st;
    if (bytes.length > KP_COLUMN_BYTES_MAX - column->bytes.length) {
        return kp_error_set(err, KP_REJECT, "COLUMN_FULL", "a column of one batch holds at most 2 GiB");
    }
    KP_TRY(kp_buf_append(&column->bytes, bytes.data, bytes.length, err));
    KP_TRY(append_end(column, (int64_t)column->bytes.length, err));
    st = end_row(column, err);
done:
    return st;
}

kp_status kp_column_end_list(kp_column *column, kp_error *err) {
    kp_status st;
    if (column->children[0].length > INT32_MAX) {
        return kp_error_set(err, KP_REJECT, "COLUMN_FULL", "a column of one batch holds at most 2^31 list elements");
    }
    KP_TRY(append_end(column, column->children[0].length, err));
    st = end_row(column, err);
done:
    return st;
}

void kp_column_end_struct(kp_column *column) {
    column->length++;
}

static kp_status append_filler(kp_column *column, kp_error *err) {
    static const char zeros[8] = {0};
    switch (column->kind) {
    case KP_COLUMN_UTF8:
    case KP_COLUMN_BINARY:
        return append_end(column, (int64_t)column->bytes.length, err);
    case KP_COLUMN_BOOL:
        return append_bit(&column->values, column->length, false, err);
    case KP_COLUMN_WORD:
        return kp_buf_append(&column->values, zeros, sizeof(int8_t), err);
    case KP_COLUMN_INT32:
        return kp_buf_append(&column->values, zeros, sizeof(int32_t), err);
    default:
        return kp_buf_append(&column->values, zeros, sizeof(int64_t), err);
    }
}

kp_status kp_column_append_null(kp_column *column, kp_error *err) {
    kp_status st;
    if (column->nulls == 0) {
        KP_TRY(begin_valid(column, err));
    }
    KP_TRY(append_filler(column, err));
    KP_TRY(append_bit(&column->valid, column->length, false, err));
    column->length++;
    column->nulls++;
done:
    return st;
}

/* ---- reading them ---- */

bool kp_column_is_null(const kp_column *column, int64_t row) {
    return column->nulls > 0 && !bit(&column->valid, row);
}

int64_t kp_column_int(const kp_column *column, int64_t row) {
    const char *data = column->values.data;
    int64_t wide;
    int32_t narrow;
    switch (column->kind) {
    case KP_COLUMN_WORD:
        return (signed char)data[row];
    case KP_COLUMN_BOOL:
        return bit(&column->values, row);
    case KP_COLUMN_INT32:
        memcpy(&narrow, data + (size_t)row * sizeof narrow, sizeof narrow);
        return narrow;
    default:
        memcpy(&wide, data + (size_t)row * sizeof wide, sizeof wide);
        return wide;
    }
}

double kp_column_double(const kp_column *column, int64_t row) {
    double number;
    memcpy(&number, column->values.data + (size_t)row * sizeof number, sizeof number);
    return number;
}

int64_t kp_column_list_end(const kp_column *column, int64_t row) {
    int32_t end;
    memcpy(&end, column->values.data + (size_t)(row + 1) * sizeof end, sizeof end);
    return end;
}

kp_bytes kp_column_bytes(const kp_column *column, int64_t row) {
    int64_t start = kp_column_list_end(column, row - 1);
    int64_t end = kp_column_list_end(column, row);
    return (kp_bytes){end > start ? column->bytes.data + start : "", (size_t)(end - start)};
}

/* ---- rows ---- */

kp_status kp_rows_new(kp_rows **out, const kp_field *fields, size_t count, kp_error *err) {
    kp_rows *rows = kp_calloc(1, sizeof *rows + count * sizeof(kp_column));
    *out = NULL;
    if (!rows) {
        return kp_error_nomem(err);
    }
    atomic_init(&rows->refs, 1);
    rows->column_count = count;
    for (size_t i = 0; i < count; i++) {
        kp_status st = column_init(&rows->columns[i], &fields[i], err);
        if (st != KP_OK) {
            kp_rows_release(rows);
            return st;
        }
    }
    *out = rows;
    return KP_OK;
}

kp_rows *kp_rows_retain(kp_rows *rows) {
    atomic_fetch_add_explicit(&rows->refs, 1, memory_order_relaxed);
    return rows;
}

void kp_rows_release(kp_rows *rows) {
    if (!rows || atomic_fetch_sub_explicit(&rows->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    for (size_t i = 0; i < rows->column_count; i++) {
        column_deinit(&rows->columns[i]);
    }
    kp_free(rows);
}

static void trim(kp_buf *buf) {
    char *data = buf->capacity > buf->length ? kp_realloc(buf->data, buf->length) : NULL;
    if (data) {
        buf->data = data;
        buf->capacity = buf->length;
    }
}

static void trim_column(kp_column *column) {
    trim(&column->valid);
    trim(&column->values);
    trim(&column->bytes);
    for (size_t i = 0; i < column->child_count; i++) {
        trim_column(&column->children[i]);
    }
}

void kp_rows_trim(kp_rows *rows) {
    for (size_t i = 0; i < rows->column_count; i++) {
        trim_column(&rows->columns[i]);
    }
}
