/* The second step of the files sink: renames a manifest's temporary files to their final names, in any process and as
 * often as it takes, and removes temporary files that an earlier owner of the partition left behind.
 *
 * For one file: a rename that is done is done. When the temporary file is gone, a final file of the right length is the
 * work of an earlier try. A final name that is taken while the temporary file is still there belongs to something else
 * (a topic that was made again, offsets that were moved back): it is never replaced, the next free "NAME.1", "NAME.2"
 * is taken. When the temporary file is gone and no name has the length, somebody removed the file, or moved it away
 * before we had the answer: its records are read again, since twice is better than not at all.
 */
#include "sinks/files.h"

#include "core/fail_point.h"
#include "core/mem.h"

#include <string.h>

enum { NAMES_MAX = 100 };

typedef struct publication publication;

typedef struct {
    publication *owner;
    kp_buf temp;
    kp_buf path;
    kp_buf name; /* path, or path with a number behind it */
    int64_t length;
    int number;
    bool temp_gone;
    bool lost; /* neither the temporary file is there nor a final one */
} item;

struct publication {
    files_part *part;
    size_t count;
    size_t unfinished;
    kp_error err; /* the first that failed */
    bool lost;    /* one is nowhere */
    item items[];
};

static void publication_free(publication *self) {
    for (size_t i = 0; self && i < self->count; i++) {
        kp_buf_deinit(&self->items[i].temp);
        kp_buf_deinit(&self->items[i].path);
        kp_buf_deinit(&self->items[i].name);
    }
    kp_free(self);
}

static void tell_lost(files_part *part, const char *path) {
    kp_error err;
    kp_error_set(&err, KP_RETRY, "ELOST",
                 "%s was removed before it was published: its records are read again from Kafka", path);
    part->lost = true;
    part->sink->env.on_lost(part->sink->env.ctx, part->slot, &err);
}

/* Trouble first: what is nowhere now may be a file of a server that does not answer for another one. */
static void tell(publication *self) {
    files_part *part = self->part;
    const kp_sink_env *env = &part->sink->env;
    part->publishing = false;
    if (part->slot < 0) {
        return;
    }
    if (self->err.status == KP_OK && self->lost) {
        for (size_t i = 0; i < self->count; i++) {
            if (self->items[i].lost) {
                tell_lost(part, self->items[i].path.data);
                return;
            }
        }
    }
    bool done = self->err.status == KP_OK;
    if (done) {
        kp_buf_deinit(&part->published);
    }
    env->on_published(env->ctx, part->slot, done ? NULL : &self->err);
}

static void item_done(item *file, const kp_error *err) {
    publication *self = file->owner;
    files_part *part = self->part;
    if (err && self->err.status == KP_OK) {
        self->err = *err;
    }
    if (--self->unfinished == 0) {
        tell(self);
        publication_free(self);
    }
    part->in_flight--;
    files_part_drop_idle(part);
}

/* Who takes a published file away does no harm, and another try has only the others to do. */
static void item_published(item *file) {
    if (kp_buf_append(&file->owner->part->published, file->temp.data, file->temp.length + 1, NULL) != KP_OK) {
        file->owner->part->published.length = 0; /* then each is looked at again */
    }
    item_done(file, NULL);
}

static bool is_published(const item *file) {
    const kp_buf *done = &file->owner->part->published;
    for (size_t at = 0; at < done->length; at += strlen(done->data + at) + 1) {
        if (strcmp(done->data + at, file->temp.data) == 0) {
            return true;
        }
    }
    return false;
}

static kp_status next_name(item *file, kp_error *err) {
    kp_status st;
    kp_buf_reset(&file->name);
    KP_TRY(kp_buf_append(&file->name, file->path.data, file->path.length, err));
    if (file->number > 0) {
        KP_TRY(kp_buf_printf(&file->name, err, ".%d", file->number));
    }
    if (!kp_buf_text(&file->name)) {
        st = kp_error_nomem(err);
    }
done:
    return st;
}

static void on_renamed(void *ctx, const kp_store_result *result);
static void on_looked(void *ctx, const kp_store_result *result);

