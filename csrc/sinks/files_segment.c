/* Segments of the files sink: taking records and sealing. See files.h and files.c.
 *
 * A segment is the set of files that are open at the same time for one partition; it covers every offset from its first
 * record to its last. When a rotation rule fires for one file the whole segment is sealed: what is left of its files is
 * uploaded under temporary names (files_upload.c), and once all are whole there it can go into an intent.
 */
#include "sinks/files.h"

#include "core/mem.h"

#include <string.h>

enum {
    PIECES_MAX = 8000, /* a NameNode allows a file 10,000 blocks */
    WAITING_MAX = 4096,
};

files_part *files_part_find(const files_sink *self, int32_t slot) {
    return (size_t)slot < self->slot_count ? self->slots[slot] : NULL;
}

void files_trouble(files_sink *self, const kp_error *err) {
    if (!self->halted) {
        self->halted = true;
        self->env.on_trouble(self->env.ctx, err);
    }
}

/* ---- lifetimes ---- */

void files_file_free(files_file *file) {
    files_sink *self = file->segment->part->sink;
    files_drop_bodies(file);
    files_format_free(file);
    self->files--;
    self->open_files -= file->state == FILE_OPEN;
    kp_buf_deinit(&file->starts);
    kp_buf_deinit(&file->key);
    kp_buf_deinit(&file->first_value);
    kp_buf_deinit(&file->temp);
    kp_buf_deinit(&file->path);
    kp_buf_deinit(&file->first_key);
    kp_free(file);
}

void files_segment_free(files_segment *segment) {
    if (!segment) {
        return;
    }
    while (segment->files) {
        files_file *file = segment->files;
        segment->files = file->next;
        files_file_free(file);
    }
    kp_free(segment);
}

void files_part_free(files_part *part) {
    files_segment_free(part->open);
    while (part->closed) {
        files_segment *segment = part->closed;
        part->closed = segment->next;
        files_segment_free(segment);
    }
    kp_buf_deinit(&part->temp_prefix);
    kp_buf_deinit(&part->published);
    kp_free(part->topic);
    kp_free(part);
}

void files_part_drop_idle(files_part *part) {
    if (part->slot >= 0 || part->in_flight) {
        return;
    }
    files_part **at = &part->sink->parts;
    while (*at != part) {
        at = &(*at)->next;
    }
    *at = part->next;
    files_part_free(part);
}

/* ---- sealing ---- */

static kp_status make_path(files_file *file, kp_error *err) {
    kp_status st;
    if (!kp_buf_text(&file->first_key) || !kp_buf_text(&file->first_value)) {
        return kp_error_nomem(err);
    }
    file->first.key.data = file->first.key.data ? file->first_key.data : NULL;
    file->first.value = (kp_bytes){file->first_value.data, file->first_value.length};
    kp_buf_reset(&file->path);
    KP_TRY(kp_template_render(file->segment->part->plan->path, &file->first, file->first.offset, file->segment->end,
                              &file->path, err));
    if (!kp_buf_text(&file->path)) {
        st = kp_error_nomem(err);
    }
done:
    return st;
}

static kp_status file_end(files_sink *self, files_file *file, kp_error *err) {
    size_t before = file->body.length;
    kp_status st = files_format_end(file, err);
    self->held += file->body.length - before;
    self->open_bytes += file->body.length - before;
    return st;
}

/* May be done again when it fails half way. */
kp_status files_part_seal(files_sink *self, files_part *part, kp_error *err) {
    kp_status st = KP_OK;
    files_segment *segment = part->open;
    for (files_file *file = segment->files; file; file = file->next) {
        KP_TRY(make_path(file, err));
        KP_TRY(file_end(self, file, err));
        KP_TRY(files_cut(file, err));
    }
    KP_TRY(files_manifest_seal(segment, err));
    for (files_file *file = segment->files; file; file = file->next) {
        self->open_files -= file->state == FILE_OPEN;
        segment->unfinished += file->state == FILE_OPEN;
        file->state = FILE_SEALED;
    }
    part->open = NULL;
    *(part->closed ? &part->closed_last->next : &part->closed) = segment;
    part->closed_last = segment;
done:
    return st;
}

/* ---- taking records ---- */

static kp_status file_new(files_segment *segment, const kp_record *rec, kp_bytes key, kp_error *err) {
    kp_status st;
    files_file *file = kp_calloc(1, sizeof *file);
    if (!file) {
        return kp_error_nomem(err);
    }
    file->segment = segment;
    file->first = *rec;
    file->first.topic = rec->has_position ? rec->topic : segment->part->topic; /* that of a dead letter stays */
    file->first.handle = NULL;
    segment->part->sink->open_files++;
    segment->part->sink->files++;
    KP_TRY(kp_buf_append(&file->key, key.data, key.length, err));
    KP_TRY(kp_buf_append(&file->first_key, rec->key.data, rec->key.length, err));
    if (kp_template_per_record(segment->part->plan->path)) {
        KP_TRY(kp_buf_append(&file->first_value, rec->value.data, rec->value.length, err));
    }
    file->next = segment->files;
    segment->files = file;
done:
    if (st != KP_OK) {
        files_file_free(file);
    }
    return st;
}

static kp_status segment_new(files_part *part, const kp_record *rec, kp_error *err) {
    files_segment *segment = kp_calloc(1, sizeof *segment);
    if (!segment) {
        return kp_error_nomem(err);
    }
    segment->part = part;
    segment->start = kp_record_position(rec);
    segment->end = segment->start;
    segment->opened_ms = part->sink->env.now_ms(part->sink->env.ctx);
    part->open = segment;
    return KP_OK;
}

