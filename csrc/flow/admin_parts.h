/* What the files of the admin client share, and nobody else sees. */
#ifndef KP_FLOW_ADMIN_PARTS_H
#define KP_FLOW_ADMIN_PARTS_H

#include "flow/admin.h"

typedef struct kp_admin_call kp_admin_call;

struct kp_admin {
    rd_kafka_t *client;
    rd_kafka_queue_t *answers;
    pthread_mutex_t lock; /* of open */
    kp_admin_call *open;
    unsigned process;
    kp_kafka_signal signal;
    kp_kafka_log log;
};

typedef struct {
    rd_kafka_resp_err_t code;
    const char *reason; /* borrowed from the answer; NULL: the library's words for code */
} kp_admin_verdict;

kp_status kp_admin_check_process(const kp_admin *self, kp_error *err) KP_MUST_CHECK;

/* Options for a call that is about to be sent, or NULL with err set. The options are the caller's, the call itself is
 * the library's until it is answered. op is a literal: "create topic"; name says of what, "" of nothing. */
rd_kafka_AdminOptions_t *kp_admin_call_open(kp_admin *self, rd_kafka_admin_op_t api, const char *op, const char *name,
                                            int timeout_ms, void *ticket, kp_error *err);

/* Sets err to "<op> <name>: ..."; who waited for a broker in vain is told which one, and why. Returns the status. */
kp_status kp_admin_error_set(kp_admin *self, kp_admin_verdict verdict, const char *op, const char *name, kp_error *err);

kp_admin_verdict kp_admin_verdict_of(rd_kafka_event_t *event);

/* Owned by the caller: rd_kafka_topic_partition_list_destroy. */
rd_kafka_topic_partition_list_t *kp_admin_partitions_new(const kp_admin_offset *offsets, size_t count);

/* The resource that an answer about configurations tells of; NULL when it is no such answer. */
const rd_kafka_ConfigResource_t *kp_admin_resource_of(rd_kafka_event_t *event);
/* The partitions that an answer about offsets tells of; NULL when it is no such answer. */
const rd_kafka_topic_partition_list_t *kp_admin_partitions_of(rd_kafka_event_t *event);

#endif
