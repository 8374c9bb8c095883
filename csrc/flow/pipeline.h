/* A pipeline: topics through a sink, in as many worker threads as the configuration says. No Python, no GIL.
 *
 * Between a worker and its caller pass only a stop request going in, and a snapshot and a wake-up coming out. Every
 * function here may be called from any thread that is not a worker; kp_pipeline_free from one only, last.
 */
#ifndef KP_FLOW_PIPELINE_H
#define KP_FLOW_PIPELINE_H

#include "core/buf.h"

#include <stdbool.h>

typedef struct kp_pipeline kp_pipeline;

/* config is the complete, resolved JSON document of one pipeline; nothing is started. */
kp_status kp_pipeline_new(kp_pipeline **out, kp_bytes config, kp_error *err) KP_MUST_CHECK;
kp_status kp_pipeline_start(kp_pipeline *self, kp_error *err) KP_MUST_CHECK;

/* Asks every worker to stop within drain_ms: what was read is delivered, sealed, published and committed, then the
 * group is left. What is not done by then is left to the next owner. Returns at once; a shorter deadline replaces a
 * longer. */
void kp_pipeline_stop(kp_pipeline *self, int64_t drain_ms);
bool kp_pipeline_stopped(const kp_pipeline *self); /* no worker runs (any more) */

/* Becomes readable when a state changed or offsets were committed; clear it with kp_pipeline_clear_wake, then look. */
int kp_pipeline_wake_fd(const kp_pipeline *self);
void kp_pipeline_clear_wake(kp_pipeline *self);

/* Appends one JSON object: state, reason, counters, and per worker its assignment. */
kp_status kp_pipeline_snapshot(kp_pipeline *self, kp_buf *json, kp_error *err) KP_MUST_CHECK;

/* Appends a JSON array of [topic, partition, low, high, committed] for every partition of its topics, asked of the
 * brokers now (committed -1: nothing). Waits; any thread. */
kp_status kp_pipeline_ends(kp_pipeline *self, int timeout_ms, kp_buf *json, kp_error *err) KP_MUST_CHECK;

/* Stops without draining when it still runs, and waits for the threads. */
void kp_pipeline_free(kp_pipeline *self);

#endif
