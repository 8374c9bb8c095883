/* The bounded reader's first half: the offsets of what was asked for. See reader.h. */
#include "flow/reader_parts.h"

#include "core/mem.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { FIRST_TRY_MS = 500, PAUSE_MS = 50 };

/* ListOffsets takes these for times; offsets_for_times hands them on. */
static const int64_t EARLIEST = -2;
static const int64_t LATEST = -1;

typedef struct {
    kp_reader *reader;
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic;
    int64_t deadline_ms;
    int try_ms; /* of the next try */
} asking;

/* A try lasts twice as long as the one before: in between, an error that no waiting helps is seen early. */
static int next_try_ms(asking *ask) {
    int64_t left = ask->deadline_ms - kp_reader_clock_ms();
    int try_ms = left < ask->try_ms ? (int)left : ask->try_ms;
    ask->try_ms *= 2;
    return try_ms < 1 ? 1 : try_ms;
}

/* After a try that failed: KP_OK when another one makes sense. */
static kp_status before_next_try(asking *ask, rd_kafka_resp_err_t code, const char *what, kp_error *err) {
    kp_reader *self = ask->reader;
    static const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    kp_status st = kp_reader_check(self, ask->rk, err);
    if (st != KP_OK) {
        return st;
    }
    st = kp_kafka_error_set(err, code, NULL, "read %s: %s", self->topic, what);
    if (st != KP_RETRY && st != KP_TIMEOUT) {
        return st;
    }
    if (kp_reader_clock_ms() >= ask->deadline_ms) {
        bool says_all = st == KP_RETRY && code != RD_KAFKA_RESP_ERR__TRANSPORT;
        return says_all ? st : kp_reader_late(self, "", err, "read %s: %s", self->topic, what);
    }
    nanosleep(&pause, NULL);
    return KP_OK;
}

/* ---- metadata ---- */

static kp_status ask_metadata(asking *ask, const struct rd_kafka_metadata **out, kp_error *err) {
    for (;;) {
        const struct rd_kafka_metadata *metadata = NULL;
        rd_kafka_resp_err_t code = rd_kafka_metadata(ask->rk, 0, ask->topic, &metadata, next_try_ms(ask));
        if (!code && metadata->topic_cnt == 1) {
            code = metadata->topics[0].err;
        }
        if (!code && metadata->topic_cnt == 1 && metadata->topics[0].partition_cnt > 0) {
            *out = metadata;
            return KP_OK;
        }
        if (metadata) {
            rd_kafka_metadata_destroy(metadata);
        }
        code = code ? code : RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
        kp_status st = before_next_try(ask, code, "its partitions", err);
        if (st != KP_OK) {
            return st;
        }
    }
}

kp_status kp_reader_metadata(kp_reader *self, rd_kafka_t *rk, rd_kafka_topic_t *topic, int64_t deadline_ms,
                             const struct rd_kafka_metadata **out, kp_error *err) {
    asking ask = {self, rk, topic, deadline_ms, FIRST_TRY_MS};
    return ask_metadata(&ask, out, err);
}

/* ---- the partitions that were asked for ---- */

static void set_part(kp_reader_part *part, const kp_read_part *wish) {
    part->range.partition = wish->partition;
    part->from_ms = wish->start.kind == KP_BOUND_TIME ? wish->start.value : INT64_MIN;
    part->until_ms = wish->end.kind == KP_BOUND_TIME ? wish->end.value : INT64_MAX;
}

static void set_broker(kp_reader_part *part, const struct rd_kafka_metadata *metadata) {
    int32_t leader = -1;
    for (int i = 0; i < metadata->topics[0].partition_cnt; i++) {
        if (metadata->topics[0].partitions[i].id == part->range.partition) {
            leader = metadata->topics[0].partitions[i].leader;
        }
    }
    for (int i = 0; i < metadata->broker_cnt; i++) {
        const struct rd_kafka_metadata_broker *broker = &metadata->brokers[i];
        if (broker->id == leader) {
            snprintf(part->broker, sizeof part->broker, "%s:%d", broker->host, broker->port);
        }
    }
}

static kp_status check_partition(const kp_reader *self, int32_t partition, int count, kp_error *err) {
    if (partition < count) {
        return KP_OK;
    }
    return kp_error_set(err, KP_REJECT, rd_kafka_err2name(RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION),
                        "read %s: it has no partition %d: its %d partitions begin with 0", self->topic, partition,
                        count);
}

/* Without wishes every partition has the same. */
static kp_read_part wish_of(const kp_reader *self, size_t index) {
    return self->wish_count ? self->wishes[index] : (kp_read_part){(int32_t)index, self->start, self->end};
}

static kp_status set_parts(asking *ask, kp_error *err) {
    kp_reader *self = ask->reader;
    const struct rd_kafka_metadata *metadata = NULL;
    kp_status st;
    KP_TRY(ask_metadata(ask, &metadata, err));
    int partitions = metadata->topics[0].partition_cnt;
    size_t count = self->wish_count ? self->wish_count : (size_t)partitions;
    self->parts = kp_calloc(count, sizeof *self->parts);
    if (!self->parts) {
        st = kp_error_nomem(err);
        goto done;
    }
    self->part_count = count;
    for (size_t i = 0; i < count; i++) {
        kp_read_part wish = wish_of(self, i);
        KP_TRY(check_partition(self, wish.partition, partitions, err));
        set_part(&self->parts[i], &wish);
        set_broker(&self->parts[i], metadata);
    }
done:
    if (metadata) {
        rd_kafka_metadata_destroy(metadata);
    }
    return st;
}

