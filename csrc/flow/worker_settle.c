/* What becomes of each record of a worker: gathered into batches, written to the sink, and settled by its verdict.
 *
 * Batches stand in one of three places: `gather` grows, `ready` waits for the sink, `again` waits for the back-off. In
 * between they are the sink's. A record whose partition was given up meanwhile is let go without a word: whoever owns
 * the partition now reads it again.
 */
#include "flow/worker.h"

#include "core/mem.h"

#include <string.h>

enum { GATHER_RECORDS = 1000, MESSAGE_BYTES = 300 };

static void release_message(void *handle) {
    rd_kafka_message_destroy(handle);
}

/* A message of the library is freed with the record, and is larger than most payloads. */
static size_t held_bytes(const kp_record *rec) {
    return kp_record_bytes(rec) + MESSAGE_BYTES;
}

static void push(kp_batch ***end, kp_batch *batch) {
    batch->next = NULL;
    **end = batch;
    *end = &batch->next;
}

static kp_batch *pop(kp_batch **list, kp_batch ***end) {
    kp_batch *batch = *list;
    *list = batch->next;
    if (!*list) {
        *end = list;
    }
    batch->next = NULL;
    return batch;
}

/* ---- into the sink ---- */

static size_t gather_capacity(const kp_worker *self) {
    size_t records = self->sink->ops->flush(self->sink).records;
    return records ? records : GATHER_RECORDS;
}

/* Full, or all that may be in flight: nothing would come to fill it. */
static bool gather_is_done(const kp_worker *self) {
    const kp_batch *gather = self->gather;
    size_t bytes_max = self->sink->ops->flush(self->sink).bytes;
    return kp_batch_full(gather) || (bytes_max && gather->bytes >= bytes_max) ||
           gather->bytes + gather->count * MESSAGE_BYTES >= (size_t)self->config->in_flight_bytes;
}

kp_status kp_worker_gather(kp_worker *self, const kp_record *rec, kp_error *err) {
    if (!self->gather) {
        self->gather = kp_batch_new(gather_capacity(self), release_message);
        if (!self->gather) {
            return kp_error_nomem(err);
        }
        self->gather_since_ms = kp_now_ms(NULL);
    }
    kp_batch_add(self->gather, rec);
    self->batch_bytes += held_bytes(rec);
    self->parts[rec->slot]->refs++;
    if (gather_is_done(self)) {
        kp_worker_flush_gather(self);
    }
    return KP_OK;
}

void kp_worker_flush_gather(kp_worker *self) {
    if (self->gather) {
        push(&self->ready_end, self->gather);
        self->gather = NULL;
    }
}

void kp_worker_write_ready(kp_worker *self) {
    while (self->ready && self->fatal.status == KP_OK && self->backoff_until_ms == 0) {
        kp_error err;
        kp_batch *batch = pop(&self->ready, &self->ready_end);
        kp_status st = self->sink->ops->write(self->sink, batch, &err);
        if (st == KP_OK) {
            continue;
        }
        batch->next = self->ready;
        self->ready = batch;
        if (!batch->next) {
            self->ready_end = &batch->next;
        }
        if (strcmp(err.code, "FULL") != 0) {
            kp_worker_trouble(self, &err);
        }
        return;
    }
}

/* ---- out of the sink ---- */

static void let_go(kp_worker *self, kp_batch *batch, size_t index) {
    const kp_record *rec = &batch->records[index];
    self->batch_bytes -= held_bytes(rec);
    kp_batch_release(batch, index);
    kp_part_unref(self, self->parts[rec->slot], 1);
}

static void settle(kp_worker *self, int32_t slot, int64_t first, int64_t last) {
    kp_error err;
    kp_part *part = self->parts[slot];
    if (part && !part->gone && kp_checkpoint_settle(&part->cp, first, last, &err) != KP_OK) {
        kp_worker_fail(self, &err);
    }
}

void kp_worker_on_dead_letter(void *ctx, int32_t slot, int64_t offset, const kp_error *err) {
    kp_worker *self = ctx;
    if (err) {
        kp_worker_trouble(self, err);
        return;
    }
    self->counters.dead_letters++;
    settle(self, slot, offset, offset);
    kp_part_unref(self, self->parts[slot], 1);
}

