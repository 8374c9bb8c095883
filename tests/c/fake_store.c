/* A store in memory: see fake_store.h. */
#include "fake_store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct operation operation;

struct operation {
    operation *next;
    fake_kind kind;
    char *path;
    char *to;
    const int64_t *starts; /* of a join; borrowed until on_done, as body is */
    size_t count;
    int64_t length;
    kp_bytes body;
    kp_store_on_done on_done;
    void *ctx;
};

typedef struct {
    kp_store base;
    fake_disk *disk;
    operation *first;
    operation **last;
} fake_store;

enum { NAMES_MAX = 512 };

/* ---- the disk ---- */

static fake_file *find(const fake_disk *disk, const char *path) {
    for (size_t i = 0; i < disk->count; i++) {
        if (strcmp(disk->files[i].path, path) == 0) {
            return &disk->files[i];
        }
    }
    return NULL;
}

const fake_file *fake_disk_find(const fake_disk *disk, const char *path) {
    return find(disk, path);
}

static void put_bytes(fake_disk *disk, const char *path, kp_bytes body) {
    fake_disk_remove(disk, path);
    disk->files = realloc(disk->files, (disk->count + 1) * sizeof *disk->files);
    char *copy = malloc(body.length + 1);
    assert(disk->files && copy);
    memcpy(copy, body.length ? body.data : "", body.length);
    copy[body.length] = '\0';
    disk->files[disk->count++] = (fake_file){strdup(path), copy, body.length};
}

void fake_disk_put(fake_disk *disk, const char *path, const char *body) {
    put_bytes(disk, path, kp_bytes_of(body));
}

void fake_disk_remove(fake_disk *disk, const char *path) {
    fake_file *file = find(disk, path);
    if (file) {
        free(file->path);
        free(file->body);
        *file = disk->files[--disk->count];
    }
}

size_t fake_disk_count(const fake_disk *disk, const char *part) {
    size_t count = 0;
    for (size_t i = 0; i < disk->count; i++) {
        count += strstr(disk->files[i].path, part) != NULL;
    }
    return count;
}

void fake_disk_deinit(fake_disk *disk) {
    while (disk->count) {
        fake_disk_remove(disk, disk->files[0].path);
    }
    free(disk->files);
    memset(disk, 0, sizeof *disk);
}

/* ---- operations ---- */

static void do_rename(fake_disk *disk, const operation *op, kp_store_result *result) {
    fake_file *from = find(disk, op->path);
    if (find(disk, op->to)) {
        result->outcome = KP_STORE_EXISTS;
    } else if (!from) {
        result->outcome = KP_STORE_MISSING;
    } else {
        free(from->path);
        from->path = strdup(op->to);
    }
}

static kp_status piece_path(const char *path, int64_t start, kp_buf *out, kp_error *err) {
    kp_status st =
        start ? kp_buf_printf(out, err, "%s.%lld", path, (long long)start) : kp_buf_append_text(out, path, err);
    return st == KP_OK && !kp_buf_text(out) ? kp_error_nomem(err) : st;
}

static fake_file *find_piece(const fake_disk *disk, const operation *op, size_t piece) {
    char path[1024];
    assert(snprintf(path, sizeof path, op->starts[piece] ? "%s.%lld" : "%s", op->path, (long long)op->starts[piece]) <
           (int)sizeof path);
    return find(disk, path);
}

/* All or nothing, as CONCAT; again when it is done already. */
static void do_join(fake_disk *disk, const operation *op, kp_store_result *result) {
    const fake_file *whole = find(disk, op->path);
    result->outcome = KP_STORE_MISSING;
    if (whole && (int64_t)whole->length == op->length) {
        result->outcome = KP_STORE_DONE;
        return;
    }
    char *body = malloc((size_t)op->length);
    assert(body);
    for (size_t i = 0; i < op->count; i++) {
        const fake_file *piece = find_piece(disk, op, i);
        int64_t end = i + 1 < op->count ? op->starts[i + 1] : op->length;
        if (!piece || (int64_t)piece->length != end - op->starts[i]) {
            free(body);
            return;
        }
        memcpy(body + op->starts[i], piece->body, piece->length);
    }
    for (size_t i = 1; i < op->count; i++) {
        fake_disk_remove(disk, find_piece(disk, op, i)->path);
    }
    put_bytes(disk, op->path, (kp_bytes){body, (size_t)op->length});
    free(body);
    result->outcome = KP_STORE_DONE;
}