/* ---- offsets ---- */

static rd_kafka_resp_err_t first_problem(const rd_kafka_topic_partition_list_t *list, int32_t *partition) {
    for (int i = 0; i < list->cnt; i++) {
        if (list->elems[i].err) {
            *partition = list->elems[i].partition;
            return list->elems[i].err;
        }
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* After a leader has moved this can go on failing until the client asks for metadata again. */
static kp_status refresh(asking *ask, kp_error *err) {
    const struct rd_kafka_metadata *metadata;
    kp_status st = ask_metadata(ask, &metadata, err);
    if (st == KP_OK) {
        rd_kafka_metadata_destroy(metadata);
    }
    return st;
}

/* Replaces the time of each partition by its offset, -1 when it has no record of that time or later. */
static kp_status ask_offsets(asking *ask, rd_kafka_topic_partition_list_t *times, kp_error *err) {
    kp_status st = KP_OK;
    ask->try_ms = FIRST_TRY_MS;
    while (times->cnt > 0) {
        char what[64] = "its offsets";
        int32_t partition;
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_copy(times);
        rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(ask->rk, list, next_try_ms(ask));
        rd_kafka_resp_err_t problem = first_problem(list, &partition);
        if (problem && (!code || code == RD_KAFKA_RESP_ERR__TIMED_OUT)) {
            code = problem;
            snprintf(what, sizeof what, "offsets of partition %d", partition);
        }
        for (int i = 0; !code && i < list->cnt; i++) {
            times->elems[i].offset = list->elems[i].offset;
        }
        rd_kafka_topic_partition_list_destroy(list);
        if (!code) {
            break;
        }
        KP_TRY(before_next_try(ask, code, what, err));
        KP_TRY(refresh(ask, err));
    }
done:
    return st;
}

/* Offsets of one kind for all partitions, in the order of parts. */
static kp_status ask_all(asking *ask, int64_t time, rd_kafka_topic_partition_list_t **out, kp_error *err) {
    const kp_reader *self = ask->reader;
    *out = rd_kafka_topic_partition_list_new((int)self->part_count);
    for (size_t i = 0; i < self->part_count; i++) {
        rd_kafka_topic_partition_list_add(*out, self->topic, self->parts[i].range.partition)->offset = time;
    }
    return ask_offsets(ask, *out, err);
}

static kp_status ask_times(asking *ask, rd_kafka_topic_partition_list_t **out, kp_error *err) {
    const kp_reader *self = ask->reader;
    *out = rd_kafka_topic_partition_list_new((int)self->part_count);
    for (size_t i = 0; i < self->part_count; i++) {
        const kp_reader_part *part = &self->parts[i];
        if (part->from_ms != INT64_MIN) {
            rd_kafka_topic_partition_list_add(*out, self->topic, part->range.partition)->offset =
                part->from_ms > 0 ? part->from_ms : 0;
        }
    }
    return ask_offsets(ask, *out, err);
}

/* An end by time is not looked up: records before it may follow on those behind it. */
static int64_t offset_of(kp_bound bound, int64_t low, int64_t high, int64_t by_time) {
    switch (bound.kind) {
    case KP_BOUND_EARLIEST:
        return low;
    case KP_BOUND_OFFSET:
        return bound.value < low ? low : bound.value > high ? high : bound.value;
    case KP_BOUND_TIME:
        return by_time < 0 ? high : by_time;
    default:
        return high;
    }
}

static void set_ranges(kp_reader *self, const rd_kafka_topic_partition_list_t *low,
                       const rd_kafka_topic_partition_list_t *high, rd_kafka_topic_partition_list_t *times) {
    for (size_t i = 0; i < self->part_count; i++) {
        kp_reader_part *part = &self->parts[i];
        kp_read_part wish = wish_of(self, i);
        const rd_kafka_topic_partition_t *found =
            rd_kafka_topic_partition_list_find(times, self->topic, part->range.partition);
        int64_t first = low->elems[i].offset;
        int64_t last = high->elems[i].offset;
        int64_t start = offset_of(wish.start, first, last, found ? found->offset : -1);
        int64_t end = offset_of(wish.end, first, last, -1);
        part->range.start = start;
        part->range.end = end < start ? start : end;
    }
}

kp_status kp_reader_find_ranges(kp_reader *self, rd_kafka_t *rk, rd_kafka_topic_t *topic, kp_error *err) {
    asking ask = {self, rk, topic, kp_reader_clock_ms() + self->timeout_ms, FIRST_TRY_MS};
    rd_kafka_topic_partition_list_t *low = NULL;
    rd_kafka_topic_partition_list_t *high = NULL;
    rd_kafka_topic_partition_list_t *times = NULL;
    kp_status st;
    KP_TRY(set_parts(&ask, err));
    KP_TRY(ask_all(&ask, EARLIEST, &low, err));
    KP_TRY(ask_times(&ask, &times, err));
    KP_TRY(ask_all(&ask, LATEST, &high, err)); /* last: what a time has found lies before it */
    set_ranges(self, low, high, times);
done:
    for (size_t i = 0; i < 3; i++) {
        rd_kafka_topic_partition_list_t *list = i == 0 ? low : i == 1 ? high : times;
        if (list) {
            rd_kafka_topic_partition_list_destroy(list);
        }
    }
    return st;
}
