/* What the library tells of trouble with Kafka, and when it is over. It tells of an outage once, as an error of the
 * client, of a group or a topic as an error of the consumer, and never of an end: that is asked for with each tick.
 */
#include "flow/worker.h"

#include <string.h>

enum { METADATA_TIMEOUT_MS = 200 };

static bool is_about_topics(rd_kafka_resp_err_t code) {
    return code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
           code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
}

static bool is_about_group(rd_kafka_resp_err_t code) {
    return code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
}

static void note(kp_worker *self, rd_kafka_resp_err_t code, const char *reason) {
    kp_error err;
    kp_kafka_error_set(&err, code, reason, "consumer of group %s", self->config->group);
    self->counters.errors++;
    memcpy(self->reason, err.message, sizeof self->reason);
    self->kafka_trouble = code;
    self->state = self->state == KP_RUNNING ? KP_PAUSED : self->state;
    if (is_about_group(code)) { /* over when it has joined again */
        self->joined = false;
    }
}

void kp_worker_on_consumer_error(kp_worker *self, const rd_kafka_message_t *message) {
    if (message->err == RD_KAFKA_RESP_ERR__FATAL) {
        self->restart = true;
    }
    note(self, message->err, rd_kafka_message_errstr(message));
}

/* One broker's failure is the library's own to heal; that of all, or of the login, is worth telling. The words of the
 * log say which address did what. */
void kp_worker_on_client_error(rd_kafka_t *rk, int code, const char *reason, void *opaque) {
    kp_worker *self = opaque;
    char last[KP_KAFKA_LOG_TEXT_MAX];
    (void)rk;
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        kp_kafka_log_last(&self->log, last);
        note(self, code, *last ? last : reason);
    } else if (kp_kafka_status(code) == KP_FATAL && code != RD_KAFKA_RESP_ERR__FATAL) {
        note(self, code, reason);
    }
}

static bool topic_is_there(rd_kafka_t *rk, const char *name) {
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
    bool there = topic &&
                 rd_kafka_metadata(rk, 0, topic, &metadata, METADATA_TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR &&
                 metadata->topic_cnt == 1 && metadata->topics[0].err == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (metadata) {
        rd_kafka_metadata_destroy(metadata);
    }
    if (topic) {
        rd_kafka_topic_destroy(topic);
    }
    return there;
}

static bool topics_are_there(const kp_worker *self) {
    bool there = true;
    for (const kp_json *topic = kp_json_first(self->config->topics); topic && there; topic = kp_json_next(topic)) {
        const char *name = kp_json_text(topic, "^");
        there = *name == '^' || topic_is_there(self->rk, name);
    }
    return there;
}

static bool brokers_answer(const kp_worker *self) {
    const struct rd_kafka_metadata *metadata = NULL;
    bool answer = rd_kafka_metadata(self->rk, 0, NULL, &metadata, METADATA_TIMEOUT_MS) == RD_KAFKA_RESP_ERR_NO_ERROR;
    if (answer) {
        rd_kafka_metadata_destroy(metadata);
    }
    return answer;
}

void kp_worker_check_kafka(kp_worker *self) {
    rd_kafka_resp_err_t code = self->kafka_trouble;
    if (code && (is_about_topics(code)  ? topics_are_there(self)
                 : is_about_group(code) ? self->joined
                                        : brokers_answer(self))) {
        self->kafka_trouble = RD_KAFKA_RESP_ERR_NO_ERROR;
        kp_worker_healthy(self);
    }
}
