/* How fast a worker reads: as long as what is in flight has room, and no longer. While it may not read, what was
 * fetched waits in the library's queue, which has bounds of its own.
 *
 * librdkafka before 2.2 (where fetch.queue.backoff.ms says how soon) looks at a queue that was full again only after a
 * second, though it may be empty within a tenth of that. A seek wakes its fetchers. To the offset that comes next
 * anyway it changes nothing, and while the queue is empty nothing that was fetched is thrown away.
 */
#include "flow/worker.h"

enum { FETCH_BACKOFF_SINCE = 0x020200ff };

bool kp_worker_fetchers_sleep(void) {
    return rd_kafka_version() < FETCH_BACKOFF_SINCE;
}

size_t kp_worker_held_bytes(const kp_worker *self) {
    size_t held = self->sink->ops->held_bytes ? self->sink->ops->held_bytes(self->sink) : 0;
    return held + self->batch_bytes + kp_dead_letters_bytes(self->dead);
}

/* Batches that wait for a full sink are read ahead. What the sink holds by itself is not counted: it says when it is
 * full. */
bool kp_worker_may_read(const kp_worker *self) {
    return !self->draining && !self->again && self->backoff_until_ms == 0 &&
           self->batch_bytes + kp_dead_letters_bytes(self->dead) < (size_t)self->config->in_flight_bytes;
}

/* ---- pausing ---- */

static void set_paused(kp_worker *self, bool paused) {
    rd_kafka_topic_partition_list_t *list = NULL;
    if (self->paused != paused && rd_kafka_assignment(self->rk, &list) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        (paused ? rd_kafka_pause_partitions : rd_kafka_resume_partitions)(self->rk, list);
        rd_kafka_topic_partition_list_destroy(list);
        self->paused = paused;
        self->has_paused = true;
        kp_range_pause(self);
    }
}

/* A short stall only stops reading, as pausing throws away what was fetched. At a longer one the partitions are paused
 * and the consumer is polled on, so that the member stays in its group. */
void kp_worker_check_stall(kp_worker *self, int64_t now_ms) {
    if (kp_worker_may_read(self)) {
        self->stalled_since_ms = 0;
        set_paused(self, false);
    } else if (self->stalled_since_ms == 0) {
        self->stalled_since_ms = now_ms;
    } else if (now_ms - self->stalled_since_ms >= KP_STALL_MS) {
        set_paused(self, true);
    }
}

/* ---- waking ---- */

void kp_worker_read_queue_bounds(kp_worker *self) {
    const rd_kafka_conf_t *conf = rd_kafka_conf(self->rk);
    self->queue_messages_max = kp_kafka_conf_int(conf, "queued.min.messages", 100000);
    self->queue_bytes_max = 1024 * kp_kafka_conf_int(conf, "queued.max.messages.kbytes", 65536);
}

void kp_worker_note_queue(kp_worker *self) {
    int64_t messages = (int64_t)rd_kafka_queue_length(self->messages);
    int64_t mean_bytes = self->counters.records_in ? self->counters.bytes_in / self->counters.records_in : 0;
    /* half: some were taken since a fetcher looked */
    if (messages >= self->queue_messages_max / 2 || messages * mean_bytes >= self->queue_bytes_max / 2) {
        self->queue_was_full = true;
    }
}

static void add_if_behind(kp_worker *self, const kp_part *part, rd_kafka_topic_partition_list_t *list) {
    int64_t low;
    int64_t high;
    int64_t next = kp_checkpoint_delivered(&part->cp);
    if (next >= 0 && !rd_kafka_get_watermark_offsets(self->rk, part->topic, part->partition, &low, &high) &&
        next < high) {
        rd_kafka_topic_partition_list_add(list, part->topic, part->partition)->offset = next;
    }
}

void kp_worker_wake_fetchers(kp_worker *self) {
    if (!self->queue_was_full || self->paused || !kp_worker_fetchers_sleep()) {
        return;
    }
    self->queue_was_full = false;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)self->part_count);
    for (size_t i = 0; i < self->part_count; i++) {
        if (self->parts[i] && !self->parts[i]->gone && !self->parts[i]->at_end) {
            add_if_behind(self, self->parts[i], list);
        }
    }
    if (list->cnt > 0) { /* without a time-out it asks and goes on, and has no error to tell */
        rd_kafka_error_destroy(rd_kafka_seek_partitions(self->rk, list, 0));
    }
    rd_kafka_topic_partition_list_destroy(list);
}
