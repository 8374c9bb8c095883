/* Strings of a scanned JSON text: unescaping, comparing, and the dotted paths that name keys. See json_scan.h. */
#include "core/json_scan.h"

#include <string.h>

kp_status kp_json_path_init(kp_json_path *path, kp_bytes dotted, kp_error *err) {
    const char *at = dotted.data ? dotted.data : "";
    const char *end = at + dotted.length;
    path->count = 0;
    for (;;) {
        const char *dot = memchr(at, '.', (size_t)(end - at));
        const char *stop = dot ? dot : end;
        if (stop == at) {
            return kp_error_set(err, KP_FATAL, "EINVAL", "path \"%.*s\" has an empty step", (int)dotted.length,
                                dotted.data ? dotted.data : "");
        }
        if (path->count == KP_JSON_PATH_MAX) {
            return kp_error_set(err, KP_FATAL, "EINVAL", "path \"%.*s\" has more than %d steps", (int)dotted.length,
                                dotted.data, KP_JSON_PATH_MAX);
        }
        path->steps[path->count++] = (kp_bytes){at, (size_t)(stop - at)};
        if (!dot) {
            return KP_OK;
        }
        at = dot + 1;
    }
}

/* Value of four hexadecimal digits; -1 when they are none. */
static int32_t hex4(const char *at) {
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        char low = (char)(c | 0x20);
        int digit = c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
        if (digit < 0) {
            return -1;
        }
        value = value << 4 | digit;
    }
    return value;
}

size_t kp_json_escape(kp_bytes text, int32_t *code) {
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    const char *at = text.data;
    const char *simple = text.length >= 2 && at[1] ? strchr(from, at[1]) : NULL;
    if (simple) {
        *code = to[simple - from];
        return 2;
    }
    *code = text.length >= 6 && at[1] == 'u' ? hex4(at + 2) : -1;
    if (*code < 0xD800 || *code > 0xDFFF) {
        return *code < 0 ? 0 : 6;
    }
    bool pair = *code < 0xDC00 && text.length >= 12 && at[6] == '\\' && at[7] == 'u';
    int32_t low = pair ? hex4(at + 8) : -1;
    if (low < 0xDC00 || low > 0xDFFF) {
        return 0;
    }
    *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
    return 12;
}

static size_t encode_utf8(int32_t code, char out[4]) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

/* The character that the escape at text stands for, as UTF-8 in out; *used is the escape's length. 0: it is none. */
static size_t decode_escape(kp_bytes text, char out[4], size_t *used) {
    int32_t code;
    *used = kp_json_escape(text, &code);
    return *used > 0 ? encode_utf8(code, out) : 0;
}

bool kp_json_text_equals(kp_bytes inside, kp_bytes plain) {
    size_t i = 0;
    size_t k = 0;
    while (i < inside.length) {
        char piece[4] = {inside.data[i]};
        size_t used = 1;
        size_t length = 1;
        if (inside.data[i] == '\\') {
            length = decode_escape((kp_bytes){inside.data + i, inside.length - i}, piece, &used);
        }
        if (length == 0 || plain.length - k < length || memcmp(plain.data + k, piece, length) != 0) {
            return false;
        }
        i += used;
        k += length;
    }
    return k == plain.length;
}

kp_status kp_json_unescape(kp_json_span string, kp_buf *out, kp_error *err) {
    const char *at = string.raw.data + 1;
    const char *end = string.raw.data + string.raw.length - 1;
    size_t before = out->length;
    kp_status st = kp_buf_reserve(out, string.raw.length, err); /* unescaping never makes it longer */
    while (st == KP_OK && at < end) {
        const char *backslash = string.escaped ? memchr(at, '\\', (size_t)(end - at)) : NULL;
        const char *stop = backslash ? backslash : end;
        char piece[4];
        size_t used = 0;
        memcpy(out->data + out->length, at, (size_t)(stop - at));
        out->length += (size_t)(stop - at);
        if (backslash) {
            size_t length = decode_escape((kp_bytes){stop, (size_t)(end - stop)}, piece, &used);
            if (length == 0) {
                out->length = before;
                return kp_error_set(err, KP_REJECT, KP_JSON_INVALID, "a string has an invalid escape");
            }
            memcpy(out->data + out->length, piece, length);
            out->length += length;
        }
        at = stop + used;
    }
    return st;
}
