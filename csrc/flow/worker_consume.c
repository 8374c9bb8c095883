/* The consumer of a worker: opening it, reading, rebalances.
 *
 * Rebalances run on the loop's own thread, inside the poll. Partitions that are taken away are finished first (flushed,
 * sealed, published, committed, within a bound), those that were lost are dropped without a commit.
 */
#include "flow/worker.h"

#include "core/fail_point.h"
#include "core/mem.h"

#include <string.h>

enum {
    PULL_MAX = 1000,
    CALLS_MAX = 8, /* a turn: then the sink's sockets have their turn */
    COMMITTED_TIMEOUT_MS = 10000,
    REVOKE_TIMEOUT_MS = 20000,
    PROPERTIES_MAX = 128,
};

/* ---- opening ---- */

/* Ours first, so that the user's replace them; what the guarantees rest on comes last. */
static const kp_kafka_property defaults[] = {
    {"session.timeout.ms", "6000"}, /* how long a killed worker's partitions wait for the next owner */
    {"heartbeat.interval.ms", "1500"},
    {"queued.max.messages.kbytes", "16384"},
    {"client.id", "kafkapipe"},
};

/* For those that know it: see worker_fetch.c. */
static const kp_kafka_property look_again_soon = {"fetch.queue.backoff.ms", "10"};

static const kp_kafka_property guarantees[] = {
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"enable.partition.eof", "true"}, /* tells where a topic ends in a transaction marker or a compacted tail */
};

static size_t add_all(kp_kafka_property *to, size_t at, const kp_kafka_property *from, size_t count) {
    memcpy(to + at, from, count * sizeof *from);
    return at + count;
}

static size_t add_document(kp_kafka_property *to, size_t at, const kp_json *document) {
    for (const kp_json *one = kp_json_first(document); one && at < PROPERTIES_MAX; one = kp_json_next(one)) {
        to[at++] = (kp_kafka_property){kp_json_key(one), kp_json_text(one, "")};
    }
    return at;
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list, void *opaque);

static kp_status make_conf(kp_worker *self, rd_kafka_conf_t **out, kp_error *err) {
    kp_kafka_property all[PROPERTIES_MAX + 16];
    size_t count = add_all(all, 0, defaults, sizeof defaults / sizeof *defaults);
    count = add_all(all, count, &look_again_soon, !kp_worker_fetchers_sleep());
    all[count++] = (kp_kafka_property){"partition.assignment.strategy", kp_kafka_default_assignor()};
    count = add_document(all, count, self->config->kafka);
    all[count++] = (kp_kafka_property){"group.id", self->config->group};
    count = add_all(all, count, guarantees, sizeof guarantees / sizeof *guarantees);
    kp_status st = kp_kafka_conf_new(out, all, count, err);
    if (st == KP_OK) {
        kp_kafka_log_attach(&self->log, *out);
        rd_kafka_conf_set_error_cb(*out, kp_worker_on_client_error);
        rd_kafka_conf_set_rebalance_cb(*out, on_rebalance);
    }
    return st;
}

