/* Status and error: see error.h. A message that does not fit is cut at a character boundary, never in the middle of a
 * UTF-8 sequence, control characters become spaces and what is no UTF-8 becomes '?': a message is one line of text.
 */
#include "core/error.h"

#include "core/utf8.h"

#include <stdio.h>
#include <string.h>

/* Servers' words are in messages, and not every server writes UTF-8. */
static void one_line(char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        unsigned char c = (unsigned char)*text;
        size_t length = c < 0x80 ? 1 : kp_utf8_length((const unsigned char *)text, left);
        if (c < 0x20 || length == 0) {
            *text = c < 0x20 ? ' ' : '?';
            length = 1;
        }
        text += length;
        left -= length;
    }
}

static void cut_utf8(char *text, size_t size) {
    size_t length = strlen(text);
    if (length + 1 < size) {
        return;
    }
    while (length > 0 && ((unsigned char)text[length - 1] & 0xC0) == 0x80) {
        text[--length] = '\0';
    }
    if (length > 0 && (unsigned char)text[length - 1] >= 0xC0) {
        text[length - 1] = '\0';
    }
}

static void format_message(kp_error *err, const char *format, va_list args) {
    vsnprintf(err->message, sizeof err->message, format, args);
    cut_utf8(err->message, sizeof err->message);
    one_line(err->message);
}

void kp_error_init(kp_error *err) {
    memset(err, 0, sizeof *err);
}

kp_status kp_error_set(kp_error *err, kp_status status, const char *code, const char *format, ...) {
    va_list args;
    if (!err) {
        return status;
    }
    err->status = status;
    snprintf(err->code, sizeof err->code, "%s", code ? code : "");
    va_start(args, format);
    format_message(err, format, args);
    va_end(args);
    return status;
}

kp_status kp_error_nomem(kp_error *err) {
    return kp_error_set(err, KP_NOMEM, "ENOMEM", "out of memory");
}

void kp_error_prefix(kp_error *err, const char *format, ...) {
    kp_error old = *err;
    va_list args;
    va_start(args, format);
    format_message(err, format, args);
    va_end(args);
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof err->message - used, ": %s", old.message);
    cut_utf8(err->message, sizeof err->message);
}

const char *kp_status_name(kp_status status) {
    static const char *const names[] = {"ok", "retry", "reject", "fatal", "closed", "timeout", "nomem"};
    return names[status];
}
