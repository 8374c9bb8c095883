/* Records into an Elasticsearch (or OpenSearch) index by _bulk requests.
 *
 * The document id is topic+partition+offset and the operation `create`, so that a record sent twice is one document: a
 * 409 means "already there". A payload goes out byte for byte; it must be one JSON object, and raw newlines, which
 * would begin another action, become spaces. Several requests are under way at once; each holds its batch until it is
 * answered.
 */
#include "sinks/sink.h"

#include "core/fail_point.h"
#include "core/json_scan.h"
#include "core/mem.h"
#include "core/template.h"
#include "io/gzip.h"
#include "sinks/elasticsearch_reply.h"

#include <string.h>

enum { NODES_MAX = 16 };

typedef struct elastic elastic;
typedef struct request request;

struct request {
    request *next;
    elastic *sink; /* NULL: the sink was closed meanwhile */
    kp_batch *batch;
    kp_buf body;
    size_t node; /* whose url it went to */
};

struct elastic {
    kp_sink base;
    kp_sink_env env;
    kp_template *index;
    kp_buf constant_index; /* its JSON string, when the template names nothing of a record */
    kp_buf scratch;
    bool ids; /* topic+partition+offset; otherwise the server's */
    bool gzip;
    kp_sink_flush flush;
    size_t in_flight_max;
    size_t in_flight;
    request *requests;
    char *urls[NODES_MAX];
    size_t url_count;
    size_t url_at;
};

/* ---- one document ---- */

static kp_status check_document(const kp_record *rec, kp_error *err) {
    kp_json_kind kind;
    if (!rec->value.data) {
        return kp_error_set(err, KP_REJECT, "ENULL", "elasticsearch: a record without a value is no document");
    }
    kp_status st = kp_json_scan(rec->value, NULL, 0, NULL, &kind, err);
    if (st != KP_OK) {
        kp_error_prefix(err, "elasticsearch: the value is no JSON");
    } else if (kind != KP_JSON_OBJECT) {
        st = kp_error_set(err, KP_REJECT, "ENOOBJECT", "elasticsearch: the value is JSON, but no object");
    }
    return st;
}

static kp_status append_index(elastic *self, const kp_record *rec, kp_buf *body, kp_error *err) {
    kp_status st;
    if (self->constant_index.length) {
        return kp_buf_append(body, self->constant_index.data, self->constant_index.length, err);
    }
    kp_buf_reset(&self->scratch);
    KP_TRY(kp_template_render(self->index, rec, rec->offset, rec->offset, &self->scratch, err));
    KP_TRY(kp_buf_append_json_string(body, (kp_bytes){self->scratch.data, self->scratch.length}, err));
done:
    return st;
}

/* A topic's name needs no escaping: Kafka allows letters, digits, '.', '_' and '-'. */
static kp_status append_id(const kp_record *rec, kp_buf *body, kp_error *err) {
    kp_status st;
    KP_TRY(kp_buf_append_text(body, ",\"_id\":\"", err));
    KP_TRY(kp_buf_append_text(body, rec->topic, err));
    KP_TRY(kp_buf_append(body, "+", 1, err));
    KP_TRY(kp_buf_append_int(body, rec->partition, err));
    KP_TRY(kp_buf_append(body, "+", 1, err));
    KP_TRY(kp_buf_append_int(body, rec->offset, err));
    KP_TRY(kp_buf_append(body, "\"", 1, err));
done:
    return st;
}

static kp_status append_source(kp_bytes value, kp_buf *body, kp_error *err) {
    kp_status st;
    KP_TRY(kp_buf_reserve(body, value.length + 1, err));
    char *at = body->data + body->length;
    KP_TRY(kp_buf_append(body, value.data, value.length, err));
    for (char *end = at + value.length; at < end && (at = memchr(at, '\n', (size_t)(end - at))); at++) {
        *at = ' ';
    }
    KP_TRY(kp_buf_append(body, "\n", 1, err));
done:
    return st;
}

static kp_status append_document(elastic *self, const kp_record *rec, kp_buf *body, kp_error *err) {
    kp_status st;
    size_t start = body->length;
    KP_TRY(check_document(rec, err));
    KP_TRY(kp_buf_append_text(body, "{\"create\":{\"_index\":", err));
    KP_TRY(append_index(self, rec, body, err));
    if (self->ids) {
        KP_TRY(append_id(rec, body, err));
    }
    KP_TRY(kp_buf_append_text(body, "}}\n", err));
    KP_TRY(append_source(rec->value, body, err));
done:
    if (st != KP_OK) {
        body->length = start;
    }
    return st;
}

/* ---- one request ---- */

static void request_free(request *req) {
    kp_buf_deinit(&req->body);
    kp_batch_free(req->batch);
    kp_free(req);
}

