/* Takes everything and keeps nothing: what a pipeline costs without its sink. */
#include "sinks/sink.h"

#include "core/mem.h"

typedef struct {
    kp_sink base;
    kp_sink_env env;
} null_sink;

static kp_status null_open(kp_sink **out, const kp_json *config, const kp_sink_env *env, kp_error *err) {
    (void)config;
    null_sink *self = kp_calloc(1, sizeof *self);
    if (!self) {
        return kp_error_nomem(err);
    }
    self->base.ops = &kp_sink_null;
    self->env = *env;
    *out = &self->base;
    return KP_OK;
}

static void null_close(kp_sink *base) {
    kp_free(base);
}

static kp_sink_flush null_flush(const kp_sink *base) {
    (void)base;
    return (kp_sink_flush){.records = 1000};
}

static kp_status null_write(kp_sink *base, kp_batch *batch, kp_error *err) {
    (void)err;
    null_sink *self = (null_sink *)base;
    kp_batch_judge_all(batch, KP_DELIVERED, NULL);
    self->env.on_batch(self->env.ctx, batch);
    return KP_OK;
}

static kp_status null_pump(kp_sink *base, kp_error *err) {
    (void)base;
    (void)err;
    return KP_OK;
}

const kp_sink_ops kp_sink_null = {
    .name = "null",
    .open = null_open,
    .close = null_close,
    .flush = null_flush,
    .write = null_write,
    .pump = null_pump,
};
