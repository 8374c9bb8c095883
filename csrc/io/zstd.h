/* Zstandard over libzstd: one frame that is written piece by piece. */
#ifndef KP_IO_ZSTD_H
#define KP_IO_ZSTD_H

#include "core/buf.h"

typedef struct kp_zstd_stream kp_zstd_stream;

kp_status kp_zstd_stream_new(kp_zstd_stream **out, int level, kp_error *err) KP_MUST_CHECK; /* owned */
void kp_zstd_stream_free(kp_zstd_stream *self);                                             /* accepts NULL */
/* Appends output to out. All of it or, when out of memory, nothing. */
kp_status kp_zstd_stream_add(kp_zstd_stream *self, kp_bytes in, kp_buf *out, kp_error *err) KP_MUST_CHECK;
kp_status kp_zstd_stream_end(kp_zstd_stream *self, kp_buf *out, kp_error *err) KP_MUST_CHECK; /* then only free it */

const char *kp_zstd_version(void); /* of the library, at run time */

#endif
