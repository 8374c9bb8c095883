/* A sink on a bench: see sink_rig.h. */
#include "sink_rig.h"

#include "kp_spin.h"

#include <stdlib.h>

static int64_t now_ms(void *ctx) {
    return kp_now_ms() + ((sink_rig *)ctx)->skew_ms;
}

static void on_batch(void *ctx, kp_batch *batch) {
    sink_rig *rig = ctx;
    assert_true(rig->back_count < SINK_RIG_BACK_MAX);
    rig->back[rig->back_count++] = batch;
}

static void on_trouble(void *ctx, const kp_error *err) {
    sink_rig *rig = ctx;
    rig->troubles++;
    rig->trouble = *err;
}

static void on_progress(void *ctx) {
    ((sink_rig *)ctx)->progress++;
}

static void on_published(void *ctx, int32_t slot, const kp_error *err) {
    sink_rig *rig = ctx;
    (void)slot;
    rig->published++;
    kp_error_init(&rig->published_err);
    if (err) {
        rig->published_err = *err;
    }
}

static void on_lost(void *ctx, int32_t slot, const kp_error *err) {
    sink_rig *rig = ctx;
    (void)slot;
    rig->lost++;
    rig->lost_err = *err;
}

static kp_status open_all(sink_rig *rig, const char *config, kp_error *err) {
    kp_status st;
    kp_http_options options = {0};
    KP_TRY(kp_json_parse(&rig->config, kp_bytes_of(config), "the rig's document", err));
    if (rig->ops->http_options) {
        KP_TRY(rig->ops->http_options(rig->config, &options, err));
    }
    KP_TRY(kp_http_new(&rig->http, &options, err));
    kp_sink_env env = {
        .ctx = rig,
        .http = rig->http,
        .group = "g",
        .now_ms = now_ms,
        .on_batch = on_batch,
        .on_trouble = on_trouble,
        .on_progress = on_progress,
        .on_published = on_published,
        .on_lost = on_lost,
    };
    KP_TRY(rig->ops->open(&rig->sink, rig->config, &env, err));
done:
    return st;
}

kp_status sink_rig_try_open(sink_rig *rig, const char *type, const char *config, kp_error *err) {
    memset(rig, 0, sizeof *rig);
    rig->ops = kp_sink_find(type);
    assert_non_null(rig->ops);
    return open_all(rig, config, err);
}

void sink_rig_open(sink_rig *rig, const char *type, const char *config) {
    kp_error err;
    if (sink_rig_try_open(rig, type, config, &err) != KP_OK) {
        fail_msg("%s: %s", config, err.message);
    }
}

void sink_rig_close(sink_rig *rig) {
    rig->ops->close(rig->sink);
    for (size_t i = 0; i < rig->back_count; i++) {
        kp_batch_free(rig->back[i]);
    }
    kp_http_free(rig->http);
    kp_json_free(rig->config);
    memset(rig, 0, sizeof *rig);
}

kp_batch *sink_rig_batch(size_t capacity) {
    kp_batch *batch = kp_batch_new(capacity, free);
    assert_non_null(batch);
    return batch;
}

void sink_rig_add(kp_batch *batch, int32_t slot, int64_t offset, const char *key, const char *value) {
    size_t key_length = key ? strlen(key) : 0;
    size_t value_length = value ? strlen(value) : 0;
    size_t length = key_length + value_length;
    char *memory = malloc(length ? length : 1); /* ends where the record ends: ASan sees a byte too far */
    assert_non_null(memory);
    memcpy(memory, key ? key : "", key_length);
    memcpy(memory + key_length, value ? value : "", value_length);
    kp_batch_add(batch, &(kp_record){.topic = "t",
                                     .partition = slot,
                                     .slot = slot,
                                     .offset = offset,
                                     .timestamp_ms = 1767225600000,
                                     .key = {key ? memory : NULL, key_length},
                                     .value = {value ? memory + key_length : NULL, value_length},
                                     .handle = memory});
}

kp_batch *sink_rig_values(int32_t slot, int64_t from, const char *const *values, size_t count) {
    kp_batch *batch = sink_rig_batch(count);
    for (size_t i = 0; i < count; i++) {
        sink_rig_add(batch, slot, from + (int64_t)i, NULL, values[i]);
    }
    return batch;
}

kp_status sink_rig_write(sink_rig *rig, kp_batch *batch, kp_error *err) {
    return rig->ops->write(rig->sink, batch, err);
}

void sink_rig_must_write(sink_rig *rig, kp_batch *batch) {
    kp_error err;
    if (sink_rig_write(rig, batch, &err) != KP_OK) {
        fail_msg("write: %s", err.message);
    }
}

void sink_rig_turn(sink_rig *rig) {
    kp_error err;
    assert_int_equal(kp_http_pump(rig->http, &err), KP_OK);
    if (rig->ops->pump(rig->sink, &err) != KP_OK) {
        fail_msg("pump: %s", err.message);
    }
}

void sink_rig_until(sink_rig *rig, const size_t *count, size_t wanted) {
    int64_t limit = kp_now_ms() + 20000;
    for (int turn = 0;; turn++) {
        sink_rig_turn(rig);
        if (*count >= wanted) {
            return;
        }
        assert_true(kp_now_ms() < limit);
        if (turn > 100) { /* it does not come from memory */
            assert_int_equal(kp_http_wait(rig->http, NULL, NULL, 0, 10, NULL), KP_OK);
        }
    }
}

const char *sink_rig_verdicts(const kp_batch *batch) {
    static char text[1024];
    assert_true(batch->count < sizeof text);
    for (size_t i = 0; i < batch->count; i++) {
        text[i] = "PDAR"[batch->verdicts[i].outcome];
    }
    text[batch->count] = '\0';
    return text;
}