static void stop_at(kp_worker *self, const kp_record *rec, const kp_error *reason) {
    kp_error err = *reason;
    err.status = KP_FATAL;
    kp_error_prefix(&err, "%s [%d] offset %lld can never be delivered and no dead_letter is configured", rec->topic,
                    rec->partition, (long long)rec->offset);
    kp_worker_fail(self, &err);
}

static void reject(kp_worker *self, kp_batch *batch, size_t index) {
    kp_error err;
    kp_record *rec = &batch->records[index];
    const kp_error *reason = kp_batch_reason(batch, index);
    self->counters.rejected++;
    if (self->config->dead_mode == KP_DEAD_STOP) {
        stop_at(self, rec, reason);
    } else if (self->config->dead_mode == KP_DEAD_DROP) {
        settle(self, rec->slot, kp_record_position(rec), kp_record_position(rec));
    } else if (kp_dead_letters_send(self->dead, rec, reason, &err) != KP_OK) {
        kp_worker_fail(self, &err);
    } else {
        self->batch_bytes -= held_bytes(rec);
        rec->handle = NULL; /* moved; its reference to the part goes on */
        return;
    }
    let_go(self, batch, index);
}

/* Delivered records of one partition that follow each other are settled in one go. */
static size_t deliver_run(kp_worker *self, kp_batch *batch, size_t from) {
    const kp_record *first = &batch->records[from];
    int64_t start = kp_record_position(first);
    size_t end = from;
    size_t bytes = 0;
    while (end < batch->count && batch->verdicts[end].outcome == KP_DELIVERED &&
           batch->records[end].slot == first->slot &&
           kp_record_position(&batch->records[end]) == start + (int64_t)(end - from)) {
        kp_origin_note_existing(self, batch, end);
        bytes += batch->records[end].key.length + batch->records[end].value.length;
        self->batch_bytes -= held_bytes(&batch->records[end]);
        kp_batch_release(batch, end++);
    }
    settle(self, first->slot, start, start + (int64_t)(end - from) - 1);
    kp_part_unref(self, self->parts[first->slot], end - from);
    self->counters.records_out += (int64_t)(end - from);
    self->counters.bytes_out += (int64_t)bytes;
    return end;
}

/* Keeps the records that must be tried again, in a batch of their own. */
static void keep_again(kp_worker *self, kp_batch *batch) {
    size_t kept = 0;
    const kp_error *reason = NULL;
    kp_error copy;
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->records[i].handle && batch->verdicts[i].outcome != KP_DELIVERED) {
            if (!reason) {
                copy = *kp_batch_reason(batch, i);
                reason = &copy;
            }
            batch->records[kept++] = batch->records[i];
        }
    }
    batch->count = kept;
    if (kept == 0) {
        kp_batch_free(batch);
        return;
    }
    memset(batch->verdicts, 0, kept * sizeof *batch->verdicts);
    batch->reason_count = 0;
    batch->bytes = 0;
    for (size_t i = 0; i < kept; i++) {
        batch->bytes += kp_record_bytes(&batch->records[i]);
    }
    push(&self->again_end, batch);
    self->counters.retries += (int64_t)kept;
    copy.status = KP_RETRY;
    kp_worker_trouble(self, &copy);
}

static bool is_gone(const kp_worker *self, const kp_record *rec) {
    return self->parts[rec->slot]->gone;
}

void kp_worker_on_batch(void *ctx, kp_batch *batch) {
    kp_worker *self = ctx;
    int64_t before = self->counters.records_out;
    self->came_back = true;
    for (size_t i = 0; i < batch->count;) {
        if (!is_gone(self, &batch->records[i]) && batch->verdicts[i].outcome == KP_DELIVERED) {
            i = deliver_run(self, batch, i);
            continue;
        }
        if (is_gone(self, &batch->records[i])) {
            let_go(self, batch, i);
        } else if (batch->verdicts[i].outcome == KP_REJECTED) {
            reject(self, batch, i);
        }
        i++;
    }
    if (self->counters.records_out > before) {
        kp_worker_healthy(self);
    }
    keep_again(self, batch);
}

/* ---- again ---- */

