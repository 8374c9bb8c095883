/* Partitions of a worker, their intents and their offset commits.
 *
 * Files become visible in five steps, of which Kafka keeps the state: sealed -> commit {offset C, metadata intent} ->
 * publish -> commit {offset E}. At assignment the intent that an earlier owner left is published first, then reading
 * goes on at E. At most one commit is under way, so commits cannot overtake each other; what is due meanwhile goes
 * together.
 */
#include "flow/worker.h"

#include "core/fail_point.h"
#include "core/json_scan.h"
#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

enum { COMMIT_INTERVAL_MS = 1000 };

/* ---- partitions ---- */

static kp_status new_slot(kp_worker *self, kp_part *part, kp_error *err) {
    size_t slot = 0;
    while (slot < self->part_count && self->parts[slot]) {
        slot++;
    }
    if (slot == self->part_count) {
        kp_part **parts = kp_realloc(self->parts, (slot + 1) * sizeof *parts);
        if (!parts) {
            return kp_error_nomem(err);
        }
        self->parts = parts;
        self->part_count = slot + 1;
    }
    self->parts[slot] = part;
    part->slot = (int32_t)slot;
    return KP_OK;
}

static void part_free(kp_worker *self, kp_part *part) {
    if (self->last_part == part) {
        self->last_part = NULL;
    }
    if (part->slot >= 0) {
        self->parts[part->slot] = NULL;
    }
    kp_checkpoint_deinit(&part->cp);
    kp_buf_deinit(&part->intent.manifest);
    kp_free(part->topic);
    kp_free(part);
}

void kp_part_unref(kp_worker *self, kp_part *part, size_t refs) {
    part->refs -= refs;
    if (part->gone && part->refs == 0) {
        part_free(self, part);
    }
}

void kp_parts_free(kp_worker *self) {
    for (size_t i = 0; i < self->part_count; i++) {
        if (self->parts[i]) {
            part_free(self, self->parts[i]);
        }
    }
    kp_free(self->parts);
    self->parts = NULL;
    self->part_count = 0;
}

kp_part *kp_part_find(kp_worker *self, const char *topic, int32_t partition) {
    for (size_t i = 0; i < self->part_count; i++) {
        kp_part *part = self->parts[i];
        if (part && !part->gone && part->partition == partition && strcmp(part->topic, topic) == 0) {
            return part;
        }
    }
    return NULL;
}

/* Reads an intent from a commit's metadata into the part. Metadata of other programs is none of our business. */
static kp_status read_intent(kp_part *part, kp_bytes metadata, kp_error *err) {
    kp_status st = KP_OK;
    const kp_json *root = NULL;
    kp_json_path path;
    kp_json_span files;
    if (metadata.length == 0) {
        return KP_OK;
    }
    KP_TRY(kp_json_path_init(&path, KP_BYTES_LITERAL("files"), err));
    if (kp_json_scan(metadata, &path, 1, &files, NULL, err) != KP_OK || files.kind != KP_JSON_ARRAY) {
        return KP_OK;
    }
    KP_TRY(kp_json_parse(&root, metadata, "the group's offset metadata", err));
    int64_t end = kp_json_int(kp_json_get(root, "end"), -1);
    if (kp_json_int(kp_json_get(root, "kafkapipe"), 0) == 1 && end >= 0) {
        KP_TRY(kp_buf_append(&part->intent.manifest, files.raw.data, files.raw.length, err));
        part->intent.end = end;
        part->phase = PART_PUBLISH;
        part->recovering = true;
    }
done:
    kp_json_free(root);
    return st;
}

static kp_status begin(kp_worker *self, kp_part *part, kp_bytes metadata, kp_error *err) {
    kp_status st;
    KP_TRY(read_intent(part, metadata, err));
    if (part->phase == PART_PUBLISH && !self->sink->ops->publish) {
        KP_TRY(kp_error_set(
            err, KP_FATAL, "EINTENT",
            "group %s has an unfinished publication of files of %s [%d]: run its files pipeline once more, "
            "or use another group for this sink",
            self->config->group, part->topic, part->partition));
    }
    kp_checkpoint_init(&part->cp, part->phase == PART_PUBLISH ? part->intent.end : part->committed);
    kp_range_begin(self, part);
    KP_TRY(new_slot(self, part, err));
    if (self->sink->ops->begin) {
        KP_TRY(self->sink->ops->begin(self->sink, part->slot, part->topic, part->partition, err));
        if (!part->recovering) {
            self->sink->ops->clean(self->sink, part->slot);
        }
    }
done:
    return st;
}

kp_status kp_part_new(kp_worker *self, const char *topic, int32_t partition, int64_t committed, kp_bytes metadata,
                      kp_part **out, kp_error *err) {
    kp_part *part = kp_calloc(1, sizeof *part);
    if (!part) {
        return kp_error_nomem(err);
    }
    part->slot = -1;
    part->topic = kp_strdup(topic);
    part->partition = partition;
    part->committed = committed < 0 ? -1 : committed;
    part->high_water = -1;
    kp_status st = part->topic ? begin(self, part, metadata, err) : kp_error_nomem(err);
    if (st != KP_OK) {
        part_free(self, part);
        return st;
    }
    *out = part;
    return KP_OK;
}

