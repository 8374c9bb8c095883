/* A second JSON parser for the fuzz targets to compare with: the grammar of RFC 8259 written down rule by rule, one
 * byte at a time, recursive, with none of the scanner's tricks. The same three decisions: depth, byte order mark,
 * surrogates.
 */
#ifndef KP_FUZZ_JSON_REFERENCE_H
#define KP_FUZZ_JSON_REFERENCE_H

#include "core/json_scan.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    const unsigned char *at;
    const unsigned char *end;
    int depth;
} reference;

static bool reference_value(reference *r);

static bool reference_take(reference *r, const char *text) {
    size_t length = strlen(text);
    if ((size_t)(r->end - r->at) < length || memcmp(r->at, text, length) != 0) {
        return false;
    }
    r->at += length;
    return true;
}

static bool reference_between(reference *r, unsigned char low, unsigned char high) {
    if (r->at == r->end || *r->at < low || *r->at > high) {
        return false;
    }
    r->at++;
    return true;
}

static void reference_space(reference *r) {
    while (reference_take(r, " ") || reference_take(r, "\t") || reference_take(r, "\n") || reference_take(r, "\r")) {
    }
}

static bool reference_digits(reference *r) {
    bool any = false;
    while (reference_between(r, '0', '9')) {
        any = true;
    }
    return any;
}

static bool reference_number(reference *r) {
    reference_take(r, "-");
    if (!reference_take(r, "0") && !(reference_between(r, '1', '9') && (reference_digits(r), true))) {
        return false;
    }
    if (reference_take(r, ".") && !reference_digits(r)) {
        return false;
    }
    if (reference_take(r, "e") || reference_take(r, "E")) {
        (void)(reference_take(r, "+") || reference_take(r, "-"));
        return reference_digits(r);
    }
    return true;
}

static long reference_hex4(reference *r) {
    char digits[5] = {0};
    for (int i = 0; i < 4; i++) {
        if (!reference_between(r, '0', '9') && !reference_between(r, 'a', 'f') && !reference_between(r, 'A', 'F')) {
            return -1;
        }
        digits[i] = (char)r->at[-1];
    }
    return strtol(digits, NULL, 16);
}

static bool reference_escape(reference *r) {
    if (!reference_take(r, "u")) {
        return r->at < r->end && *r->at && strchr("\"\\/bfnrt", *r->at) && reference_between(r, 0, 127);
    }
    long unit = reference_hex4(r);
    if (unit >= 0xD800 && unit <= 0xDBFF) {
        if (!reference_take(r, "\\u")) {
            return false;
        }
        long low = reference_hex4(r);
        return low >= 0xDC00 && low <= 0xDFFF;
    }
    return unit >= 0 && !(unit >= 0xDC00 && unit <= 0xDFFF);
}

static bool reference_tail(reference *r) {
    return reference_between(r, 0x80, 0xBF);
}

/* The ABNF of UTF-8 in RFC 3629, section 4. */
static bool reference_utf8(reference *r) {
    if (reference_between(r, 0xC2, 0xDF)) {
        return reference_tail(r);
    }
    if (reference_between(r, 0xE0, 0xE0)) {
        return reference_between(r, 0xA0, 0xBF) && reference_tail(r);
    }
    if (reference_between(r, 0xED, 0xED)) {
        return reference_between(r, 0x80, 0x9F) && reference_tail(r);
    }
    if (reference_between(r, 0xE1, 0xEF)) {
        return reference_tail(r) && reference_tail(r);
    }
    if (reference_between(r, 0xF0, 0xF0)) {
        return reference_between(r, 0x90, 0xBF) && reference_tail(r) && reference_tail(r);
    }
    if (reference_between(r, 0xF1, 0xF3)) {
        return reference_tail(r) && reference_tail(r) && reference_tail(r);
    }
    return reference_between(r, 0xF4, 0xF4) && reference_between(r, 0x80, 0x8F) && reference_tail(r) &&
           reference_tail(r);
}

static bool reference_string(reference *r) {
    if (!reference_take(r, "\"")) {
        return false;
    }
    while (!reference_take(r, "\"")) {
        bool good =
            reference_take(r, "\\") ? reference_escape(r) : reference_between(r, 0x20, 0x7F) || reference_utf8(r);
        if (!good) {
            return false;
        }
    }
    return true;
}

static bool reference_member(reference *r) {
    reference_space(r);
    if (!reference_string(r)) {
        return false;
    }
    reference_space(r);
    return reference_take(r, ":") && reference_value(r);
}

static bool reference_items(reference *r, const char *close, bool (*item)(reference *r)) {
    if (r->depth++ == KP_JSON_DEPTH_MAX) {
        return false;
    }
    reference_space(r);
    if (!reference_take(r, close)) {
        do {
            if (!item(r)) {
                return false;
            }
        } while (reference_take(r, ","));
        if (!reference_take(r, close)) {
            return false;
        }
    }
    r->depth--;
    return true;
}

static bool reference_value(reference *r) {
    bool good;
    reference_space(r);
    if (reference_take(r, "{")) {
        good = reference_items(r, "}", reference_member);
    } else if (reference_take(r, "[")) {
        good = reference_items(r, "]", reference_value);
    } else if (r->at < r->end && *r->at == '"') {
        good = reference_string(r);
    } else {
        good =
            reference_take(r, "true") || reference_take(r, "false") || reference_take(r, "null") || reference_number(r);
    }
    reference_space(r);
    return good;
}

static bool reference_valid(const unsigned char *data, size_t size) {
    reference r = {data, data + size, 0};
    return reference_value(&r) && r.at == r.end;
}

#endif
