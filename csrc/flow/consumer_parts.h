/* The parts of the consumer that its files share. See consumer.h. */
#ifndef KP_FLOW_CONSUMER_PARTS_H
#define KP_FLOW_CONSUMER_PARTS_H

#include "flow/consumer.h"

#include <stdatomic.h>

typedef struct kp_pending {
    struct kp_pending *next;
    kp_rebalance kind;
    rd_kafka_topic_partition_list_t *list; /* owned */
} kp_pending;

struct kp_consumer {
    kp_kafka_log log; /* the first member: the opaque of the library's callbacks is both */
    rd_kafka_t *client;
    rd_kafka_queue_t *queue;   /* messages and rebalances */
    rd_kafka_queue_t *commits; /* results */
    rd_kafka_queue_t *closing; /* what comes while the group is left; NULL before */
    kp_kafka_signal signal;
    unsigned process;
    atomic_size_t refs;           /* the caller's, and one for each kp_messages */
    rd_kafka_message_t **scratch; /* of the reading thread */
    size_t scratch_size;

    pthread_mutex_t lock;                      /* of what follows */
    rd_kafka_topic_partition_list_t *assigned; /* offset: the next one; opaque: the epoch of its assignment */
    rd_kafka_topic_partition_t *last;          /* entry of assigned that the last message belonged to */
    const rd_kafka_topic_t *last_topic;
    uint64_t epoch;
    kp_pending *pending; /* oldest first */
    kp_error trouble;    /* to be told by the next read that has nothing else to tell */
    bool leaving;
    bool left;         /* of the thread that leaves */
    bool was_assigned; /* once in its life */
};

/* Callback of the library: puts the rebalance aside, or answers it when the group is being left. */
void kp_consumer_on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                              void *opaque);
/* Rebalances are answered by themselves from here on; those that wait are answered now. */
void kp_consumer_let_go(kp_consumer *self);
/* Gives up what the library takes, or everything: no more questions. */
void kp_consumer_release(kp_consumer *self, rd_kafka_resp_err_t code, const rd_kafka_topic_partition_list_t *list);

/* The entry of the partition that this message is of, NULL when it is not assigned. Under the lock. */
rd_kafka_topic_partition_t *kp_consumer_part_of(kp_consumer *self, const rd_kafka_message_t *message);

#endif
