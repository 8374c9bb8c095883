/* gzip over zlib: see gzip.h. zlib takes its memory from the core's allocator. */
#include "io/gzip.h"

#include "core/mem.h"

#include <assert.h>
#include <limits.h>
#include <stdbool.h>
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

/* ---- streams ---- */

enum { KP_GZIP_PENDING = 256 << 10 }; /* what zlib may have kept back of earlier input: a window and its queue */

struct kp_gzip_stream {
    z_stream z;
};

kp_status kp_gzip_stream_new(kp_gzip_stream **out, int level, kp_error *err) {
    kp_gzip_stream *self = kp_calloc(1, sizeof *self);
    if (!self) {
        return kp_error_nomem(err);
    }
    self->z = (z_stream){.zalloc = zlib_alloc, .zfree = zlib_free};
    if (deflateInit2(&self->z, level, Z_DEFLATED, KP_GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
        kp_free(self);
        return kp_error_nomem(err);
    }
    *out = self;
    return KP_OK;
}

void kp_gzip_stream_free(kp_gzip_stream *self) {
    if (self) {
        deflateEnd(&self->z);
        kp_free(self);
    }
}

/* Room for the worst case is made first, so that a record is never half compressed. */
static kp_status run(kp_gzip_stream *self, kp_bytes in, bool end, kp_buf *out, kp_error *err) {
    z_stream *z = &self->z;
    kp_status st = kp_buf_reserve(out, deflateBound(z, in.length) + KP_GZIP_PENDING, err);
    size_t taken = 0;
    int result = Z_OK;
    while (st == KP_OK && (taken < in.length || (end && result != Z_STREAM_END))) {
        uInt given = portion(in.length - taken);
        uInt room = portion(out->capacity - out->length);
        z->next_in = in.length ? (Bytef *)(uintptr_t)(in.data + taken) : (Bytef *)"";
        z->avail_in = given;
        z->next_out = (Bytef *)(out->data + out->length);
        z->avail_out = room;
        result = deflate(z, end ? Z_FINISH : Z_NO_FLUSH);
        assert(result != Z_STREAM_ERROR && z->avail_out > 0);
        taken += given - z->avail_in;
        out->length += room - z->avail_out;
    }
    return st;
}

kp_status kp_gzip_stream_add(kp_gzip_stream *self, kp_bytes in, kp_buf *out, kp_error *err) {
    return run(self, in, false, out, err);
}

kp_status kp_gzip_stream_end(kp_gzip_stream *self, kp_buf *out, kp_error *err) {
    return run(self, (kp_bytes){NULL, 0}, true, out, err);
}

const char *kp_gzip_version(void) {
    return zlibVersion();
}