static kp_status subscribe(kp_worker *self, kp_error *err) {
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(4);
    for (const kp_json *topic = kp_json_first(self->config->topics); topic; topic = kp_json_next(topic)) {
        rd_kafka_topic_partition_list_add(topics, kp_json_text(topic, ""), RD_KAFKA_PARTITION_UA);
    }
    rd_kafka_resp_err_t code = rd_kafka_subscribe(self->rk, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    return code ? kp_kafka_error_set(err, code, NULL, "subscription of group %s", self->config->group) : KP_OK;
}

static kp_status open_dead_letters(kp_worker *self, kp_error *err) {
    kp_kafka_property all[PROPERTIES_MAX];
    kp_dead_letters_options options = {
        .properties = all,
        .property_count = add_document(all, 0, self->config->kafka),
        .topic = self->config->dead_topic,
        .connector = self->config->name,
        .wake = &self->wake,
        .on_done = kp_worker_on_dead_letter,
        .ctx = self,
    };
    return self->config->dead_mode == KP_DEAD_TOPIC ? kp_dead_letters_new(&self->dead, &options, err) : KP_OK;
}

kp_status kp_worker_open_consumer(kp_worker *self, kp_error *err) {
    kp_status st;
    rd_kafka_conf_t *conf = NULL;
    self->pulled = kp_calloc(PULL_MAX, sizeof(rd_kafka_message_t *));
    if (!self->pulled) {
        return kp_error_nomem(err);
    }
    KP_TRY(make_conf(self, &conf, err));
    KP_TRY(kp_kafka_client_new(&self->rk, RD_KAFKA_CONSUMER, conf, err));
    rd_kafka_poll_set_consumer(self->rk);
    self->messages = rd_kafka_queue_get_consumer(self->rk);
    kp_worker_read_queue_bounds(self);
    self->commits = rd_kafka_queue_new(self->rk);
    kp_kafka_signal_attach(&self->wake, self->messages);
    kp_kafka_signal_attach(&self->wake, self->commits);
    KP_TRY(open_dead_letters(self, err));
    KP_TRY(subscribe(self, err));
done:
    return st;
}

static void destroy_queue(rd_kafka_queue_t *queue) {
    if (queue) {
        rd_kafka_queue_io_event_enable(queue, -1, NULL, 0);
        rd_kafka_queue_destroy(queue);
    }
}

void kp_worker_close_consumer(kp_worker *self) {
    if (self->rk) { /* revokes what is assigned through the callback, then leaves the group; not after a fatal error */
        rd_kafka_consumer_close(self->rk);
    }
    for (size_t i = 0; i < self->part_count; i++) {
        if (self->parts[i] && !self->parts[i]->gone) {
            kp_part_give_up(self, self->parts[i]);
        }
    }
    kp_worker_drop_batches(self, false);
    kp_dead_letters_free(self->dead);
    self->dead = NULL;
    destroy_queue(self->commits);
    destroy_queue(self->messages);
    self->commits = NULL;
    self->messages = NULL;
    self->commit_in_flight = false;
    kp_free(self->pulled);
    self->pulled = NULL;
}

/* ---- rebalance ---- */

static bool is_cooperative(kp_worker *self) {
    const char *protocol = rd_kafka_rebalance_protocol(self->rk);
    return protocol && strcmp(protocol, "COOPERATIVE") == 0;
}

/* Reads where the group stands, and the intents that earlier owners left, from the coordinator. */
static kp_status add_parts(kp_worker *self, rd_kafka_topic_partition_list_t *list, kp_error *err) {
    kp_status st = KP_OK;
    rd_kafka_topic_partition_list_t *committed = rd_kafka_topic_partition_list_copy(list);
    rd_kafka_resp_err_t code = rd_kafka_committed(self->rk, committed, COMMITTED_TIMEOUT_MS);
    for (int i = 0; i < committed->cnt && !code; i++) {
        code = committed->elems[i].err;
    }
    if (code) { /* whatever it is, it can be mended from outside */
        kp_kafka_error_set(err, code, NULL, "committed offsets of group %s", self->config->group);
        err->status = KP_RETRY;
        KP_TRY(KP_RETRY);
    }
    for (int i = 0; i < list->cnt; i++) {
        kp_part *part;
        rd_kafka_topic_partition_t *entry = &committed->elems[i];
        kp_bytes metadata = {entry->metadata, entry->metadata_size}; /* the library does not end it with NUL */
        KP_TRY(kp_part_new(self, entry->topic, entry->partition, entry->offset, metadata, &part, err));
        list->elems[i].offset =
            kp_checkpoint_position(&part->cp) < 0 ? RD_KAFKA_OFFSET_INVALID : kp_checkpoint_position(&part->cp);
    }
done:
    rd_kafka_topic_partition_list_destroy(committed);
    return st;
}

/* A rebalance that went wrong leaves the member in a state that nobody knows: make the consumer anew. */
static void begin_anew_if(kp_worker *self, kp_status st, kp_error *err) {
    if (st != KP_OK) {
        self->restart = true;
        err->status = KP_RETRY;
        kp_worker_trouble(self, err);
    }
}

static void assign(kp_worker *self, rd_kafka_topic_partition_list_t *list) {
    kp_error err;
    if (self->has_paused && !self->paused && list->cnt) {
        rd_kafka_resume_partitions(self->rk, list);
    }
    if (is_cooperative(self)) {
        begin_anew_if(self, kp_kafka_error_take(&err, rd_kafka_incremental_assign(self->rk, list), "assignment"), &err);
    } else {
        rd_kafka_assign(self->rk, list);
    }
    if (self->paused && list->cnt) {
        rd_kafka_pause_partitions(self->rk, list);
    }
    kp_range_pause(self);
}

static void on_assign(kp_worker *self, rd_kafka_topic_partition_list_t *list) {
    kp_error err;
    if (add_parts(self, list, &err) == KP_OK) {
        self->joined = true;
        KP_FAIL_POINT("assign");
        assign(self, list);
    } else { /* without knowing where the group stands nothing may be read: begin anew */
        rd_kafka_topic_partition_list_t *nothing = rd_kafka_topic_partition_list_new(0);
        self->restart = err.status != KP_FATAL;
        kp_worker_trouble(self, &err);
        assign(self, nothing);
        rd_kafka_topic_partition_list_destroy(nothing);
    }
    kp_pipeline_raise(self->pipeline);
}

static void mark_leaving(kp_worker *self, const rd_kafka_topic_partition_list_t *list) {
    for (int i = 0; i < list->cnt; i++) {
        kp_part *part = kp_part_find(self, list->elems[i].topic, list->elems[i].partition);
        if (part) {
            part->leaving = true;
        }
    }
}

static void give_up(kp_worker *self, const rd_kafka_topic_partition_list_t *list) {
    for (int i = 0; i < list->cnt; i++) {
        kp_part *part = kp_part_find(self, list->elems[i].topic, list->elems[i].partition);
        if (part) {
            kp_part_give_up(self, part);
        }
    }
    kp_worker_drop_batches(self, true);
}

static void finish(kp_worker *self, const rd_kafka_topic_partition_list_t *list) {
    int64_t stop_ms;
    int64_t deadline_ms = kp_now_ms(NULL) + REVOKE_TIMEOUT_MS;
    bool draining = self->draining;
    if (kp_pipeline_must_drain(self->pipeline, &stop_ms) && stop_ms < deadline_ms) {
        deadline_ms = stop_ms;
    }
    self->draining = true;
    mark_leaving(self, list);
    kp_worker_flush_gather(self);
    kp_worker_settle_until(self, kp_worker_may_leave, deadline_ms);
    self->draining = draining;
}

static void on_revoke(kp_worker *self, rd_kafka_topic_partition_list_t *list) {
    kp_error err;
    if (!rd_kafka_assignment_lost(self->rk) && self->fatal.status == KP_OK && !self->restart) {
        finish(self, list);
        KP_FAIL_POINT("revoke");
    }
    give_up(self, list);
    if (is_cooperative(self)) {
        begin_anew_if(self, kp_kafka_error_take(&err, rd_kafka_incremental_unassign(self->rk, list), "assignment"),
                      &err);
    } else {
        rd_kafka_assign(self->rk, NULL);
    }
    kp_pipeline_raise(self->pipeline);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t *list,
                         void *opaque) {
    kp_worker *self = opaque;
    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        on_assign(self, list);
    } else if (code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        on_revoke(self, list);
    } else {
        rd_kafka_assign(rk, NULL);
    }
}

