/* The bounded reader's second half: the records of the ranges that were found. See reader.h.
 *
 * The library's simple consumer reads exactly the partitions and offsets it is told and knows no group. Partitions are
 * read at the same time; with a limit one after another, so that nothing is fetched that the limit leaves out.
 */
#include "flow/reader_parts.h"

#include "core/mem.h"

#include <string.h>

enum { TAKE_MAX = 1024, IDLE_MS = 50, ROWS_MAX = 65536, BYTES_MAX = 256 << 20, HIDDEN_MS = 1000 };

typedef struct {
    kp_reader *reader;
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *queue;
    rd_kafka_message_t *messages[TAKE_MAX];
    kp_reader_part **by_number; /* owned; NULL: not ours */
    size_t numbers;
    size_t open;       /* partitions that are started and not done */
    int64_t rows_left; /* of the limit; -1: no limit */
    bool hidden;       /* some partition shows no more, though there is */
    int64_t heard_ms;  /* when the last record or end came */
} reading;

/* ---- partitions ---- */

static kp_status start_part(reading *read, kp_reader_part *part, kp_error *err) {
    part->next = part->range.start;
    part->done = part->next >= part->range.end || part->from_ms >= part->until_ms;
    if (part->done) {
        return KP_OK;
    }
    if (rd_kafka_consume_start_queue(read->topic, part->range.partition, part->next, read->queue) != 0) {
        return kp_kafka_error_set(err, rd_kafka_last_error(), NULL, "read %s [%d]", read->reader->topic,
                                  part->range.partition);
    }
    part->started = true;
    read->open++;
    return KP_OK;
}

static void finish_part(reading *read, kp_reader_part *part) {
    if (part->started && !part->done) {
        rd_kafka_consume_stop(read->topic, part->range.partition);
        read->open--;
    }
    part->done = true;
}

static kp_status close_rows(kp_reader_part *part, kp_error *err) {
    kp_status st = KP_OK;
    if (part->rows && part->rows->length > 0) {
        kp_rows_trim(part->rows);
        KP_TRY(kp_buf_append(&part->batches, &part->rows, sizeof part->rows, err));
        part->rows = NULL;
        part->bytes = 0;
    }
done:
    return st;
}

/* ---- records ---- */

static kp_status keep(reading *read, kp_reader_part *part, const rd_kafka_message_t *message, kp_error *err) {
    kp_reader *self = read->reader;
    kp_status st;
    if (!part->rows) {
        KP_TRY(kp_rows_new(&part->rows, self->table->fields, self->table->field_count, err));
    }
    KP_TRY(kp_reader_maker_append(&self->maker, part->rows, message, &part->bytes, err));
    if (part->rows->length >= ROWS_MAX || part->bytes >= BYTES_MAX) {
        KP_TRY(close_rows(part, err));
    }
    read->rows_left -= read->rows_left > 0;
done:
    return st;
}

static bool is_in_time(const kp_reader_part *part, const rd_kafka_message_t *message, bool *last) {
    rd_kafka_timestamp_type_t type;
    if (part->from_ms == INT64_MIN && part->until_ms == INT64_MAX) {
        return true;
    }
    int64_t timestamp = rd_kafka_message_timestamp(message, &type);
    *last = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME && timestamp >= part->until_ms;
    return type != RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && timestamp >= part->from_ms && timestamp < part->until_ms;
}

static kp_status on_record(reading *read, kp_reader_part *part, const rd_kafka_message_t *message, kp_error *err) {
    kp_status st = KP_OK;
    bool last = false;
    if (message->offset >= part->range.end) {
        finish_part(read, part);
        return KP_OK;
    }
    if (message->offset < part->next) {
        return KP_OK; /* a batch is fetched whole, from before the offset that was asked for */
    }
    part->next = message->offset + 1;
    part->hidden_ms = 0;
    if (is_in_time(part, message, &last)) {
        KP_TRY(keep(read, part, message, err));
    }
    if (last || part->next >= part->range.end || read->rows_left == 0) {
        finish_part(read, part);
    }
done:
    return st;
}

/* A transaction hides what is behind its first record until it ends, and for a moment longer: the broker tells the
 * producer of the commit before it has written so into each partition. What is hidden for longer is not waited for. */
static void on_end(reading *read, kp_reader_part *part, int64_t position) {
    if (position >= part->range.end) {
        finish_part(read, part);
        return;
    }
    part->hidden_ms = read->heard_ms;
    read->hidden = true;
}

static void finish_hidden(reading *read) {
    kp_reader *self = read->reader;
    int64_t now = kp_reader_clock_ms();
    read->hidden = false;
    for (size_t i = 0; i < self->part_count; i++) {
        kp_reader_part *part = &self->parts[i];
        if (!part->started || part->done || part->hidden_ms == 0) {
            continue;
        }
        if (now - part->hidden_ms >= HIDDEN_MS) {
            finish_part(read, part);
        } else {
            read->hidden = true;
        }
    }
}

static kp_status on_problem(reading *read, kp_reader_part *part, const rd_kafka_message_t *message, kp_error *err) {
    const char *reason = message->payload ? rd_kafka_message_errstr(message) : NULL;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        on_end(read, part, message->offset);
        return KP_OK;
    }
    if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || message->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
        return kp_error_set(err, KP_RETRY, rd_kafka_err2name(RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE),
                            "read %s [%d]: offset %lld is not there any more: its records were deleted meanwhile: read "
                            "again",
                            read->reader->topic, part->range.partition, (long long)part->next);
    }
    kp_status st = kp_kafka_error_set(err, message->err, reason, "read %s [%d] at offset %lld", read->reader->topic,
                                      part->range.partition, (long long)part->next);
    return st == KP_RETRY || st == KP_TIMEOUT ? KP_OK : st; /* the library tries again, we wait for it */
}

