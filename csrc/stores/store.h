/* Where files go: WebHDFS, local disk. Every operation is asynchronous and ends in one callback; nothing waits for a
 * network (the local store writes to its disk at once, on the loop thread).
 *
 * A store belongs to one loop thread. Paths are absolute, not URL-encoded, without empty, "." or ".." segments, and are
 * copied. A call that does not answer KP_OK has started nothing: KP_REJECT says that the path is not legal. After KP_OK
 * on_done is called exactly once, later: from the store's pump or close, or from within kp_http_pump. on_done may call
 * the store again, but not close it. A store neither retries nor backs off (but tries the next NameNode of its list at
 * once when the one it knows is in standby or refuses the connection): it says what became of the operation.
 */
#ifndef KP_STORES_STORE_H
#define KP_STORES_STORE_H

#include "core/buf.h"
#include "io/http.h"
#include "io/json.h"

#include <stdbool.h>

typedef enum {
    KP_STORE_DONE = 0,
    KP_STORE_EXISTS,  /* rename: the destination is there already, nothing was changed */
    KP_STORE_MISSING, /* the file, or the source of a rename, is not there */
    KP_STORE_FAILED,  /* see err: status KP_RETRY (may heal: network, safe mode, 5xx, permissions), KP_REJECT (never:
                         a name that is not legal), KP_NOMEM or KP_CLOSED */
} kp_store_outcome;

typedef struct {
    kp_store_outcome outcome;
    kp_error err;       /* of KP_STORE_FAILED */
    int64_t length;     /* status, put: of the file now */
    bool is_folder;     /* status */
    const char **names; /* list: borrowed until on_done returns */
    size_t name_count;
    kp_bytes content; /* read: borrowed until on_done returns */
} kp_store_result;

typedef void (*kp_store_on_done)(void *ctx, const kp_store_result *result);

typedef struct kp_store kp_store;

typedef struct {
    const char *name; /* the sink type in the configuration: "hdfs", "file" */
    /* config is the resolved sink document; http is borrowed and outlives the store. */
    kp_status (*open)(kp_store **out, const kp_json *config, kp_http *http, kp_error *err);
    void (*close)(kp_store *self); /* accepts NULL; operations under way end with KP_STORE_FAILED, KP_CLOSED */
    /* Calls the callbacks that are due without I/O; the http handle is pumped by its owner, and woken when some are. */
    kp_status (*pump)(kp_store *self, kp_error *err);
    /* Writes a whole new file, making parent folders; replaces one that is there (names are unique temporaries). The
       file's length is checked before DONE. body is borrowed until on_done. */
    kp_status (*put)(kp_store *self, const char *path, kp_bytes body, kp_store_on_done on_done, void *ctx,
                     kp_error *err);
    /* A file that is written in pieces: bytes from `start` on, in any order and as often as it takes, each replacing
       what an earlier try left; their length is checked before DONE. MISSING: the pieces before it are gone. body is
       borrowed until on_done. Nobody must read the file before join has made one of them. */
    kp_status (*put_piece)(kp_store *self, const char *path, int64_t start, kp_bytes body, kp_store_on_done on_done,
                           void *ctx, kp_error *err);
    /* All pieces are there: starts (borrowed until on_done; rising, from 0) says where each lies, length what they are
       together. Idempotent. MISSING: pieces are gone, or not what was put. */
    kp_status (*join)(kp_store *self, const char *path, const int64_t *starts, size_t count, int64_t length,
                      kp_store_on_done on_done, void *ctx, kp_error *err);
    /* Where a piece lies until it is joined, for who wants to remove it: appended, NUL-terminated. */
    kp_status (*piece_path)(const char *path, int64_t start, kp_buf *out, kp_error *err);
    /* Of one file. Never replaces: EXISTS when `to` is there, whether or not `from` is; a folder there swallows
       nothing. Makes `to`'s parent folders. Durable when DONE. */
    kp_status (*rename)(kp_store *self, const char *from, const char *to, kp_store_on_done on_done, void *ctx,
                        kp_error *err);
    kp_status (*status)(kp_store *self, const char *path, kp_store_on_done on_done, void *ctx, kp_error *err);
    kp_status (*list)(kp_store *self, const char *folder, kp_store_on_done on_done, void *ctx,
                      kp_error *err); /* folder may end in "/"; plain names, in any order; MISSING: no such folder */
    kp_status (*remove)(kp_store *self, const char *path, kp_store_on_done on_done, void *ctx,
                        kp_error *err); /* one file; MISSING: it was not there */
    kp_status (*read)(kp_store *self, const char *path, kp_store_on_done on_done, void *ctx,
                      kp_error *err); /* a small file whole */
} kp_store_ops;

struct kp_store {
    const kp_store_ops *ops; /* first member of every store */
};

extern const kp_store_ops kp_store_webhdfs;
extern const kp_store_ops kp_store_local;

/* KP_REJECT when path is not as described above; what names the operation in the message. For stores. */
kp_status kp_store_check_path(const char *path, const char *what, kp_error *err) KP_MUST_CHECK;
kp_status kp_store_check_folder(const char *path, const char *what, kp_error *err) KP_MUST_CHECK; /* may end in "/" */

/* The store for a sink type of the configuration; NULL: none. */
const kp_store_ops *kp_store_find(const char *name);

#endif
