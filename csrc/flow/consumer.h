/* Consumer: records of a group's or of chosen partitions, for a caller with an event loop.
 *
 * A descriptor becomes readable when there may be something to do; kp_consumer_read then gives what came as one
 * kp_messages. A rebalance is not answered inside the library's callback: it waits until the caller, who may have work
 * to finish first, calls kp_consumer_answer. No thread of its own.
 *
 * kp_consumer_read, _answer, _assign and _leave are called by one thread at a time; all others by any thread. Those
 * with a timeout_ms wait. A consumer made before a fork must not be used in the child: ask kp_consumer_check.
 */
#ifndef KP_FLOW_CONSUMER_H
#define KP_FLOW_CONSUMER_H

#include "io/kafka.h"

typedef struct kp_consumer kp_consumer;

/* What one read gave: messages of one or more partitions, in order within each. */
typedef struct {
    kp_consumer *consumer;         /* kept alive */
    rd_kafka_message_t **messages; /* owned */
    size_t count;
    uint64_t epoch; /* of the assignment it was read in */
} kp_messages;

typedef enum {
    KP_REBALANCE_NONE,
    KP_REBALANCE_ASSIGN, /* these partitions come */
    KP_REBALANCE_REVOKE, /* these go, once answered */
    KP_REBALANCE_LOST,   /* these are gone already: nothing can be committed for them */
} kp_rebalance;

/* ---- life ---- */

/* conf is moved, also on failure; it must not have an opaque or callbacks of its own, and has a group.id. */
kp_status kp_consumer_new(kp_consumer **out, rd_kafka_conf_t *conf, kp_error *err) KP_MUST_CHECK;
/* Ends the client and waits for its threads; when messages are still held, the last of them ends it, in a thread of its
 * own. Leaves the group if kp_consumer_leave did not. Accepts NULL; does nothing in a forked child. */
void kp_consumer_free(kp_consumer *self);

bool kp_consumer_is_foreign(const kp_consumer *self); /* made before a fork, in the parent */
kp_status kp_consumer_check(const kp_consumer *self, kp_error *err) KP_MUST_CHECK;
int kp_consumer_fd(const kp_consumer *self);
/* Makes the descriptor unreadable until something comes; call it before kp_consumer_read. */
void kp_consumer_clear(kp_consumer *self);
void kp_consumer_problem(kp_consumer *self, char *out); /* KP_KAFKA_LOG_TEXT_MAX bytes; "" when there was none */

/* Gives all partitions up and leaves the group; rebalances are answered by themselves from here on. KP_TIMEOUT when it
 * is not done after timeout_ms: call it again. */
kp_status kp_consumer_leave(kp_consumer *self, int timeout_ms, kp_error *err) KP_MUST_CHECK;

/* ---- which partitions ---- */

/* Names or ^patterns of topics. */
kp_status kp_consumer_subscribe(kp_consumer *self, const rd_kafka_topic_partition_list_t *topics,
                                kp_error *err) KP_MUST_CHECK;
/* Exactly these, from the offsets that are in the list; without a subscription. */
kp_status kp_consumer_assign(kp_consumer *self, const rd_kafka_topic_partition_list_t *list,
                             kp_error *err) KP_MUST_CHECK;
/* What is assigned, each with the offset that is read next (negative: not known yet); owned by the caller. */
rd_kafka_topic_partition_list_t *kp_consumer_assignment(kp_consumer *self);

/* The oldest rebalance that waits for its answer, and a copy of its partitions, owned by the caller. */
kp_rebalance kp_consumer_rebalance(kp_consumer *self, rd_kafka_topic_partition_list_t **list);
/* Answers that one. Partitions that come start where the entry in starts says, when there is one. */
kp_status kp_consumer_answer(kp_consumer *self, const rd_kafka_topic_partition_list_t *starts,
                             kp_error *err) KP_MUST_CHECK;

/* ---- reading ---- */

/* At most max messages of what is there, without waiting; *out is NULL when there is nothing. An error is one that the
 * library will not heal by itself, or not without somebody's help; reading can go on after it unless it is KP_FATAL. */
kp_status kp_consumer_read(kp_consumer *self, size_t max, kp_messages **out, kp_error *err) KP_MUST_CHECK;
void kp_messages_free(kp_messages *messages); /* accepts NULL; any thread; nothing in a forked child */

/* The end (last offset + 1) of each partition in messages first to first + count, owned by the caller. Partitions that
 * went since, also if they came back, are put into *gone instead. */
kp_status kp_messages_ends(const kp_messages *messages, size_t first, size_t count,
                           rd_kafka_topic_partition_list_t **ends, rd_kafka_topic_partition_list_t **gone,
                           kp_error *err) KP_MUST_CHECK;

kp_status kp_consumer_pause(kp_consumer *self, rd_kafka_topic_partition_list_t *list, bool paused,
                            kp_error *err) KP_MUST_CHECK;
/* KP_RETRY while a partition is not being read yet: its assignment is under way. */
kp_status kp_consumer_seek(kp_consumer *self, rd_kafka_topic_partition_list_t *list, int timeout_ms,
                           kp_error *err) KP_MUST_CHECK;

/* ---- offsets: of the entries in list, or into them ---- */

/* Asks for a commit; its result comes with this owner from kp_consumer_next_commit. */
kp_status kp_consumer_commit(kp_consumer *self, const rd_kafka_topic_partition_list_t *list, void *owner,
                             kp_error *err) KP_MUST_CHECK;
/* The owner of a commit that is done, NULL when there is none; err has its status, KP_OK too. */
void *kp_consumer_next_commit(kp_consumer *self, kp_error *err);

/* A commit to wait for: begin, wait until it is not KP_TIMEOUT, destroy the queue. */
kp_status kp_consumer_commit_begin(kp_consumer *self, const rd_kafka_topic_partition_list_t *list,
                                   rd_kafka_queue_t **answer, kp_error *err) KP_MUST_CHECK;
kp_status kp_commit_wait(rd_kafka_queue_t *answer, int timeout_ms, kp_error *err) KP_MUST_CHECK;

/* For the library's own periodic commit. */
kp_status kp_consumer_store(kp_consumer *self, rd_kafka_topic_partition_list_t *list, kp_error *err) KP_MUST_CHECK;

/* Who this member is, for offsets that a transaction commits; owned by the caller. Never of a member that lost its
 * partitions, or that left: a broker would take such a one's offsets unchecked. */
kp_status kp_consumer_group(kp_consumer *self, rd_kafka_consumer_group_metadata_t **out, kp_error *err) KP_MUST_CHECK;

/* What the group committed; RD_KAFKA_OFFSET_INVALID: nothing. */
kp_status kp_consumer_committed(kp_consumer *self, rd_kafka_topic_partition_list_t *list, int timeout_ms,
                                kp_error *err) KP_MUST_CHECK;
/* The offset of the first record at or after the time (milliseconds) that is in the entry; RD_KAFKA_OFFSET_END: none.
 * The times RD_KAFKA_OFFSET_BEGINNING and _END are the first offset that is there and the one that the next record
 * gets. (rd_kafka_query_watermark_offsets of 2.0.2 keeps no timeout.) */
kp_status kp_consumer_at_time(kp_consumer *self, rd_kafka_topic_partition_list_t *list, int timeout_ms,
                              kp_error *err) KP_MUST_CHECK;

#endif
