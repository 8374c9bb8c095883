/* The consumer itself: its life, and reading. See consumer.h; partitions are in consumer_group.c, offsets in
 * consumer_offsets.c.
 */
#include "flow/consumer_parts.h"

#include "core/mem.h"

#include <string.h>

enum { LEAVE_SLICE_MS = 20 };

/* ---- life ---- */

/* Anything but a fatal error is the library's own to heal; the log keeps its words. */
static void on_error(rd_kafka_t *client, int code, const char *reason, void *opaque) {
    kp_consumer *self = opaque;
    char fatal[512];
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        code = rd_kafka_fatal_error(client, fatal, sizeof fatal);
        reason = fatal;
    } else if (kp_kafka_status(code) != KP_FATAL) {
        return;
    }
    pthread_mutex_lock(&self->lock);
    kp_kafka_error_set(&self->trouble, code, reason, "consumer");
    self->trouble.status = KP_FATAL;
    pthread_mutex_unlock(&self->lock);
}

static kp_status open_client(kp_consumer *self, rd_kafka_conf_t *conf, kp_error *err) {
    kp_status st = kp_kafka_client_new(&self->client, RD_KAFKA_CONSUMER, conf, err);
    if (st == KP_OK) {
        rd_kafka_poll_set_consumer(self->client);
        self->queue = rd_kafka_queue_get_consumer(self->client);
        self->commits = rd_kafka_queue_new(self->client);
        kp_kafka_signal_attach(&self->signal, self->queue);
        kp_kafka_signal_attach(&self->signal, self->commits);
    }
    return st;
}

kp_status kp_consumer_new(kp_consumer **out, rd_kafka_conf_t *conf, kp_error *err) {
    kp_status st;
    kp_consumer *self = kp_calloc(1, sizeof *self);
    *out = NULL;
    if (!self) {
        rd_kafka_conf_destroy(conf);
        return kp_error_nomem(err);
    }
    pthread_mutex_init(&self->lock, NULL);
    kp_kafka_log_init(&self->log);
    kp_error_init(&self->trouble);
    atomic_init(&self->refs, 1);
    self->process = kp_kafka_process();
    self->assigned = rd_kafka_topic_partition_list_new(0);
    kp_kafka_log_attach(&self->log, conf);
    rd_kafka_conf_set_rebalance_cb(conf, kp_consumer_on_rebalance);
    rd_kafka_conf_set_error_cb(conf, on_error);
    st = kp_kafka_signal_init(&self->signal, err);
    if (st != KP_OK) {
        rd_kafka_conf_destroy(conf);
        goto done;
    }
    KP_TRY(open_client(self, conf, err));
    *out = self;
    self = NULL;
done:
    kp_consumer_free(self);
    return st;
}

static void destroy_queue(rd_kafka_queue_t *queue) {
    if (queue) {
        rd_kafka_queue_io_event_enable(queue, -1, NULL, 0);
        rd_kafka_queue_destroy(queue);
    }
}

static void end(kp_consumer *self) {
    if (self->client && !kp_kafka_consumer_may_end(self->client, self->was_assigned)) {
        rd_kafka_unsubscribe(self->client); /* leaves the group; the rest is left alone */
        return;
    }
    if (self->client) {
        bool left = rd_kafka_consumer_closed(self->client);
        kp_consumer_let_go(self);
        destroy_queue(self->commits);
        destroy_queue(self->queue);
        if (self->closing) {
            rd_kafka_queue_destroy(self->closing);
        }
        rd_kafka_destroy_flags(self->client, left || self->closing ? RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE : 0);
    }
    rd_kafka_topic_partition_list_destroy(self->assigned);
    kp_free(self->scratch);
    kp_kafka_signal_deinit(&self->signal);
    kp_kafka_log_deinit(&self->log);
    pthread_mutex_destroy(&self->lock);
    kp_free(self);
}

void kp_consumer_free(kp_consumer *self) {
    if (self && !kp_consumer_is_foreign(self) && atomic_fetch_sub(&self->refs, 1) == 1) {
        end(self);
    }
}

bool kp_consumer_is_foreign(const kp_consumer *self) {
    return self->process != kp_kafka_process();
}

kp_status kp_consumer_check(const kp_consumer *self, kp_error *err) {
    if (kp_consumer_is_foreign(self)) {
        return kp_error_set(err, KP_FATAL, "FORKED",
                            "consumer: made before a fork, cannot be used in the child process: make a new one here");
    }
    return KP_OK;
}

int kp_consumer_fd(const kp_consumer *self) {
    return self->signal.read_fd;
}

void kp_consumer_clear(kp_consumer *self) {
    kp_kafka_signal_clear(&self->signal);
}

void kp_consumer_problem(kp_consumer *self, char *out) {
    kp_kafka_log_last(&self->log, out);
}

/* ---- leaving ---- */

/* After a fatal error the library refuses to leave: what is left to do is to give everything up. */
static void begin_to_leave(kp_consumer *self) {
    kp_consumer_let_go(self);
    self->closing = rd_kafka_queue_new(self->client);
    rd_kafka_error_t *refused = rd_kafka_consumer_close_queue(self->client, self->closing);
    if (refused) {
        rd_kafka_error_destroy(refused);
        rd_kafka_assign(self->client, NULL);
        self->left = true;
    }
}

