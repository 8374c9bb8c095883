/* Bytes onto HDFS: a file in one request, or in pieces that are joined. See webhdfs.h and store.h.
 *
 * An upload that breaks off leaves a closed file that looks whole, so its length is asked for after the 201. Pieces are
 * files of their own, which the NameNode joins without moving a byte (CONCAT); the length of what is joined already
 * tells where to go on, so a lost answer does no harm.
 */
#include "stores/webhdfs.h"

#include "core/fail_point.h"

#include <string.h>

enum { SOURCES_BYTES = 6000 }; /* of a CONCAT's address: servers and what stands before them take 8 KiB at least */

static void put_located(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply);

static kp_status put_create(webhdfs_op *op, kp_error *err) {
    kp_status st = webhdfs_query(op, "op=CREATE&noredirect=true&overwrite=true", err);
    st = st == KP_OK ? webhdfs_exclude_dead(op, err) : st;
    return st == KP_OK ? webhdfs_ask(op, "PUT", op->path, put_located, err) : st;
}

static void put_measured(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply) {
    kp_error err;
    kp_store_result result = {.outcome = KP_STORE_DONE};
    if (verdict->meaning != WEBHDFS_ANSWER) {
        webhdfs_fail_unexpected(op, verdict);
        return;
    }
    kp_status st = webhdfs_file_status(reply->body, &result.length, &result.is_folder, &err);
    if (st == KP_OK && (uint64_t)result.length != op->body.length) {
        st = kp_error_set(&err, KP_RETRY, "", "%lld of %zu bytes arrived", (long long)result.length, op->body.length);
    }
    if (st == KP_OK) {
        webhdfs_finish(op, &result);
    } else {
        webhdfs_fail(op, &err);
    }
}

static void put_stored(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply) {
    kp_error err;
    if (reply->status == 201) {
        KP_FAIL_POINT("after-201");
        webhdfs_carry_on(op, webhdfs_ask_status(op, op->path, put_measured, &err), &err);
    } else if (verdict->meaning == WEBHDFS_STANDBY && ++op->restarts < op->store->url_count) {
        webhdfs_next_namenode(op); /* the first step asks nothing that a standby would refuse */
        webhdfs_carry_on(op, put_create(op, &err), &err);
    } else {
        webhdfs_fail_unexpected(op, verdict);
    }
}

static void put_located(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply) {
    kp_error err;
    if (verdict->meaning == WEBHDFS_NO_DATANODE && op->excluding) {
        webhdfs_forget_dead(op->store); /* better one that may be back than none */
        webhdfs_carry_on(op, put_create(op, &err), &err);
    } else if (webhdfs_is_located(verdict)) {
        kp_bytes body = {op->body.data ? op->body.data : "", op->body.length};
        webhdfs_carry_on(op, webhdfs_follow(op, reply, body, put_stored, &err), &err);
    } else {
        webhdfs_fail_unexpected(op, verdict);
    }
}

kp_status webhdfs_put(kp_store *base, const char *path, kp_bytes body, kp_store_on_done on_done, void *ctx,
                      kp_error *err) {
    webhdfs_op *op;
    kp_status st;
    KP_TRY(kp_store_check_path(path, "hdfs put", err));
    KP_TRY(webhdfs_op_new(&op, (webhdfs *)base, "hdfs put", path, NULL, err));
    op->body = body;
    st = webhdfs_begin(op, put_create(op, err), on_done, ctx);
done:
    return st;
}

/* ---- pieces ---- */

kp_status webhdfs_piece_path(const char *path, int64_t start, kp_buf *out, kp_error *err) {
    kp_status st;
    KP_TRY(kp_buf_append_text(out, path, err));
    if (start > 0) {
        KP_TRY(kp_buf_printf(out, err, ".%lld", (long long)start));
    }
    st = kp_buf_text(out) ? KP_OK : kp_error_nomem(err);
done:
    return st;
}

