/* The WebHDFS store, between its parts: webhdfs.c and webhdfs_put.c have the operations as chains of steps,
 * webhdfs_talk.c sends one request after the other for an operation. Everything here belongs to one loop thread.
 */
#ifndef KP_STORES_WEBHDFS_H
#define KP_STORES_WEBHDFS_H

#include "core/mem.h"
#include "stores/store.h"
#include "stores/webhdfs_reply.h"

enum { WEBHDFS_DEAD_MAX = 8 };

typedef struct webhdfs_op webhdfs_op;
typedef struct webhdfs webhdfs;

typedef struct {
    char ip[48]; /* "": unused */
    int64_t until_ms;
} webhdfs_dead;

/* What goes on after an answer; reply is the answer's own, for what the verdict does not tell. */
typedef void (*webhdfs_step)(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply);

struct webhdfs_op {
    webhdfs_op *next;
    webhdfs_op *previous;
    webhdfs *store;
    const char *what;      /* "hdfs put", for messages */
    char *path;            /* owned */
    char *to;              /* owned; the destination of a rename */
    kp_bytes body;         /* borrowed until on_done */
    const int64_t *starts; /* of a join; borrowed until on_done */
    size_t start_count;
    int64_t length; /* of what is joined */
    int64_t joined; /* what was there when more was asked for; -1: nothing was asked for */
    kp_store_on_done on_done;
    void *ctx;

    webhdfs_step step; /* takes the answer that is awaited */
    const char *method;
    const char *subject; /* the path that is asked about: path, to, or parent */
    kp_buf query;        /* "op=...", without the user */
    kp_buf url;
    size_t namenode; /* the one that was asked */
    size_t switches; /* to another NameNode, within this step */

    bool excluding; /* the DataNodes known as dead were named */
    size_t restarts;
    int renames;
    kp_buf parent;
    kp_buf names;
    const char **name_list;
};

struct webhdfs {
    kp_store base;
    kp_http *http; /* borrowed */
    char **urls;   /* owned; "http://host:port" each */
    size_t url_count;
    size_t active;      /* the NameNode to ask first */
    char *user;         /* owned; NULL: none */
    char *token;        /* owned; a delegation token, in place of user; NULL: none */
    const char **hosts; /* owned, as each of them: redirects may go there; NULL: wherever the NameNode says */
    size_t host_count;
    webhdfs_dead dead[WEBHDFS_DEAD_MAX];
    webhdfs_op *ops;
    bool closing;
};

/* A new operation in the store's list; copies path and to (which may be NULL). */
kp_status webhdfs_op_new(webhdfs_op **out, webhdfs *store, const char *what, const char *path, const char *to,
                         kp_error *err) KP_MUST_CHECK;
void webhdfs_op_free(webhdfs_op *op); /* without a word to the caller */

/* For the operations' own files. */
void webhdfs_fail_unexpected(webhdfs_op *op, const webhdfs_verdict *verdict); /* an answer that no step can use */
/* Within a callback: a request that could not go out ends the operation. */
void webhdfs_carry_on(webhdfs_op *op, kp_status st, const kp_error *err);
/* Within a call: a request that could not go out was never an operation. */
kp_status webhdfs_begin(webhdfs_op *op, kp_status st, kp_store_on_done on_done, void *ctx) KP_MUST_CHECK;
bool webhdfs_is_located(const webhdfs_verdict *verdict); /* it has a Location */
kp_status webhdfs_query(webhdfs_op *op, const char *query, kp_error *err) KP_MUST_CHECK;
kp_status webhdfs_ask_status(webhdfs_op *op, const char *subject, webhdfs_step step, kp_error *err) KP_MUST_CHECK;

/* webhdfs_put.c */
kp_status webhdfs_put(kp_store *base, const char *path, kp_bytes body, kp_store_on_done on_done, void *ctx,
                      kp_error *err) KP_MUST_CHECK;
kp_status webhdfs_put_piece(kp_store *base, const char *path, int64_t start, kp_bytes body, kp_store_on_done on_done,
                            void *ctx, kp_error *err) KP_MUST_CHECK;
kp_status webhdfs_join(kp_store *base, const char *path, const int64_t *starts, size_t count, int64_t length,
                       kp_store_on_done on_done, void *ctx, kp_error *err) KP_MUST_CHECK;
kp_status webhdfs_piece_path(const char *path, int64_t start, kp_buf *out, kp_error *err) KP_MUST_CHECK;

/* Ends the operation: on_done, then its memory. */
void webhdfs_finish(webhdfs_op *op, const kp_store_result *result);
void webhdfs_finish_as(webhdfs_op *op, kp_store_outcome outcome);
void webhdfs_fail(webhdfs_op *op, const kp_error *err);

/* Asks the NameNode what is in op->query about subject; the answer goes to step. In standby, or when it refuses the
 * connection, the next one is asked before step hears of it. subject is borrowed until then. */
kp_status webhdfs_ask(webhdfs_op *op, const char *method, const char *subject, webhdfs_step step,
                      kp_error *err) KP_MUST_CHECK;

/* The second request of a CREATE or an OPEN, to the address the NameNode answered. */
kp_status webhdfs_follow(webhdfs_op *op, const kp_http_reply *reply, kp_bytes body, webhdfs_step step,
                         kp_error *err) KP_MUST_CHECK;

/* Goes to the next NameNode; false when every one was asked in this step. */
bool webhdfs_next_namenode(webhdfs_op *op);

/* Appends "&excludedatanodes=..." when there are dead ones, and notes it in op. */
kp_status webhdfs_exclude_dead(webhdfs_op *op, kp_error *err) KP_MUST_CHECK;
void webhdfs_forget_dead(webhdfs *store);

#endif
