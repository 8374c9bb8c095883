/* How the bytes of the files sink come into the store, with memory that does not grow with the file.
 *
 * A file that stays below `stream_bytes` goes up in one piece when it is sealed. A larger one goes up in pieces of that
 * size while its records still arrive, and the store makes one file of them when the last is there. A piece stays in
 * memory until the store has confirmed its length, so an upload that breaks off is sent again from memory: nothing
 * has to be read again from Kafka, and no connection stays open for as long as a file does.
 */
#include "sinks/files.h"

#include "core/fail_point.h"
#include "core/mem.h"

#include <string.h>

enum { UPLOADS_MAX = 8 };

/* ---- pieces ---- */

static kp_status make_temp_name(files_file *file, kp_error *err) {
    kp_status st;
    files_part *part = file->segment->part;
    files_sink *self = part->sink;
    kp_buf_reset(&file->temp);
    KP_TRY(kp_buf_append(&file->temp, part->plan->temp_folder.data, part->plan->temp_folder.length, err));
    KP_TRY(kp_buf_append(&file->temp, part->temp_prefix.data, part->temp_prefix.length, err));
    KP_TRY(kp_buf_printf(&file->temp, err, "%lld+%s%llu", (long long)file->first.offset, part->token,
                         (unsigned long long)self->sequence++));
    st = kp_buf_text(&file->temp) ? KP_OK : kp_error_nomem(err);
done:
    if (st != KP_OK) {
        kp_buf_reset(&file->temp);
    }
    return st;
}

kp_status files_cut(files_file *file, kp_error *err) {
    kp_status st = KP_OK;
    files_piece **end = &file->pieces;
    if (file->body.length == 0) {
        return KP_OK;
    }
    files_piece *piece = kp_calloc(1, sizeof *piece);
    if (!piece) {
        return kp_error_nomem(err);
    }
    if (file->temp.length == 0) {
        KP_TRY(make_temp_name(file, err));
    }
    KP_TRY(kp_buf_append(&file->starts, &file->length, sizeof file->length, err));
    while (*end) {
        end = &(*end)->next;
    }
    *end = piece;
    piece->file = file;
    piece->start = file->length;
    file->segment->part->sink->open_bytes -= file->state == FILE_OPEN ? file->body.length : 0;
    kp_buf_move(&piece->body, &file->body);
    file->length += (int64_t)piece->body.length;
done:
    if (st != KP_OK) {
        kp_free(piece);
    }
    return st;
}

/* Those that have more than the others have on average: of many small files few become pieces. */
static void cut_above(files_sink *self, size_t least) {
    kp_error ignored; /* out of memory: the next turn tries again */
    for (files_part *part = self->parts; part; part = part->next) {
        for (files_file *file = part->open ? part->open->files : NULL; file; file = file->next) {
            if (part->slot >= 0 && file->body.length >= least && files_cut(file, &ignored) != KP_OK) {
                return;
            }
        }
    }
}

void files_cut_large(files_sink *self) {
    if (self->open_files && self->open_bytes > self->held / 2) { /* else enough is on its way */
        cut_above(self, self->open_bytes / self->open_files);
    }
}

void files_drop_bodies(files_file *file) {
    files_sink *self = file->segment->part->sink;
    self->held -= file->body.length;
    self->open_bytes -= file->state == FILE_OPEN ? file->body.length : 0;
    kp_buf_deinit(&file->body);
    for (files_piece **at = &file->pieces; *at;) {
        files_piece *piece = *at;
        if (piece->under_way) {
            at = &piece->next;
            continue;
        }
        *at = piece->next;
        self->held -= piece->body.length;
        kp_buf_deinit(&piece->body);
        kp_free(piece);
    }
}

static size_t piece_count(const files_file *file) {
    return file->starts.length / sizeof(int64_t);
}

/* ---- uploads ---- */

static void file_is_whole(files_file *file) {
    file->state = FILE_UPLOADED;
    file->segment->unfinished--;
    kp_buf_deinit(&file->starts);
}

static void piece_done(files_piece *piece) {
    files_file *file = piece->file;
    files_sink *self = file->segment->part->sink;
    files_piece **at = &file->pieces;
    while (*at != piece) {
        at = &(*at)->next;
    }
    *at = piece->next;
    self->held -= piece->body.length;
    kp_buf_deinit(&piece->body);
    kp_free(piece);
    if (file->state == FILE_SEALED && !file->pieces && piece_count(file) == 1) {
        file_is_whole(file);
    }
    self->env.on_progress(self->env.ctx);
}

static void removed(void *ctx, const kp_store_result *result) {
    (void)ctx;
    (void)result; /* what stays is removed by the partition's next owner */
}

