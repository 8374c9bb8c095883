/* Growing byte buffer, and the borrowed view of bytes that functions take as input. One owner, one thread. */
#ifndef KP_CORE_BUF_H
#define KP_CORE_BUF_H

#include "core/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *data; /* borrowed, not NUL-terminated */
    size_t length;
} kp_bytes;

#define KP_BYTES_LITERAL(text) ((kp_bytes){(text), sizeof(text) - 1})
kp_bytes kp_bytes_of(const char *text); /* of a NUL-terminated string, borrowed */

typedef struct {
    char *data; /* owned; not NUL-terminated unless kp_buf_text was called */
    size_t length;
    size_t capacity;
} kp_buf;

void kp_buf_init(kp_buf *buf);
void kp_buf_deinit(kp_buf *buf);            /* leaves an empty buffer that may be used again */
void kp_buf_reset(kp_buf *buf);             /* empty, keeps the memory */
void kp_buf_move(kp_buf *to, kp_buf *from); /* to must be empty or initialised; from becomes empty */

kp_status kp_buf_reserve(kp_buf *buf, size_t more, kp_error *err) KP_MUST_CHECK;
kp_status kp_buf_append(kp_buf *buf, const void *data, size_t length, kp_error *err) KP_MUST_CHECK;
kp_status kp_buf_append_text(kp_buf *buf, const char *text, kp_error *err) KP_MUST_CHECK;
kp_status kp_buf_append_int(kp_buf *buf, int64_t number, kp_error *err) KP_MUST_CHECK;
kp_status kp_buf_printf(kp_buf *buf, kp_error *err, const char *format, ...) KP_MUST_CHECK KP_PRINTF(3, 4);
/* A JSON string with its quotes; the input must be UTF-8. */
kp_status kp_buf_append_json_string(kp_buf *buf, kp_bytes text, kp_error *err) KP_MUST_CHECK;
/* Percent-encodes all but RFC 3986 unreserved characters, and those in keep (for example "/"). */
kp_status kp_buf_append_url(kp_buf *buf, kp_bytes text, const char *keep, kp_error *err) KP_MUST_CHECK;
/* Ends the bytes with NUL (not counted in length) and gives them, borrowed until the next change; NULL when out of
 * memory. */
const char *kp_buf_text(kp_buf *buf);

#endif