static void request_unlink(elastic *self, request *req) {
    request **at = &self->requests;
    while (*at != req) {
        at = &(*at)->next;
    }
    *at = req->next;
    self->in_flight--;
}

/* Judges what cannot become a document; KP_OK when there is something to send. */
static kp_status build_body(elastic *self, request *req, size_t *documents, kp_error *err) {
    *documents = 0;
    for (size_t i = 0; i < req->batch->count; i++) {
        kp_error reason;
        kp_status st = append_document(self, &req->batch->records[i], &req->body, &reason);
        if (st == KP_OK) {
            ++*documents;
        } else if (st == KP_REJECT) {
            kp_batch_judge(req->batch, i, KP_REJECTED, &reason);
        } else {
            *err = reason;
            return st;
        }
    }
    return KP_OK;
}

static kp_status compress_body(request *req, kp_error *err) {
    kp_buf packed = {0};
    kp_status st = kp_gzip((kp_bytes){req->body.data, req->body.length}, 1, &packed, err);
    if (st == KP_OK) {
        kp_buf_move(&req->body, &packed);
    }
    kp_buf_deinit(&packed);
    return st;
}

/* Too large: smaller requests from now on. A document that is too large by itself says nothing about the others. */
static void halve(elastic *self, const kp_batch *batch) {
    size_t half = batch->bytes / 2;
    if (batch->count > 1 && (self->flush.bytes == 0 || half < self->flush.bytes)) {
        self->flush.bytes = half;
    }
}

/* Several requests may fail at one node: only the first of them leads to the next one. */
static void leave_node(elastic *self, size_t node) {
    if (self->url_at == node) {
        self->url_at = (node + 1) % self->url_count;
    }
}

static void judge_reply(elastic *self, size_t node, const kp_http_reply *reply, kp_batch *batch) {
    kp_error err;
    if (reply->transport != KP_OK || reply->status >= 500) {
        leave_node(self, node);
    }
    if (reply->transport != KP_OK) {
        kp_batch_judge_all(batch, KP_AGAIN, &reply->err);
        return;
    }
    if (reply->status == 413) {
        halve(self, batch);
    }
    if (classify_bulk(reply->status, reply->body, batch, &err) == KP_FATAL) {
        self->env.on_trouble(self->env.ctx, &err);
    }
}

static void on_reply(void *ctx, const kp_http_reply *reply) {
    request *req = ctx;
    elastic *self = req->sink;
    if (self) {
        kp_batch *batch = req->batch;
        KP_FAIL_POINT("after-bulk");
        req->batch = NULL;
        judge_reply(self, req->node, reply, batch);
        request_unlink(self, req);
        self->env.on_batch(self->env.ctx, batch);
    }
    request_free(req);
}

static kp_status request_send(elastic *self, request *req, kp_error *err) {
    kp_http_request http = {
        .method = "POST",
        .url = self->urls[self->url_at],
        .content_type = "application/x-ndjson",
        .gzip_body = self->gzip,
        .body = {req->body.data, req->body.length},
    };
    kp_status st = kp_http_send(self->env.http, &http, on_reply, req, err);
    if (st == KP_OK) {
        req->node = self->url_at;
        req->next = self->requests;
        self->requests = req;
        self->in_flight++;
        KP_FAIL_POINT("mid-bulk");
    }
    return st;
}

/* The caller keeps a batch that was not written, and may change it before the next try. */
static void forget_verdicts(kp_batch *batch) {
    memset(batch->verdicts, 0, batch->count * sizeof *batch->verdicts);
    batch->reason_count = 0;
}

static kp_status elastic_write(kp_sink *base, kp_batch *batch, kp_error *err) {
    elastic *self = (elastic *)base;
    size_t documents = 0;
    kp_status st = KP_OK;
    if (self->in_flight >= self->in_flight_max) {
        return kp_error_set(err, KP_RETRY, "FULL", "%zu requests are under way", self->in_flight);
    }
    request *req = kp_calloc(1, sizeof *req);
    if (!req) {
        return kp_error_nomem(err);
    }
    req->sink = self;
    req->batch = batch;
    KP_TRY(kp_buf_reserve(&req->body, batch->bytes + 128 * batch->count, err));
    KP_TRY(build_body(self, req, &documents, err));
    if (documents && self->gzip) {
        KP_TRY(compress_body(req, err));
    }
    if (documents) {
        KP_TRY(request_send(self, req, err));
        return KP_OK;
    }
    self->env.on_batch(self->env.ctx, batch);
done:
    if (st != KP_OK) {
        forget_verdicts(batch);
    }
    req->batch = NULL; /* handed back, or still the caller's */
    request_free(req);
    return st;
}

/* ---- the rest of the contract ---- */

static kp_status elastic_pump(kp_sink *base, kp_error *err) {
    (void)base;
    (void)err;
    return KP_OK; /* the http handle calls back */
}

static kp_sink_flush elastic_flush(const kp_sink *base) {
    return ((const elastic *)base)->flush;
}