/* ---- reading ---- */

static kp_part *part_of(kp_worker *self, const rd_kafka_message_t *message) {
    kp_part *part = self->last_part;
    if (part && part->rkt == message->rkt && part->partition == message->partition) {
        return part;
    }
    part = kp_part_find(self, rd_kafka_topic_name(message->rkt), message->partition);
    if (part) {
        part->rkt = message->rkt;
    }
    self->last_part = part;
    return part;
}

static kp_status take(kp_worker *self, kp_part *part, rd_kafka_message_t *message, kp_error *err) {
    kp_status st;
    KP_TRY(kp_checkpoint_deliver(&part->cp, message->offset, message->offset, err));
    kp_record rec = {
        .topic = part->topic,
        .partition = part->partition,
        .slot = part->slot,
        .offset = message->offset,
        .timestamp_ms = rd_kafka_message_timestamp(message, NULL),
        .key = {message->key, message->key_len},
        .value = {message->payload, message->len},
        .handle = message,
    };
    KP_TRY(kp_origin_read(self, message, &rec, err));
    KP_TRY(kp_worker_gather(self, &rec, err));
    self->counters.records_in++;
    self->counters.bytes_in += (int64_t)(message->len + message->key_len);
done:
    return st;
}

/* Nothing more lies before the end: what is between the last record and it will never come. */
static void on_end(kp_worker *self, const rd_kafka_message_t *message) {
    kp_error err;
    kp_part *part = part_of(self, message);
    int64_t next = part ? kp_checkpoint_delivered(&part->cp) : -1;
    int64_t last = message->offset - 1;
    if (next < 0 || part->at_end) {
        return;
    }
    if (part->range_end && last >= part->range_end) { /* behind it is not ours */
        last = part->range_end - 1;
    }
    if (next <= last && (kp_checkpoint_deliver(&part->cp, next, last, &err) != KP_OK ||
                         kp_checkpoint_settle(&part->cp, next, last, &err) != KP_OK)) {
        kp_worker_fail(self, &err);
    }
    kp_range_passed(self, part, message->offset);
}

/* Below what is committed: the topic was made anew or lost its end, and auto.offset.reset has chosen where to go on.
 * What is under way belongs to the records that were; with it the consumer is made anew. */
