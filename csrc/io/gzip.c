/* gzip over zlib: see gzip.h. zlib takes its memory from the core's allocator. */
#include "io/gzip.h"

#include "core/mem.h"

#include <assert.h>
#include <limits.h>
#include <zlib.h>

enum { KP_GZIP_WINDOW = 15 + 16 }; /* the largest window; 16 asks for a gzip header instead of zlib's */

static voidpf zlib_alloc(voidpf opaque, uInt count, uInt size) {
    (void)opaque;
    return kp_calloc(count, size);
}

static void zlib_free(voidpf opaque, voidpf memory) {
    (void)opaque;
    kp_free(memory);
}

static uInt portion(size_t left) {
    return left > UINT_MAX ? UINT_MAX : (uInt)left;
}

/* out has room for all of it (deflateBound), so that deflate only ever stops for the 4 GiB that zlib counts in. */
static void deflate_all(z_stream *z, kp_bytes in, kp_buf *out) {
    size_t taken = 0;
    int result = Z_OK;
    while (result != Z_STREAM_END) {
        z->next_in = in.data ? (Bytef *)(uintptr_t)(in.data + taken) : (Bytef *)"";
        z->avail_in = portion(in.length - taken);
        z->next_out = (Bytef *)(out->data + out->length);
        z->avail_out = portion(out->capacity - out->length);
        uInt given = z->avail_in;
        uInt room = z->avail_out;
        result = deflate(z, given == in.length - taken ? Z_FINISH : Z_NO_FLUSH);
        assert(result != Z_STREAM_ERROR && result != Z_BUF_ERROR);
        taken += given - z->avail_in;
        out->length += room - z->avail_out;
    }
}

kp_status kp_gzip(kp_bytes in, int level, kp_buf *out, kp_error *err) {
    z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free};
    kp_buf_reset(out);
    if (deflateInit2(&z, level, Z_DEFLATED, KP_GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        return kp_error_nomem(err);
    }
    kp_status st = kp_buf_reserve(out, deflateBound(&z, in.length), err);
    if (st == KP_OK) {
        deflate_all(&z, in, out);
    }
    deflateEnd(&z);
    return st;
}

const char *kp_gzip_version(void) {
    return zlibVersion();
}