void kp_part_give_up(kp_worker *self, kp_part *part) {
    part->gone = true;
    if (self->sink->ops->end) {
        self->sink->ops->end(self->sink, part->slot);
    }
    if (self->last_part == part) {
        self->last_part = NULL;
    }
    kp_part_unref(self, part, 0);
}

/* ---- from sealed to committed ---- */

static bool live(const kp_part *part) {
    return part && !part->gone;
}

static void start_publish(kp_worker *self, kp_part *part) {
    kp_error err;
    kp_bytes manifest = {part->intent.manifest.data, part->intent.manifest.length};
    part->phase = PART_PUBLISHING;
    if (self->sink->ops->publish(self->sink, part->slot, manifest, &err) != KP_OK) {
        part->phase = PART_PUBLISH;
        kp_worker_trouble(self, &err);
    }
}

void kp_worker_retry_publish(kp_worker *self) {
    for (size_t i = 0; i < self->part_count && self->sink->ops->publish; i++) {
        if (live(self->parts[i]) && self->parts[i]->phase == PART_PUBLISH) {
            start_publish(self, self->parts[i]);
        }
    }
}

void kp_worker_on_published(void *ctx, int32_t slot, const kp_error *err) {
    kp_worker *self = ctx;
    kp_part *part = self->parts[slot];
    if (!live(part)) {
        return;
    }
    if (err) {
        part->phase = PART_PUBLISH;
        kp_worker_trouble(self, err);
        return;
    }
    part->phase = PART_FINAL;
    kp_worker_healthy(self);
}

/* What was intended cannot be published: as long as Kafka has the intent, every owner would try again. */
void kp_worker_on_lost(void *ctx, int32_t slot, const kp_error *err) {
    kp_worker *self = ctx;
    kp_part *part = self->parts[slot];
    if (!live(part)) {
        return;
    }
    if (part->phase == PART_PUBLISHING) {
        part->phase = PART_LOST;
    } else {
        self->restart = true;
    }
    kp_worker_trouble(self, err);
}

static void find_intent(kp_worker *self, kp_part *part) {
    kp_buf_deinit(&part->intent.manifest);
    if (self->sink->ops->sealed(self->sink, part->slot, kp_checkpoint_position(&part->cp), &part->intent)) {
        part->phase = PART_INTENT;
    }
}

static bool plain_commit_due(const kp_worker *self, const kp_part *part) {
    return part->phase == PART_RUNNING && kp_checkpoint_position(&part->cp) > part->committed &&
           kp_worker_sink_is_idle(self, part, INT64_MAX);
}

bool kp_worker_has_to_commit(const kp_worker *self) {
    bool due = self->commit_in_flight;
    for (size_t i = 0; i < self->part_count && !due; i++) {
        const kp_part *part = self->parts[i];
        due = live(part) && !part->fenced &&
              (part->phase != PART_RUNNING || plain_commit_due(self, part) ||
               !kp_worker_sink_is_idle(self, part, kp_checkpoint_position(&part->cp)));
    }
    return due;
}

static kp_status append_intent(const kp_part *part, kp_buf *out, kp_error *err) {
    kp_status st;
    KP_TRY(kp_buf_printf(out, err, "{\"kafkapipe\":1,\"end\":%lld,\"files\":", (long long)part->intent.end));
    KP_TRY(kp_buf_append(out, part->intent.manifest.data, part->intent.manifest.length, err));
    KP_TRY(kp_buf_append_text(out, "}", err));
done:
    return st;
}

static kp_status set_metadata(const kp_part *part, rd_kafka_topic_partition_t *entry, kp_error *err) {
    kp_buf text = {0};
    kp_status st = append_intent(part, &text, err);
    if (st == KP_OK) {
        entry->metadata = malloc(text.length); /* the library frees it with free() */
        st = entry->metadata ? KP_OK : kp_error_nomem(err);
    }
    if (st == KP_OK) {
        memcpy(entry->metadata, text.data, text.length);
        entry->metadata_size = text.length;
    }
    kp_buf_deinit(&text);
    return st;
}

