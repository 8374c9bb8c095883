/* What the files of the producer share; nobody else includes it. */
#ifndef KP_FLOW_PRODUCER_PARTS_H
#define KP_FLOW_PRODUCER_PARTS_H

#include "flow/partitioner.h"
#include "flow/producer.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct {
    rd_kafka_topic_t *handle; /* owned */
    rd_kafka_topic_t *single; /* owned: of the client that sends one message a set; NULL until it is needed */
    size_t singly;            /* messages that are with that client: while there are some, others go there, too */
} kp_topic;

/* The topics that were sent to, found by name: a hash table, at most half full. */
typedef struct {
    char *name; /* owned; NULL: a free place */
    size_t length;
    kp_topic *topic; /* owned */
} kp_topic_entry;

typedef struct {
    kp_topic_entry *entries; /* owned */
    size_t capacity;         /* a power of two, or 0 */
    size_t count;
    bool round_robin;
    kp_turns *turns; /* of all topics; whoever ends the client frees them after it */
} kp_topic_table;

void kp_topic_table_deinit(kp_topic_table *table);
/* Makes the handle when there is none yet. Borrowed: lives as long as the table. */
kp_status kp_topic_table_get(kp_topic_table *table, rd_kafka_t *client, kp_bytes name, kp_topic **out,
                             kp_error *err) KP_MUST_CHECK;
/* A handle of one more client, owned by the caller; NULL when the library refuses. */
rd_kafka_topic_t *kp_topic_handle_new(kp_topic_table *table, rd_kafka_t *client, const char *name);

struct kp_producer {
    pthread_mutex_t lock; /* of all below it but outstanding, which is read without */
    rd_kafka_t *client;
    rd_kafka_queue_t *queue;
    kp_topic_table topics;
    kp_send *open; /* doubly linked: handed in at least in part, not done; one reference each */
    kp_send *done; /* not yet collected; one reference each */
    kp_send **done_end;
    size_t bytes; /* of the values of the outstanding messages, as the library counts them */
    kp_error fatal;
    kp_error txn_problem; /* why the first message of the transaction failed */
    bool txn_ready;       /* the transactional id is ours; of the thread that begins */
    bool closing;
    bool worked;                /* a broker took a message */
    rd_kafka_resp_err_t denied; /* what no broker will heal: everything fails with it */
    rd_kafka_t *single;         /* sends one message a set: NULL until it is needed */
    rd_kafka_queue_t *single_queue;
    atomic_size_t outstanding;

    bool transactional;
    size_t max_messages; /* SIZE_MAX: no limit */
    size_t max_bytes;
    unsigned process;
    kp_kafka_signal signal;
    kp_kafka_log log;
};

typedef struct {
    kp_send *send; /* the library's opaque is the slot, this leads back */
    kp_delivery delivery;
} kp_slot;

struct kp_send {
    atomic_uint references;
    void *owner;
    kp_send *next; /* in one list of the producer */
    kp_send *prev;
    kp_topic *topic;  /* borrowed from the producer: only for enqueue and reports */
    char *problem;    /* owned; the last problem with a broker when messages failed */
    const char *name; /* of the topic, behind the slots */
    size_t count;
    size_t handed_in;
    size_t settled;
    size_t failed;
    bool linked; /* in open */
    kp_slot slots[];
};

enum { /* codes beyond the library's own */
       KP_SEND_REFUSED = -10000,
       KP_SEND_PENDING = -10001,
       KP_SEND_PURGED_QUEUE = -10002, /* by the caller: the producer goes on */
       KP_SEND_PURGED_INFLIGHT = -10003,
};

kp_status kp_producer_check(const kp_producer *self, kp_error *err) KP_MUST_CHECK; /* not made before a fork */
/* Takes the lock; fails without it when the producer cannot go on. */
kp_status kp_producer_lock(kp_producer *self, kp_error *err) KP_MUST_CHECK;

/* These with the lock held. */
void kp_producer_note_fatal(kp_producer *self); /* keeps the library's fatal error: nothing can be sent any more */
void kp_producer_note_failure(kp_producer *self, const kp_send *send); /* for the transaction */
/* Whether a message that was refused as too large, maybe only together with others, is on its way again, alone. */
bool kp_producer_send_singly(kp_producer *self, const rd_kafka_message_t *message);
void kp_send_settle(kp_slot *slot, rd_kafka_resp_err_t code);
void kp_send_finish_if_settled(kp_producer *self, kp_send *send);
void kp_send_link(kp_producer *self, kp_send *send);
/* Headers stay the caller's unless it succeeds. */
rd_kafka_resp_err_t kp_send_produce(rd_kafka_t *client, rd_kafka_topic_t *topic, kp_slot *slot,
                                    const kp_message *message);

void kp_producer_end_single(kp_producer *self); /* without the lock: nobody else uses the producer any more */

#endif