static void do_list(fake_disk *disk, const operation *op, const char **names, kp_store_result *result) {
    size_t length = strlen(op->path);
    result->names = names;
    for (size_t i = 0; i < disk->count; i++) {
        if (strncmp(disk->files[i].path, op->path, length) == 0) {
            assert(result->name_count < NAMES_MAX);
            names[result->name_count++] = strdup(disk->files[i].path + length); /* on_done may change the disk */
        }
    }
    result->outcome = result->name_count ? KP_STORE_DONE : KP_STORE_MISSING;
}

static void do_one(fake_disk *disk, const operation *op, const char **names, kp_store_result *result) {
    fake_file *file = find(disk, op->path);
    switch (op->kind) {
    case FAKE_JOIN:
        do_join(disk, op, result);
        break;
    case FAKE_PIECE:
    case FAKE_PUT:
        put_bytes(disk, op->path, op->body);
        result->length = (int64_t)op->body.length;
        break;
    case FAKE_RENAME:
        do_rename(disk, op, result);
        break;
    case FAKE_STATUS:
        result->outcome = file ? KP_STORE_DONE : KP_STORE_MISSING;
        result->length = file ? (int64_t)file->length : 0;
        break;
    case FAKE_READ:
        result->outcome = file ? KP_STORE_DONE : KP_STORE_MISSING;
        result->content = file ? (kp_bytes){file->body, file->length} : (kp_bytes){NULL, 0};
        break;
    case FAKE_LIST:
        do_list(disk, op, names, result);
        break;
    default:
        result->outcome = file ? KP_STORE_DONE : KP_STORE_MISSING;
        fake_disk_remove(disk, op->path);
    }
}

static bool chance(fake_disk *disk) {
    return disk->chaos && rand_r(&disk->seed) % 100 < disk->chaos;
}

/* An upload that was cut off leaves a file that looks whole. */
static void cut_short(fake_disk *disk, const operation *op) {
    if ((op->kind == FAKE_PUT || op->kind == FAKE_PIECE) && chance(disk)) {
        put_bytes(disk, op->path, (kp_bytes){op->body.data, op->body.length / 2});
    }
}

static bool take_one(int *left) {
    bool some = *left > 0;
    *left -= some;
    return some;
}

static void end(operation *op, const kp_store_result *result) {
    op->on_done(op->ctx, result);
    free(op->path);
    free(op->to);
    free(op);
}

static bool name_is_too_long(const char *path) {
    return path && strlen(strrchr(path, '/') + 1) > 255;
}

static void run(fake_disk *disk, operation *op) {
    kp_store_result result = {0};
    const char *names[NAMES_MAX];
    bool fails = take_one(&disk->fails[op->kind]) || chance(disk);
    bool loses = take_one(&disk->loses[op->kind]) || chance(disk);
    if (fails) {
        cut_short(disk, op);
    } else {
        do_one(disk, op, names, &result);
    }
    size_t name_count = result.name_count;
    if (fails || loses) {
        result = (kp_store_result){.outcome = KP_STORE_FAILED};
        kp_error_set(&result.err, KP_RETRY, "EFAKE", "fake %s: %s", op->path, fails ? "refused" : "no answer");
    }
    if (name_is_too_long(op->path) || name_is_too_long(op->to)) {
        result = (kp_store_result){.outcome = KP_STORE_FAILED};
        kp_error_set(&result.err, KP_REJECT, "ENAMETOOLONG", "fake %s: the name is too long", op->path);
    }
    end(op, &result);
    for (size_t i = 0; i < name_count; i++) {
        free((char *)(uintptr_t)names[i]);
    }
}

static kp_status start(kp_store *base, operation op, const char *path, const char *to, kp_error *err) {
    fake_store *self = (fake_store *)base;
    kp_status st =
        op.kind == FAKE_LIST ? kp_store_check_folder(path, "fake", err) : kp_store_check_path(path, "fake", err);
    st = st == KP_OK && to ? kp_store_check_path(to, "fake", err) : st;
    if (st != KP_OK) {
        return st;
    }
    operation *queued = malloc(sizeof *queued);
    assert(queued);
    *queued = op;
    queued->next = NULL;
    queued->path = strdup(path);
    queued->to = to ? strdup(to) : NULL;
    *self->last = queued;
    self->last = &queued->next;
    self->disk->asked[op.kind]++;
    return KP_OK;
}

