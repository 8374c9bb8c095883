/* What a broker refused because the whole set of messages was too large for the topic: each of these messages is sent
 * once more, alone. See producer.h.
 *
 * The library neither splits such a set nor changes its batch size once it runs, so a second client does it, which
 * puts one message into a set; it is made when it is first needed. Nothing is written twice by this: a broker refuses
 * before it writes. Order: these messages stay in theirs, and what is sent to the topic while some are under way takes
 * the same way, behind them. Only what was in the library's queue already when the set was refused is not held back.
 */
#include "flow/producer_parts.h"

static kp_status open_client(kp_producer *self, kp_error *err) {
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(rd_kafka_conf(self->client));
    rd_kafka_conf_set(conf, "batch.num.messages", "1", NULL, 0);
    rd_kafka_conf_set(conf, "linger.ms", "0", NULL, 0);
    kp_status st = kp_kafka_client_new(&self->single, RD_KAFKA_PRODUCER, conf, err);
    if (st == KP_OK) {
        self->single_queue = rd_kafka_queue_get_main(self->single);
        kp_kafka_signal_attach(&self->signal, self->single_queue);
    }
    return st;
}

static rd_kafka_headers_t *headers_of(const rd_kafka_message_t *message) {
    rd_kafka_headers_t *headers;
    return rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR ? rd_kafka_headers_copy(headers)
                                                                                     : NULL;
}

static bool send_again(kp_producer *self, const rd_kafka_message_t *message, rd_kafka_topic_t *topic) {
    const kp_slot *slot = message->_private;
    kp_message again = {
        .key = {message->key, message->key_len},
        .value = {message->payload, message->len},
        .headers = headers_of(message),
        .timestamp_ms = slot->delivery.timestamp_ms,
        .partition = message->partition,
    };
    rd_kafka_resp_err_t code = kp_send_produce(self->single, topic, message->_private, &again);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR && again.headers) {
        rd_kafka_headers_destroy(again.headers);
    }
    return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* The second client and its handle of this topic, both made when they are first needed. */
static bool is_ready(kp_producer *self, const kp_send *send) {
    kp_error err;
    if (!self->single && open_client(self, &err) != KP_OK) {
        return false;
    }
    if (!send->topic->single) {
        send->topic->single = kp_topic_handle_new(&self->topics, self->single, send->name);
    }
    return send->topic->single != NULL;
}

bool kp_producer_send_singly(kp_producer *self, const rd_kafka_message_t *message) {
    const kp_slot *slot = message->_private;
    kp_topic *topic = slot->send->topic;
    if (self->transactional || self->closing || !is_ready(self, slot->send)) {
        return false;
    }
    bool sent = send_again(self, message, topic->single);
    topic->singly += sent;
    return sent;
}

void kp_producer_end_single(kp_producer *self) {
    if (self->single) {
        rd_kafka_queue_destroy(self->single_queue);
        rd_kafka_purge(self->single, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_destroy(self->single);
        self->single = NULL;
    }
}
