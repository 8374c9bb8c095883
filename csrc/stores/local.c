/* Files on a local disk, for the sink type `file`: see store.h.
 *
 * The work is done in the call; its result waits for pump, so that a caller sees one order of events whatever the
 * store. Bytes and names are on disk (fsync of the file and of its folder) before a result says DONE.
 */
#ifdef __linux__
#define _GNU_SOURCE /* renameat2 */
#endif
#include "core/mem.h"
#include "stores/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KP_LOCAL_READ_MAX = 64 << 20 };

typedef struct job job;

struct job {
    job *next;
    kp_store_on_done on_done;
    void *ctx;
    kp_store_result result;
    kp_buf content;
    kp_buf names; /* each with its NUL */
    const char **name_list;
};

typedef struct {
    kp_store base;
    kp_http *http; /* borrowed; NULL in tests: woken when a result waits */
    job *first;
    job **last;
} local_store;

static void job_free(job *self) {
    kp_buf_deinit(&self->content);
    kp_buf_deinit(&self->names);
    kp_free(self->name_list);
    kp_free(self);
}

static kp_status start(job **out, kp_status legal, kp_store_on_done on_done, void *ctx, kp_error *err) {
    if (legal != KP_OK) {
        return legal;
    }
    job *self = kp_calloc(1, sizeof *self);
    if (!self) {
        return kp_error_nomem(err);
    }
    self->on_done = on_done;
    self->ctx = ctx;
    *out = self;
    return KP_OK;
}

static kp_status finish(kp_store *base, job *done) {
    local_store *self = (local_store *)base;
    *self->last = done;
    self->last = &done->next;
    if (self->http) {
        kp_http_wake(self->http);
    }
    return KP_OK;
}

/* What an operator can heal is worth another try; a name that is too long stays so. */
static void fail(job *self, const char *what, const char *path) {
    static const struct {
        int number;
        const char *name;
    } known[] = {{EACCES, "EACCES"}, {EPERM, "EPERM"},     {EROFS, "EROFS"},
                 {ENOSPC, "ENOSPC"}, {EDQUOT, "EDQUOT"},   {EIO, "EIO"},
                 {EISDIR, "EISDIR"}, {ENOTDIR, "ENOTDIR"}, {ENAMETOOLONG, "ENAMETOOLONG"}};
    int number = errno;
    const char *code = "";
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        code = known[i].number == number ? known[i].name : code;
    }
    self->result.outcome = KP_STORE_FAILED;
    kp_error_set(&self->result.err, number == ENAMETOOLONG ? KP_REJECT : KP_RETRY, code, "%s %s: %s", what, path,
                 strerror(number));
}

static void fail_nomem(job *self) {
    self->result.outcome = KP_STORE_FAILED;
    kp_error_nomem(&self->result.err);
}

static bool is_missing(void) {
    return errno == ENOENT || errno == ENOTDIR;
}

/* The folder a path lies in, as a string of its own; NULL when out of memory. */
static char *parent_of(const char *path) {
    size_t length = (size_t)(strrchr(path, '/') - path);
    char *folder = kp_strndup(path, length ? length : 1);
    if (!folder) {
        errno = ENOMEM;
    }
    return folder;
}

static int sync_folder(const char *folder) {
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int result = fsync(fd) < 0 && errno != EINVAL ? -1 : 0; /* EINVAL: this file system has no such thing */
    int number = errno;
    close(fd);
    errno = number;
    return result;
}

static int sync_parent(const char *path) {
    char *folder = parent_of(path);
    int result = folder ? sync_folder(folder) : -1;
    kp_free(folder);
    return result;
}

/* Makes every missing folder above path. */
static int make_parents(const char *path) {
    char *folder = parent_of(path);
    int result = folder ? 0 : -1;
    for (char *at = folder; result == 0 && *at;) {
        at += 1 + strcspn(at + 1, "/");
        char ended_by = *at;
        *at = '\0';
        if (mkdir(folder, 0777) == 0) {
            result = sync_parent(folder);
        } else if (errno != EEXIST) {
            result = -1;
        }
        *at = ended_by;
    }
    kp_free(folder);
    return result;
}

