/* One request after the other for a WebHDFS operation: see webhdfs.h.
 *
 * A NameNode is asked with the user's name; a DataNode gets the address that the NameNode made and nothing of ours
 * but the bytes. A DataNode whose connection failed is not asked for again for a minute: the NameNode itself goes on
 * handing it out until ten minutes have passed. It knows those to exclude by IP address only: not by name, and not by
 * the HTTP port of its own Location, though Hadoop's own client sends that.
 */
#include "stores/webhdfs.h"

#include "core/fail_point.h"
#include "io/url.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { KP_WEBHDFS_DEAD_MS = 60000 };

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

kp_status webhdfs_op_new(webhdfs_op **out, webhdfs *store, const char *what, const char *path, const char *to,
                         kp_error *err) {
    if (store->closing) {
        return kp_error_set(err, KP_CLOSED, "", "%s %s: the store was closed", what, path);
    }
    webhdfs_op *self = kp_calloc(1, sizeof *self);
    if (!self) {
        return kp_error_nomem(err);
    }
    self->store = store;
    self->what = what;
    self->next = store->ops;
    if (self->next) {
        self->next->previous = self;
    }
    store->ops = self;
    self->path = kp_strdup(path);
    self->to = to ? kp_strdup(to) : NULL;
    if (!self->path || (to && !self->to)) {
        webhdfs_op_free(self);
        return kp_error_nomem(err);
    }
    *out = self;
    return KP_OK;
}

static void unlink_op(webhdfs_op *self) {
    if (self->previous) {
        self->previous->next = self->next;
    } else {
        self->store->ops = self->next;
    }
    if (self->next) {
        self->next->previous = self->previous;
    }
}

static void release(webhdfs_op *self) {
    kp_buf_deinit(&self->query);
    kp_buf_deinit(&self->url);
    kp_buf_deinit(&self->parent);
    kp_buf_deinit(&self->names);
    kp_free(self->name_list);
    kp_free(self->path);
    kp_free(self->to);
    kp_free(self);
}

void webhdfs_op_free(webhdfs_op *self) {
    unlink_op(self);
    release(self);
}

void webhdfs_finish(webhdfs_op *self, const kp_store_result *result) {
    unlink_op(self); /* first: on_done may start another one */
    self->on_done(self->ctx, result);
    release(self);
}

void webhdfs_finish_as(webhdfs_op *self, kp_store_outcome outcome) {
    webhdfs_finish(self, &(kp_store_result){.outcome = outcome});
}

void webhdfs_fail(webhdfs_op *self, const kp_error *err) {
    kp_store_result result = {.outcome = KP_STORE_FAILED, .err = *err};
    kp_error_prefix(&result.err, "%s %s", self->what, self->to ? self->to : self->path);
    webhdfs_finish(self, &result);
}

static void remember_dead(webhdfs *self, const char *ip) {
    webhdfs_dead *slot = self->dead;
    if (!*ip || strchr(ip, ':')) { /* a NameNode takes what follows a colon for a port */
        return;
    }
    for (size_t i = 0; i < WEBHDFS_DEAD_MAX; i++) {
        webhdfs_dead *dead = &self->dead[i];
        if (strcmp(dead->ip, ip) == 0) {
            slot = dead;
            break;
        }
        slot = dead->until_ms < slot->until_ms ? dead : slot;
    }
    snprintf(slot->ip, sizeof slot->ip, "%s", ip);
    slot->until_ms = now_ms() + KP_WEBHDFS_DEAD_MS;
}

void webhdfs_forget_dead(webhdfs *self) {
    memset(self->dead, 0, sizeof self->dead);
}

kp_status webhdfs_exclude_dead(webhdfs_op *self, kp_error *err) {
    kp_status st = KP_OK;
    int64_t now = now_ms();
    self->excluding = false;
    for (size_t i = 0; i < WEBHDFS_DEAD_MAX; i++) {
        const webhdfs_dead *dead = &self->store->dead[i];
        if (dead->until_ms > now) {
            KP_TRY(kp_buf_append_text(&self->query, self->excluding ? "," : "&excludedatanodes=", err));
            KP_TRY(kp_buf_append_url(&self->query, kp_bytes_of(dead->ip), "", err));
            self->excluding = true;
        }
    }
done:
    return st;
}

bool webhdfs_next_namenode(webhdfs_op *self) {
    webhdfs *store = self->store;
    if (store->active == self->namenode) { /* else another operation went on already */
        store->active = (store->active + 1) % store->url_count;
    }
    return ++self->switches < store->url_count;
}

