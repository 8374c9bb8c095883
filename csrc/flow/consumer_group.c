/* Which partitions a consumer has, and the rebalances that change it: see consumer.h.
 *
 * The library waits for an answer to each rebalance, however long it takes; its callback only notes the question.
 */
#include "flow/consumer_parts.h"

#include "core/mem.h"

#include <string.h>

/* ---- the table of what is assigned; under the lock ---- */

static void forget_last(kp_consumer *self) {
    self->last = NULL;
    self->last_topic = NULL;
}

rd_kafka_topic_partition_t *kp_consumer_part_of(kp_consumer *self, const rd_kafka_message_t *message) {
    if (!self->last || self->last_topic != message->rkt || self->last->partition != message->partition) {
        self->last =
            rd_kafka_topic_partition_list_find(self->assigned, rd_kafka_topic_name(message->rkt), message->partition);
        self->last_topic = message->rkt;
    }
    return self->last;
}

static void add_parts(kp_consumer *self, const rd_kafka_topic_partition_list_t *list) {
    self->epoch++;
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *from = &list->elems[i];
        rd_kafka_topic_partition_t *part =
            rd_kafka_topic_partition_list_add(self->assigned, from->topic, from->partition);
        part->offset = from->offset;
        part->opaque = (void *)(uintptr_t)self->epoch; /* NOLINT: a number in a pointer */
    }
    forget_last(self);
}

static void remove_parts(kp_consumer *self, const rd_kafka_topic_partition_list_t *list) {
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_topic_partition_list_del(self->assigned, list->elems[i].topic, list->elems[i].partition);
    }
    forget_last(self);
}

static void remove_all_parts(kp_consumer *self) {
    rd_kafka_topic_partition_list_destroy(self->assigned);
    self->assigned = rd_kafka_topic_partition_list_new(0);
    forget_last(self);
}

rd_kafka_topic_partition_list_t *kp_consumer_assignment(kp_consumer *self) {
    pthread_mutex_lock(&self->lock);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_copy(self->assigned);
    pthread_mutex_unlock(&self->lock);
    return list;
}

/* ---- rebalances ---- */

static bool is_cooperative(kp_consumer *self) {
    const char *protocol = rd_kafka_rebalance_protocol(self->client);
    return protocol && strcmp(protocol, "COOPERATIVE") == 0;
}

static void push(kp_consumer *self, rd_kafka_resp_err_t code, const rd_kafka_topic_partition_list_t *list) {
    kp_pending *pending = kp_calloc(1, sizeof *pending);
    kp_pending **at = &self->pending;
    if (!pending) { /* without memory for the question there is only one answer */
        remove_all_parts(self);
        rd_kafka_assign(self->client, NULL);
        return;
    }
    pending->list = rd_kafka_topic_partition_list_copy(list);
    pending->kind = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? KP_REBALANCE_ASSIGN
                    : rd_kafka_assignment_lost(self->client)     ? KP_REBALANCE_LOST
                                                                 : KP_REBALANCE_REVOKE;
    while (*at) {
        at = &(*at)->next;
    }
    *at = pending;
}

static kp_pending *pop(kp_consumer *self) {
    kp_pending *pending = self->pending;
    if (pending) {
        self->pending = pending->next;
    }
    return pending;
}

static void pending_free(kp_pending *pending) {
    rd_kafka_topic_partition_list_destroy(pending->list);
    kp_free(pending);
}

void kp_consumer_on_rebalance(rd_kafka_t *client, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                              void *opaque) {
    kp_consumer *self = opaque;
    bool known = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS || code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS;
    (void)client;
    pthread_mutex_lock(&self->lock);
    bool leaving = self->leaving;
    self->was_assigned |= code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    if (!leaving && known) {
        push(self, code, list);
    }
    pthread_mutex_unlock(&self->lock);
    if (leaving || !known) {
        kp_consumer_release(self, code, list);
    }
}

kp_rebalance kp_consumer_rebalance(kp_consumer *self, rd_kafka_topic_partition_list_t **list) {
    pthread_mutex_lock(&self->lock);
    kp_rebalance kind = self->pending ? self->pending->kind : KP_REBALANCE_NONE;
    *list = self->pending ? rd_kafka_topic_partition_list_copy(self->pending->list) : NULL;
    pthread_mutex_unlock(&self->lock);
    return kind;
}

static void set_starts(rd_kafka_topic_partition_list_t *list, const rd_kafka_topic_partition_list_t *starts) {
    for (int i = 0; i < starts->cnt; i++) {
        const rd_kafka_topic_partition_t *start = &starts->elems[i];
        rd_kafka_topic_partition_list_set_offset(list, start->topic, start->partition, start->offset);
    }
}

static kp_status take_on(kp_consumer *self, kp_pending *pending, kp_error *err) {
    bool incremental = is_cooperative(self);
    pthread_mutex_lock(&self->lock);
    if (!incremental) {
        remove_all_parts(self);
    }
    add_parts(self, pending->list);
    pthread_mutex_unlock(&self->lock);
    if (incremental) {
        return kp_kafka_error_take(err, rd_kafka_incremental_assign(self->client, pending->list), "assignment");
    }
    return kp_kafka_error_set(err, rd_kafka_assign(self->client, pending->list), NULL, "assignment");
}