static bool begins_anew(kp_worker *self, kp_part *part, int64_t offset) {
    kp_error err;
    kp_error_set(&err, KP_RETRY, "",
                 "%s [%d] begins again at offset %lld, before the committed %lld: was it made anew?", part->topic,
                 part->partition, (long long)offset, (long long)part->committed);
    kp_worker_trouble(self, &err);
    if (!kp_worker_part_is_idle(self, part)) {
        self->restart = true;
        return false;
    }
    kp_checkpoint_deinit(&part->cp);
    kp_checkpoint_init(&part->cp, offset);
    part->committed = -1;
    return true;
}

/* False: it came before. */
static bool is_next(kp_worker *self, kp_part *part, int64_t offset) {
    if (offset >= kp_checkpoint_delivered(&part->cp)) {
        return true;
    }
    return offset < part->committed && !self->restart && begins_anew(self, part, offset);
}

/* Messages of partitions that are not ours any more are still in the batch that brought the rebalance. After a failure
 * nothing is taken: a record behind the one that was not taken would be committed over it. */
static void on_message(kp_worker *self, rd_kafka_message_t *message) {
    kp_error err;
    int64_t offset = message->offset;
    bool failed = self->fatal.status != KP_OK;
    kp_part *part = message->err || failed ? NULL : part_of(self, message);
    if (failed) {
        rd_kafka_message_destroy(message);
        return;
    }
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        on_end(self, message);
    } else if (message->err) {
        kp_worker_on_consumer_error(self, message);
    } else if (part && is_next(self, part, offset)) {
        bool wanted = kp_range_wants(self, part, message);
        if (wanted && take(self, part, message, &err) != KP_OK) {
            kp_worker_fail(self, &err);
            wanted = false;
        } else {
            kp_range_passed(self, part, offset + 1);
        }
        if (wanted) {
            return;
        }
    }
    rd_kafka_message_destroy(message);
}

void kp_worker_consume(kp_worker *self) {
    self->more_messages = true;
    kp_worker_note_queue(self);
    for (int call = 0; call < CALLS_MAX; call++) {
        ssize_t count = rd_kafka_consume_batch_queue(self->messages, 0, self->pulled, PULL_MAX);
        for (ssize_t i = 0; i < count; i++) {
            on_message(self, self->pulled[i]);
        }
        if (count < PULL_MAX) {
            self->more_messages = false;
            kp_worker_wake_fetchers(self);
            return;
        }
        kp_worker_write_ready(self);
        if (!kp_worker_may_read(self)) {
            return;
        }
    }
}

/* ---- measuring ---- */

static kp_status append_part(const kp_part *part, kp_buf *out, kp_error *err) {
    kp_status st;
    KP_TRY(kp_buf_append_text(out, out->length > 1 ? ",[" : "[", err));
    KP_TRY(kp_buf_append_json_string(out, kp_bytes_of(part->topic), err));
    KP_TRY(kp_buf_printf(out, err, ",%d,%lld,%lld]", part->partition, (long long)kp_checkpoint_position(&part->cp),
                         (long long)part->committed));
done:
    return st;
}

/* What is not committed counts as lag; what was never committed counts from the first offset that is there. */
static int64_t part_lag(kp_worker *self, kp_part *part) {
    int64_t low = -1;
    int64_t high = -1;
    if (self->config->ranges) {
        return kp_range_left(part);
    }
    if (rd_kafka_get_watermark_offsets(self->rk, part->topic, part->partition, &low, &high) || high < 0) {
        return -1;
    }
    part->high_water = high;
    int64_t done = part->committed >= 0 ? part->committed : (low > 0 ? low : 0);
    return high > done ? high - done : 0;
}

void kp_worker_measure(kp_worker *self) {
    kp_buf assignment = {0};
    int64_t lag = self->joined ? 0 : -1;
    kp_worker_check_kafka(self);
    kp_status st = kp_buf_append(&assignment, "[", 1, NULL);
    for (size_t i = 0; i < self->part_count && st == KP_OK; i++) {
        if (self->parts[i] && !self->parts[i]->gone) {
            int64_t one = part_lag(self, self->parts[i]);
            lag = one < 0 || lag < 0 ? -1 : lag + one;
            st = append_part(self->parts[i], &assignment, NULL);
        }
    }
    self->counters.lag = lag;
    if (st == KP_OK && kp_buf_append(&assignment, "]", 1, NULL) == KP_OK) {
        pthread_mutex_lock(&self->shared.lock);
        kp_buf_move(&self->shared.assignment, &assignment);
        pthread_mutex_unlock(&self->shared.lock);
    }
    kp_buf_deinit(&assignment);
}
