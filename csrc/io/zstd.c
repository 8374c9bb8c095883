/* Zstandard over libzstd: see zstd.h. The library takes its memory from the core's allocator.
 *
 * Output is given room for the worst case before the library sees a byte, so that a record is never half compressed.
 */
#define ZSTD_STATIC_LINKING_ONLY /* for the allocator */
#include "io/zstd.h"

#include "core/mem.h"

#include <assert.h>
#include <stdbool.h>
#include <zstd.h>

enum {
    KP_ZSTD_WINDOW_LOG = 19,     /* 512 KiB: every open file has one */
    KP_ZSTD_PENDING = 256 << 10, /* what the library may have kept back of earlier input: two blocks */
};

struct kp_zstd_stream {
    ZSTD_CCtx *context; /* owned */
};

static void *zstd_alloc(void *opaque, size_t size) {
    (void)opaque;
    return kp_alloc(size);
}

static void zstd_free(void *opaque, void *memory) {
    (void)opaque;
    kp_free(memory);
}

static bool configure(ZSTD_CCtx *context, int level) {
    ZSTD_inBuffer nothing = {"", 0, 0};
    char none[1];
    ZSTD_outBuffer nowhere = {none, 0, 0};
    return !ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, KP_ZSTD_WINDOW_LOG)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)) &&
           !ZSTD_isError(ZSTD_compressStream2(context, &nowhere, &nothing, ZSTD_e_continue)); /* takes its memory */
}

kp_status kp_zstd_stream_new(kp_zstd_stream **out, int level, kp_error *err) {
    kp_zstd_stream *self = kp_calloc(1, sizeof *self);
    if (!self) {
        return kp_error_nomem(err);
    }
    self->context = ZSTD_createCCtx_advanced((ZSTD_customMem){zstd_alloc, zstd_free, NULL});
    if (!self->context || !configure(self->context, level)) {
        kp_zstd_stream_free(self);
        return kp_error_nomem(err); /* nothing else makes these calls fail */
    }
    *out = self;
    return KP_OK;
}

void kp_zstd_stream_free(kp_zstd_stream *self) {
    if (self) {
        ZSTD_freeCCtx(self->context);
        kp_free(self);
    }
}

static kp_status run(kp_zstd_stream *self, kp_bytes in, ZSTD_EndDirective how, kp_buf *out, kp_error *err) {
    kp_status st = kp_buf_reserve(out, ZSTD_compressBound(in.length) + KP_ZSTD_PENDING, err);
    if (st != KP_OK) {
        return st;
    }
    ZSTD_inBuffer source = {in.data ? in.data : "", in.length, 0};
    ZSTD_outBuffer target = {out->data, out->capacity, out->length};
    size_t left;
    do {
        left = ZSTD_compressStream2(self->context, &target, &source, how);
        assert(!ZSTD_isError(left));
    } while (!ZSTD_isError(left) && (source.pos < source.size || (how == ZSTD_e_end && left > 0)));
    out->length = target.pos;
    return ZSTD_isError(left) ? kp_error_set(err, KP_FATAL, "", "zstd: %s", ZSTD_getErrorName(left)) : KP_OK;
}

kp_status kp_zstd_stream_add(kp_zstd_stream *self, kp_bytes in, kp_buf *out, kp_error *err) {
    return run(self, in, ZSTD_e_continue, out, err);
}

kp_status kp_zstd_stream_end(kp_zstd_stream *self, kp_buf *out, kp_error *err) {
    return run(self, (kp_bytes){NULL, 0}, ZSTD_e_end, out, err);
}

const char *kp_zstd_version(void) {
    return ZSTD_versionString();
}