static kp_status give_up(kp_consumer *self, const rd_kafka_topic_partition_list_t *list, kp_error *err) {
    bool incremental = is_cooperative(self);
    pthread_mutex_lock(&self->lock);
    if (incremental) {
        remove_parts(self, list);
    } else {
        remove_all_parts(self);
    }
    pthread_mutex_unlock(&self->lock);
    if (incremental) {
        return kp_kafka_error_take(err, rd_kafka_incremental_unassign(self->client, list), "assignment");
    }
    return kp_kafka_error_set(err, rd_kafka_assign(self->client, NULL), NULL, "assignment");
}

kp_status kp_consumer_answer(kp_consumer *self, const rd_kafka_topic_partition_list_t *starts, kp_error *err) {
    pthread_mutex_lock(&self->lock);
    kp_pending *pending = pop(self);
    pthread_mutex_unlock(&self->lock);
    if (!pending) {
        return KP_OK;
    }
    kp_status st;
    if (pending->kind == KP_REBALANCE_ASSIGN) {
        set_starts(pending->list, starts);
        st = take_on(self, pending, err);
    } else {
        st = give_up(self, pending->list, err);
    }
    pending_free(pending);
    return st;
}

/* ---- without questions ---- */

void kp_consumer_release(kp_consumer *self, rd_kafka_resp_err_t code, const rd_kafka_topic_partition_list_t *list) {
    kp_error err;
    if (code != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS || give_up(self, list, &err) != KP_OK) {
        rd_kafka_assign(self->client, NULL);
    }
}

void kp_consumer_let_go(kp_consumer *self) {
    pthread_mutex_lock(&self->lock);
    self->leaving = true;
    kp_pending *pending = self->pending;
    self->pending = NULL;
    pthread_mutex_unlock(&self->lock);
    for (kp_pending *next; pending; pending = next) {
        next = pending->next;
        kp_consumer_release(self,
                            pending->kind == KP_REBALANCE_ASSIGN ? RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS
                                                                 : RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS,
                            pending->list);
        pending_free(pending);
    }
}

/* ---- chosen by the caller ---- */

kp_status kp_consumer_subscribe(kp_consumer *self, const rd_kafka_topic_partition_list_t *topics, kp_error *err) {
    return kp_kafka_error_set(err, rd_kafka_subscribe(self->client, topics), NULL, "subscription");
}

/* 2.0.2 aborts the process when a partition is taken away again while its fetcher still stops. A stop is two turns of
 * the library's main thread, and so are two questions that this thread answers. */
static void await_stops(kp_consumer *self) {
    for (int turn = 0; turn < 2; turn++) {
        rd_kafka_topic_partition_list_t *list = NULL;
        if (rd_kafka_assignment(self->client, &list) == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_topic_partition_list_destroy(list);
        }
    }
}

kp_status kp_consumer_assign(kp_consumer *self, const rd_kafka_topic_partition_list_t *list, kp_error *err) {
    if (self->assigned->cnt > 0) {
        rd_kafka_assign(self->client, NULL);
        await_stops(self);
    }
    kp_status st = kp_kafka_error_set(err, rd_kafka_assign(self->client, list), NULL, "assignment");
    pthread_mutex_lock(&self->lock);
    remove_all_parts(self);
    if (st == KP_OK) {
        add_parts(self, list);
    }
    pthread_mutex_unlock(&self->lock);
    return st;
}

/* ---- what messages end with ---- */

static bool has_gone(kp_consumer *self, const rd_kafka_message_t *message, uint64_t epoch) {
    const rd_kafka_topic_partition_t *part = kp_consumer_part_of(self, message);
    return !part || (uintptr_t)part->opaque > epoch;
}

/* Sets the end of this message's partition; *entry is the one of the message before. */
static void note_end(rd_kafka_topic_partition_list_t *ends, rd_kafka_topic_partition_list_t *gone,
                     const kp_messages *messages, const rd_kafka_message_t *message,
                     rd_kafka_topic_partition_t **entry) {
    rd_kafka_topic_partition_list_t *list = has_gone(messages->consumer, message, messages->epoch) ? gone : ends;
    const char *topic = rd_kafka_topic_name(message->rkt);
    *entry = rd_kafka_topic_partition_list_find(list, topic, message->partition);
    if (!*entry) {
        *entry = rd_kafka_topic_partition_list_add(list, topic, message->partition);
    }
    (*entry)->offset = message->offset + 1;
}

kp_status kp_messages_ends(const kp_messages *messages, size_t first, size_t count,
                           rd_kafka_topic_partition_list_t **ends, rd_kafka_topic_partition_list_t **gone,
                           kp_error *err) {
    const rd_kafka_message_t *before = NULL;
    rd_kafka_topic_partition_t *entry = NULL;
    kp_status st = kp_consumer_check(messages->consumer, err);
    if (st != KP_OK) {
        return st;
    }
    *ends = rd_kafka_topic_partition_list_new(4);
    *gone = rd_kafka_topic_partition_list_new(0);
    pthread_mutex_lock(&messages->consumer->lock);
    for (size_t i = first; i < first + count; i++) {
        const rd_kafka_message_t *message = messages->messages[i];
        if (before && before->rkt == message->rkt && before->partition == message->partition) {
            entry->offset = message->offset + 1;
        } else {
            note_end(*ends, *gone, messages, message, &entry);
        }
        before = message;
    }
    pthread_mutex_unlock(&messages->consumer->lock);
    return KP_OK;
}
