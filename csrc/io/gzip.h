/* gzip over zlib: a whole buffer at once, or a stream that grows. */
#ifndef KP_IO_GZIP_H
#define KP_IO_GZIP_H

#include "core/buf.h"

/* Replaces what is in out. level 1 (fast) to 9. */
kp_status kp_gzip(kp_bytes in, int level, kp_buf *out, kp_error *err) KP_MUST_CHECK;

/* One gzip member that is written piece by piece; output is appended. */
typedef struct kp_gzip_stream kp_gzip_stream;

kp_status kp_gzip_stream_new(kp_gzip_stream **out, int level, kp_error *err) KP_MUST_CHECK; /* owned */
void kp_gzip_stream_free(kp_gzip_stream *self);                                             /* accepts NULL */
/* All of it or, when out of memory, nothing. */
kp_status kp_gzip_stream_add(kp_gzip_stream *self, kp_bytes in, kp_buf *out, kp_error *err) KP_MUST_CHECK;
kp_status kp_gzip_stream_end(kp_gzip_stream *self, kp_buf *out, kp_error *err) KP_MUST_CHECK; /* then only free it */

const char *kp_gzip_version(void); /* of zlib, at run time */

#endif