static void elastic_close(kp_sink *base) {
    elastic *self = (elastic *)base;
    if (!self) {
        return;
    }
    while (self->requests) {
        request *req = self->requests;
        kp_batch *batch = req->batch;
        request_unlink(self, req);
        req->sink = NULL;
        req->batch = NULL;
        kp_batch_judge_all(batch, KP_AGAIN, NULL);
        self->env.on_batch(self->env.ctx, batch);
    }
    for (size_t i = 0; i < self->url_count; i++) {
        kp_free(self->urls[i]);
    }
    kp_template_free(self->index);
    kp_buf_deinit(&self->constant_index);
    kp_buf_deinit(&self->scratch);
    kp_free(self);
}

static kp_status read_urls(elastic *self, const kp_json *config, kp_error *err) {
    kp_status st;
    const kp_json *urls;
    kp_buf url = {0};
    KP_TRY(kp_json_need(config, "urls", &urls, err));
    for (const kp_json *at = kp_json_first(urls); at && self->url_count < NODES_MAX; at = kp_json_next(at)) {
        kp_buf_reset(&url);
        const char *text = kp_json_text(at, "");
        size_t length = strlen(text);
        KP_TRY(kp_buf_append(&url, text, length && text[length - 1] == '/' ? length - 1 : length, err));
        KP_TRY(kp_buf_append_text(&url, "/_bulk?filter_path=errors,items.*.status,items.*.error", err));
        self->urls[self->url_count] = kp_strndup(url.data, url.length);
        if (!self->urls[self->url_count]) {
            KP_TRY(kp_error_nomem(err));
        }
        self->url_count++;
    }
    if (self->url_count == 0) {
        st = kp_error_set(err, KP_FATAL, "ECONFIG", "elasticsearch: urls names no server");
    }
done:
    kp_buf_deinit(&url);
    return st;
}

static kp_status read_index(elastic *self, const kp_json *config, kp_error *err) {
    kp_status st;
    const char *index;
    const kp_record nothing = {.topic = "", .timestamp_ms = -1};
    KP_TRY(kp_json_need_text(config, "index", &index, err));
    KP_TRY(kp_template_new(&self->index, index, KP_TEMPLATE_INDEX, err));
    if (kp_template_is_constant(self->index)) {
        KP_TRY(kp_template_render(self->index, &nothing, 0, 0, &self->scratch, err));
        KP_TRY(kp_buf_append_json_string(&self->constant_index, (kp_bytes){self->scratch.data, self->scratch.length},
                                         err));
    }
done:
    return st;
}

static kp_status configure(elastic *self, const kp_json *config, kp_error *err) {
    kp_status st;
    const char *id;
    int64_t records;
    int64_t bytes;
    int64_t in_flight;
    KP_TRY(read_urls(self, config, err));
    KP_TRY(read_index(self, config, err));
    KP_TRY(kp_json_need_text(config, "id", &id, err));
    KP_TRY(kp_json_need_bool(config, "gzip", &self->gzip, err));
    KP_TRY(kp_json_need_int(config, "flush_records", &records, err));
    KP_TRY(kp_json_need_int(config, "flush_bytes", &bytes, err));
    KP_TRY(kp_json_need_int(config, "flush_age_ms", &self->flush.age_ms, err));
    KP_TRY(kp_json_need_int(config, "in_flight", &in_flight, err));
    self->ids = strcmp(id, "auto") != 0;
    self->flush.records = (size_t)records;
    self->flush.bytes = (size_t)bytes;
    self->in_flight_max = (size_t)in_flight;
done:
    return st;
}

static kp_status elastic_open(kp_sink **out, const kp_json *config, const kp_sink_env *env, kp_error *err) {
    elastic *self = kp_calloc(1, sizeof *self);
    if (!self) {
        return kp_error_nomem(err);
    }
    self->base.ops = &kp_sink_elasticsearch;
    self->env = *env;
    kp_status st = configure(self, config, err);
    if (st != KP_OK) {
        elastic_close(&self->base);
        return st;
    }
    *out = &self->base;
    return KP_OK;
}

static kp_status elastic_http_options(const kp_json *config, kp_http_options *options, kp_error *err) {
    options->user = kp_json_text(kp_json_get(config, "user"), NULL);
    options->password = kp_json_text(kp_json_get(config, "password"), NULL);
    options->authorization = kp_json_text(kp_json_get(config, "authorization"), NULL);
    kp_sink_tls_options(config, options);
    return kp_json_need_int(config, "timeout_ms", &options->timeout_ms, err);
}

const kp_sink_ops kp_sink_elasticsearch = {
    .name = "elasticsearch",
    .http_options = elastic_http_options,
    .open = elastic_open,
    .close = elastic_close,
    .flush = elastic_flush,
    .write = elastic_write,
    .pump = elastic_pump,
};
