/* Files on HDFS through WebHDFS, or through HttpFS, which speaks the same with small differences: see store.h.
 *
 * An operation is a chain of steps, each of which takes one answer. What the servers really answer, and why a step
 * looks where it does:
 *  - RENAME with renameoptions=NONE tells its failures apart at a NameNode; HttpFS ignores the option and answers a
 *    boolean, and moves the file *into* a folder that has the destination's name. So the destination is looked at
 * first.
 */
#include "stores/webhdfs.h"

#include "io/url.h"

#include <string.h>

void webhdfs_fail_unexpected(webhdfs_op *op, const webhdfs_verdict *verdict) {
    kp_error err = verdict->err;
    if (err.status == KP_OK) {
        kp_error_set(&err, KP_RETRY, "", "the server's answer does not fit the request");
    }
    webhdfs_fail(op, &err);
}

void webhdfs_carry_on(webhdfs_op *op, kp_status st, const kp_error *err) {
    if (st != KP_OK) {
        webhdfs_fail(op, err);
    }
}

kp_status webhdfs_begin(webhdfs_op *op, kp_status st, kp_store_on_done on_done, void *ctx) {
    op->on_done = on_done;
    op->ctx = ctx;
    if (st != KP_OK) {
        webhdfs_op_free(op);
    }
    return st;
}

kp_status webhdfs_query(webhdfs_op *op, const char *query, kp_error *err) {
    kp_buf_reset(&op->query);
    return kp_buf_append_text(&op->query, query, err);
}

kp_status webhdfs_ask_status(webhdfs_op *op, const char *subject, webhdfs_step step, kp_error *err) {
    kp_status st = webhdfs_query(op, "op=GETFILESTATUS", err);
    return st == KP_OK ? webhdfs_ask(op, "GET", subject, step, err) : st;
}

bool webhdfs_is_located(const webhdfs_verdict *verdict) {
    return verdict->meaning == WEBHDFS_ANSWER || verdict->meaning == WEBHDFS_REDIRECT;
}

/* rename: look at the destination, RENAME; when that finds something missing, look which end it is */

static void rename_answered(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply);
static void rename_destination_seen(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply);

static kp_status rename_now(webhdfs_op *op, kp_error *err) {
    kp_status st;
    op->renames++;
    KP_TRY(webhdfs_query(op, "op=RENAME&renameoptions=NONE&destination=", err));
    KP_TRY(kp_buf_append_url(&op->query, kp_bytes_of(op->to), "/", err));
    st = webhdfs_ask(op, "PUT", op->path, rename_answered, err);
done:
    return st;
}

static void rename_parent_made(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply) {
    kp_error err;
    (void)reply;
    if (verdict->meaning == WEBHDFS_DONE) {
        webhdfs_carry_on(op, rename_now(op, &err), &err);
    } else {
        webhdfs_fail_unexpected(op, verdict);
    }
}

static kp_status rename_make_parent(webhdfs_op *op, kp_error *err) {
    kp_status st;
    size_t length = (size_t)(strrchr(op->to, '/') - op->to);
    kp_buf_reset(&op->parent);
    KP_TRY(kp_buf_append(&op->parent, op->to, length ? length : 1, err));
    if (!kp_buf_text(&op->parent)) {
        KP_TRY(kp_error_nomem(err));
    }
    KP_TRY(webhdfs_query(op, "op=MKDIRS", err));
    st = webhdfs_ask(op, "PUT", op->parent.data, rename_parent_made, err);
done:
    return st;
}

/* The source is there: the destination's folder was missing, or the destination came meanwhile. */
static void rename_source_seen(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply) {
    kp_error err;
    (void)reply;
    if (verdict->meaning == WEBHDFS_MISSING) {
        webhdfs_finish_as(op, KP_STORE_MISSING);
    } else if (verdict->meaning != WEBHDFS_ANSWER) {
        webhdfs_fail_unexpected(op, verdict);
    } else if (op->renames == 1) {
        webhdfs_carry_on(op, rename_make_parent(op, &err), &err);
    } else {
        webhdfs_carry_on(op, webhdfs_ask_status(op, op->to, rename_destination_seen, &err), &err);
    }
}

