/* Dead letters: see dead_letter.h. The consumed message is kept until its letter is acked, so that a letter that failed
 * can be sent again. A letter may arrive twice when its ack was lost; it is never lost.
 */
#include "flow/dead_letter.h"

#include "core/fail_point.h"
#include "core/mem.h"

#include <stdio.h>
#include <string.h>

typedef struct letter letter;

struct letter {
    letter *next;
    letter *previous;
    rd_kafka_message_t *message; /* owned */
    int32_t slot;
    const char *topic; /* of the record, and where it lay: borrowed from it, or from its partition */
    int32_t partition;
    int64_t offset;
    bool again; /* it was a dead letter before: its headers have told of another reason */
    bool due;   /* not handed to the producer yet, or failed */
    kp_error reason;
};

struct kp_dead_letters {
    kp_kafka_log log; /* first: the client's opaque */
    kp_dead_letters_options options;
    rd_kafka_t *rk;
    rd_kafka_queue_t *events;
    letter *letters; /* newest first */
    size_t waiting;
    size_t bytes;
};

enum { HEADER_TEXT_MAX = 32 };

static kp_status open_producer(kp_dead_letters *self, kp_error *err) {
    kp_status st;
    rd_kafka_conf_t *conf = NULL;
    char reason[256];
    KP_TRY(kp_kafka_conf_new(&conf, self->options.properties, self->options.property_count, err));
    const char *const own[][2] = {
        {"enable.idempotence", "true"}, {"acks", "all"}, {"message.timeout.ms", "30000"}, {"linger.ms", "5"}};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        rd_kafka_conf_set(conf, own[i][0], own[i][1], reason, sizeof reason);
    }
    kp_kafka_log_attach(&self->log, conf);
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    KP_TRY(kp_kafka_client_new(&self->rk, RD_KAFKA_PRODUCER, conf, err));
    self->events = rd_kafka_queue_get_main(self->rk);
    kp_kafka_signal_attach(self->options.wake, self->events);
done:
    return st;
}

kp_status kp_dead_letters_new(kp_dead_letters **out, const kp_dead_letters_options *options, kp_error *err) {
    kp_dead_letters *self = kp_calloc(1, sizeof *self);
    if (!self) {
        return kp_error_nomem(err);
    }
    kp_kafka_log_init(&self->log);
    self->options = *options;
    kp_status st = open_producer(self, err);
    if (st != KP_OK) {
        kp_error_prefix(err, "dead letters");
        kp_dead_letters_free(self);
        return st;
    }
    *out = self;
    return KP_OK;
}

static void letter_free(kp_dead_letters *self, letter *one) {
    *(one->previous ? &one->previous->next : &self->letters) = one->next;
    if (one->next) {
        one->next->previous = one->previous;
    }
    self->waiting--;
    self->bytes -= one->message->len + one->message->key_len;
    rd_kafka_message_destroy(one->message);
    kp_free(one);
}