static kp_status build_url(webhdfs_op *self, kp_error *err) {
    kp_status st;
    const webhdfs *store = self->store;
    kp_buf *url = &self->url;
    kp_buf_reset(url);
    KP_TRY(kp_buf_append_text(url, store->urls[self->namenode], err));
    KP_TRY(kp_buf_append_text(url, "/webhdfs/v1", err));
    KP_TRY(kp_buf_append_url(url, kp_bytes_of(self->subject), "/", err));
    KP_TRY(kp_buf_append_text(url, "?", err));
    KP_TRY(kp_buf_append(url, self->query.data, self->query.length, err));
    const char *who = store->token ? store->token : store->user;
    if (who) {
        KP_TRY(kp_buf_append_text(url, store->token ? "&delegation=" : "&user.name=", err));
        KP_TRY(kp_buf_append_url(url, kp_bytes_of(who), "", err));
    }
    st = kp_buf_text(url) ? KP_OK : kp_error_nomem(err);
done:
    return st;
}

static void on_namenode(void *ctx, const kp_http_reply *reply);

static kp_status send_to_namenode(webhdfs_op *self, kp_error *err) {
    self->namenode = self->store->active;
    kp_status st = build_url(self, err);
    if (st == KP_OK) {
        kp_http_request request = {.method = self->method, .url = self->url.data};
        st = kp_http_send(self->store->http, &request, on_namenode, self, err);
    }
    return st;
}

static void ask_the_next(webhdfs_op *self) {
    kp_error err;
    if (send_to_namenode(self, &err) != KP_OK) {
        webhdfs_fail(self, &err);
    }
}

static void on_namenode(void *ctx, const kp_http_reply *reply) {
    webhdfs_op *self = ctx;
    webhdfs_verdict verdict;
    if (reply->transport == KP_RETRY) {
        bool again = webhdfs_next_namenode(self) && !reply->sent;
        again ? ask_the_next(self) : webhdfs_fail(self, &reply->err);
        return;
    }
    if (reply->transport != KP_OK) {
        webhdfs_fail(self, &reply->err);
        return;
    }
    classify_webhdfs(reply->status, reply->body, &verdict);
    if (verdict.meaning == WEBHDFS_STANDBY && webhdfs_next_namenode(self)) {
        ask_the_next(self);
    } else {
        self->step(self, &verdict, reply);
    }
}

kp_status webhdfs_ask(webhdfs_op *self, const char *method, const char *subject, webhdfs_step step, kp_error *err) {
    self->method = method;
    self->subject = subject;
    self->step = step;
    self->switches = 0;
    return send_to_namenode(self, err);
}

static void on_datanode(void *ctx, const kp_http_reply *reply) {
    webhdfs_op *self = ctx;
    webhdfs_verdict verdict = {.meaning = WEBHDFS_DONE};
    if (reply->transport != KP_OK) {
        if (reply->transport == KP_RETRY) {
            remember_dead(self->store, reply->remote_ip);
        }
        webhdfs_fail(self, &reply->err);
        return;
    }
    if (reply->status != 200 && reply->status != 201) { /* the body of a 200 is the content of a file */
        classify_webhdfs(reply->status, reply->body, &verdict);
    }
    self->step(self, &verdict, reply);
}

/* A name without its port; an IPv6 address with its brackets. */
static kp_status check_host(const webhdfs *store, const char *location, kp_error *err) {
    kp_url url;
    kp_status st = kp_url_parse(&url, kp_bytes_of(location), err);
    bool allowed = st == KP_OK && store->host_count == 0;
    for (size_t i = 0; st == KP_OK && i < store->host_count && !allowed; i++) {
        allowed = strlen(store->hosts[i]) == url.host.length &&
                  strncasecmp(store->hosts[i], url.host.data, url.host.length) == 0;
    }
    return st != KP_OK || allowed
               ? st
               : kp_error_set(err, KP_RETRY, "EREDIRECT",
                              "the server's redirect is not followed: %.*s is not among redirect_hosts",
                              (int)(url.host.length < 255 ? url.host.length : 255), url.host.data);
}

kp_status webhdfs_follow(webhdfs_op *self, const kp_http_reply *reply, kp_bytes body, webhdfs_step step,
                         kp_error *err) {
    bool https = strncmp(self->store->urls[self->namenode], "https:", 6) == 0;
    kp_status st = webhdfs_location(reply->status, reply->body, reply->location, https, &self->url, err);
    st = st == KP_OK ? check_host(self->store, self->url.data, err) : st;
    if (st != KP_OK) {
        return st;
    }
    self->step = step;
    kp_http_request request = {.method = body.data ? "PUT" : "GET",
                               .url = self->url.data,
                               .content_type = body.data ? "application/octet-stream" : NULL, /* HttpFS insists */
                               .no_credentials = true,
                               .body = body};
    st = kp_http_send(self->store->http, &request, on_datanode, self, err);
    KP_FAIL_POINT("mid-put");
    return st;
}
