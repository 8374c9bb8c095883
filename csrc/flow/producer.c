/* The producer itself: its life, and the delivery reports. See producer.h; batches are in producer_send.c. */
#include "flow/producer_parts.h"

#include "core/mem.h"

#include <limits.h>
#include <string.h>

static void read_limits(kp_producer *self, const rd_kafka_conf_t *conf) {
    int64_t messages = kp_kafka_conf_int(conf, "queue.buffering.max.messages", 0);
    int64_t kbytes = kp_kafka_conf_int(conf, "queue.buffering.max.kbytes", 1);
    self->max_messages = messages > 0 ? (size_t)messages : SIZE_MAX / 2; /* 0: no limit */
    self->max_bytes = (size_t)kbytes * 1024;
    size_t size = 0; /* of the text with its end: an empty one is none */
    self->transactional = rd_kafka_conf_get(conf, "transactional.id", NULL, &size) == RD_KAFKA_CONF_OK && size > 1;
}

kp_status kp_producer_new(kp_producer **out, rd_kafka_conf_t *conf, bool round_robin, kp_error *err) {
    kp_status st;
    kp_producer *self = kp_calloc(1, sizeof *self);
    *out = NULL;
    if (!self) {
        rd_kafka_conf_destroy(conf);
        return kp_error_nomem(err);
    }
    pthread_mutex_init(&self->lock, NULL);
    kp_kafka_log_init(&self->log);
    self->process = kp_kafka_process();
    self->done_end = &self->done;
    self->topics.round_robin = round_robin;
    if (round_robin) { /* else messages without a key never reach a partitioner that the library does not know */
        rd_kafka_conf_set(conf, "sticky.partitioning.linger.ms", "0", NULL, 0);
    }
    read_limits(self, conf);
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    kp_kafka_log_attach(&self->log, conf);
    st = kp_kafka_signal_init(&self->signal, err);
    if (st != KP_OK) {
        rd_kafka_conf_destroy(conf);
        goto done;
    }
    KP_TRY(kp_kafka_client_new(&self->client, RD_KAFKA_PRODUCER, conf, err));
    self->queue = rd_kafka_queue_get_main(self->client);
    kp_kafka_signal_attach(&self->signal, self->queue);
    *out = self;
    self = NULL;
done:
    kp_producer_free(self, NULL);
    return st;
}

/* Every open send becomes done: the library is gone and will report on nothing. */
static void close_open_sends(kp_producer *self) {
    for (kp_send *send = self->open, *next; send; send = next) {
        next = send->next;
        for (size_t i = 0; i < send->count; i++) {
            if ((int)send->slots[i].delivery.code == KP_SEND_PENDING) {
                kp_send_settle(&send->slots[i], RD_KAFKA_RESP_ERR__DESTROY);
            }
        }
        send->handed_in = send->count;
        kp_send_finish_if_settled(self, send);
    }
}

static void release_all(kp_send *send) {
    for (kp_send *next; send; send = next) {
        next = send->next;
        kp_send_release(send);
    }
}