static int write_all(int fd, kp_bytes body) {
    size_t written = 0;
    while (written < body.length) {
        ssize_t count = write(fd, body.data + written, body.length - written);
        if (count < 0 && errno != EINTR) {
            return -1;
        }
        written += count > 0 ? (size_t)count : 0;
    }
    return fsync(fd);
}

static int open_at(const char *path, int flags) {
    int fd = open(path, flags, 0666);
    if (fd < 0 && errno == ENOENT && (flags & O_CREAT) && make_parents(path) == 0) {
        fd = open(path, flags, 0666);
    }
    return fd;
}

/* A full disk needs the room back; what cannot be cut stays. */
static void cut(int fd) {
    int number = errno;
    int result = ftruncate(fd, 0);
    (void)result;
    errno = number;
}

static int write_file(const char *path, kp_bytes body) {
    struct stat now;
    int fd = open_at(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    int result = write_all(fd, body);
    if (result == 0 && (fstat(fd, &now) < 0 || (uint64_t)now.st_size != body.length)) {
        errno = EIO;
        result = -1;
    }
    if (result < 0) {
        cut(fd);
    }
    int number = errno;
    if (close(fd) < 0 || result < 0) {
        errno = result < 0 ? number : errno;
        return -1;
    }
    return sync_parent(path);
}

static kp_status local_put(kp_store *self, const char *path, kp_bytes body, kp_store_on_done on_done, void *ctx,
                           kp_error *err) {
    job *put = NULL;
    kp_status st = start(&put, kp_store_check_path(path, "file put", err), on_done, ctx, err);
    if (st != KP_OK) {
        return st;
    }
    if (write_file(path, body) < 0) {
        fail(put, "file put", path);
    }
    put->result.length = (int64_t)body.length;
    return finish(self, put);
}

/* A piece is written where it belongs in the one file. Only the first one makes it: whoever removes it meanwhile must
 * not leave us with a hole. */
static int write_piece(const char *path, int64_t start, kp_bytes body) {
    size_t written = 0;
    int fd = open_at(path, O_WRONLY | O_CLOEXEC | (start == 0 ? O_CREAT : 0));
    int result = fd < 0 ? -1 : 0;
    while (result == 0 && written < body.length) {
        ssize_t count = pwrite(fd, body.data + written, body.length - written, (off_t)(start + (int64_t)written));
        result = count < 0 && errno != EINTR ? -1 : 0;
        written += count > 0 ? (size_t)count : 0;
    }
    result = result == 0 ? fsync(fd) : result;
    int number = errno;
    if (fd >= 0 && close(fd) < 0 && result == 0) {
        return -1;
    }
    errno = number;
    return result == 0 ? sync_parent(path) : -1;
}

static kp_status local_put_piece(kp_store *self, const char *path, int64_t start_at, kp_bytes body,
                                 kp_store_on_done on_done, void *ctx, kp_error *err) {
    job *put = NULL;
    kp_status st = start(&put, kp_store_check_path(path, "file put", err), on_done, ctx, err);
    if (st != KP_OK) {
        return st;
    }
    if (write_piece(path, start_at, body) < 0) {
        if (start_at > 0 && is_missing()) {
            put->result.outcome = KP_STORE_MISSING;
        } else {
            fail(put, "file put", path);
        }
    }
    put->result.length = (int64_t)body.length;
    return finish(self, put);
}

static kp_status local_join(kp_store *self, const char *path, const int64_t *starts, size_t count, int64_t length,
                            kp_store_on_done on_done, void *ctx, kp_error *err) {
    job *join = NULL;
    struct stat now;
    (void)starts, (void)count; /* they lie in one file already */
    kp_status st = start(&join, kp_store_check_path(path, "file join", err), on_done, ctx, err);
    if (st != KP_OK) {
        return st;
    }
    if (stat(path, &now) == 0) {
        join->result.outcome = now.st_size == length ? KP_STORE_DONE : KP_STORE_MISSING;
        join->result.length = (int64_t)now.st_size;
    } else if (is_missing()) {
        join->result.outcome = KP_STORE_MISSING;
    } else {
        fail(join, "file join", path);
    }
    return finish(self, join);
}

static kp_status local_piece_path(const char *path, int64_t start_at, kp_buf *out, kp_error *err) {
    (void)start_at;
    kp_status st = kp_buf_append_text(out, path, err);
    return st == KP_OK && !kp_buf_text(out) ? kp_error_nomem(err) : st;
}

static bool same_file(const char *a, const char *b) {
    struct stat left;
    struct stat right;
    return lstat(a, &left) == 0 && lstat(b, &right) == 0 && left.st_dev == right.st_dev && left.st_ino == right.st_ino;
}

/* rename(2) replaces. Where the kernel or the file system has no rename that does not, a second name is made and the
 * first one taken away; a crash between the two leaves both, which the next try finishes. */
static int rename_without_replacing(const char *from, const char *to) {
#ifdef RENAME_NOREPLACE
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return -1;
    }
#endif
    if (link(from, to) < 0 && !(errno == EEXIST && same_file(from, to))) {
        return -1;
    }
    return unlink(from);
}