static void rename_answered(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply) {
    kp_error err;
    (void)reply;
    if (verdict->meaning == WEBHDFS_DONE) {
        webhdfs_finish_as(op, KP_STORE_DONE);
    } else if (verdict->meaning == WEBHDFS_EXISTS) {
        webhdfs_finish_as(op, KP_STORE_EXISTS);
    } else if (verdict->meaning == WEBHDFS_MISSING || verdict->meaning == WEBHDFS_FALSE) {
        webhdfs_carry_on(op, webhdfs_ask_status(op, op->path, rename_source_seen, &err), &err);
    } else {
        webhdfs_fail_unexpected(op, verdict);
    }
}

static void rename_destination_seen(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply) {
    kp_error err;
    (void)reply;
    if (verdict->meaning == WEBHDFS_ANSWER) {
        webhdfs_finish_as(op, KP_STORE_EXISTS);
    } else if (verdict->meaning != WEBHDFS_MISSING) {
        webhdfs_fail_unexpected(op, verdict);
    } else if (op->renames == 0) {
        webhdfs_carry_on(op, rename_now(op, &err), &err);
    } else {
        kp_error_set(&err, KP_RETRY, "", "the server did not rename it and gives no reason");
        webhdfs_fail(op, &err);
    }
}

static kp_status webhdfs_rename(kp_store *base, const char *from, const char *to, kp_store_on_done on_done, void *ctx,
                                kp_error *err) {
    webhdfs_op *op;
    kp_status st;
    KP_TRY(kp_store_check_path(from, "hdfs rename", err));
    KP_TRY(kp_store_check_path(to, "hdfs rename", err));
    KP_TRY(webhdfs_op_new(&op, (webhdfs *)base, "hdfs rename", from, to, err));
    st = webhdfs_begin(op, webhdfs_ask_status(op, op->to, rename_destination_seen, err), on_done, ctx);
done:
    return st;
}

static void status_answered(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply) {
    kp_error err;
    kp_store_result result = {.outcome = KP_STORE_DONE};
    if (verdict->meaning == WEBHDFS_MISSING) {
        webhdfs_finish_as(op, KP_STORE_MISSING);
    } else if (verdict->meaning != WEBHDFS_ANSWER) {
        webhdfs_fail_unexpected(op, verdict);
    } else if (webhdfs_file_status(reply->body, &result.length, &result.is_folder, &err) != KP_OK) {
        webhdfs_fail(op, &err);
    } else {
        webhdfs_finish(op, &result);
    }
}

static kp_status webhdfs_status(kp_store *base, const char *path, kp_store_on_done on_done, void *ctx, kp_error *err) {
    webhdfs_op *op;
    kp_status st;
    KP_TRY(kp_store_check_path(path, "hdfs status", err));
    KP_TRY(webhdfs_op_new(&op, (webhdfs *)base, "hdfs status", path, NULL, err));
    st = webhdfs_begin(op, webhdfs_ask_status(op, op->path, status_answered, err), on_done, ctx);
done:
    return st;
}

/* names.data moves while it grows, so the array over it is made last. */
static kp_status index_names(webhdfs_op *op, size_t count, kp_error *err) {
    const char *at = op->names.data;
    op->name_list = kp_calloc(count, sizeof *op->name_list);
    for (size_t i = 0; op->name_list && i < count; i++, at += strlen(at) + 1) {
        op->name_list[i] = at;
    }
    return op->name_list ? KP_OK : kp_error_nomem(err);
}

static void list_answered(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply) {
    kp_error err;
    bool is_folder;
    size_t count;
    if (verdict->meaning == WEBHDFS_MISSING) {
        webhdfs_finish_as(op, KP_STORE_MISSING);
        return;
    }
    if (verdict->meaning != WEBHDFS_ANSWER) {
        webhdfs_fail_unexpected(op, verdict);
        return;
    }
    kp_status st = webhdfs_names(reply->body, &op->names, &count, &is_folder, &err);
    st = st == KP_OK ? index_names(op, count, &err) : st;
    if (st != KP_OK) {
        webhdfs_fail(op, &err);
        return;
    }
    webhdfs_finish(op, &(kp_store_result){.outcome = is_folder ? KP_STORE_DONE : KP_STORE_MISSING,
                                          .names = op->name_list,
                                          .name_count = count});
}