/* Adds what is due for this partition to the next commit. */
static kp_status add_commit(kp_worker *self, kp_part *part, bool plain_too, rd_kafka_topic_partition_list_t *list,
                            kp_error *err) {
    int64_t offset = -1;
    if (part->phase == PART_INTENT) {
        KP_FAIL_POINT("before-intent");
        offset = part->committed >= 0 ? part->committed : part->intent.start;
    } else if (part->phase == PART_FINAL) {
        KP_FAIL_POINT("before-final");
        offset = part->intent.end;
    } else if (part->phase == PART_LOST && !part->fenced) {
        offset = part->committed;
    } else if (plain_too && plain_commit_due(self, part)) {
        offset = kp_checkpoint_position(&part->cp);
    }
    if (offset < 0) {
        return KP_OK;
    }
    rd_kafka_topic_partition_t *entry = rd_kafka_topic_partition_list_add(list, part->topic, part->partition);
    entry->offset = offset;
    part->commit_offset = offset;
    part->commit_sent = true;
    return part->phase == PART_INTENT ? set_metadata(part, entry, err) : KP_OK;
}

static void send_commit(kp_worker *self, rd_kafka_topic_partition_list_t *list) {
    kp_error err;
    rd_kafka_resp_err_t code = rd_kafka_commit_queue(self->rk, list, self->commits, NULL, NULL);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        self->commit_in_flight = true;
        KP_FAIL_POINT("commit-sent");
        return;
    }
    kp_kafka_error_set(&err, code, NULL, "offset commit of group %s", self->config->group);
    err.status = KP_RETRY;
    kp_worker_trouble(self, &err);
}

static void commit_due(kp_worker *self, int64_t now_ms) {
    kp_error err;
    kp_status st = KP_OK;
    bool plain_too = self->draining || now_ms - self->last_commit_ms >= COMMIT_INTERVAL_MS;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    for (size_t i = 0; i < self->part_count && st == KP_OK; i++) {
        kp_part *part = self->parts[i];
        if (part) {
            part->commit_sent = false;
        }
        if (live(part)) {
            st = add_commit(self, part, plain_too, list, &err);
        }
    }
    if (st != KP_OK) {
        kp_worker_trouble(self, &err);
    } else if (list->cnt > 0) {
        self->last_commit_ms = plain_too ? now_ms : self->last_commit_ms;
        send_commit(self, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

void kp_worker_advance(kp_worker *self, int64_t now_ms) {
    bool waiting = self->backoff_until_ms > now_ms;
    for (size_t i = 0; i < self->part_count && self->sink->ops->sealed; i++) {
        kp_part *part = self->parts[i];
        if (live(part) && part->phase == PART_RUNNING) {
            find_intent(self, part);
        } else if (live(part) && part->phase == PART_PUBLISH && !waiting) {
            start_publish(self, part);
        }
    }
    /* an assignment that was lost is not ours to commit for: the rebalance callback is on its way */
    if (!self->commit_in_flight && !waiting && self->part_count && !rd_kafka_assignment_lost(self->rk)) {
        commit_due(self, now_ms);
    }
}

/* ---- what came of a commit ---- */

static void committed(kp_worker *self, kp_part *part) {
    part->committed = part->commit_offset;
    if (part->phase == PART_INTENT) {
        KP_FAIL_POINT("after-intent");
        start_publish(self, part);
    } else if (part->phase == PART_LOST) {
        part->fenced = true; /* nothing of this assignment may be committed over it */
        self->restart = true;
    } else if (part->phase == PART_FINAL) {
        part->phase = PART_RUNNING;
        KP_FAIL_POINT("after-final");
        self->sink->ops->settled(self->sink, part->slot, part->intent.end);
        if (part->recovering) { /* only now may files be removed that the intent named */
            part->recovering = false;
            self->sink->ops->clean(self->sink, part->slot);
        }
    }
}

/* Only a new generation of the group could commit: to try again before this member has joined it is of no use. */
static bool is_fencing(rd_kafka_resp_err_t code) {
    return code == RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS || code == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
           code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID || code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID;
}

static void on_commit(kp_worker *self, rd_kafka_event_t *event) {
    kp_error err = {0};
    rd_kafka_resp_err_t global = rd_kafka_event_error(event);
    const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);
    self->commit_in_flight = false;
    for (int i = 0; list && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *entry = &list->elems[i];
        kp_part *part = kp_part_find(self, entry->topic, entry->partition);
        rd_kafka_resp_err_t code = global ? global : entry->err;
        if (part && part->commit_sent && code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            committed(self, part);
        } else if (part && part->commit_sent) {
            part->fenced = part->leaving && is_fencing(code);
            kp_kafka_error_set(&err, code, NULL, "offset commit of group %s for %s [%d]", self->config->group,
                               entry->topic, entry->partition);
        }
    }
    if (err.status == KP_OK) {
        kp_worker_healthy(self);
        kp_pipeline_raise(self->pipeline);
    } else { /* whatever it is, a rebalance or the next try decides; nothing is lost by waiting */
        err.status = KP_RETRY;
        kp_worker_trouble(self, &err);
    }
}

void kp_worker_serve_commits(kp_worker *self) {
    rd_kafka_event_t *event;
    while (self->commits && (event = rd_kafka_queue_poll(self->commits, 0))) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OFFSET_COMMIT) {
            on_commit(self, event);
        }
        rd_kafka_event_destroy(event);
    }
}
