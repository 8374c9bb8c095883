/* A sink on a bench: opened from a literal document, with a clock that the test moves, and everything it reports noted
 * down. Records' memory comes from malloc, so that ASan sees each given back exactly once.
 */
#ifndef KP_SINK_RIG_H
#define KP_SINK_RIG_H

#include "kp_test.h"

#include "sinks/sink.h"

enum { SINK_RIG_BACK_MAX = 64 };

typedef struct {
    const kp_sink_ops *ops;
    kp_sink *sink;
    kp_http *http;
    const kp_json *config;
    int64_t skew_ms;                   /* what the sink's clock is ahead */
    kp_batch *back[SINK_RIG_BACK_MAX]; /* handed back, in order; owned until sink_rig_take */
    size_t back_count;
    size_t troubles;
    kp_error trouble; /* the last one */
    size_t progress;
    size_t published; /* calls of on_published */
    kp_error published_err;
    size_t lost; /* calls of on_lost */
    kp_error lost_err;
} sink_rig;

/* Fails the test when the sink does not open. */
void sink_rig_open(sink_rig *rig, const char *type, const char *config);
kp_status sink_rig_try_open(sink_rig *rig, const char *type, const char *config, kp_error *err);
void sink_rig_close(sink_rig *rig); /* frees what came back; accepts a rig that did not open */

kp_batch *sink_rig_batch(size_t capacity);
void sink_rig_add(kp_batch *batch, int32_t slot, int64_t offset, const char *key, const char *value); /* NULL: none */
/* A batch of one record for each of these values, offsets from `from` on. */
kp_batch *sink_rig_values(int32_t slot, int64_t from, const char *const *values, size_t count);

kp_status sink_rig_write(sink_rig *rig, kp_batch *batch, kp_error *err); /* the caller keeps it when not KP_OK */
void sink_rig_must_write(sink_rig *rig, kp_batch *batch);
void sink_rig_turn(sink_rig *rig);                                      /* pumps once, waits for nothing */
void sink_rig_until(sink_rig *rig, const size_t *count, size_t wanted); /* turns until then; fails after 20 s */
/* The verdicts of a batch that came back, a letter a record: D delivered, A again, R rejected, P pending. Borrowed
 * until the next call. */
const char *sink_rig_verdicts(const kp_batch *batch);

#endif