static kp_status webhdfs_list(kp_store *base, const char *folder, kp_store_on_done on_done, void *ctx, kp_error *err) {
    webhdfs_op *op;
    kp_status st;
    KP_TRY(kp_store_check_folder(folder, "hdfs list", err));
    KP_TRY(webhdfs_op_new(&op, (webhdfs *)base, "hdfs list", folder, NULL, err));
    size_t length = strlen(op->path);
    if (length > 1 && op->path[length - 1] == '/') {
        op->path[length - 1] = '\0';
    }
    st = webhdfs_query(op, "op=LISTSTATUS", err);
    st = st == KP_OK ? webhdfs_ask(op, "GET", op->path, list_answered, err) : st;
    st = webhdfs_begin(op, st, on_done, ctx);
done:
    return st;
}

static void remove_answered(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply) {
    (void)reply;
    if (verdict->meaning == WEBHDFS_DONE) {
        webhdfs_finish_as(op, KP_STORE_DONE);
    } else if (verdict->meaning == WEBHDFS_FALSE || verdict->meaning == WEBHDFS_MISSING) {
        webhdfs_finish_as(op, KP_STORE_MISSING);
    } else {
        webhdfs_fail_unexpected(op, verdict);
    }
}

static kp_status webhdfs_remove(kp_store *base, const char *path, kp_store_on_done on_done, void *ctx, kp_error *err) {
    webhdfs_op *op;
    kp_status st;
    KP_TRY(kp_store_check_path(path, "hdfs remove", err));
    KP_TRY(webhdfs_op_new(&op, (webhdfs *)base, "hdfs remove", path, NULL, err));
    st = webhdfs_query(op, "op=DELETE", err);
    st = st == KP_OK ? webhdfs_ask(op, "DELETE", op->path, remove_answered, err) : st;
    st = webhdfs_begin(op, st, on_done, ctx);
done:
    return st;
}

static void read_arrived(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply) {
    if (reply->status == 200) {
        webhdfs_finish(op, &(kp_store_result){.outcome = KP_STORE_DONE, .content = reply->body});
    } else if (verdict->meaning == WEBHDFS_MISSING) {
        webhdfs_finish_as(op, KP_STORE_MISSING);
    } else {
        webhdfs_fail_unexpected(op, verdict);
    }
}

static kp_status read_open(webhdfs_op *op, kp_error *err);

static void read_located(webhdfs_op *op, const webhdfs_verdict *verdict, const kp_http_reply *reply) {
    kp_error err;
    if (verdict->meaning == WEBHDFS_MISSING) {
        webhdfs_finish_as(op, KP_STORE_MISSING);
    } else if (verdict->meaning == WEBHDFS_NO_DATANODE && op->excluding) {
        webhdfs_forget_dead(op->store);
        webhdfs_carry_on(op, read_open(op, &err), &err);
    } else if (webhdfs_is_located(verdict)) {
        webhdfs_carry_on(op, webhdfs_follow(op, reply, (kp_bytes){NULL, 0}, read_arrived, &err), &err);
    } else {
        webhdfs_fail_unexpected(op, verdict);
    }
}

static kp_status read_open(webhdfs_op *op, kp_error *err) {
    kp_status st = webhdfs_query(op, "op=OPEN&noredirect=true", err);
    st = st == KP_OK ? webhdfs_exclude_dead(op, err) : st;
    return st == KP_OK ? webhdfs_ask(op, "GET", op->path, read_located, err) : st;
}

static kp_status webhdfs_read(kp_store *base, const char *path, kp_store_on_done on_done, void *ctx, kp_error *err) {
    webhdfs_op *op;
    kp_status st;
    KP_TRY(kp_store_check_path(path, "hdfs read", err));
    KP_TRY(webhdfs_op_new(&op, (webhdfs *)base, "hdfs read", path, NULL, err));
    st = webhdfs_begin(op, read_open(op, err), on_done, ctx);
done:
    return st;
}

static kp_status webhdfs_pump(kp_store *base, kp_error *err) {
    (void)base, (void)err; /* every callback comes from the HTTP client */
    return KP_OK;
}