/* Where a piece ends that begins at `from`: of one record, or of as many as the sink takes at once. */
static size_t piece_end(const kp_worker *self, const kp_batch *batch, size_t from) {
    size_t bytes = 0;
    size_t end = from;
    size_t records_max = gather_capacity(self);
    size_t bytes_max = self->sink->ops->flush(self->sink).bytes;
    do {
        bytes += kp_record_bytes(&batch->records[end++]);
    } while (end < batch->count && end - from < records_max &&
             (!bytes_max || bytes + kp_record_bytes(&batch->records[end]) <= bytes_max));
    return end;
}

/* Moves the records [from, end) into a batch of their own, to be written after those before them. */
static bool split_off(kp_worker *self, kp_batch *batch, size_t from, size_t end) {
    kp_batch *piece = kp_batch_new(end - from, release_message);
    if (!piece) {
        return false;
    }
    for (size_t i = from; i < end; i++) {
        kp_batch_add(piece, &batch->records[i]);
        batch->bytes -= kp_record_bytes(&batch->records[i]);
    }
    push(&self->ready_end, piece);
    return true;
}

/* Splits a batch so that no piece is above what the sink takes now (it may have learned that less is wanted). */
static bool split(kp_worker *self, kp_batch *batch) {
    bool done = true;
    size_t first_end = piece_end(self, batch, 0);
    size_t from = first_end;
    while (from < batch->count && done) {
        size_t end = piece_end(self, batch, from);
        done = split_off(self, batch, from, end);
        from = done ? end : from;
    }
    memmove(&batch->records[first_end], &batch->records[from], (batch->count - from) * sizeof *batch->records);
    batch->count -= from - first_end;
    return done;
}

void kp_worker_try_again(kp_worker *self) {
    kp_batch *later = self->ready; /* what waited before comes after what failed */
    kp_batch **later_end = self->ready_end;
    self->ready = NULL;
    self->ready_end = &self->ready;
    while (self->again) {
        kp_batch *batch = pop(&self->again, &self->again_end);
        push(&self->ready_end, batch);
        if (!split(self, batch)) {
            kp_error err;
            kp_error_nomem(&err);
            kp_worker_fail(self, &err);
        }
    }
    if (later) {
        *self->ready_end = later;
        self->ready_end = later_end;
    }
}

/* ---- letting go ---- */

static void drop_records(kp_worker *self, kp_batch *batch, bool only_gone) {
    size_t kept = 0;
    for (size_t i = 0; i < batch->count; i++) {
        if (only_gone && !is_gone(self, &batch->records[i])) {
            batch->records[kept++] = batch->records[i];
        } else {
            batch->bytes -= kp_record_bytes(&batch->records[i]);
            let_go(self, batch, i);
        }
    }
    batch->count = kept;
}

static void drop_from(kp_worker *self, kp_batch **list, kp_batch ***end, bool only_gone) {
    kp_batch *old = *list;
    *list = NULL;
    *end = list;
    while (old) {
        kp_batch *batch = old;
        old = batch->next;
        drop_records(self, batch, only_gone);
        if (batch->count) {
            push(end, batch);
        } else {
            kp_batch_free(batch);
        }
    }
}

void kp_worker_drop_batches(kp_worker *self, bool only_gone) {
    kp_worker_flush_gather(self);
    drop_from(self, &self->ready, &self->ready_end, only_gone);
    drop_from(self, &self->again, &self->again_end, only_gone);
}

/* ---- at rest ---- */

bool kp_worker_sink_is_idle(const kp_worker *self, const kp_part *part, int64_t end) {
    return !self->sink->ops->idle || self->sink->ops->idle(self->sink, part->slot, end);
}

bool kp_worker_part_is_idle(const kp_worker *self, const kp_part *part) {
    return part->refs == 0 && part->phase == PART_RUNNING && kp_checkpoint_clear(&part->cp) &&
           kp_checkpoint_position(&part->cp) <= part->committed && kp_worker_sink_is_idle(self, part, INT64_MAX);
}

static bool all_at_rest(const kp_worker *self, bool only_leaving) {
    for (size_t i = 0; i < self->part_count; i++) {
        const kp_part *part = self->parts[i];
        bool asked = part && !part->gone && !part->fenced && (part->leaving || !only_leaving);
        if (asked && !kp_worker_part_is_idle(self, part)) {
            return false;
        }
    }
    return true;
}

bool kp_worker_is_idle(kp_worker *self) {
    return all_at_rest(self, false);
}

bool kp_worker_may_leave(kp_worker *self) {
    return all_at_rest(self, true);
}