/* Renames to the name that is next in turn, or looks at it when only an earlier try can have been there. */
static void item_try(item *file) {
    kp_error err;
    kp_store *store = file->owner->part->sink->store;
    kp_status st = file->number < NAMES_MAX
                       ? next_name(file, &err)
                       : kp_error_set(&err, KP_REJECT, "EXISTS", "publish: %s and %d names beside it are taken",
                                      file->path.data, NAMES_MAX);
    if (st == KP_OK && file->temp_gone) {
        st = store->ops->status(store, file->name.data, on_looked, file, &err);
    } else if (st == KP_OK) {
        KP_FAIL_POINT("before-rename");
        st = store->ops->rename(store, file->temp.data, file->name.data, on_renamed, file, &err);
    }
    if (st != KP_OK) {
        item_done(file, &err);
    }
}

static void item_start(item *file) {
    if (is_published(file)) { /* by an earlier try, of which another file failed */
        item_done(file, NULL);
    } else {
        item_try(file);
    }
}

static void on_renamed(void *ctx, const kp_store_result *result) {
    item *file = ctx;
    if (result->outcome == KP_STORE_DONE) {
        KP_FAIL_POINT("after-rename");
        item_published(file);
    } else if (result->outcome == KP_STORE_EXISTS) {
        file->number++;
        item_try(file);
    } else if (result->outcome == KP_STORE_MISSING) {
        file->temp_gone = true;
        file->number = 0;
        item_try(file);
    } else {
        item_done(file, &result->err);
    }
}

static void on_looked(void *ctx, const kp_store_result *result) {
    item *file = ctx;
    bool there = result->outcome == KP_STORE_DONE;
    if (result->outcome == KP_STORE_FAILED) {
        item_done(file, &result->err);
    } else if (!there) {
        file->lost = file->owner->lost = true;
        item_done(file, NULL);
    } else if (!result->is_folder && result->length == file->length) {
        item_published(file);
    } else {
        file->number++;
        item_try(file);
    }
}

static kp_status item_read(item *file, const kp_json *entry, kp_error *err) {
    kp_status st;
    const kp_json *temp = kp_json_first(entry);
    const kp_json *path = kp_json_next(temp);
    const char *temp_text = kp_json_text(temp, NULL);
    const char *path_text = kp_json_text(path, NULL);
    file->length = kp_json_int(kp_json_next(path), -1);
    if (!temp_text || !path_text || file->length < 0) {
        return kp_error_set(err, KP_FATAL, "EINTENT",
                            "publish: the intent in the group's offset is not of this program");
    }
    KP_TRY(kp_buf_append_text(&file->temp, temp_text, err));
    KP_TRY(kp_buf_append_text(&file->path, path_text, err));
    if (!kp_buf_text(&file->temp) || !kp_buf_text(&file->path)) {
        st = kp_error_nomem(err);
    }
done:
    return st;
}

static kp_status publication_new(publication **out, files_part *part, const kp_json *manifest, kp_error *err) {
    kp_status st = KP_OK;
    size_t count = kp_json_count(manifest);
    publication *self = kp_calloc(1, sizeof *self + count * sizeof(item));
    if (!self) {
        return kp_error_nomem(err);
    }
    self->part = part;
    self->count = count;
    const kp_json *entry = kp_json_first(manifest);
    for (size_t i = 0; i < count; i++, entry = kp_json_next(entry)) {
        self->items[i].owner = self;
        KP_TRY(item_read(&self->items[i], entry, err));
    }
done:
    if (st == KP_OK) {
        *out = self;
    } else {
        publication_free(self);
    }
    return st;
}

static kp_status publish_list(files_part *part, kp_bytes list, kp_error *err) {
    kp_status st;
    const kp_json *files = NULL;
    publication *self = NULL;
    KP_TRY(kp_json_parse(&files, list, "the intent's manifest", err));
    if (!kp_json_is_array(files) || kp_json_count(files) == 0) {
        KP_TRY(kp_error_set(err, KP_FATAL, "EINTENT", "publish: the intent in the group's offset names no files"));
    }
    KP_TRY(publication_new(&self, part, files, err));
    part->publishing = true;
    part->in_flight += self->count;
    self->unfinished = self->count;
    for (size_t i = 0, count = self->count; i < count; i++) {
        item_start(&self->items[i]); /* the last one to end may free self, but never before the last one is tried */
    }
done:
    kp_json_free(files);
    return st;
}

