/* One worker of a pipeline, between its parts: worker.c is the loop, worker_consume.c the consumer and its rebalances,
 * worker_fetch.c how fast it reads, worker_settle.c what becomes of each record, worker_commit.c intents and offset
 * commits.
 *
 * Everything here belongs to the worker's own thread, except `shared` and what is said to be atomic.
 */
#ifndef KP_FLOW_WORKER_H
#define KP_FLOW_WORKER_H

#include "core/checkpoint.h"
#include "flow/dead_letter.h"
#include "flow/pipeline.h"
#include "io/kafka.h"
#include "sinks/sink.h"

#include <pthread.h>
#include <stdatomic.h>

typedef enum { KP_DEAD_STOP, KP_DEAD_DROP, KP_DEAD_TOPIC } kp_dead_mode;

typedef struct { /* read once from the document, then constant; strings are borrowed from it */
    const kp_json *document;
    const kp_json *sink;
    const kp_sink_ops *sink_ops;
    const char *name;
    const char *group;
    const kp_json *topics;
    const kp_json *kafka;
    int64_t workers;
    int64_t in_flight_bytes;
    int64_t backoff_min_ms;
    int64_t backoff_max_ms;
    kp_dead_mode dead_mode;
    const char *dead_topic;
    bool redrive;          /* the records are dead letters, see worker_origin.c */
    const kp_json *ranges; /* of bounded reading, see worker_range.c; NULL: everything, for ever */
} kp_pipeline_config;

typedef struct {
    int64_t records_in;
    int64_t records_out;
    int64_t bytes_in;
    int64_t bytes_out;
    int64_t retries;
    int64_t rejected;
    int64_t dead_letters;
    int64_t errors;
    int64_t in_flight_bytes;
    int64_t lag; /* -1: not known yet */
} kp_counters;

typedef enum { KP_STARTING, KP_RUNNING, KP_PAUSED, KP_DRAINING, KP_STOPPED, KP_FAILED } kp_worker_state;

typedef struct { /* what other threads may read, under its lock */
    pthread_mutex_t lock;
    kp_worker_state state;
    kp_counters counters;
    char reason[KP_ERROR_MESSAGE_MAX]; /* "" when all is well */
    kp_buf assignment;                 /* JSON array */
    kp_buf existing;                   /* elements of one: [partition, offset] of letters that were there already */
} kp_worker_shared;

/* Where a partition stands between "sealed" and "committed". */
typedef enum {
    PART_RUNNING,
    PART_INTENT,     /* the intent's commit is due or under way */
    PART_PUBLISH,    /* the intent is in Kafka; publishing is due */
    PART_PUBLISHING, /* under way */
    PART_FINAL,      /* published; the end's commit is due or under way */
    PART_LOST,       /* the intent's files are gone: the offset is committed again without it, then all is read again */
} kp_part_phase;

typedef struct {
    int32_t slot;
    bool leaving; /* being revoked, or drained */
    bool fenced;  /* and the group takes no commit of ours any more: what is not committed is the next owner's */
    bool gone;    /* given up or lost; the slot is used again when no record points to it */
    rd_kafka_topic_t *rkt; /* borrowed, to find the part of a message quickly; NULL until the first */
    char *topic;
    int32_t partition;
    kp_checkpoint cp;
    int64_t committed; /* -1: nothing */
    int64_t high_water;
    size_t refs; /* records in batches that name this slot */
    kp_part_phase phase;
    kp_intent intent;
    bool recovering;  /* the intent was found at assignment */
    bool commit_sent; /* the commit under way has this partition */
    int64_t commit_offset;
    /* bounded reading only */
    bool at_end; /* paused; none of ours, or its range was read */
    bool chosen_only;
    const kp_json *chosen; /* the next offset that is wanted, or behind it; borrowed from the document */
    int64_t range_end;
    int64_t from_ms;
    int64_t until_ms;
} kp_part;

typedef struct kp_worker kp_worker;
typedef struct kp_origin_topic kp_origin_topic;

struct kp_worker {
    kp_kafka_log log; /* first: the client's opaque, which the rebalance callback gets, is also the worker */
    kp_pipeline *pipeline;
    const kp_pipeline_config *config;
    pthread_t thread;
    bool started;
    int64_t number;
    kp_kafka_signal wake; /* messages, commits, dead letters and requests all raise it */
    kp_worker_shared shared;