/* The partition went meanwhile: no intent can name this file. */
static void remove_orphan(files_piece *piece) {
    kp_buf path = {0};
    kp_store *store = piece->file->segment->part->sink->store;
    if (store->ops->piece_path(piece->file->temp.data, piece->start, &path, NULL) == KP_OK &&
        store->ops->remove(store, path.data, removed, NULL, NULL) != KP_OK) {
        removed(NULL, NULL);
    }
    kp_buf_deinit(&path);
}

static void tell_lost(const files_file *file) {
    kp_error err;
    files_part *part = file->segment->part;
    if (part->lost) {
        return;
    }
    kp_error_set(&err, KP_RETRY, "ELOST",
                 "%s was removed before it was published: its records are read again from Kafka", file->temp.data);
    part->lost = true;
    part->sink->env.on_lost(part->sink->env.ctx, part->slot, &err);
}

static void piece_failed(const files_piece *piece, const kp_store_result *result) {
    kp_error err;
    const files_file *file = piece->file;
    if (result->outcome == KP_STORE_FAILED) {
        files_trouble(file->segment->part->sink, &result->err);
    } else if (file->pieces->start > 0) {
        tell_lost(file);
    } else { /* the first was not there yet */
        kp_error_set(&err, KP_RETRY, "", "%s: its first part is not there yet", file->temp.data);
        files_trouble(file->segment->part->sink, &err);
    }
}

static void on_piece(void *ctx, const kp_store_result *result) {
    files_piece *piece = ctx;
    files_part *part = piece->file->segment->part;
    files_sink *self = part->sink;
    self->uploading--;
    piece->under_way = false;
    if (part->slot < 0) {
        if (result->outcome == KP_STORE_DONE) {
            remove_orphan(piece);
        }
    } else if (result->outcome == KP_STORE_DONE) {
        KP_FAIL_POINT("after-put");
        piece_done(piece);
    } else {
        piece_failed(piece, result);
    }
    part->in_flight--;
    files_part_drop_idle(part);
}

static void on_joined(void *ctx, const kp_store_result *result) {
    files_file *file = ctx;
    files_part *part = file->segment->part;
    files_sink *self = part->sink;
    file->state = FILE_SEALED;
    if (part->slot >= 0 && result->outcome == KP_STORE_DONE) {
        KP_FAIL_POINT("after-join");
        file_is_whole(file);
        self->env.on_progress(self->env.ctx);
    } else if (part->slot >= 0 && result->outcome == KP_STORE_MISSING) {
        tell_lost(file);
    } else if (part->slot >= 0) {
        files_trouble(self, &result->err);
    }
    part->in_flight--;
    files_part_drop_idle(part);
}

static kp_status piece_upload(files_sink *self, files_piece *piece, kp_error *err) {
    const files_file *file = piece->file;
    const kp_store_ops *ops = self->store->ops;
    kp_bytes body = {piece->body.data, piece->body.length};
    KP_FAIL_POINT("before-put");
    bool whole = file->state == FILE_SEALED && piece_count(file) == 1;
    kp_status st = whole ? ops->put(self->store, file->temp.data, body, on_piece, piece, err)
                         : ops->put_piece(self->store, file->temp.data, piece->start, body, on_piece, piece, err);
    if (st == KP_OK) {
        piece->under_way = true;
        self->uploading++;
        file->segment->part->in_flight++;
    }
    return st;
}

static kp_status file_join(files_sink *self, files_file *file, kp_error *err) {
    KP_FAIL_POINT("before-join");
    const int64_t *starts = (const int64_t *)(const void *)file->starts.data;
    kp_status st = self->store->ops->join(self->store, file->temp.data, starts, piece_count(file), file->length,
                                          on_joined, file, err);
    if (st == KP_OK) {
        file->state = FILE_JOINING;
        file->segment->part->in_flight++;
    }
    return st;
}

static kp_status file_upload(files_sink *self, files_file *file, kp_error *err) {
    kp_status st = KP_OK;
    for (files_piece *piece = file->pieces; piece && st == KP_OK && self->uploading < UPLOADS_MAX;
         piece = piece->next) {
        if (!piece->under_way) {
            st = piece_upload(self, piece, err);
        }
    }
    if (st == KP_OK && file->state == FILE_SEALED && !file->pieces) {
        st = file_join(self, file, err);
    }
    return st;
}

static kp_status segment_upload(files_sink *self, files_segment *segment, kp_error *err) {
    kp_status st = KP_OK;
    for (files_file *file = segment->files; file && st == KP_OK; file = file->next) {
        st = file_upload(self, file, err);
    }
    return st;
}

kp_status files_part_upload(files_sink *self, files_part *part, kp_error *err) {
    kp_status st = KP_OK;
    if (part->lost) {
        return KP_OK;
    }
    for (files_segment *segment = part->closed; segment && st == KP_OK; segment = segment->next) {
        if (segment->unfinished) {
            st = segment_upload(self, segment, err);
        }
    }
    return st == KP_OK && part->open ? segment_upload(self, part->open, err) : st;
}