kp_status webhdfs_put_piece(kp_store *base, const char *path, int64_t start, kp_bytes body, kp_store_on_done on_done,
                            void *ctx, kp_error *err) {
    kp_buf piece = {0};
    kp_status st = webhdfs_piece_path(path, start, &piece, err);
    st = st == KP_OK ? webhdfs_put(base, piece.data, body, on_done, ctx, err) : st;
    kp_buf_deinit(&piece);
    return st;
}

/* join: look how much is joined already, CONCAT some more, look again */

static void join_measured(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply);

static void join_refused(webhdfs_op *op, const webhdfs_verdict *verdict) {
    kp_error err = verdict->err;
    if (strcmp(err.code, "SafeModeException") != 0) {
        kp_error_prefix(&err, "HDFS does not join the pieces of a large file (`stream: 0` makes none)");
    }
    webhdfs_fail(op, &err);
}

static void join_answered(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply) {
    kp_error err;
    (void)reply;
    if (verdict->meaning == WEBHDFS_DONE || verdict->meaning == WEBHDFS_MISSING) {
        webhdfs_carry_on(op, webhdfs_ask_status(op, op->path, join_measured, &err), &err);
    } else if (verdict->err.status != KP_OK) {
        join_refused(op, verdict);
    } else {
        webhdfs_fail_unexpected(op, verdict);
    }
}

static kp_status append_sources(webhdfs_op *op, size_t first, kp_error *err) {
    kp_status st = KP_OK;
    kp_buf path = {0};
    size_t before = op->query.length;
    for (size_t i = first; i < op->start_count && op->query.length - before < SOURCES_BYTES; i++) {
        kp_buf_reset(&path);
        KP_TRY(webhdfs_piece_path(op->path, op->starts[i], &path, err));
        KP_TRY(kp_buf_append_text(&op->query, i > first ? "," : "", err));
        KP_TRY(kp_buf_append_url(&op->query, (kp_bytes){path.data, path.length}, "/", err));
    }
done:
    kp_buf_deinit(&path);
    return st;
}

static kp_status join_from(webhdfs_op *op, size_t first, kp_error *err) {
    kp_status st = webhdfs_query(op, "op=CONCAT&sources=", err);
    st = st == KP_OK ? append_sources(op, first, err) : st;
    return st == KP_OK ? webhdfs_ask(op, "POST", op->path, join_answered, err) : st;
}

/* The piece that comes next when so much is joined; 0: none does. */
static size_t piece_at(const webhdfs_op *op, int64_t length) {
    size_t i = op->start_count - 1;
    while (i > 0 && op->starts[i] != length) {
        i--;
    }
    return i;
}

static void join_measured(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply) {
    kp_error err;
    kp_store_result result = {.outcome = KP_STORE_DONE};
    if (verdict->meaning != WEBHDFS_ANSWER) {
        verdict->meaning == WEBHDFS_MISSING ? webhdfs_finish_as(op, KP_STORE_MISSING)
                                            : webhdfs_fail_unexpected(op, verdict);
        return;
    }
    if (webhdfs_file_status(reply->body, &result.length, &result.is_folder, &err) != KP_OK) {
        webhdfs_fail(op, &err);
        return;
    }
    size_t next = piece_at(op, result.length);
    if (result.length == op->length) {
        webhdfs_finish(op, &result);
    } else if (next == 0 || op->joined == result.length) { /* the pieces behind it are gone, or are not what was put */
        webhdfs_finish_as(op, KP_STORE_MISSING);
    } else {
        op->joined = result.length;
        webhdfs_carry_on(op, join_from(op, next, &err), &err);
    }
}

kp_status webhdfs_join(kp_store *base, const char *path, const int64_t *starts, size_t count, int64_t length,
                       kp_store_on_done on_done, void *ctx, kp_error *err) {
    webhdfs_op *op;
    kp_status st;
    KP_TRY(kp_store_check_path(path, "hdfs join", err));
    KP_TRY(webhdfs_op_new(&op, (webhdfs *)base, "hdfs join", path, NULL, err));
    op->starts = starts;
    op->start_count = count;
    op->length = length;
    op->joined = -1;
    st = webhdfs_begin(op, webhdfs_ask_status(op, op->path, join_measured, err), on_done, ctx);
done:
    return st;
}
