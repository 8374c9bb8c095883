/* Partitioners that the library does not have: round robin, each message of a topic to the next partition.
 *
 * The library calls it from any thread, one at a time for a topic, also when it learns a topic's partitions later.
 */
#ifndef KP_FLOW_PARTITIONER_H
#define KP_FLOW_PARTITIONER_H

#include "io/kafka.h"

#include <stdatomic.h>

/* Whose turn it is, of one topic; a list of them. */
typedef struct kp_turns {
    struct kp_turns *next;
    atomic_uint turn;
} kp_turns;

/* A configuration for one topic of this client, owned by the caller; its turns are put before those in *list. They must
 * outlive the client: kp_turns_free. NULL without memory. */
rd_kafka_topic_conf_t *kp_partitioner_round_robin(rd_kafka_t *client, kp_turns **list);
void kp_turns_free(kp_turns *list); /* the whole list; accepts NULL */

#endif