void kp_producer_free(kp_producer *self, kp_send **unfinished) {
    if (unfinished) {
        *unfinished = NULL;
    }
    if (!self || kp_producer_is_foreign(self)) {
        return;
    }
    kp_turns *turns = self->topics.turns; /* the library may ask whose turn it is to its end */
    kp_topic_table_deinit(&self->topics);
    kp_producer_end_single(self);
    if (self->client) {
        rd_kafka_queue_destroy(self->queue);
        rd_kafka_purge(self->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_destroy(self->client);
    }
    kp_turns_free(turns);
    close_open_sends(self);
    if (unfinished) {
        *unfinished = self->done;
    } else {
        release_all(self->done);
    }
    kp_kafka_signal_deinit(&self->signal);
    kp_kafka_log_deinit(&self->log);
    pthread_mutex_destroy(&self->lock);
    kp_free(self);
}

int kp_producer_fd(const kp_producer *self) {
    return self->signal.read_fd;
}

bool kp_producer_is_foreign(const kp_producer *self) {
    return self->process != kp_kafka_process();
}

size_t kp_producer_outstanding(const kp_producer *self) {
    return atomic_load_explicit(&self->outstanding, memory_order_relaxed);
}

void kp_producer_problem(kp_producer *self, char *out) {
    kp_kafka_log_last(&self->log, out);
}

kp_status kp_producer_check(const kp_producer *self, kp_error *err) {
    if (kp_producer_is_foreign(self)) {
        return kp_error_set(err, KP_FATAL, "FORKED",
                            "producer: made before a fork, cannot be used in the child process: make a new one here");
    }
    return KP_OK;
}

kp_status kp_producer_lock(kp_producer *self, kp_error *err) {
    kp_status st = kp_producer_check(self, err);
    if (st != KP_OK) {
        return st;
    }
    pthread_mutex_lock(&self->lock);
    if (self->fatal.status != KP_OK) {
        *err = self->fatal;
        pthread_mutex_unlock(&self->lock);
        return err->status;
    }
    return KP_OK;
}

/* ---- results ---- */

/* A purge is not the end of a producer that is not being closed. */
static rd_kafka_resp_err_t while_open(const kp_producer *self, rd_kafka_resp_err_t code) {
    bool purged = code == RD_KAFKA_RESP_ERR__PURGE_QUEUE || code == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
    if (purged && self->denied) {
        return self->denied;
    }
    if (code == RD_KAFKA_RESP_ERR__PURGE_QUEUE) {
        return (rd_kafka_resp_err_t)KP_SEND_PURGED_QUEUE;
    }
    return code == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT ? (rd_kafka_resp_err_t)KP_SEND_PURGED_INFLIGHT : code;
}

/* Whether it has its result now. */
static bool settle_report(kp_producer *self, const rd_kafka_message_t *message, bool single) {
    kp_slot *slot = message->_private;
    rd_kafka_timestamp_type_t type;
    if (single) {
        slot->send->topic->singly--;
    } else if (message->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && kp_producer_send_singly(self, message)) {
        return false;
    }
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        self->worked = true;
        int64_t timestamp = rd_kafka_message_timestamp(message, &type);
        slot->delivery.partition = message->partition;
        slot->delivery.offset = message->offset >= 0 ? message->offset : -1;
        slot->delivery.timestamp_ms = type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : timestamp;
    }
    self->bytes -= message->len;
    kp_send_settle(slot, self->closing ? message->err : while_open(self, message->err));
    kp_send_finish_if_settled(self, slot->send);
    return true;
}

static void read_reports(kp_producer *self, rd_kafka_event_t *event, bool single) {
    const rd_kafka_message_t *message;
    size_t count = 0;
    while ((message = rd_kafka_event_message_next(event))) {
        count += settle_report(self, message, single);
    }
    atomic_fetch_sub_explicit(&self->outstanding, count, memory_order_relaxed);
}

void kp_producer_note_fatal(kp_producer *self) {
    char reason[512];
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(self->client, reason, sizeof reason);
    kp_kafka_error_set(&self->fatal, code, reason, "producer: it cannot go on, make a new one");
    self->fatal.status = KP_FATAL;
}

/* A password or a certificate that was wrong from the start: nobody shall wait for it. Once a broker took something,
 * it is the library's to heal. */
static bool is_denied(const kp_producer *self, rd_kafka_resp_err_t code) {
    return !self->worked && (code == RD_KAFKA_RESP_ERR__AUTHENTICATION || code == RD_KAFKA_RESP_ERR__SSL);
}

static void give_up(kp_producer *self, rd_kafka_resp_err_t code, const char *reason) {
    self->denied = code;
    kp_kafka_error_set(&self->fatal, code, reason, "producer: no broker lets it in");
    rd_kafka_purge(self->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
}

static void read_event(kp_producer *self, rd_kafka_event_t *event, bool single) {
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DR:
        read_reports(self, event, single);
        break;
    case RD_KAFKA_EVENT_ERROR:
        /* anything else is the library's own to heal; the log keeps its words */
        if (rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR__FATAL && !single) {
            kp_producer_note_fatal(self);
        } else if (is_denied(self, rd_kafka_event_error(event))) {
            give_up(self, rd_kafka_event_error(event), rd_kafka_event_error_string(event));
        }
        break;
    default:
        break;
    }
    rd_kafka_event_destroy(event);
}

