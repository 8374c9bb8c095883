/* Producer: batches of messages into Kafka, and a result for every message.
 *
 * A kp_send is one batch: it is handed in, piece by piece when the queue is full, and is done when each of its messages
 * was delivered or failed. What a broker refuses because a set of messages is too large for its topic is sent once
 * more, message by message, so that the one that is too large fails alone. A descriptor becomes readable when results
 * wait; kp_producer_drain collects them. No callback, no thread of its own.
 *
 * Any thread may call, calls on one producer take turns. Only kp_producer_flush, _purge, _warm, _free and the
 * transactions wait. In a forked child every call fails with KP_FATAL, and kp_producer_free does nothing.
 */
#ifndef KP_FLOW_PRODUCER_H
#define KP_FLOW_PRODUCER_H

#include "core/buf.h"
#include "flow/consumer.h"
#include "io/kafka.h"

typedef struct kp_producer kp_producer;
typedef struct kp_send kp_send;

typedef struct {
    kp_bytes key;   /* data NULL: none; borrowed until kp_producer_enqueue returns */
    kp_bytes value; /* data NULL: tombstone; the same */
    rd_kafka_headers_t
        *headers;         /* NULL: none; moved: kp_producer_enqueue takes it or frees it if the message is taken */
    int64_t timestamp_ms; /* 0: now */
    int32_t partition;    /* RD_KAFKA_PARTITION_UA: the partitioner chooses */
    bool refused;         /* the caller found it unfit: it fails without being sent, the others go on */
} kp_message;

typedef struct {
    int64_t offset;       /* -1: not known (failed, or acks=0) */
    int64_t timestamp_ms; /* -1: not known */
    int32_t partition;    /* -1: not known */
    rd_kafka_resp_err_t code;
} kp_delivery;

/* conf is moved, also on failure; it must not have an opaque, events or a log callback of its own. round_robin: each
 * message of a topic goes to the next partition, whatever its key; else the library's partitioner chooses. */
kp_status kp_producer_new(kp_producer **out, rd_kafka_conf_t *conf, bool round_robin, kp_error *err) KP_MUST_CHECK;
/* Drops what is still queued and waits for the library's threads. Every send that is not done becomes done (its
 * messages fail as closed) and is put into *unfinished, owned by the caller: kp_send_next, kp_send_release. NULL
 * unfinished releases them. Accepts NULL. */
void kp_producer_free(kp_producer *self, kp_send **unfinished);

int kp_producer_fd(const kp_producer *self);             /* readable when kp_producer_drain has something to do */
bool kp_producer_is_foreign(const kp_producer *self);    /* made before a fork, in the parent */
size_t kp_producer_outstanding(const kp_producer *self); /* messages without a result */
void kp_producer_problem(kp_producer *self, char *out);  /* KP_KAFKA_LOG_TEXT_MAX bytes; "" when there was none */

/* ---- one batch ---- */

/* A batch of count messages to one topic, owned: kp_send_release. */
kp_status kp_send_new(kp_send **out, kp_producer *self, kp_bytes topic, size_t count, kp_error *err) KP_MUST_CHECK;
void kp_send_release(kp_send *send); /* accepts NULL; any thread */

void kp_send_set_owner(kp_send *send, void *owner); /* for the caller's own use */
void *kp_send_owner(const kp_send *send);
kp_send *kp_send_next(const kp_send *send); /* in a list of done ones */

const char *kp_send_topic(const kp_send *send); /* borrowed */
size_t kp_send_count(const kp_send *send);
size_t kp_send_handed_in(const kp_send *send);                      /* messages that kp_producer_enqueue has taken */
size_t kp_send_failed(const kp_send *send);                         /* meaningful when done */
const kp_delivery *kp_send_delivery(const kp_send *send, size_t i); /* borrowed; meaningful when done */
/* Why message i failed; KP_OK when it did not. A refused message gives KP_REJECT with code "REFUSED". */
kp_status kp_send_error(const kp_send *send, size_t i, kp_error *err);

/* ---- sending ---- */

/* Hands in the next count messages of send. Stops where the queue is full: *taken < count, then wait for the
 * descriptor, drain, and go on with the rest. Messages that fail at once are taken too. Headers of messages not taken
 * stay the caller's. Fails as a whole only when the producer cannot go on. */
kp_status kp_producer_enqueue(kp_producer *self, kp_send *send, const kp_message *messages, size_t count, size_t *taken,
                              kp_error *err) KP_MUST_CHECK;

/* Whether that many messages with values of so many bytes fit into the queue now; fits_ever: into an empty one. */
bool kp_producer_has_room(kp_producer *self, size_t messages, size_t bytes, bool *fits_ever);

/* The messages not handed in yet fail with this code: nobody waits for room any more. */
void kp_producer_abandon(kp_producer *self, kp_send *send, rd_kafka_resp_err_t code);

/* Collects results, of at most max_events events of the library; when there is more, the descriptor stays readable.
 * *done is a list of the sends that are done now, owned by the caller. KP_FATAL when the producer cannot go on; done is
 * right then, too. */
kp_status kp_producer_drain(kp_producer *self, size_t max_events, kp_send **done, kp_error *err) KP_MUST_CHECK;

/* ---- these wait; another thread drains meanwhile ---- */

/* Sends what lingers. KP_TIMEOUT when messages are still without a result after timeout_ms. */
kp_status kp_producer_flush(kp_producer *self, int timeout_ms, kp_error *err) KP_MUST_CHECK;
/* Gives up every message without a result; their results follow by the descriptor. They are KP_RETRY, or KP_CLOSED when
 * closing. */
kp_status kp_producer_purge(kp_producer *self, bool closing, kp_error *err) KP_MUST_CHECK;
/* Learns a topic's partitions, so that the first message need not wait; *partitions is their number. */
kp_status kp_producer_warm(kp_producer *self, kp_bytes topic, int timeout_ms, int *partitions,
                           kp_error *err) KP_MUST_CHECK;

/* ---- transactions: one call at a time; they wait, too ---- */

/* KP_TIMEOUT and KP_RETRY: call it again, it goes on. The first one makes the transactional id this producer's own:
 * what an older producer of that id left open is aborted, and that producer is fenced. */
kp_status kp_producer_begin(kp_producer *self, int timeout_ms, kp_error *err) KP_MUST_CHECK;
/* The end of messages first to first + count becomes the group's offset when the transaction is committed. Fails as a
 * whole when one of their partitions was taken away. Any failure means: abort. */
kp_status kp_producer_send_offsets(kp_producer *self, const kp_messages *messages, size_t first, size_t count,
                                   int timeout_ms, kp_error *err) KP_MUST_CHECK;
/* The same for a number of the caller's own, of a source that is not Kafka: offset becomes the group's at partition 0
 * of the topic, which must be there; nobody must be a member of that group. */
kp_status kp_producer_send_position(kp_producer *self, const char *group, const char *topic, int64_t offset,
                                    int timeout_ms, kp_error *err) KP_MUST_CHECK;
/* KP_TIMEOUT and KP_RETRY: call it again, it goes on, unless *must_abort. That is so when a message of the transaction
 * failed, whatever became of it in the caller. */
kp_status kp_producer_commit(kp_producer *self, int timeout_ms, bool *must_abort, kp_error *err) KP_MUST_CHECK;
/* What is still queued fails with KP_RETRY. KP_TIMEOUT and KP_RETRY: call it again, it goes on. */
kp_status kp_producer_abort(kp_producer *self, int timeout_ms, kp_error *err) KP_MUST_CHECK;

#endif