static operation *take(fake_store *self) {
    operation *first = self->disk->hold ? NULL : self->first;
    if (first && self->disk->slow && first->next) {
        self->first = first->next;
        first->next = NULL;
    } else if (first) {
        self->first = NULL;
        self->last = &self->first;
    }
    return first;
}

static kp_status fake_pump(kp_store *base, kp_error *err) {
    fake_store *self = (fake_store *)base;
    (void)err;
    operation *next;
    for (operation *op = take(self); op; op = next) {
        next = op->next;
        run(self->disk, op);
    }
    return KP_OK;
}

/* What was asked for may have been done, or not: nobody is told. */
static void fake_close(kp_store *base) {
    fake_store *self = (fake_store *)base;
    operation *op;
    while ((op = self->first)) {
        kp_store_result result = {.outcome = KP_STORE_FAILED};
        const char *names[NAMES_MAX];
        kp_store_result ignored = {0};
        self->first = op->next;
        self->last = self->first ? self->last : &self->first;
        cut_short(self->disk, op);
        if (op->kind != FAKE_LIST && chance(self->disk)) {
            do_one(self->disk, op, names, &ignored);
        }
        kp_error_set(&result.err, KP_CLOSED, "", "fake: closed");
        end(op, &result);
    }
    free(self);
}

static kp_status fake_put(kp_store *self, const char *path, kp_bytes body, kp_store_on_done on_done, void *ctx,
                          kp_error *err) {
    return start(self, (operation){.kind = FAKE_PUT, .body = body, .on_done = on_done, .ctx = ctx}, path, NULL, err);
}

static kp_status fake_put_piece(kp_store *self, const char *path, int64_t start_at, kp_bytes body,
                                kp_store_on_done on_done, void *ctx, kp_error *err) {
    kp_buf piece = {0};
    kp_status st = piece_path(path, start_at, &piece, err);
    operation op = {.kind = FAKE_PIECE, .body = body, .on_done = on_done, .ctx = ctx};
    st = st == KP_OK ? start(self, op, piece.data, NULL, err) : st;
    kp_buf_deinit(&piece);
    return st;
}

static kp_status fake_join(kp_store *self, const char *path, const int64_t *starts, size_t count, int64_t length,
                           kp_store_on_done on_done, void *ctx, kp_error *err) {
    operation op = {
        .kind = FAKE_JOIN, .starts = starts, .count = count, .length = length, .on_done = on_done, .ctx = ctx};
    return start(self, op, path, NULL, err);
}

static kp_status fake_rename(kp_store *self, const char *from, const char *to, kp_store_on_done on_done, void *ctx,
                             kp_error *err) {
    return start(self, (operation){.kind = FAKE_RENAME, .on_done = on_done, .ctx = ctx}, from, to, err);
}

static kp_status fake_status(kp_store *self, const char *path, kp_store_on_done on_done, void *ctx, kp_error *err) {
    return start(self, (operation){.kind = FAKE_STATUS, .on_done = on_done, .ctx = ctx}, path, NULL, err);
}

static kp_status fake_list(kp_store *self, const char *folder, kp_store_on_done on_done, void *ctx, kp_error *err) {
    return start(self, (operation){.kind = FAKE_LIST, .on_done = on_done, .ctx = ctx}, folder, NULL, err);
}

static kp_status fake_remove(kp_store *self, const char *path, kp_store_on_done on_done, void *ctx, kp_error *err) {
    return start(self, (operation){.kind = FAKE_REMOVE, .on_done = on_done, .ctx = ctx}, path, NULL, err);
}

static kp_status fake_read(kp_store *self, const char *path, kp_store_on_done on_done, void *ctx, kp_error *err) {
    return start(self, (operation){.kind = FAKE_READ, .on_done = on_done, .ctx = ctx}, path, NULL, err);
}

static const kp_store_ops ops = {
    .name = "fake",
    .close = fake_close,
    .pump = fake_pump,
    .put = fake_put,
    .put_piece = fake_put_piece,
    .join = fake_join,
    .piece_path = piece_path,
    .rename = fake_rename,
    .status = fake_status,
    .list = fake_list,
    .remove = fake_remove,
    .read = fake_read,
};

kp_store *fake_store_new(fake_disk *disk) {
    fake_store *self = calloc(1, sizeof *self);
    assert(self);
    self->base.ops = &ops;
    self->disk = disk;
    self->last = &self->first;
    return &self->base;
}
