/* Bounded reading: of each partition a range of offsets, of which some records may be left out (by time, or by a list
 * of those that are wanted). What is left out counts as settled.
 *
 * The group is joined as ever, so commits are fenced and several processes share the work; a partition that is at its
 * end is paused, and what is open of it is sealed. The end is where the position is at or behind it: its last record
 * may be gone by compaction, or be a transaction's marker.
 */
#include "flow/worker.h"

#include <string.h>

static const kp_json *find_range(const kp_worker *self, const kp_part *part) {
    const kp_json *at = kp_json_first(self->config->ranges);
    while (at && (kp_json_int(kp_json_get(at, "partition"), -1) != part->partition ||
                  strcmp(kp_json_text(kp_json_get(at, "topic"), ""), part->topic) != 0)) {
        at = kp_json_next(at);
    }
    return at;
}

void kp_range_begin(const kp_worker *self, kp_part *part) {
    const kp_json *range = find_range(self, part);
    if (!self->config->ranges) {
        return;
    }
    int64_t start = kp_json_int(kp_json_get(range, "start"), 0);
    part->range_end = kp_json_int(kp_json_get(range, "end"), 0);
    part->from_ms = kp_json_int(kp_json_get(range, "from_ms"), INT64_MIN);
    part->until_ms = kp_json_int(kp_json_get(range, "until_ms"), INT64_MAX);
    part->chosen_only = kp_json_is_array(kp_json_get(range, "offsets"));
    part->chosen = kp_json_first(kp_json_get(range, "offsets"));
    if (range && kp_checkpoint_position(&part->cp) < start) {
        kp_checkpoint_init(&part->cp, start);
    }
    part->at_end = !range || kp_checkpoint_position(&part->cp) >= part->range_end;
}

static rd_kafka_topic_partition_list_t *list_at_end(const kp_worker *self) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(4);
    for (size_t i = 0; i < self->part_count; i++) {
        if (self->parts[i] && !self->parts[i]->gone && self->parts[i]->at_end) {
            rd_kafka_topic_partition_list_add(list, self->parts[i]->topic, self->parts[i]->partition);
        }
    }
    return list;
}

void kp_range_pause(kp_worker *self) {
    if (self->config->ranges) {
        rd_kafka_topic_partition_list_t *list = list_at_end(self);
        if (list->cnt) {
            self->has_paused = true;
            rd_kafka_pause_partitions(self->rk, list);
        }
        rd_kafka_topic_partition_list_destroy(list);
    }
}

void kp_range_seal(kp_worker *self) {
    for (size_t i = 0; i < self->part_count && self->config->ranges && self->sink->ops->seal; i++) {
        kp_part *part = self->parts[i];
        if (part && !part->gone && part->at_end && part->refs == 0) {
            self->sink->ops->seal(self->sink, part->slot);
        }
    }
}

/* Nothing more of it will come: what was delivered may be all there is. */
static void end_part(kp_worker *self, kp_part *part) {
    part->at_end = true;
    kp_range_pause(self);
    kp_worker_flush_gather(self);
}

static void skip(kp_worker *self, kp_part *part, int64_t first, int64_t last) {
    kp_error err;
    if (first <= last && (kp_checkpoint_deliver(&part->cp, first, last, &err) != KP_OK ||
                          kp_checkpoint_settle(&part->cp, first, last, &err) != KP_OK)) {
        kp_worker_fail(self, &err);
    }
}

/* Offsets come in rising order, and those that are wanted stand in it. */
static bool is_chosen(kp_part *part, int64_t offset) {
    while (part->chosen && kp_json_int(part->chosen, -1) < offset) {
        part->chosen = kp_json_next(part->chosen);
    }
    return part->chosen && kp_json_int(part->chosen, -1) == offset;
}

static bool is_in_time(const kp_part *part, const rd_kafka_message_t *message) {
    bool all = part->from_ms == INT64_MIN && part->until_ms == INT64_MAX;
    int64_t timestamp_ms = all ? 0 : rd_kafka_message_timestamp(message, NULL);
    return all || (timestamp_ms >= 0 && timestamp_ms >= part->from_ms && timestamp_ms < part->until_ms);
}

bool kp_range_wants(kp_worker *self, kp_part *part, const rd_kafka_message_t *message) {
    if (!self->config->ranges) {
        return true;
    }
    bool wanted = !part->at_end && message->offset < part->range_end;
    if (wanted && (!is_in_time(part, message) || (part->chosen_only && !is_chosen(part, message->offset)))) {
        skip(self, part, message->offset, message->offset);
        wanted = false;
    }
    return wanted;
}

void kp_range_passed(kp_worker *self, kp_part *part, int64_t offset) {
    if (!self->config->ranges || part->at_end || offset < part->range_end) {
        return;
    }
    skip(self, part, kp_checkpoint_delivered(&part->cp), part->range_end - 1);
    end_part(self, part);
}

int64_t kp_range_left(const kp_part *part) {
    int64_t done = part->committed >= 0 ? part->committed : kp_checkpoint_position(&part->cp);
    return part->range_end > done ? part->range_end - done : 0;
}