static files_file *file_find(const files_segment *segment, kp_bytes key) {
    files_file *file = segment ? segment->files : NULL;
    while (file && (file->key.length != key.length || memcmp(file->key.data, key.data, key.length) != 0)) {
        file = file->next;
    }
    return file;
}

/* Rendered with the longest offsets there are, so that no name turns out too long when its file is sealed. */
static kp_status file_key(const files_part *part, const kp_record *rec, kp_buf *key, kp_error *err) {
    return kp_template_render(part->plan->path, rec, INT64_MAX, INT64_MAX, key, err);
}

static kp_status seal_oldest(files_sink *self, kp_error *err) {
    files_part *oldest = NULL;
    for (files_part *part = self->parts; part; part = part->next) {
        if (part->open && (!oldest || part->open->opened_ms < oldest->open->opened_ms)) {
            oldest = part;
        }
    }
    return files_part_seal(self, oldest, err);
}

/* The open file that the record belongs to. */
static kp_status file_for(files_sink *self, files_part *part, const kp_record *rec, files_file **out, kp_error *err) {
    kp_status st;
    kp_buf key = {0};
    if (part->open && part->open->due) { /* there was no memory to seal it then */
        KP_TRY(files_part_seal(self, part, err));
    }
    if (!kp_template_per_record(part->plan->path) && !rec->has_position && part->open) {
        *out = part->open->files;
        return KP_OK;
    }
    KP_TRY(file_key(part, rec, &key, err));
    kp_bytes name = {key.data, key.length};
    *out = file_find(part->open, name);
    if (!*out) {
        if ((int64_t)self->open_files >= self->open_max) {
            KP_TRY(seal_oldest(self, err));
        }
        if (!part->open) {
            KP_TRY(segment_new(part, rec, err));
        }
        KP_TRY(file_new(part->open, rec, name, err));
        *out = part->open->files;
    }
done:
    kp_buf_deinit(&key);
    return st;
}

static bool file_is_full(const files_plan *plan, const files_file *file) {
    return (plan->records && (int64_t)file->records >= plan->records) ||
           (plan->bytes && file->length + (int64_t)file->body.length >= plan->bytes) ||
           file->starts.length / sizeof(int64_t) >= PIECES_MAX;
}

/* Bytes that wait for the store; or files that are on their way to being published, however small. */
bool files_is_full(const files_sink *self) {
    return (int64_t)self->held >= self->buffer_bytes || self->files >= (size_t)self->open_max + WAITING_MAX;
}

/* Out of memory half way: no file without a record, no segment without a file. */
static void drop_unused(files_part *part) {
    files_segment *open = part->open;
    if (open && open->files && open->files->records == 0) { /* a new file is the first */
        files_file *file = open->files;
        open->files = file->next;
        files_file_free(file);
    }
    if (open && !open->files) {
        files_segment_free(open);
        part->open = NULL;
    }
}

static kp_status file_take(files_sink *self, files_file *file, const kp_record *rec, kp_error *err) {
    kp_status st;
    size_t before = file->body.length;
    if (before == 0 && file->length) { /* after a piece there will be another of that size */
        KP_TRY(kp_buf_reserve(&file->body, (size_t)self->stream_bytes, err));
    }
    KP_TRY(files_format_add(self, file, rec, err));
    self->held += file->body.length - before;
    self->open_bytes += file->body.length - before;
    file->records++;
done:
    return st;
}

static kp_status take(files_sink *self, files_part *part, const kp_record *rec, kp_error *err) {
    kp_status st;
    files_file *file = NULL;
    if (!part) {
        return kp_error_set(err, KP_RETRY, "GONE", "partition %d of %s is not assigned", rec->partition, rec->topic);
    }
    KP_TRY(files_format_check(self, rec, err));
    KP_TRY(file_for(self, part, rec, &file, err));
    KP_TRY(file_take(self, file, rec, err));
    part->open->end = kp_record_position(rec) + 1;
    kp_error ignored; /* the record is taken in any case: the pump tries again */
    if (file_is_full(part->plan, file)) {
        part->open->due = true;
        (void)!files_part_seal(self, part, &ignored);
    } else if (self->stream_bytes && (int64_t)file->body.length >= self->stream_bytes) {
        (void)!files_cut(file, &ignored);
    }
done:
    if (st != KP_OK) {
        drop_unused(part);
    }
    return st;
}

kp_status files_write(kp_sink *base, kp_batch *batch, kp_error *err) {
    files_sink *self = (files_sink *)base;
    if (files_is_full(self)) { /* the pump sees to it */
        return kp_error_set(err, KP_RETRY, "FULL", "%zu bytes wait for their upload", self->held);
    }
    files_part *part = NULL;
    for (size_t i = 0; i < batch->count; i++) {
        kp_error reason;
        const kp_record *rec = &batch->records[i];
        part = part && part->slot == rec->slot ? part : files_part_find(self, rec->slot);
        kp_status st = take(self, part, rec, &reason);
        if (st == KP_OK) {
            kp_batch_judge(batch, i, KP_DELIVERED, NULL);
        } else if (st == KP_REJECT) {
            kp_batch_judge(batch, i, KP_REJECTED, &reason);
        } else { /* out of memory: what follows in this partition must wait for it too */
            kp_batch_judge_all(batch, KP_AGAIN, &reason);
            break;
        }
    }
    self->env.on_batch(self->env.ctx, batch);
    return KP_OK;
}