static void webhdfs_close(kp_store *base) {
    webhdfs *self = (webhdfs *)base;
    if (!self) {
        return;
    }
    self->closing = true;
    while (self->ops) { /* each has a request under way, whose end ends it */
        kp_http_cancel(self->http, self->ops);
    }
    for (size_t i = 0; i < self->url_count; i++) {
        kp_free(self->urls[i]);
    }
    kp_free(self->urls);
    for (size_t i = 0; i < self->host_count; i++) {
        kp_free((char *)(uintptr_t)self->hosts[i]);
    }
    kp_free(self->hosts);
    kp_free(self->user);
    kp_free(self->token);
    kp_free(self);
}

/* "http://host:port", whatever of "/" and "/webhdfs/v1" stands behind it. */
static kp_status add_url(webhdfs *self, const char *text, kp_error *err) {
    kp_url url;
    size_t length = strlen(text);
    kp_status st = kp_url_parse(&url, kp_bytes_of(text), err);
    if (st == KP_OK && url.path.length > 1 && strncmp(url.path.data, "/webhdfs/v1", 11) != 0) {
        st = kp_error_set(err, KP_FATAL, "", "it has a path that is not /webhdfs/v1");
    }
    if (st != KP_OK) {
        char shown[512];
        kp_url_show(text, shown, sizeof shown);
        kp_error_prefix(err, "hdfs: the url \"%s\" cannot be used", shown);
        err->status = KP_FATAL;
        return KP_FATAL;
    }
    self->urls[self->url_count] = kp_strndup(text, length - url.path.length);
    if (!self->urls[self->url_count]) {
        return kp_error_nomem(err);
    }
    self->url_count++;
    return KP_OK;
}

static kp_status add_hosts(webhdfs *self, const kp_json *hosts, kp_error *err) {
    size_t count = kp_json_count(hosts);
    self->hosts = count ? kp_calloc(count, sizeof *self->hosts) : NULL;
    if (count && !self->hosts) {
        return kp_error_nomem(err);
    }
    for (const kp_json *host = kp_json_first(hosts); host; host = kp_json_next(host)) {
        self->hosts[self->host_count] = kp_strdup(kp_json_text(host, ""));
        if (!self->hosts[self->host_count++]) {
            return kp_error_nomem(err);
        }
    }
    return KP_OK;
}

static kp_status configure(webhdfs *self, const kp_json *config, kp_error *err) {
    kp_status st;
    const kp_json *urls;
    const kp_json *user;
    KP_TRY(kp_json_need(config, "urls", &urls, err));
    KP_TRY(kp_json_need(config, "user", &user, err));
    self->urls = kp_calloc(kp_json_count(urls), sizeof *self->urls);
    if (!self->urls) {
        KP_TRY(kp_error_nomem(err));
    }
    for (const kp_json *url = kp_json_first(urls); url; url = kp_json_next(url)) {
        KP_TRY(add_url(self, kp_json_text(url, ""), err));
    }
    if (self->url_count == 0) {
        KP_TRY(kp_error_set(err, KP_FATAL, "", "configuration: \"urls\" is empty"));
    }
    const char *name = kp_json_text(user, "");
    self->user = *name ? kp_strdup(name) : NULL;
    const char *token = kp_json_text(kp_json_get(config, "delegation"), NULL);
    self->token = token ? kp_strdup(token) : NULL;
    if ((*name && !self->user) || (token && !self->token)) {
        KP_TRY(kp_error_nomem(err));
    }
    KP_TRY(add_hosts(self, kp_json_get(config, "redirect_hosts"), err));
done:
    return st;
}

static kp_status webhdfs_open(kp_store **out, const kp_json *config, kp_http *http, kp_error *err) {
    webhdfs *self = kp_calloc(1, sizeof *self);
    if (!self) {
        return kp_error_nomem(err);
    }
    self->base.ops = &kp_store_webhdfs;
    self->http = http;
    kp_status st = configure(self, config, err);
    if (st != KP_OK) {
        webhdfs_close(&self->base);
        return st;
    }
    *out = &self->base;
    return KP_OK;
}

const kp_store_ops kp_store_webhdfs = {
    .name = "hdfs",
    .open = webhdfs_open,
    .close = webhdfs_close,
    .pump = webhdfs_pump,
    .put = webhdfs_put,
    .put_piece = webhdfs_put_piece,
    .join = webhdfs_join,
    .piece_path = webhdfs_piece_path,
    .rename = webhdfs_rename,
    .status = webhdfs_status,
    .list = webhdfs_list,
    .remove = webhdfs_remove,
    .read = webhdfs_read,
};
