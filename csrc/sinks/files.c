/* Records into files: `hdfs` and `file` differ only in the store. The sink contract, its configuration and its
 * lifetime; the work is in files_segment.c and files_publish.c.
 */
#include "sinks/files.h"

#include "core/mem.h"

#include <stdio.h>
#include <string.h>

/* Without streaming a full buffer closes everything: what filled it may have nothing more to write until there is
 * room. */
static bool must_seal(const files_sink *self, const files_segment *open, int64_t now_ms) {
    int64_t age_ms = open->part->plan->age_ms;
    return open->due || (!self->stream_bytes && (int64_t)self->held >= self->buffer_bytes) ||
           (age_ms && now_ms - open->opened_ms >= age_ms);
}

static void part_pump(files_sink *self, files_part *part, int64_t now_ms) {
    kp_error err;
    kp_status st = KP_OK;
    if (part->open && must_seal(self, part->open, now_ms)) {
        st = files_part_seal(self, part, &err);
    }
    if (st == KP_OK && !self->halted) {
        st = files_part_upload(self, part, &err);
    }
    if (st != KP_OK) {
        files_trouble(self, &err);
    } else if (!self->halted && part->clean_due) {
        files_clean_start(part);
    }
}

static kp_status files_pump(kp_sink *base, kp_error *err) {
    files_sink *self = (files_sink *)base;
    int64_t now_ms = self->env.now_ms(self->env.ctx);
    kp_status st = self->store->ops->pump(self->store, err);
    if (self->stream_bytes && (int64_t)self->held >= self->buffer_bytes) {
        files_cut_large(self);
    }
    for (files_part *part = self->parts; part && st == KP_OK; part = part->next) {
        if (part->slot >= 0) { /* else it only waits for the end of what is under way */
            part_pump(self, part, now_ms);
        }
    }
    return st;
}

static int64_t files_next_ms(const kp_sink *base) {
    const files_sink *self = (const files_sink *)base;
    int64_t next = INT64_MAX;
    for (files_part *part = self->halted ? NULL : self->parts; part; part = part->next) {
        bool aging = part->open && part->plan->age_ms;
        int64_t due = aging ? part->open->opened_ms + part->plan->age_ms : INT64_MAX;
        next = due < next ? due : next;
    }
    return next;
}

static void files_resume(kp_sink *base) {
    ((files_sink *)base)->halted = false;
}

static size_t files_held_bytes(const kp_sink *base) {
    return ((const files_sink *)base)->held;
}

static kp_sink_flush files_flush(const kp_sink *base) {
    (void)base;
    return (kp_sink_flush){.records = 1000};
}

static kp_status take_slot(files_sink *self, files_part *part, kp_error *err) {
    size_t needed = (size_t)part->slot + 1;
    if (needed > self->slot_count) {
        files_part **slots = kp_realloc(self->slots, needed * sizeof(files_part *));
        if (!slots) {
            return kp_error_nomem(err);
        }
        memset(slots + self->slot_count, 0, (needed - self->slot_count) * sizeof(files_part *));
        self->slots = slots;
        self->slot_count = needed;
    }
    self->slots[part->slot] = part;
    return KP_OK;
}

/* "+" cannot be in a topic's name and is encoded in a group's: the prefix says exactly whose the file is. A file name
 * has 255 bytes at most, so long ones are told apart by a hash (FNV-1a). */
static kp_status make_prefix(const char *group, const char *topic, int32_t partition, kp_buf *out, kp_error *err) {
    kp_status st;
    KP_TRY(kp_buf_append_url(out, kp_bytes_of(group), "", err));
    KP_TRY(kp_buf_printf(out, err, "+%s", topic));
    if (out->length > FILES_PREFIX_MAX) {
        uint64_t hash = 14695981039346656037u;
        for (size_t i = 0; i < out->length; i++) {
            hash = (hash ^ (unsigned char)out->data[i]) * 1099511628211u;
        }
        kp_buf_reset(out);
        KP_TRY(kp_buf_printf(out, err, "%016llx", (unsigned long long)hash));
    }
    KP_TRY(kp_buf_printf(out, err, "+%d+", partition));
    st = kp_buf_text(out) ? KP_OK : kp_error_nomem(err);
done:
    return st;
}

