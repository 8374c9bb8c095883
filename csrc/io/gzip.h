/* gzip over zlib: one whole buffer in, one whole gzip member out. */
#ifndef KP_IO_GZIP_H
#define KP_IO_GZIP_H

#include "core/buf.h"

/* Replaces what is in out. level 1 (fast) to 9. */
kp_status kp_gzip(kp_bytes in, int level, kp_buf *out, kp_error *err) KP_MUST_CHECK;
const char *kp_gzip_version(void); /* of zlib, at run time */

#endif
