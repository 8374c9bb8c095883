/* Transactions: see producer.h. The library keeps their state; here its errors become what the caller may do, and a
 * failed message becomes the failure of its transaction.
 */
#include "flow/producer_parts.h"

/* ---- a message that failed ---- */

static bool counts(rd_kafka_resp_err_t code) {
    /* who gave up waiting for room knows that nothing was sent */
    return code != RD_KAFKA_RESP_ERR_NO_ERROR && code != RD_KAFKA_RESP_ERR__QUEUE_FULL;
}

void kp_producer_note_failure(kp_producer *self, const kp_send *send) {
    size_t first = 0;
    while (first < send->count && !counts(send->slots[first].delivery.code)) {
        first++;
    }
    if (self->txn_problem.status == KP_OK && first < send->count) {
        kp_send_error(send, first, &self->txn_problem);
    }
}

static kp_status take_problem(kp_producer *self, kp_error *err) {
    pthread_mutex_lock(&self->lock);
    kp_status st = self->txn_problem.status;
    if (st != KP_OK) {
        *err = self->txn_problem;
        kp_error_prefix(err, "commit transaction: nothing of it was written");
    }
    pthread_mutex_unlock(&self->lock);
    return st;
}

static void forget_problem(kp_producer *self) {
    pthread_mutex_lock(&self->lock);
    kp_error_init(&self->txn_problem);
    pthread_mutex_unlock(&self->lock);
}

/* ---- the library's answers ---- */

/* As kp_kafka_error_take. A fatal error is kept, so that every later call says what it was; an abortable one can be
 * healed by doing the transaction again. */
static kp_status take(kp_producer *self, rd_kafka_error_t *error, const char *what, bool *must_abort, kp_error *err) {
    if (!error) {
        return KP_OK;
    }
    bool fatal = rd_kafka_error_is_fatal(error);
    *must_abort = !fatal && rd_kafka_error_txn_requires_abort(error);
    kp_status st = kp_kafka_error_take(err, error, "%s", what);
    if (*must_abort && st != KP_RETRY) {
        err->status = st = KP_RETRY;
    }
    pthread_mutex_lock(&self->lock);
    if (fatal) {
        kp_producer_note_fatal(self);
    }
    pthread_mutex_unlock(&self->lock);
    return st;
}

kp_status kp_producer_begin(kp_producer *self, int timeout_ms, kp_error *err) {
    bool must_abort;
    kp_status st;
    KP_TRY(kp_producer_lock(self, err));
    pthread_mutex_unlock(&self->lock);
    if (!self->txn_ready) {
        rd_kafka_error_t *error = rd_kafka_init_transactions(self->client, timeout_ms);
        KP_TRY(take(self, error, "begin transaction", &must_abort, err));
        self->txn_ready = true;
    }
    forget_problem(self);
    st = take(self, rd_kafka_begin_transaction(self->client), "begin transaction", &must_abort, err);
done:
    return st;
}

static kp_status refuse_gone(const rd_kafka_topic_partition_list_t *gone, kp_error *err) {
    if (gone->cnt == 0) {
        return KP_OK;
    }
    return kp_error_set(err, KP_REJECT, "REVOKED",
                        "send offsets of %s [%d]: taken away since the batch was read: the next owner reads it again",
                        gone->elems[0].topic, gone->elems[0].partition);
}

kp_status kp_producer_send_offsets(kp_producer *self, const kp_messages *messages, size_t first, size_t count,
                                   int timeout_ms, kp_error *err) {
    rd_kafka_topic_partition_list_t *ends = NULL;
    rd_kafka_topic_partition_list_t *gone = NULL;
    rd_kafka_consumer_group_metadata_t *group = NULL;
    bool must_abort;
    kp_status st;
    KP_TRY(kp_producer_check(self, err));
    KP_TRY(kp_messages_ends(messages, first, count, &ends, &gone, err));
    KP_TRY(refuse_gone(gone, err));
    KP_TRY(kp_consumer_group(messages->consumer, &group, err));
    if (ends->cnt > 0) {
        rd_kafka_error_t *error = rd_kafka_send_offsets_to_transaction(self->client, ends, group, timeout_ms);
        st = take(self, error, "send offsets", &must_abort, err);
    }
done:
    if (group) {
        rd_kafka_consumer_group_metadata_destroy(group);
    }
    if (ends) {
        rd_kafka_topic_partition_list_destroy(ends);
        rd_kafka_topic_partition_list_destroy(gone);
    }
    return st;
}

kp_status kp_producer_send_position(kp_producer *self, const char *group, const char *topic, int64_t offset,
                                    int timeout_ms, kp_error *err) {
    bool must_abort;
    kp_status st = kp_producer_check(self, err);
    if (st != KP_OK) {
        return st;
    }
    rd_kafka_topic_partition_list_t *position = rd_kafka_topic_partition_list_new(1);
    rd_kafka_consumer_group_metadata_t *metadata = rd_kafka_consumer_group_metadata_new(group);
    rd_kafka_topic_partition_list_add(position, topic, 0)->offset = offset;
    rd_kafka_error_t *error = rd_kafka_send_offsets_to_transaction(self->client, position, metadata, timeout_ms);
    st = take(self, error, "send position", &must_abort, err);
    rd_kafka_consumer_group_metadata_destroy(metadata);
    rd_kafka_topic_partition_list_destroy(position);
    return st;
}

kp_status kp_producer_commit(kp_producer *self, int timeout_ms, bool *must_abort, kp_error *err) {
    *must_abort = false;
    kp_status st = kp_producer_check(self, err);
    if (st != KP_OK) {
        return st;
    }
    st = take_problem(self, err);
    if (st != KP_OK) {
        *must_abort = st != KP_FATAL;
        return st;
    }
    return take(self, rd_kafka_commit_transaction(self->client, timeout_ms), "commit transaction", must_abort, err);
}

kp_status kp_producer_abort(kp_producer *self, int timeout_ms, kp_error *err) {
    bool must_abort;
    kp_status st = kp_producer_check(self, err);
    if (st != KP_OK) {
        return st;
    }
    return take(self, rd_kafka_abort_transaction(self->client, timeout_ms), "abort transaction", &must_abort, err);
}
