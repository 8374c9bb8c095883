/* Offsets of a consumer: committed, stored, sought, asked for. See consumer.h. */
#include "flow/consumer_parts.h"

/* The first entry's error, when there is one. */
static kp_status check_entries(const rd_kafka_topic_partition_list_t *list, const char *what, kp_error *err) {
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *entry = &list->elems[i];
        if (entry->err) {
            return kp_kafka_error_set(err, entry->err, NULL, "%s of %s [%d]", what, entry->topic, entry->partition);
        }
    }
    return KP_OK;
}

static kp_status check_answer(rd_kafka_resp_err_t code, const rd_kafka_topic_partition_list_t *list, const char *what,
                              kp_error *err) {
    kp_status st = check_entries(list, what, err);
    return st != KP_OK ? st : kp_kafka_error_set(err, code, NULL, "%s", what);
}

/* ---- commits ---- */

kp_status kp_consumer_commit(kp_consumer *self, const rd_kafka_topic_partition_list_t *list, void *owner,
                             kp_error *err) {
    rd_kafka_resp_err_t code = rd_kafka_commit_queue(self->client, list, self->commits, NULL, owner);
    return kp_kafka_error_set(err, code, NULL, "commit");
}

static kp_status read_commit(rd_kafka_event_t *event, kp_error *err) {
    const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
    kp_error_init(err);
    kp_status st = list ? check_entries(list, "commit", err) : KP_OK;
    return st != KP_OK ? st : kp_kafka_error_set(err, rd_kafka_event_error(event), NULL, "commit");
}

void *kp_consumer_next_commit(kp_consumer *self, kp_error *err) {
    void *owner = NULL;
    rd_kafka_event_t *event;
    while (!owner && (event = rd_kafka_queue_poll(self->commits, 0))) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OFFSET_COMMIT) {
            owner = rd_kafka_event_opaque(event);
            read_commit(event, err);
        }
        rd_kafka_event_destroy(event);
    }
    return owner;
}

kp_status kp_consumer_commit_begin(kp_consumer *self, const rd_kafka_topic_partition_list_t *list,
                                   rd_kafka_queue_t **answer, kp_error *err) {
    *answer = rd_kafka_queue_new(self->client);
    rd_kafka_resp_err_t code = rd_kafka_commit_queue(self->client, list, *answer, NULL, NULL);
    if (code) {
        rd_kafka_queue_destroy(*answer);
        *answer = NULL;
    }
    return kp_kafka_error_set(err, code, NULL, "commit");
}

kp_status kp_commit_wait(rd_kafka_queue_t *answer, int timeout_ms, kp_error *err) {
    rd_kafka_event_t *event = rd_kafka_queue_poll(answer, timeout_ms);
    if (!event) {
        return kp_error_set(err, KP_TIMEOUT, "_TIMED_OUT", "commit: no answer");
    }
    kp_status st = read_commit(event, err);
    rd_kafka_event_destroy(event);
    return st;
}

kp_status kp_consumer_store(kp_consumer *self, rd_kafka_topic_partition_list_t *list, kp_error *err) {
    return check_answer(rd_kafka_offsets_store(self->client, list), list, "store", err);
}

/* The library's main thread answers for the group, so whoever is told of a lost member here was told of it before. */
kp_status kp_consumer_group(kp_consumer *self, rd_kafka_consumer_group_metadata_t **out, kp_error *err) {
    pthread_mutex_lock(&self->lock);
    bool leaving = self->leaving;
    pthread_mutex_unlock(&self->lock);
    *out = leaving ? NULL : rd_kafka_consumer_group_metadata(self->client);
    if (!*out) {
        return kp_error_set(err, KP_CLOSED, "CLOSED", "send offsets: the consumer was closed");
    }
    if (rd_kafka_assignment_lost(self->client)) {
        rd_kafka_consumer_group_metadata_destroy(*out);
        *out = NULL;
        return kp_error_set(err, KP_REJECT, "REVOKED",
                            "send offsets: the group took the partitions away since the batch was read: the next owner "
                            "reads it again");
    }
    return KP_OK;
}

/* ---- moving ---- */

kp_status kp_consumer_pause(kp_consumer *self, rd_kafka_topic_partition_list_t *list, bool paused, kp_error *err) {
    rd_kafka_resp_err_t code = (paused ? rd_kafka_pause_partitions : rd_kafka_resume_partitions)(self->client, list);
    return check_answer(code, list, paused ? "pause" : "resume", err);
}

static void note_positions(kp_consumer *self, const rd_kafka_topic_partition_list_t *list) {
    pthread_mutex_lock(&self->lock);
    for (int i = 0; i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *to = &list->elems[i];
        rd_kafka_topic_partition_list_set_offset(self->assigned, to->topic, to->partition, to->offset);
    }
    pthread_mutex_unlock(&self->lock);
}

kp_status kp_consumer_seek(kp_consumer *self, rd_kafka_topic_partition_list_t *list, int timeout_ms, kp_error *err) {
    kp_status st = kp_kafka_error_take(err, rd_kafka_seek_partitions(self->client, list, timeout_ms), "seek");
    for (int i = 0; i < list->cnt && st == KP_OK; i++) {
        if (list->elems[i].err == RD_KAFKA_RESP_ERR__STATE) {
            st = kp_error_set(err, KP_RETRY, "_STATE", "seek of %s [%d]: it is not being read yet",
                              list->elems[i].topic, list->elems[i].partition);
        }
    }
    if (st == KP_OK) {
        st = check_entries(list, "seek", err);
    }
    if (st == KP_OK) {
        note_positions(self, list);
    }
    return st;
}

/* ---- asking ---- */

/* As check_answer; what ended in a timeout or without an answer is told with what the log says of the brokers. */
static kp_status check_asked(kp_consumer *self, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                             const char *what, kp_error *err) {
    char problem[KP_KAFKA_LOG_TEXT_MAX];
    kp_status st = check_answer(code, list, what, err);
    kp_kafka_log_last(&self->log, problem);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR || !problem[0] || (st != KP_TIMEOUT && st != KP_RETRY)) {
        return st;
    }
    code = kp_kafka_blame(code, problem);
    if (code == RD_KAFKA_RESP_ERR__IN_PROGRESS) { /* of the search for a leader: no broker has told one */
        code = RD_KAFKA_RESP_ERR__TRANSPORT;
    }
    return kp_kafka_error_set(err, code, problem, "%s of %s [%d]: %s", what, list->elems[0].topic,
                              (int)list->elems[0].partition, rd_kafka_err2str(code));
}

kp_status kp_consumer_committed(kp_consumer *self, rd_kafka_topic_partition_list_t *list, int timeout_ms,
                                kp_error *err) {
    return check_asked(self, rd_kafka_committed(self->client, list, timeout_ms), list, "committed offset", err);
}

kp_status kp_consumer_at_time(kp_consumer *self, rd_kafka_topic_partition_list_t *list, int timeout_ms, kp_error *err) {
    return check_asked(self, rd_kafka_offsets_for_times(self->client, list, timeout_ms), list, "offset", err);
}