static void serve_closing(kp_consumer *self, int timeout_ms) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(self->closing, timeout_ms);
    if (event && rd_kafka_event_type(event) == RD_KAFKA_EVENT_REBALANCE) {
        kp_consumer_release(self, rd_kafka_event_error(event), rd_kafka_event_topic_partition_list(event));
    }
    if (event) {
        rd_kafka_event_destroy(event);
    }
}

kp_status kp_consumer_leave(kp_consumer *self, int timeout_ms, kp_error *err) {
    if (!self->closing) {
        begin_to_leave(self);
    }
    for (int left_ms = timeout_ms; !self->left && !rd_kafka_consumer_closed(self->client); left_ms -= LEAVE_SLICE_MS) {
        if (left_ms <= 0) {
            return kp_error_set(err, KP_TIMEOUT, "_TIMED_OUT", "leaving the group: no answer after %d ms", timeout_ms);
        }
        serve_closing(self, LEAVE_SLICE_MS);
    }
    self->left = true;
    return KP_OK;
}

/* ---- reading ---- */

static kp_status make_room(kp_consumer *self, size_t max, kp_error *err) {
    if (self->scratch_size < max) {
        rd_kafka_message_t **scratch = kp_realloc(self->scratch, max * sizeof *scratch);
        if (!scratch) {
            return kp_error_nomem(err);
        }
        self->scratch = scratch;
        self->scratch_size = max;
    }
    return KP_OK;
}

/* What can pass by itself is the library's to heal, and the end of a partition is no error. */
static void on_message_error(kp_consumer *self, const rd_kafka_message_t *message) {
    kp_error err;
    kp_status status = kp_kafka_status(message->err);
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF || status == KP_RETRY || status == KP_TIMEOUT ||
        self->trouble.status == KP_FATAL) {
        return;
    }
    const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : NULL;
    kp_kafka_error_set(&err, message->err, rd_kafka_message_errstr(message), "consumer%s%s", topic ? " of " : "",
                       topic ? topic : "");
    self->trouble = err;
}

/* Moves the messages that are to be handed out to the front; tells their number. */
static size_t sift(kp_consumer *self, size_t count) {
    size_t kept = 0;
    pthread_mutex_lock(&self->lock);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_message_t *message = self->scratch[i];
        rd_kafka_topic_partition_t *part = message->err ? NULL : kp_consumer_part_of(self, message);
        if (part) {
            part->offset = message->offset + 1;
            self->scratch[kept++] = message;
            continue;
        }
        if (message->err) {
            on_message_error(self, message);
        }
        rd_kafka_message_destroy(message);
    }
    pthread_mutex_unlock(&self->lock);
    return kept;
}

static kp_status take_trouble(kp_consumer *self, kp_error *err) {
    pthread_mutex_lock(&self->lock);
    kp_status st = self->trouble.status;
    if (st != KP_OK) {
        *err = self->trouble;
        if (st != KP_FATAL) {
            kp_error_init(&self->trouble);
        }
    }
    pthread_mutex_unlock(&self->lock);
    return st;
}

static kp_messages *messages_new(kp_consumer *self, size_t count) {
    kp_messages *messages = kp_alloc(sizeof *messages + count * sizeof(rd_kafka_message_t *));
    if (messages) {
        messages->consumer = self;
        messages->messages = (rd_kafka_message_t **)(messages + 1);
        messages->count = count;
        messages->epoch = self->epoch;
        memcpy(messages->messages, self->scratch, count * sizeof(rd_kafka_message_t *));
        atomic_fetch_add(&self->refs, 1);
    }
    return messages;
}

static void destroy_all(rd_kafka_message_t **messages, size_t count) {
    for (size_t i = 0; i < count; i++) {
        rd_kafka_message_destroy(messages[i]);
    }
}

kp_status kp_consumer_read(kp_consumer *self, size_t max, kp_messages **out, kp_error *err) {
    *out = NULL;
    kp_status st = make_room(self, max, err);
    if (st != KP_OK) {
        return st;
    }
    ssize_t got = rd_kafka_consume_batch_queue(self->queue, 0, self->scratch, max);
    size_t count = sift(self, got > 0 ? (size_t)got : 0);
    if (count == 0) {
        return take_trouble(self, err);
    }
    *out = messages_new(self, count);
    if (!*out) { /* they cannot be read again without a seek: the caller begins anew */
        destroy_all(self->scratch, count);
        return kp_error_nomem(err);
    }
    return KP_OK;
}

static void *run_end(void *self) {
    end(self);
    return NULL;
}

void kp_messages_free(kp_messages *messages) {
    if (!messages || kp_consumer_is_foreign(messages->consumer)) {
        return;
    }
    kp_consumer *self = messages->consumer;
    destroy_all(messages->messages, messages->count);
    kp_free(messages);
    if (atomic_fetch_sub(&self->refs, 1) == 1) { /* whoever drops a batch must not wait for the library's threads */
        pthread_t thread;
        if (pthread_create(&thread, NULL, run_end, self) == 0) {
            pthread_detach(thread);
        }
    }
}