/* ---- a list that is a file ---- */

static void on_list(void *ctx, const kp_store_result *result) {
    files_part *part = ctx;
    const kp_sink_env *env = &part->sink->env;
    kp_error err = result->err;
    kp_status st = result->outcome == KP_STORE_FAILED ? err.status : KP_OK;
    if (part->slot >= 0 && result->outcome == KP_STORE_MISSING) {
        part->publishing = false;
        tell_lost(part, "a list of files in _tmp");
    } else if (part->slot >= 0) {
        st = st == KP_OK ? publish_list(part, result->content, &err) : st;
        if (st != KP_OK) {
            part->publishing = false;
            env->on_published(env->ctx, part->slot, &err);
        }
    }
    part->in_flight--;
    files_part_drop_idle(part);
}

/* NULL: the manifest is the list itself. */
static const char *list_path(const kp_json *manifest) {
    return kp_json_is_array(manifest) ? kp_json_text(kp_json_first(manifest), NULL) : NULL;
}

kp_status files_publish(kp_sink *base, int32_t slot, kp_bytes manifest, kp_error *err) {
    kp_status st;
    files_sink *sink = (files_sink *)base;
    files_part *part = files_part_find(sink, slot);
    const kp_json *root = NULL;
    KP_TRY(kp_json_parse(&root, manifest, "the intent's manifest", err));
    const char *path = list_path(root);
    if (!path) {
        st = publish_list(part, manifest, err);
    } else if ((st = sink->store->ops->read(sink->store, path, on_list, part, err)) == KP_OK) {
        part->publishing = true;
        part->in_flight++;
    }
done:
    kp_json_free(root);
    return st;
}

/* ---- cleaning ---- */

static void on_removed(void *ctx, const kp_store_result *result) {
    files_part *part = ctx;
    part->in_flight--;
    if (result->outcome == KP_STORE_FAILED && part->slot >= 0) {
        part->clean_due = true;
        files_trouble(part->sink, &result->err);
    }
    files_part_drop_idle(part);
}

static bool is_stale(const files_part *part, const char *name) {
    size_t prefix = part->temp_prefix.length;
    return strncmp(name, part->temp_prefix.data, prefix) == 0 && !strstr(name + prefix, part->token);
}

static void remove_stale(files_part *part, const char *name) {
    kp_error err;
    kp_buf path = {0};
    files_sink *self = part->sink;
    kp_status st = kp_buf_append(&path, part->plan->temp_folder.data, part->plan->temp_folder.length, &err);
    st = st == KP_OK ? kp_buf_append_text(&path, name, &err) : st;
    if (st == KP_OK && kp_buf_text(&path) &&
        self->store->ops->remove(self->store, path.data, on_removed, part, &err) == KP_OK) {
        part->in_flight++;
    }
    kp_buf_deinit(&path);
}

static void on_listed(void *ctx, const kp_store_result *result) {
    files_part *part = ctx;
    for (size_t i = 0; result->outcome == KP_STORE_DONE && part->slot >= 0 && i < result->name_count; i++) {
        if (is_stale(part, result->names[i])) {
            remove_stale(part, result->names[i]);
        }
    }
    if (result->outcome != KP_STORE_FAILED) { /* a folder that is not there yet is an answer too */
        part->sink->env.on_progress(part->sink->env.ctx);
    }
    on_removed(part, result);
}

void files_clean_start(files_part *part) {
    kp_error err;
    files_sink *self = part->sink;
    part->clean_due = false;
    if (self->store->ops->list(self->store, part->plan->temp_folder.data, on_listed, part, &err) == KP_OK) {
        part->in_flight++;
    } else {
        part->clean_due = true;
        files_trouble(self, &err);
    }
}
