/* Round robin: see partitioner.h. */
#include "flow/partitioner.h"

#include "core/mem.h"

/* A partition without a leader is passed over, unless all are. */
static int32_t next_in_turn(const rd_kafka_topic_t *topic, const void *key, size_t length, int32_t count, void *opaque,
                            void *message) {
    kp_turns *turns = opaque;
    int32_t partition = 0;
    (void)key;
    (void)length;
    (void)message;
    for (int32_t tried = 0; tried < count; tried++) {
        partition = (int32_t)(atomic_fetch_add_explicit(&turns->turn, 1, memory_order_relaxed) % (unsigned)count);
        if (rd_kafka_topic_partition_available(topic, partition)) {
            break;
        }
    }
    return partition;
}

rd_kafka_topic_conf_t *kp_partitioner_round_robin(rd_kafka_t *client, kp_turns **list) {
    kp_turns *turns = kp_calloc(1, sizeof *turns);
    if (!turns) {
        return NULL;
    }
    turns->next = *list;
    *list = turns;
    rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(client);
    rd_kafka_topic_conf_set_opaque(conf, turns);
    rd_kafka_topic_conf_set_partitioner_cb(conf, next_in_turn);
    return conf;
}

void kp_turns_free(kp_turns *list) {
    for (kp_turns *next; list; list = next) {
        next = list->next;
        kp_free(list);
    }
}
