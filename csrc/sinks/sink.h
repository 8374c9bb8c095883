/* Where records go. A sink turns records into bytes and requests and says what became of each; retry, back-off,
 * batching, pausing, dead letters and metrics are the pipeline's.
 *
 * A sink belongs to one loop thread and never waits. Two kinds:
 *  - one step (null, elasticsearch): `write` takes a batch; it comes back through env.on_batch with a verdict a record.
 *    KP_DELIVERED is final.
 *  - two steps (hdfs, file): `write` copies what it needs and hands the batch back at once; KP_DELIVERED then means "in
 * a segment". A segment is a set of temporary files that cover the offsets [start, end) of one partition. The pipeline
 *    records the segment's manifest in Kafka, then calls `publish`, which makes the files visible.
 *
 * After a failure that may heal, a sink calls env.on_trouble once and starts nothing of that kind again until `resume`.
 */
#ifndef KP_SINKS_SINK_H
#define KP_SINKS_SINK_H

#include "core/record.h"
#include "io/http.h"
#include "io/json.h"

#include <stdbool.h>

/* All that a sink may touch outside itself, so that tests can script it. */
typedef struct {
    void *ctx;
    kp_http *http;                /* borrowed; outlives the sink */
    const char *group;            /* borrowed: the consumer group, part of temporary names */
    int64_t (*now_ms)(void *ctx); /* monotonic */
    /* The record's header with this index, borrowed as long as the record is; false: there are no more. */
    bool (*header)(void *ctx, const kp_record *rec, size_t index, kp_bytes *name, kp_bytes *value);
    void (*on_batch)(void *ctx, kp_batch *batch);       /* moved back; every verdict is set */
    void (*on_trouble)(void *ctx, const kp_error *err); /* KP_RETRY: call resume later; KP_FATAL: stop */
    void (*on_progress)(void *ctx);                     /* the server did something for us: trouble is over */
    void (*on_published)(void *ctx, int32_t slot, const kp_error *err); /* two steps; err NULL: done */
    /* Two steps: temporary files of this partition are gone from the store, and were not published: its records must
       be read again from the committed offset. Instead of on_published, or before an intent was made. */
    void (*on_lost)(void *ctx, int32_t slot, const kp_error *err);
} kp_sink_env;

/* What the pipeline should gather before it writes; records, bytes 0: no such limit; age_ms 0: never wait for more. */
typedef struct {
    size_t records;
    size_t bytes;
    int64_t age_ms;
} kp_sink_flush;

/* A run of sealed segments from the oldest on, as it goes into the offset commit. */
typedef struct {
    int64_t start;
    int64_t end;
    kp_buf manifest; /* owned: a JSON array, which only the sink understands; at most some 3.6 kB */
} kp_intent;

typedef struct kp_sink kp_sink;

typedef struct {
    const char *name; /* the sink type in the configuration */
    /* May fill the http options from the sink's document; NULL: none wanted, env.http will be NULL. */
    kp_status (*http_options)(const kp_json *config, kp_http_options *options, kp_error *err);
    kp_status (*open)(kp_sink **out, const kp_json *config, const kp_sink_env *env, kp_error *err);
    void (*close)(kp_sink *self); /* accepts NULL; batches under way come back as KP_AGAIN */

    kp_sink_flush (*flush)(const kp_sink *self);
    /* KP_OK: the batch is moved. KP_RETRY with code "FULL": nothing was taken, try when something has come back. */
    kp_status (*write)(kp_sink *self, kp_batch *batch, kp_error *err);
    /* Moves I/O on: called after the http handle was pumped, and when next_ms is due. */
    kp_status (*pump)(kp_sink *self, kp_error *err);
    int64_t (*next_ms)(const kp_sink *self);   /* when pump is wanted without I/O; INT64_MAX: never. NULL: never */
    void (*resume)(kp_sink *self);             /* try again what failed. NULL: nothing is kept */
    size_t (*held_bytes)(const kp_sink *self); /* payload it keeps in memory beyond batches. NULL: none */

    /* Two steps only; all NULL otherwise. */
    kp_status (*begin)(kp_sink *self, int32_t slot, const char *topic, int32_t partition, kp_error *err);
    void (*clean)(kp_sink *self, int32_t slot); /* removes temporary files that an earlier owner left */
    void (*seal)(kp_sink *self, int32_t slot);  /* close what is open now; `sealed` tells when it is done */
    /* False: no sealed segment waits. The intent is initialised in any case. */
    bool (*sealed)(kp_sink *self, int32_t slot, int64_t end_max, kp_intent *out);
    kp_status (*publish)(kp_sink *self, int32_t slot, kp_bytes manifest, kp_error *err); /* idempotent */
    void (*settled)(kp_sink *self, int32_t slot, int64_t end);    /* segments up to end are committed: forget them */
    bool (*idle)(const kp_sink *self, int32_t slot, int64_t end); /* nothing open, sealed or under way up to end */
    void (*end)(kp_sink *self, int32_t slot); /* the partition is gone: forget it, leave its files */
} kp_sink_ops;

struct kp_sink {
    const kp_sink_ops *ops; /* first member of every sink */
};

extern const kp_sink_ops kp_sink_hdfs;
extern const kp_sink_ops kp_sink_file;
extern const kp_sink_ops kp_sink_elasticsearch;
extern const kp_sink_ops kp_sink_null;

/* The sink for a type of the configuration; NULL: none. */
const kp_sink_ops *kp_sink_find(const char *type);

/* Certificate authorities and client certificate of a sink's document: its keys ca_file, cert_file, key_file and
 * key_password, each of them text or null. Borrowed from config. */
void kp_sink_tls_options(const kp_json *config, kp_http_options *options);

#endif
