/* One batch on its way: see producer.h. Each message has a slot; the library carries the slot's address through and the
 * delivery report finds it again.
 */
#include "flow/producer_parts.h"

#include "core/mem.h"

#include <stdint.h>
#include <string.h>

static size_t send_size(size_t count, size_t name) {
    size_t most = (SIZE_MAX - sizeof(kp_send) - name - 1) / sizeof(kp_slot);
    return count > most ? 0 : sizeof(kp_send) + count * sizeof(kp_slot) + name + 1;
}

static void send_init(kp_send *send, kp_bytes topic, size_t count) {
    memset(send, 0, sizeof *send);
    atomic_init(&send->references, 1);
    send->count = count;
    for (size_t i = 0; i < count; i++) {
        send->slots[i] = (kp_slot){send, {-1, -1, -1, (rd_kafka_resp_err_t)KP_SEND_PENDING}};
    }
    char *name = (char *)&send->slots[count];
    memcpy(name, topic.data, topic.length);
    name[topic.length] = '\0';
    send->name = name;
}

kp_status kp_send_new(kp_send **out, kp_producer *self, kp_bytes topic, size_t count, kp_error *err) {
    size_t size = send_size(count, topic.length);
    kp_send *send = size ? kp_alloc(size) : NULL;
    kp_status st;
    *out = NULL;
    if (!send) {
        return kp_error_nomem(err);
    }
    send_init(send, topic, count);

    KP_TRY(kp_producer_lock(self, err));
    st = kp_topic_table_get(&self->topics, self->client, topic, &send->topic, err);
    pthread_mutex_unlock(&self->lock);
    KP_TRY(st);
    *out = send;
    send = NULL;
done:
    kp_send_release(send);
    return st;
}

void kp_send_release(kp_send *send) {
    if (send && atomic_fetch_sub_explicit(&send->references, 1, memory_order_acq_rel) == 1) {
        kp_free(send->problem);
        kp_free(send);
    }
}

void kp_send_set_owner(kp_send *send, void *owner) {
    send->owner = owner;
}

void *kp_send_owner(const kp_send *send) {
    return send->owner;
}

kp_send *kp_send_next(const kp_send *send) {
    return send->next;
}

const char *kp_send_topic(const kp_send *send) {
    return send->name;
}

size_t kp_send_count(const kp_send *send) {
    return send->count;
}

size_t kp_send_handed_in(const kp_send *send) {
    return send->handed_in;
}

size_t kp_send_failed(const kp_send *send) {
    return send->failed;
}

const kp_delivery *kp_send_delivery(const kp_send *send, size_t i) {
    return &send->slots[i].delivery;
}

kp_status kp_send_error(const kp_send *send, size_t i, kp_error *err) {
    rd_kafka_resp_err_t code = send->slots[i].delivery.code;
    if ((int)code == KP_SEND_REFUSED) {
        return kp_error_set(err, KP_REJECT, "REFUSED", "produce to %s: message %zu is unfit", send->name, i);
    }
    if ((int)code == KP_SEND_PURGED_QUEUE) {
        return kp_error_set(err, KP_RETRY, "_PURGE_QUEUE", "produce to %s: given up, it was not sent", send->name);
    }
    if ((int)code == KP_SEND_PURGED_INFLIGHT) {
        return kp_error_set(err, KP_RETRY, "_PURGE_INFLIGHT",
                            "produce to %s: given up, it was sent but not acknowledged; it may be in the topic",
                            send->name);
    }
    if (code == RD_KAFKA_RESP_ERR__STATE) {
        return kp_error_set(err, KP_REJECT, "_STATE",
                            "produce to %s: no transaction is open, or it failed: a producer with a transactional.id "
                            "sends inside `async with producer.transaction()`",
                            send->name);
    }
    if (code == RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH) { /* the abort that follows tells which of the two */
        return kp_error_set(err, KP_RETRY, "INVALID_PRODUCER_EPOCH",
                            "produce to %s: the broker ended the transaction: after transaction.timeout.ms, or because "
                            "another producer with the same transactional.id was started",
                            send->name);
    }
    kp_status st = kp_kafka_status(code);
    if (send->problem && st != KP_REJECT && st != KP_CLOSED) {
        return kp_kafka_error_set(err, code, send->problem, "produce to %s: %s", send->name, rd_kafka_err2str(code));
    }
    return kp_kafka_error_set(err, code, NULL, "produce to %s", send->name);
}