static kp_status files_begin(kp_sink *base, int32_t slot, const char *topic, int32_t partition, kp_error *err) {
    kp_status st;
    files_sink *self = (files_sink *)base;
    files_part *part = kp_calloc(1, sizeof *part);
    if (!part) {
        return kp_error_nomem(err);
    }
    part->sink = self;
    part->plan = files_plan_for(self, topic);
    part->slot = slot;
    part->partition = partition;
    part->topic = kp_strdup(topic);
    snprintf(part->token, sizeof part->token, "%s-%llu+", self->token, (unsigned long long)self->sequence++);
    if (!part->topic) {
        KP_TRY(kp_error_nomem(err));
    }
    KP_TRY(make_prefix(self->env.group, topic, partition, &part->temp_prefix, err));
    KP_TRY(take_slot(self, part, err));
    part->next = self->parts;
    self->parts = part;
done:
    if (st != KP_OK) {
        files_part_free(part);
    }
    return st;
}

static void files_clean(kp_sink *base, int32_t slot) {
    files_part *part = files_part_find((files_sink *)base, slot);
    if (part) {
        part->clean_due = true;
    }
}

static void files_seal(kp_sink *base, int32_t slot) {
    files_sink *self = (files_sink *)base;
    files_part *part = files_part_find(self, slot);
    kp_error err;
    if (part && part->open && files_part_seal(self, part, &err) != KP_OK) {
        files_trouble(self, &err);
    }
}

static bool files_idle(const kp_sink *base, int32_t slot, int64_t end) {
    const files_part *part = files_part_find((const files_sink *)base, slot);
    const files_segment *oldest = part && part->closed ? part->closed : part ? part->open : NULL;
    return !part || (!part->publishing && (!oldest || oldest->end > end));
}

static void drop_bodies(files_segment *segment) {
    for (files_file *file = segment->files; file; file = file->next) {
        files_drop_bodies(file);
    }
}

/* Nothing more of it goes up, so its bytes are not needed any more. */
static void abandon(files_part *part) {
    if (part->open) {
        part->open->next = part->closed;
        part->closed = part->open;
        part->open = NULL;
    }
    for (files_segment *segment = part->closed; segment; segment = segment->next) {
        drop_bodies(segment);
    }
}

static void files_end(kp_sink *base, int32_t slot) {
    files_sink *self = (files_sink *)base;
    files_part *part = files_part_find(self, slot);
    if (part) {
        self->slots[slot] = NULL;
        part->slot = -1;
        part->clean_due = false;
        abandon(part);
        files_part_drop_idle(part);
    }
}

static void files_close(kp_sink *base) {
    files_sink *self = (files_sink *)base;
    if (!self) {
        return;
    }
    for (files_part *part = self->parts; part; part = part->next) {
        part->slot = -1;
        part->in_flight++; /* keeps the list whole while the store ends what is under way */
    }
    if (self->store) {
        self->store->ops->close(self->store);
    }
    while (self->parts) {
        files_part *part = self->parts;
        self->parts = part->next;
        files_part_free(part);
    }
    kp_free(self->slots);
    files_options_free(self);
    kp_buf_deinit(&self->line);
    kp_free(self);
}

static kp_status files_open(kp_sink **out, const kp_json *config, const kp_sink_env *env, const kp_sink_ops *ops,
                            kp_error *err) {
    files_sink *self = kp_calloc(1, sizeof *self);
    if (!self) {
        return kp_error_nomem(err);
    }
    self->base.ops = ops;
    self->env = *env;
    kp_status st = files_options_read(self, config, err);
    st = st == KP_OK ? kp_store_find(ops->name)->open(&self->store, config, env->http, err) : st;
    if (st != KP_OK) {
        files_close(&self->base);
        return st;
    }
    *out = &self->base;
    return KP_OK;
}

static kp_status hdfs_open(kp_sink **out, const kp_json *config, const kp_sink_env *env, kp_error *err) {
    return files_open(out, config, env, &kp_sink_hdfs, err);
}

static kp_status file_open(kp_sink **out, const kp_json *config, const kp_sink_env *env, kp_error *err) {
    return files_open(out, config, env, &kp_sink_file, err);
}

static kp_status hdfs_http_options(const kp_json *config, kp_http_options *options, kp_error *err) {
    kp_sink_tls_options(config, options);
    return kp_json_need_int(config, "timeout_ms", &options->timeout_ms, err);
}

#define FILES_OPS                                                                                                      \
    .close = files_close, .flush = files_flush, .write = files_write, .pump = files_pump, .next_ms = files_next_ms,    \
    .resume = files_resume, .held_bytes = files_held_bytes, .begin = files_begin, .clean = files_clean,                \
    .seal = files_seal, .sealed = files_sealed, .publish = files_publish, .settled = files_settled,                    \
    .idle = files_idle, .end = files_end

const kp_sink_ops kp_sink_hdfs = {.name = "hdfs", .http_options = hdfs_http_options, .open = hdfs_open, FILES_OPS};
const kp_sink_ops kp_sink_file = {.name = "file", .open = file_open, FILES_OPS};