static int move_file(const char *from, const char *to) {
    int result = rename_without_replacing(from, to);
    if (result < 0 && errno == ENOENT && access(from, F_OK) == 0 && make_parents(to) == 0) {
        result = rename_without_replacing(from, to);
    }
    if (result == 0) {
        result = sync_parent(to) < 0 || sync_parent(from) < 0 ? -1 : 0;
    }
    return result;
}

static kp_status local_rename(kp_store *self, const char *from, const char *to, kp_store_on_done on_done, void *ctx,
                              kp_error *err) {
    job *move = NULL;
    struct stat there;
    kp_status legal = kp_store_check_path(to, "file rename", err);
    legal = legal == KP_OK ? kp_store_check_path(from, "file rename", err) : legal;
    kp_status st = start(&move, legal, on_done, ctx, err);
    if (st != KP_OK) {
        return st;
    }
    if (move_file(from, to) < 0) {
        int number = errno;
        if (number == EEXIST || (number == ENOENT && lstat(to, &there) == 0)) {
            move->result.outcome = KP_STORE_EXISTS;
        } else if (number == ENOENT) {
            move->result.outcome = KP_STORE_MISSING;
        } else {
            errno = number;
            fail(move, "file rename", to);
        }
    }
    return finish(self, move);
}

static kp_status local_status(kp_store *self, const char *path, kp_store_on_done on_done, void *ctx, kp_error *err) {
    job *look = NULL;
    struct stat there;
    kp_status st = start(&look, kp_store_check_path(path, "file status", err), on_done, ctx, err);
    if (st != KP_OK) {
        return st;
    }
    if (stat(path, &there) == 0) {
        look->result.is_folder = S_ISDIR(there.st_mode);
        look->result.length = look->result.is_folder ? 0 : (int64_t)there.st_size;
    } else if (is_missing()) {
        look->result.outcome = KP_STORE_MISSING;
    } else {
        fail(look, "file status", path);
    }
    return finish(self, look);
}

/* The names as an array: made last, because names.data moves while it grows. */
static bool index_names(job *self, size_t count) {
    self->name_list = kp_calloc(count, sizeof *self->name_list);
    if (!self->name_list) {
        return false;
    }
    const char *at = self->names.data;
    for (size_t i = 0; i < count; i++, at += strlen(at) + 1) {
        self->name_list[i] = at;
    }
    self->result.names = self->name_list;
    self->result.name_count = count;
    return true;
}

static void read_names(job *self, DIR *folder, const char *path) {
    struct dirent *entry;
    size_t count = 0;
    while ((errno = 0, entry = readdir(folder))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (kp_buf_append(&self->names, entry->d_name, strlen(entry->d_name) + 1, NULL) != KP_OK) {
            fail_nomem(self);
            return;
        }
        count++;
    }
    if (errno != 0) {
        fail(self, "file list", path);
    } else if (!index_names(self, count)) {
        fail_nomem(self);
    }
}