/* ---- lists ---- */

void kp_send_link(kp_producer *self, kp_send *send) {
    if (send->linked) {
        return;
    }
    atomic_fetch_add_explicit(&send->references, 1, memory_order_relaxed);
    send->linked = true;
    send->prev = NULL;
    send->next = self->open;
    if (self->open) {
        self->open->prev = send;
    }
    self->open = send;
}

static void move_to_done(kp_producer *self, kp_send *send) {
    if (send->prev) {
        send->prev->next = send->next;
    } else {
        self->open = send->next;
    }
    if (send->next) {
        send->next->prev = send->prev;
    }
    send->linked = false;
    send->prev = send->next = NULL;
    *self->done_end = send;
    self->done_end = &send->next;
}

static void keep_problem(kp_producer *self, kp_send *send) {
    char problem[KP_KAFKA_LOG_TEXT_MAX];
    kp_kafka_log_last(&self->log, problem);
    if (problem[0]) {
        send->problem = kp_strdup(problem); /* out of memory: a shorter message */
    }
}

void kp_send_finish_if_settled(kp_producer *self, kp_send *send) {
    if (!send->linked || send->handed_in < send->count || send->settled < send->count) {
        return;
    }
    if (send->failed > 0) {
        keep_problem(self, send);
        kp_producer_note_failure(self, send);
    }
    move_to_done(self, send);
}

void kp_send_settle(kp_slot *slot, rd_kafka_resp_err_t code) {
    slot->delivery.code = code;
    slot->send->settled++;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        slot->delivery.timestamp_ms = -1;
        slot->send->failed++;
    }
}

/* ---- enqueue ---- */

enum { VU_TOPIC, VU_FLAGS, VU_OPAQUE, VU_VALUE, VU_KEY, VU_PARTITION, VU_TIMESTAMP, VU_HEADERS, VU_COUNT };

static void vus_init(rd_kafka_vu_t *vus, rd_kafka_topic_t *topic) {
    static const rd_kafka_vtype_t types[VU_COUNT] = {
        [VU_TOPIC] = RD_KAFKA_VTYPE_RKT,
        [VU_FLAGS] = RD_KAFKA_VTYPE_MSGFLAGS,
        [VU_OPAQUE] = RD_KAFKA_VTYPE_OPAQUE,
        [VU_VALUE] = RD_KAFKA_VTYPE_VALUE,
        [VU_KEY] = RD_KAFKA_VTYPE_KEY,
        [VU_PARTITION] = RD_KAFKA_VTYPE_PARTITION,
        [VU_TIMESTAMP] = RD_KAFKA_VTYPE_TIMESTAMP,
        [VU_HEADERS] = RD_KAFKA_VTYPE_HEADERS,
    };
    memset(vus, 0, VU_COUNT * sizeof *vus);
    for (int i = 0; i < VU_COUNT; i++) {
        vus[i].vtype = types[i];
    }
    vus[VU_TOPIC].u.rkt = topic;
    vus[VU_FLAGS].u.i = RD_KAFKA_MSG_F_COPY;
}

static void *unconst(const void *data) {
    union {
        const void *in;
        void *out;
    } same = {data};
    return same.out; /* the library copies; its interface predates const */
}

static rd_kafka_error_t *produceva(rd_kafka_t *client, rd_kafka_vu_t *vus, kp_slot *slot, const kp_message *message) {
    vus[VU_OPAQUE].u.ptr = slot;
    vus[VU_VALUE].u.mem.ptr = unconst(message->value.data);
    vus[VU_VALUE].u.mem.size = message->value.length;
    vus[VU_KEY].u.mem.ptr = unconst(message->key.data);
    vus[VU_KEY].u.mem.size = message->key.length;
    vus[VU_PARTITION].u.i32 = message->partition;
    vus[VU_TIMESTAMP].u.i64 = message->timestamp_ms;
    vus[VU_HEADERS].u.headers = message->headers;
    return rd_kafka_produceva(client, vus, message->headers ? VU_COUNT : VU_HEADERS);
}

rd_kafka_resp_err_t kp_send_produce(rd_kafka_t *client, rd_kafka_topic_t *topic, kp_slot *slot,
                                    const kp_message *message) {
    rd_kafka_vu_t vus[VU_COUNT];
    vus_init(vus, topic);
    rd_kafka_error_t *error = produceva(client, vus, slot, message);
    rd_kafka_resp_err_t code = error ? rd_kafka_error_code(error) : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (error) {
        rd_kafka_error_destroy(error);
    }
    return code;
}

