/* The mock cluster: see mock.h. */
#include "flow/mock.h"

#include "core/mem.h"

struct kp_mock {
    rd_kafka_t *client; /* the library hangs the brokers on a client */
    rd_kafka_mock_cluster_t *cluster;
    unsigned process;
};

static kp_status open_cluster(kp_mock *self, int brokers, kp_error *err) {
    rd_kafka_conf_t *conf;
    kp_status st;
    KP_TRY(kp_kafka_conf_new(&conf, NULL, 0, err));
    KP_TRY(kp_kafka_client_new(&self->client, RD_KAFKA_PRODUCER, conf, err));
    self->cluster = rd_kafka_mock_cluster_new(self->client, brokers);
    if (!self->cluster) {
        st = kp_error_set(err, KP_RETRY, "", "mock cluster: no socket for %d brokers", brokers);
    }
done:
    return st;
}

kp_status kp_mock_new(kp_mock **out, int brokers, kp_error *err) {
    kp_mock *self = kp_calloc(1, sizeof *self);
    *out = NULL;
    if (!self) {
        return kp_error_nomem(err);
    }
    self->process = kp_kafka_process();
    kp_status st = open_cluster(self, brokers, err);
    if (st != KP_OK) {
        kp_mock_free(self);
        return st;
    }
    *out = self;
    return KP_OK;
}

void kp_mock_free(kp_mock *self) {
    if (!self || self->process != kp_kafka_process()) {
        return;
    }
    if (self->cluster) {
        rd_kafka_mock_cluster_destroy(self->cluster);
    }
    if (self->client) {
        rd_kafka_destroy(self->client);
    }
    kp_free(self);
}

const char *kp_mock_bootstrap(const kp_mock *self) {
    return rd_kafka_mock_cluster_bootstraps(self->cluster);
}

kp_status kp_mock_create_topic(kp_mock *self, const char *topic, int partitions, int replication_factor,
                               kp_error *err) {
    rd_kafka_resp_err_t code = rd_kafka_mock_topic_create(self->cluster, topic, partitions, replication_factor);
    return kp_kafka_error_set(err, code, NULL, "mock cluster: create topic %s", topic);
}

void kp_mock_set_topic_error(kp_mock *self, const char *topic, rd_kafka_resp_err_t code) {
    rd_kafka_mock_topic_set_error(self->cluster, topic, code);
}

kp_status kp_mock_set_leader(kp_mock *self, const char *topic, int32_t partition, int32_t broker, kp_error *err) {
    rd_kafka_resp_err_t code = rd_kafka_mock_partition_set_leader(self->cluster, topic, partition, broker);
    return kp_kafka_error_set(err, code, NULL, "mock cluster: leader of %s [%d]", topic, partition);
}

kp_status kp_mock_set_up(kp_mock *self, int32_t broker, bool up, kp_error *err) {
    rd_kafka_resp_err_t code =
        up ? rd_kafka_mock_broker_set_up(self->cluster, broker) : rd_kafka_mock_broker_set_down(self->cluster, broker);
    return kp_kafka_error_set(err, code, NULL, "mock cluster: broker %d", broker);
}

kp_status kp_mock_set_rtt(kp_mock *self, int32_t broker, int rtt_ms, kp_error *err) {
    rd_kafka_resp_err_t code = rd_kafka_mock_broker_set_rtt(self->cluster, broker, rtt_ms);
    return kp_kafka_error_set(err, code, NULL, "mock cluster: broker %d", broker);
}

void kp_mock_push_errors(kp_mock *self, int16_t api_key, const rd_kafka_resp_err_t *codes, size_t count) {
    rd_kafka_mock_push_request_errors_array(self->cluster, api_key, count, codes);
}