static kp_status local_list(kp_store *self, const char *path, kp_store_on_done on_done, void *ctx, kp_error *err) {
    job *list = NULL;
    kp_status st = start(&list, kp_store_check_folder(path, "file list", err), on_done, ctx, err);
    if (st != KP_OK) {
        return st;
    }
    DIR *folder = opendir(path);
    if (folder) {
        read_names(list, folder, path);
        closedir(folder);
    } else if (is_missing()) {
        list->result.outcome = KP_STORE_MISSING;
    } else {
        fail(list, "file list", path);
    }
    return finish(self, list);
}

static kp_status local_remove(kp_store *self, const char *path, kp_store_on_done on_done, void *ctx, kp_error *err) {
    job *drop = NULL;
    kp_status st = start(&drop, kp_store_check_path(path, "file remove", err), on_done, ctx, err);
    if (st != KP_OK) {
        return st;
    }
    if (unlink(path) < 0) {
        if (is_missing()) {
            drop->result.outcome = KP_STORE_MISSING;
        } else {
            fail(drop, "file remove", path);
        }
    }
    return finish(self, drop);
}

static int read_all(int fd, kp_buf *content) {
    ssize_t count;
    do {
        if (content->length >= KP_LOCAL_READ_MAX) {
            errno = EFBIG;
            return -1;
        }
        if (kp_buf_reserve(content, 64 << 10, NULL) != KP_OK) {
            errno = ENOMEM;
            return -1;
        }
        count = read(fd, content->data + content->length, content->capacity - content->length);
        content->length += count > 0 ? (size_t)count : 0;
    } while (count > 0 || (count < 0 && errno == EINTR));
    return count < 0 ? -1 : 0;
}

static kp_status local_read(kp_store *self, const char *path, kp_store_on_done on_done, void *ctx, kp_error *err) {
    job *get = NULL;
    kp_status st = start(&get, kp_store_check_path(path, "file read", err), on_done, ctx, err);
    if (st != KP_OK) {
        return st;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read_all(fd, &get->content) == 0) {
        get->result.content = (kp_bytes){get->content.data, get->content.length};
    } else if (fd < 0 && is_missing()) {
        get->result.outcome = KP_STORE_MISSING;
    } else if (errno == ENOMEM) {
        fail_nomem(get);
    } else {
        fail(get, "file read", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    return finish(self, get);
}

static job *take_all(local_store *self) {
    job *first = self->first;
    self->first = NULL;
    self->last = &self->first;
    return first;
}

static kp_status local_pump(kp_store *base, kp_error *err) {
    (void)err;
    job *next;
    for (job *done = take_all((local_store *)base); done; done = next) { /* callbacks queue for the next pump */
        next = done->next;
        done->on_done(done->ctx, &done->result);
        job_free(done);
    }
    return KP_OK;
}

static void local_close(kp_store *base) {
    local_store *self = (local_store *)base;
    while (self && self->first) {
        job *open = self->first;
        self->first = open->next;
        self->last = self->first ? self->last : &self->first;
        open->result = (kp_store_result){.outcome = KP_STORE_FAILED};
        kp_error_set(&open->result.err, KP_CLOSED, "", "the store was closed");
        open->on_done(open->ctx, &open->result);
        job_free(open);
    }
    kp_free(self);
}

static kp_status local_open(kp_store **out, const kp_json *config, kp_http *http, kp_error *err) {
    (void)config;
    local_store *self = kp_calloc(1, sizeof *self);
    if (!self) {
        return kp_error_nomem(err);
    }
    self->base.ops = &kp_store_local;
    self->http = http;
    self->last = &self->first;
    *out = &self->base;
    return KP_OK;
}

const kp_store_ops kp_store_local = {
    .name = "file",
    .open = local_open,
    .close = local_close,
    .pump = local_pump,
    .put = local_put,
    .put_piece = local_put_piece,
    .join = local_join,
    .piece_path = local_piece_path,
    .rename = local_rename,
    .status = local_status,
    .list = local_list,
    .remove = local_remove,
    .read = local_read,
};
