/* What the files sink says about sealed segments in an intent: a JSON array of [temporary, final, length].
 *
 * It goes into the metadata of an offset commit, which brokers bound. A segment of many files has a list that is
 * longer: that one is a file of its own among the temporary ones, uploaded with the others, and the intent names it: an
 * array of one path. It is removed when its segment is committed; what a crash leaves of it, the next owner cleans
 * away.
 */
#include "sinks/files.h"

#include "core/mem.h"

#include <string.h>

static kp_status add_entry(kp_buf *out, const files_file *file, kp_error *err) {
    kp_status st;
    kp_bytes temp = {file->temp.data, file->temp.length};
    kp_bytes path = {file->path.data, file->path.length};
    KP_TRY(kp_buf_append_text(out, out->length ? ",[" : "[[", err));
    KP_TRY(kp_buf_append_json_string(out, temp, err));
    KP_TRY(kp_buf_append_text(out, ",", err));
    KP_TRY(kp_buf_append_json_string(out, path, err));
    KP_TRY(kp_buf_printf(out, err, ",%lld]", (long long)file->length));
done:
    return st;
}

/* Without the bracket at the end. */
static kp_status add_entries(kp_buf *out, const files_segment *segment, kp_error *err) {
    kp_status st = KP_OK;
    for (const files_file *file = segment->files; file && st == KP_OK; file = file->next) {
        if (file != segment->list) {
            st = add_entry(out, file, err);
        }
    }
    return st;
}

static kp_status add_path(kp_buf *out, const files_file *list, kp_error *err) {
    kp_status st;
    kp_bytes path = {list->temp.data, list->temp.length};
    KP_TRY(kp_buf_append_text(out, "[", err));
    KP_TRY(kp_buf_append_json_string(out, path, err));
done:
    return st;
}

/* A sealed file of the segment that holds the list. */
static kp_status make_list(files_segment *segment, kp_buf *text, kp_error *err) {
    kp_status st;
    files_sink *self = segment->part->sink;
    files_file *list = kp_calloc(1, sizeof *list);
    if (!list) {
        return kp_error_nomem(err);
    }
    list->segment = segment;
    list->state = FILE_SEALED;
    list->first.offset = segment->start;
    self->files++;
    self->held += text->length;
    kp_buf_move(&list->body, text);
    KP_TRY(files_cut(list, err));
    list->next = segment->files;
    segment->files = list;
    segment->list = list;
    segment->unfinished++;
done:
    if (st != KP_OK) {
        files_file_free(list);
    }
    return st;
}

kp_status files_manifest_seal(files_segment *segment, kp_error *err) {
    kp_buf text = {0};
    kp_status st = add_entries(&text, segment, err);
    if (st == KP_OK && text.length > FILES_MANIFEST_MAX) {
        st = kp_buf_append_text(&text, "]", err);
        st = st == KP_OK ? make_list(segment, &text, err) : st;
    }
    kp_buf_deinit(&text);
    return st;
}

/* Whether the segment still fits into the intent, and is in it now. */
static bool add_segment(kp_intent *out, const files_segment *segment, bool first) {
    size_t before = out->manifest.length;
    if (segment->list) { /* alone */
        return first && add_path(&out->manifest, segment->list, NULL) == KP_OK;
    }
    bool fits =
        add_entries(&out->manifest, segment, NULL) == KP_OK && (first || out->manifest.length <= FILES_MANIFEST_MAX);
    out->manifest.length = fits ? out->manifest.length : before;
    return fits;
}

bool files_sealed(kp_sink *base, int32_t slot, int64_t end_max, kp_intent *out) {
    const files_part *part = files_part_find((files_sink *)base, slot);
    const files_segment *segment = part && !part->lost ? part->closed : NULL;
    bool some = false;
    kp_buf_init(&out->manifest);
    while (segment && !segment->unfinished && segment->end <= end_max && add_segment(out, segment, !some)) {
        out->start = some ? out->start : segment->start;
        out->end = segment->end;
        some = true;
        segment = segment->list ? NULL : segment->next;
    }
    return some && kp_buf_append_text(&out->manifest, "]", NULL) == KP_OK;
}

static void removed(void *ctx, const kp_store_result *result) {
    (void)ctx;
    (void)result; /* what stays is removed by the partition's next owner */
}

void files_settled(kp_sink *base, int32_t slot, int64_t end) {
    files_sink *self = (files_sink *)base;
    files_part *part = files_part_find(self, slot);
    while (part && part->closed && part->closed->end <= end) {
        files_segment *segment = part->closed;
        part->closed = segment->next;
        if (segment->list &&
            self->store->ops->remove(self->store, segment->list->temp.data, removed, NULL, NULL) != KP_OK) {
            removed(NULL, NULL);
        }
        files_segment_free(segment);
    }
}
