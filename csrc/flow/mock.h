/* An in-process cluster of librdkafka's mock brokers on loopback: it really speaks Kafka's protocol, holds topics in
 * memory, and makes errors on demand. For tests, and for a trial without Java. It knows no admin calls, keeps 5 MiB a
 * partition, and delays a group's first rebalance by three seconds.
 *
 * One thread at a time. Not after a fork.
 */
#ifndef KP_FLOW_MOCK_H
#define KP_FLOW_MOCK_H

#include "io/kafka.h"

typedef struct kp_mock kp_mock;

kp_status kp_mock_new(kp_mock **out, int brokers, kp_error *err) KP_MUST_CHECK;
void kp_mock_free(kp_mock *self); /* accepts NULL; waits for its threads */

const char *kp_mock_bootstrap(const kp_mock *self); /* borrowed */

kp_status kp_mock_create_topic(kp_mock *self, const char *topic, int partitions, int replication_factor,
                               kp_error *err) KP_MUST_CHECK;
/* What metadata says of this topic, which need not exist; no error: the truth again. */
void kp_mock_set_topic_error(kp_mock *self, const char *topic, rd_kafka_resp_err_t code);
kp_status kp_mock_set_leader(kp_mock *self, const char *topic, int32_t partition, int32_t broker,
                             kp_error *err) KP_MUST_CHECK; /* broker -1: no leader */
/* broker -1: all of them; the leaders stay. */
kp_status kp_mock_set_up(kp_mock *self, int32_t broker, bool up, kp_error *err) KP_MUST_CHECK;
kp_status kp_mock_set_rtt(kp_mock *self, int32_t broker, int rtt_ms, kp_error *err) KP_MUST_CHECK;
/* The next count requests of this kind (Kafka's ApiKey; produce is 0) get these errors, in this order. */
void kp_mock_push_errors(kp_mock *self, int16_t api_key, const rd_kafka_resp_err_t *codes, size_t count);

#endif