    rd_kafka_t *rk;
    rd_kafka_queue_t *messages;
    rd_kafka_queue_t *commits;
    rd_kafka_message_t **pulled;
    kp_http *http;
    kp_sink *sink;
    kp_dead_letters *dead;

    kp_part **parts; /* by slot; NULL: free */
    size_t part_count;
    kp_part *last_part; /* of the message before */
    kp_origin_topic *origin_topics;

    kp_batch *gather; /* grows until the sink's flush limits */
    int64_t gather_since_ms;
    kp_batch *ready; /* waiting for the sink, oldest first */
    kp_batch **ready_end;
    kp_batch *again; /* to be tried again after the back-off */
    kp_batch **again_end;
    size_t batch_bytes; /* in all batches, wherever they are */
    bool came_back;     /* a batch, since the last one was written */

    bool joined;                /* the group has told what is ours, if anything */
    bool more_messages;         /* the queue was not emptied: no wake-up tells of what is left */
    int64_t queue_messages_max; /* as the library is configured */
    int64_t queue_bytes_max;
    bool queue_was_full;      /* since fetchers were woken */
    bool paused;              /* partitions are paused in the consumer */
    bool has_paused;          /* some were; it keeps that in mind for one that comes back */
    bool draining;            /* nothing new is read */
    bool drained;             /* and nothing is left to be committed; the others know */
    int64_t stalled_since_ms; /* 0: not stalled */

    bool sink_trouble; /* the sink told of some and of no progress since */
    int backoff_attempt;
    int64_t backoff_until_ms; /* 0: none */
    unsigned random_seed;

    bool commit_in_flight;
    int64_t last_commit_ms;
    int64_t next_tick_ms;
    int64_t read_at_tick; /* records */
    int64_t read_at_trim;

    kp_worker_state state;
    kp_counters counters;
    char reason[KP_ERROR_MESSAGE_MAX];
    rd_kafka_resp_err_t kafka_trouble; /* what the consumer told last; 0: nothing, or over */
    kp_error fatal;                    /* status KP_OK: none */
    bool restart;                      /* the consumer must be made anew */
};

enum { KP_STALL_MS = 500 }; /* reading stops at once when the sink is full, partitions are paused after this */

/* pipeline.c */
bool kp_pipeline_must_drain(kp_pipeline *self, int64_t *deadline_ms);
void kp_pipeline_fail(kp_pipeline *self);    /* one worker failed: all stop */
void kp_pipeline_drained(kp_pipeline *self); /* one worker has nothing to commit any more; once per worker */
bool kp_pipeline_all_drained(const kp_pipeline *self);
void kp_pipeline_keep(kp_pipeline *self);  /* a client that may not end points into the workers: never free them */
void kp_pipeline_raise(kp_pipeline *self); /* something to see */
int64_t kp_now_ms(void *ignored);

/* pipeline_ends.c */
kp_status kp_pipeline_ends_ask(const kp_pipeline_config *config, kp_worker *workers, int timeout_ms, kp_buf *json,
                               kp_error *err) KP_MUST_CHECK;

/* worker.c */
kp_status kp_worker_init(kp_worker *self, kp_pipeline *pipeline, const kp_pipeline_config *config, int64_t number,
                         kp_error *err) KP_MUST_CHECK;
void kp_worker_deinit(kp_worker *self); /* after its thread ended */
void *kp_worker_main(void *self);
void kp_worker_fail(kp_worker *self, const kp_error *err);    /* stop: err says why */
void kp_worker_trouble(kp_worker *self, const kp_error *err); /* KP_RETRY: back off; others: fail */
void kp_worker_healthy(kp_worker *self);                      /* something succeeded */
void kp_worker_publish_snapshot(kp_worker *self);
/* Turns the loop without reading until `done` says so or the deadline is over. */
void kp_worker_settle_until(kp_worker *self, bool (*done)(kp_worker *self), int64_t deadline_ms);