static size_t read_events(kp_producer *self, rd_kafka_queue_t *queue, size_t max_events) {
    rd_kafka_event_t *event;
    size_t count = 0;
    while (count < max_events && (event = rd_kafka_queue_poll(queue, 0))) {
        read_event(self, event, queue != self->queue);
        count++;
    }
    return count;
}

kp_status kp_producer_drain(kp_producer *self, size_t max_events, kp_send **done, kp_error *err) {
    *done = NULL;
    kp_status st = kp_producer_check(self, err);
    if (st != KP_OK) {
        return st;
    }
    pthread_mutex_lock(&self->lock);
    kp_kafka_signal_clear(&self->signal);
    size_t count = read_events(self, self->queue, max_events);
    if (self->single) {
        count += read_events(self, self->single_queue, max_events);
    }
    if (count >= max_events) {
        kp_kafka_signal_raise(&self->signal);
    }
    *done = self->done;
    self->done = NULL;
    self->done_end = &self->done;
    if (self->fatal.status != KP_OK) {
        *err = self->fatal;
        st = KP_FATAL;
    }
    pthread_mutex_unlock(&self->lock);
    return st;
}

/* ---- what waits ---- */

/* Once it is there it stays. */
static rd_kafka_t *single_of(kp_producer *self) {
    pthread_mutex_lock(&self->lock);
    rd_kafka_t *single = self->single;
    pthread_mutex_unlock(&self->lock);
    return single;
}

kp_status kp_producer_flush(kp_producer *self, int timeout_ms, kp_error *err) {
    kp_status st = kp_producer_check(self, err);
    if (st != KP_OK) {
        return st;
    }
    rd_kafka_resp_err_t code = rd_kafka_flush(self->client, timeout_ms);
    rd_kafka_t *single = single_of(self);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && single) {
        code = rd_kafka_flush(single, timeout_ms);
    }
    return kp_kafka_error_set(err, code, NULL, "flush");
}

kp_status kp_producer_purge(kp_producer *self, bool closing, kp_error *err) {
    kp_status st = kp_producer_check(self, err);
    if (st != KP_OK) {
        return st;
    }
    pthread_mutex_lock(&self->lock);
    self->closing |= closing;
    pthread_mutex_unlock(&self->lock);
    int flags = RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT;
    rd_kafka_t *single = single_of(self);
    if (single) {
        rd_kafka_purge(single, flags);
    }
    return kp_kafka_error_set(err, rd_kafka_purge(self->client, flags), NULL, "purge");
}

static rd_kafka_resp_err_t ask_for_topic(kp_producer *self, rd_kafka_topic_t *topic, int timeout_ms, int *partitions) {
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t code = rd_kafka_metadata(self->client, 0, topic, &metadata, timeout_ms);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        code = metadata->topic_cnt == 1 ? metadata->topics[0].err : RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC;
    }
    *partitions = code == RD_KAFKA_RESP_ERR_NO_ERROR ? metadata->topics[0].partition_cnt : 0;
    if (metadata) {
        rd_kafka_metadata_destroy(metadata);
    }
    return code;
}

kp_status kp_producer_warm(kp_producer *self, kp_bytes topic, int timeout_ms, int *partitions, kp_error *err) {
    kp_topic *known = NULL;
    char problem[KP_KAFKA_LOG_TEXT_MAX];
    kp_status st = kp_producer_lock(self, err);
    if (st != KP_OK) {
        return st;
    }
    st = kp_topic_table_get(&self->topics, self->client, topic, &known, err);
    pthread_mutex_unlock(&self->lock);
    if (st != KP_OK) {
        return st;
    }
    rd_kafka_resp_err_t code = ask_for_topic(self, known->handle, timeout_ms, partitions);
    kp_producer_problem(self, problem);
    bool broker = problem[0] && kp_kafka_status(code) != KP_REJECT;
    return kp_kafka_error_set(err, code, broker ? problem : NULL, "topic %.*s", (int)topic.length, topic.data);
}