void kp_dead_letters_free(kp_dead_letters *self) {
    if (!self) {
        return;
    }
    if (self->rk) {
        rd_kafka_purge(self->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    }
    if (self->events) {
        rd_kafka_queue_io_event_enable(self->events, -1, NULL, 0);
        rd_kafka_queue_destroy(self->events);
    }
    if (self->rk) {
        rd_kafka_destroy(self->rk);
    }
    while (self->letters) {
        letter_free(self, self->letters);
    }
    kp_kafka_log_deinit(&self->log);
    kp_free(self);
}

static rd_kafka_headers_t *letter_headers(const kp_dead_letters *self, const letter *one) {
    rd_kafka_headers_t *old = NULL;
    rd_kafka_message_headers(one->message, &old);
    rd_kafka_headers_t *headers = old ? rd_kafka_headers_copy(old) : rd_kafka_headers_new(8);
    char partition[HEADER_TEXT_MAX];
    char offset[HEADER_TEXT_MAX];
    snprintf(partition, sizeof partition, "%d", one->partition);
    snprintf(offset, sizeof offset, "%lld", (long long)one->offset);
    const char *const added[][2] = {
        {"__connect.errors.topic", one->topic},
        {"__connect.errors.partition", partition},
        {"__connect.errors.offset", offset},
        {"__connect.errors.connector.name", self->options.connector},
        {"__connect.errors.stage", "TASK_PUT"},
        {"__connect.errors.exception.class.name", one->reason.code},
        {"__connect.errors.exception.message", one->reason.message},
    };
    for (size_t i = 0; i < sizeof added / sizeof *added; i++) {
        if (one->again) {
            rd_kafka_header_remove(headers, added[i][0]);
        }
        rd_kafka_header_add(headers, added[i][0], -1, added[i][1], -1);
    }
    return headers;
}

static rd_kafka_resp_err_t produce(kp_dead_letters *self, letter *one) {
    const rd_kafka_message_t *message = one->message;
    rd_kafka_headers_t *headers = letter_headers(self, one);
    int64_t timestamp = rd_kafka_message_timestamp(message, NULL);
    rd_kafka_resp_err_t code = rd_kafka_producev(
        self->rk, RD_KAFKA_V_TOPIC(self->options.topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_PARTITION(one->again ? message->partition : RD_KAFKA_PARTITION_UA), /* behind the one before it */
        RD_KAFKA_V_VALUE(message->payload, message->len), RD_KAFKA_V_KEY(message->key, message->key_len),
        RD_KAFKA_V_TIMESTAMP(timestamp < 0 ? 0 : timestamp), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(one),
        RD_KAFKA_V_END);
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_headers_destroy(headers); /* still ours then */
    }
    one->due = code != RD_KAFKA_RESP_ERR_NO_ERROR;
    return code;
}

/* The letter is kept: resume sends it again. */
static void report_failure(kp_dead_letters *self, letter *one, rd_kafka_resp_err_t code) {
    kp_error failed;
    one->due = true;
    kp_kafka_error_set(&failed, code, NULL, "dead letter to %s", self->options.topic);
    self->options.on_done(self->options.ctx, one->slot, one->message->offset, &failed);
}

kp_status kp_dead_letters_send(kp_dead_letters *self, const kp_record *rec, const kp_error *reason, kp_error *err) {
    letter *one = kp_calloc(1, sizeof *one);
    KP_FAIL_POINT("before-dead-letter");
    if (!one) {
        return kp_error_nomem(err);
    }
    one->message = rec->handle;
    one->slot = rec->slot;
    one->topic = rec->topic;
    one->partition = rec->partition;
    one->offset = rec->offset;
    one->again = rec->has_position;
    one->reason = *reason;
    one->next = self->letters;
    if (one->next) {
        one->next->previous = one;
    }
    self->letters = one;
    self->waiting++;
    self->bytes += one->message->len + one->message->key_len;
    rd_kafka_resp_err_t code = produce(self, one);
    KP_FAIL_POINT("mid-dead-letter");
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        report_failure(self, one, code);
    }
    return KP_OK;
}

static void on_report(kp_dead_letters *self, const rd_kafka_message_t *report) {
    letter *one = report->_private;
    int32_t slot = one->slot;
    int64_t offset = one->message->offset;
    if (report->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        report_failure(self, one, report->err);
        return;
    }
    KP_FAIL_POINT("after-dead-letter");
    letter_free(self, one);
    self->options.on_done(self->options.ctx, slot, offset, NULL);
}

void kp_dead_letters_serve(kp_dead_letters *self) {
    for (;;) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(self->events, 0);
        if (!event) {
            return;
        }
        const rd_kafka_message_t *report;
        while (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR && (report = rd_kafka_event_message_next(event))) {
            on_report(self, report);
        }
        rd_kafka_event_destroy(event);
    }
}

void kp_dead_letters_resume(kp_dead_letters *self) {
    letter *oldest = self->letters;
    while (oldest && oldest->next) {
        oldest = oldest->next;
    }
    for (letter *one = oldest; one; one = one->previous) {
        rd_kafka_resp_err_t code = one->due ? produce(self, one) : RD_KAFKA_RESP_ERR_NO_ERROR;
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            report_failure(self, one, code);
            return; /* the next resume goes on */
        }
    }
}

size_t kp_dead_letters_waiting(const kp_dead_letters *self) {
    return self ? self->waiting : 0;
}

size_t kp_dead_letters_bytes(const kp_dead_letters *self) {
    return self ? self->bytes : 0;
}