static rd_kafka_resp_err_t produce(kp_producer *self, rd_kafka_vu_t *vus, kp_slot *slot, const kp_message *message) {
    kp_topic *topic = slot->send->topic;
    slot->delivery.timestamp_ms = message->timestamp_ms; /* the report of a message that failed has none */
    if (topic->singly > 0) {                             /* not past those that are sent again */
        rd_kafka_resp_err_t code = kp_send_produce(self->single, topic->single, slot, message);
        topic->singly += code == RD_KAFKA_RESP_ERR_NO_ERROR;
        return code;
    }
    rd_kafka_error_t *error = produceva(self->client, vus, slot, message);
    if (!error) {
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    if (rd_kafka_error_is_fatal(error)) {
        kp_producer_note_fatal(self);
    }
    rd_kafka_error_destroy(error);
    return code;
}

static bool fits(const kp_producer *self, size_t messages, size_t bytes) {
    size_t outstanding = atomic_load_explicit(&self->outstanding, memory_order_relaxed);
    return outstanding + messages <= self->max_messages && self->bytes + bytes <= self->max_bytes;
}

/* False when the queue is full. What does not even fit into an empty queue is too large. */
static bool take(kp_producer *self, rd_kafka_vu_t *vus, kp_slot *slot, const kp_message *message) {
    bool empty = atomic_load_explicit(&self->outstanding, memory_order_relaxed) == 0;
    if (!empty && !fits(self, 1, message->value.length)) {
        return false;
    }
    rd_kafka_resp_err_t code = produce(self, vus, slot, message);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        atomic_fetch_add_explicit(&self->outstanding, 1, memory_order_relaxed);
        self->bytes += message->value.length;
        return true;
    }
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL && !empty) {
        return false;
    }
    if (message->headers) {
        rd_kafka_headers_destroy(message->headers); /* not the library's: it took nothing */
    }
    kp_send_settle(slot, code == RD_KAFKA_RESP_ERR__QUEUE_FULL ? RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE : code);
    return true;
}

static size_t take_all(kp_producer *self, kp_send *send, const kp_message *messages, size_t count) {
    rd_kafka_vu_t vus[VU_COUNT];
    size_t taken = 0;
    vus_init(vus, send->topic->handle);
    for (; taken < count; taken++) {
        kp_slot *slot = &send->slots[send->handed_in];
        if (messages[taken].refused) {
            kp_send_settle(slot, (rd_kafka_resp_err_t)KP_SEND_REFUSED);
        } else if (!take(self, vus, slot, &messages[taken])) {
            break;
        }
        send->handed_in++;
    }
    return taken;
}

/* A send that is done before anything was sent has no delivery report to wake anybody. */
static void finish_now(kp_producer *self, kp_send *send) {
    kp_send_finish_if_settled(self, send);
    if (!send->linked) {
        kp_kafka_signal_raise(&self->signal);
    }
}

kp_status kp_producer_enqueue(kp_producer *self, kp_send *send, const kp_message *messages, size_t count, size_t *taken,
                              kp_error *err) {
    *taken = 0;
    kp_status st = kp_producer_lock(self, err);
    if (st != KP_OK) {
        return st;
    }
    kp_send_link(self, send);
    *taken = take_all(self, send, messages, count);
    finish_now(self, send);
    pthread_mutex_unlock(&self->lock);
    return KP_OK;
}

bool kp_producer_has_room(kp_producer *self, size_t messages, size_t bytes, bool *fits_ever) {
    *fits_ever = messages <= self->max_messages && bytes <= self->max_bytes;
    if (kp_producer_is_foreign(self)) {
        return false;
    }
    pthread_mutex_lock(&self->lock);
    bool fit = fits(self, messages, bytes);
    pthread_mutex_unlock(&self->lock);
    return fit;
}

void kp_producer_abandon(kp_producer *self, kp_send *send, rd_kafka_resp_err_t code) {
    if (kp_producer_is_foreign(self)) {
        return;
    }
    pthread_mutex_lock(&self->lock);
    for (; send->handed_in < send->count; send->handed_in++) {
        kp_send_settle(&send->slots[send->handed_in], code);
    }
    finish_now(self, send);
    pthread_mutex_unlock(&self->lock);
}