static kp_status on_message(reading *read, const rd_kafka_message_t *message, kp_error *err) {
    size_t number = (size_t)message->partition;
    kp_reader_part *part = message->partition >= 0 && number < read->numbers ? read->by_number[number] : NULL;
    if (!part || !part->started || part->done) {
        return KP_OK;
    }
    if (!message->err || message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        read->heard_ms = kp_reader_clock_ms();
    }
    return message->err ? on_problem(read, part, message, err) : on_record(read, part, message, err);
}

/* ---- the loop ---- */

/* One with a wait, then what is there without: asked for many, the library waits for all of them. */
static size_t take(reading *read) {
    read->messages[0] = rd_kafka_consume_queue(read->queue, IDLE_MS);
    if (!read->messages[0]) {
        return 0;
    }
    ssize_t more = rd_kafka_consume_batch_queue(read->queue, 0, read->messages + 1, TAKE_MAX - 1);
    return 1 + (more > 0 ? (size_t)more : 0);
}

static kp_status on_idle(reading *read, kp_error *err) {
    kp_reader *self = read->reader;
    if (read->open == 0 || kp_reader_clock_ms() - read->heard_ms < self->timeout_ms) {
        return KP_OK;
    }
    const kp_reader_part *part = self->parts;
    while (!part->started || part->done) {
        part++;
    }
    return kp_reader_late(self, part->broker, err, "read %s [%d] at offset %lld", self->topic, part->range.partition,
                          (long long)part->next);
}

static kp_status turn(reading *read, kp_error *err) {
    kp_status st;
    KP_TRY(kp_reader_check(read->reader, read->rk, err));
    if (read->hidden) {
        finish_hidden(read);
    }
    size_t count = read->open > 0 ? take(read) : 0;
    if (count == 0) {
        return on_idle(read, err);
    }
    for (size_t i = 0; i < count; i++) {
        st = st == KP_OK ? on_message(read, read->messages[i], err) : st;
        rd_kafka_message_destroy(read->messages[i]);
    }
done:
    return st;
}

static kp_status read_parts(reading *read, kp_reader_part *parts, size_t count, kp_error *err) {
    kp_status st = KP_OK;
    read->heard_ms = kp_reader_clock_ms();
    for (size_t i = 0; i < count; i++) {
        KP_TRY(start_part(read, &parts[i], err));
    }
    while (read->open > 0) {
        KP_TRY(turn(read, err));
    }
    for (size_t i = 0; i < count; i++) {
        KP_TRY(close_rows(&parts[i], err));
    }
done:
    for (size_t i = 0; i < count; i++) {
        finish_part(read, &parts[i]);
    }
    return st;
}

/* ---- all of it ---- */

static kp_status number_parts(reading *read, kp_error *err) {
    const kp_reader *self = read->reader;
    read->numbers = (size_t)self->parts[self->part_count - 1].range.partition + 1; /* they are sorted */
    read->by_number = kp_calloc(read->numbers, sizeof(kp_reader_part *));
    if (!read->by_number) {
        return kp_error_nomem(err);
    }
    for (size_t i = 0; i < self->part_count; i++) {
        read->by_number[self->parts[i].range.partition] = &self->parts[i];
    }
    return KP_OK;
}

static kp_status collect(kp_reader *self, kp_error *err) {
    kp_status st = KP_OK;
    for (size_t i = 0; i < self->part_count; i++) {
        kp_buf *batches = &self->parts[i].batches;
        kp_rows **rows = (kp_rows **)(void *)batches->data;
        for (size_t k = 0; k < batches->length / sizeof *rows; k++) {
            KP_TRY(kp_table_add(self->table, rows[k], err));
            kp_rows_retain(rows[k]);
        }
    }
done:
    return st;
}

/* A client that was just made would otherwise learn only after a while where the partitions are. */
static kp_status learn_leaders(kp_reader *self, rd_kafka_t *rk, rd_kafka_topic_t *topic, kp_error *err) {
    const struct rd_kafka_metadata *metadata;
    kp_status st = kp_reader_metadata(self, rk, topic, kp_reader_clock_ms() + self->timeout_ms, &metadata, err);
    if (st == KP_OK) {
        rd_kafka_metadata_destroy(metadata);
    }
    return st;
}

static kp_status read_ranges(reading *read, kp_error *err) {
    kp_reader *self = read->reader;
    kp_status st;
    KP_TRY(number_parts(read, err));
    KP_TRY(learn_leaders(self, read->rk, read->topic, err));
    if (read->rows_left < 0) {
        KP_TRY(read_parts(read, self->parts, self->part_count, err));
    }
    for (size_t i = 0; i < self->part_count && read->rows_left > 0; i++) {
        KP_TRY(read_parts(read, &self->parts[i], 1, err));
    }
    st = collect(self, err);
done:
    return st;
}

kp_status kp_reader_read_ranges(kp_reader *self, rd_kafka_t *rk, rd_kafka_topic_t *topic, kp_error *err) {
    reading *read = kp_calloc(1, sizeof *read);
    if (!read) {
        return kp_error_nomem(err);
    }
    read->reader = self;
    read->rk = rk;
    read->topic = topic;
    read->rows_left = self->limit;
    read->queue = rd_kafka_queue_new(rk);
    kp_status st = read_ranges(read, err);
    rd_kafka_queue_destroy(read->queue);
    kp_free(read->by_number);
    kp_free(read);
    return st;
}
