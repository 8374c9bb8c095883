/* Growing byte buffer: see buf.h. Growth doubles, sizes are checked for overflow. */
#include "core/buf.h"

#include "core/mem.h"

#include <stdio.h>
#include <string.h>

kp_bytes kp_bytes_of(const char *text) {
    return (kp_bytes){text, strlen(text)};
}

void kp_buf_init(kp_buf *buf) {
    memset(buf, 0, sizeof *buf);
}

void kp_buf_deinit(kp_buf *buf) {
    kp_free(buf->data);
    kp_buf_init(buf);
}

void kp_buf_reset(kp_buf *buf) {
    buf->length = 0;
}

void kp_buf_move(kp_buf *to, kp_buf *from) {
    kp_buf_deinit(to);
    *to = *from;
    kp_buf_init(from);
}

kp_status kp_buf_reserve(kp_buf *buf, size_t more, kp_error *err) {
    if (buf->capacity - buf->length >= more) {
        return KP_OK;
    }
    if (more > SIZE_MAX / 4 || buf->length > SIZE_MAX / 4) {
        return kp_error_nomem(err);
    }
    size_t capacity = buf->capacity ? buf->capacity : 64;
    while (capacity - buf->length < more) {
        capacity *= 2;
    }
    char *data = kp_realloc(buf->data, capacity);
    if (!data) {
        return kp_error_nomem(err);
    }
    buf->data = data;
    buf->capacity = capacity;
    return KP_OK;
}

kp_status kp_buf_append(kp_buf *buf, const void *data, size_t length, kp_error *err) {
    if (length == 0) {
        return KP_OK;
    }
    kp_status st = kp_buf_reserve(buf, length, err);
    if (st == KP_OK) {
        memcpy(buf->data + buf->length, data, length);
        buf->length += length;
    }
    return st;
}

kp_status kp_buf_append_text(kp_buf *buf, const char *text, kp_error *err) {
    return kp_buf_append(buf, text, strlen(text), err);
}

kp_status kp_buf_append_int(kp_buf *buf, int64_t number, kp_error *err) {
    char digits[24];
    char *at = digits + sizeof digits;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        *--at = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0) {
        *--at = '-';
    }
    return kp_buf_append(buf, at, (size_t)(digits + sizeof digits - at), err);
}

kp_status kp_buf_printf(kp_buf *buf, kp_error *err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) {
        return kp_error_set(err, KP_FATAL, "EINVAL", "format \"%s\" cannot be printed", format);
    }
    kp_status st = kp_buf_reserve(buf, (size_t)length + 1, err);
    if (st == KP_OK) {
        va_start(args, format);
        vsnprintf(buf->data + buf->length, (size_t)length + 1, format, args);
        va_end(args);
        buf->length += (size_t)length;
    }
    return st;
}

static const char *json_escape(unsigned char c, char scratch[7]) {
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        snprintf(scratch, 7, "\\u%04x", c);
        return scratch;
    }
}

kp_status kp_buf_append_json_string(kp_buf *buf, kp_bytes text, kp_error *err) {
    kp_status st;
    size_t start = 0;
    char scratch[7];
    KP_TRY(kp_buf_append(buf, "\"", 1, err));
    for (size_t i = 0; i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        KP_TRY(kp_buf_append(buf, text.data + start, i - start, err));
        KP_TRY(kp_buf_append_text(buf, json_escape(c, scratch), err));
        start = i + 1;
    }
    KP_TRY(kp_buf_append(buf, text.data + start, text.length - start, err));
    KP_TRY(kp_buf_append(buf, "\"", 1, err));
done:
    return st;
}

static int is_unreserved(unsigned char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

kp_status kp_buf_append_url(kp_buf *buf, kp_bytes text, const char *keep, kp_error *err) {
    static const char hex[] = "0123456789ABCDEF";
    if (text.length > SIZE_MAX / 4) {
        return kp_error_nomem(err);
    }
    kp_status st = kp_buf_reserve(buf, 3 * text.length, err);
    for (size_t i = 0; st == KP_OK && i < text.length; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (is_unreserved(c) || (c && strchr(keep, c))) {
            buf->data[buf->length++] = (char)c;
        } else {
            buf->data[buf->length++] = '%';
            buf->data[buf->length++] = hex[c >> 4];
            buf->data[buf->length++] = hex[c & 15];
        }
    }
    return st;
}

const char *kp_buf_text(kp_buf *buf) {
    if (kp_buf_reserve(buf, 1, NULL) != KP_OK) {
        return NULL;
    }
    buf->data[buf->length] = '\0';
    return buf->data;
}