/* worker_consume.c */
kp_status kp_worker_open_consumer(kp_worker *self, kp_error *err) KP_MUST_CHECK;
void kp_worker_close_consumer(kp_worker *self);
void kp_worker_consume(kp_worker *self);
void kp_worker_measure(kp_worker *self); /* lag, high water marks, assignment */

/* worker_range.c: bounded reading; without ranges these do nothing and want everything */
void kp_range_begin(const kp_worker *self, kp_part *part); /* its checkpoint begins at the range, or goes on in it */
bool kp_range_wants(kp_worker *self, kp_part *part, const rd_kafka_message_t *message); /* false: it is dealt with */
void kp_range_passed(kp_worker *self, kp_part *part, int64_t offset); /* all before offset came, or never will */
void kp_range_pause(kp_worker *self);                                 /* the partitions that are at their end */
void kp_range_seal(kp_worker *self);                                  /* what is open of them */
int64_t kp_range_left(const kp_part *part);                           /* offsets that are not committed */

/* worker_origin.c: dead letters that are sent again; these do nothing for other records */
kp_status kp_origin_read(kp_worker *self, const rd_kafka_message_t *message, kp_record *rec,
                         kp_error *err) KP_MUST_CHECK;
void kp_origin_note_existing(kp_worker *self, const kp_batch *batch, size_t index); /* what was delivered before */
void kp_origins_free(kp_worker *self);

/* worker_fetch.c */
bool kp_worker_fetchers_sleep(void); /* this librdkafka's, when the queue was full */
void kp_worker_read_queue_bounds(kp_worker *self);
void kp_worker_note_queue(kp_worker *self);    /* before something is taken from it */
void kp_worker_wake_fetchers(kp_worker *self); /* when it is empty */
void kp_worker_check_stall(kp_worker *self, int64_t now_ms);
size_t kp_worker_held_bytes(const kp_worker *self);
bool kp_worker_may_read(const kp_worker *self);

/* worker_kafka.c */
void kp_worker_on_consumer_error(kp_worker *self, const rd_kafka_message_t *message);
void kp_worker_on_client_error(rd_kafka_t *rk, int code, const char *reason, void *worker); /* the client's error_cb */
void kp_worker_check_kafka(kp_worker *self);                                                /* is the trouble over? */

/* worker_settle.c */
kp_status kp_worker_gather(kp_worker *self, const kp_record *rec, kp_error *err) KP_MUST_CHECK;
void kp_worker_flush_gather(kp_worker *self);
void kp_worker_write_ready(kp_worker *self);
void kp_worker_try_again(kp_worker *self); /* the back-off is over */
void kp_worker_drop_batches(kp_worker *self, bool only_gone);
void kp_worker_on_batch(void *ctx, kp_batch *batch);
void kp_worker_on_dead_letter(void *ctx, int32_t slot, int64_t offset, const kp_error *err);
bool kp_worker_sink_is_idle(const kp_worker *self, const kp_part *part, int64_t end); /* up to the offset end */
bool kp_worker_part_is_idle(const kp_worker *self, const kp_part *part);
bool kp_worker_is_idle(kp_worker *self);   /* nothing that was read is unsettled or uncommitted */
bool kp_worker_may_leave(kp_worker *self); /* the same of the partitions that are being revoked */

/* worker_commit.c */
kp_status kp_part_new(kp_worker *self, const char *topic, int32_t partition, int64_t committed, kp_bytes metadata,
                      kp_part **out, kp_error *err) KP_MUST_CHECK;
void kp_part_give_up(kp_worker *self, kp_part *part);
void kp_part_unref(kp_worker *self, kp_part *part, size_t refs);
void kp_parts_free(kp_worker *self);
kp_part *kp_part_find(kp_worker *self, const char *topic, int32_t partition);
void kp_worker_advance(kp_worker *self, int64_t now_ms); /* seals to intents, intents to publications, commits */
void kp_worker_serve_commits(kp_worker *self);
bool kp_worker_has_to_commit(const kp_worker *self); /* something that is settled */
void kp_worker_retry_publish(kp_worker *self);
void kp_worker_on_published(void *ctx, int32_t slot, const kp_error *err);
void kp_worker_on_lost(void *ctx, int32_t slot, const kp_error *err);

#endif
