/* Records into an Elasticsearch (or OpenSearch) index by _bulk requests.
 *
 * As configured by default, the document id is topic+partition+offset and the operation `create`, so that a record sent
 * twice is one document: a 409 means "already there". elasticsearch_document.c makes a record's lines,
 * elasticsearch_nodes.c chooses the node, elasticsearch_reply.c reads the answer. Several requests are under way at
 * once; each holds its batch until it is answered.
 */
#include "sinks/sink.h"

#include "core/fail_point.h"
#include "core/mem.h"
#include "io/gzip.h"
#include "sinks/elasticsearch_document.h"
#include "sinks/elasticsearch_nodes.h"
#include "sinks/elasticsearch_reply.h"

#include <string.h>

typedef struct elastic elastic;
typedef struct request request;

struct request {
    request *next;
    elastic *sink; /* NULL: the sink was closed meanwhile */
    kp_batch *batch;
    kp_buf body;
    size_t bytes; /* of the batch */
    size_t node;  /* whose url it went to */
};

struct elastic {
    kp_sink base;
    kp_sink_env env;
    elastic_document document;
    elastic_nodes nodes;
    bool gzip;
    kp_sink_flush flush;
    size_t fewer; /* records at once while one is looked for that fails its whole request; 0: as configured */
    size_t in_flight_max;
    size_t in_flight_bytes_max;
    size_t in_flight;
    size_t in_flight_bytes;
    request *requests;
};

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
    self->in_flight_bytes -= req->bytes;
}

/* Judges what cannot become a document, and what needs none. */
static kp_status build_body(elastic *self, request *req, kp_error *err) {
    for (size_t i = 0; i < req->batch->count; i++) {
        kp_error reason;
        size_t before = req->body.length;
        kp_status st = elastic_document_append(&self->document, &req->batch->records[i], &req->body, &reason);
        if (st == KP_OK && req->body.length == before) {
            kp_batch_judge(req->batch, i, KP_DELIVERED, NULL);
        } else if (st == KP_REJECT) {
            kp_batch_judge(req->batch, i, KP_REJECTED, &reason);
        } else if (st != KP_OK) {
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

/* One record fails the whole request: with half of them each time it is found soon, and then alone is rejected. */
static void send_fewer(elastic *self, const kp_batch *batch) {
    size_t half = batch->count / 2;
    if (half > 0 && (self->fewer == 0 || half < self->fewer)) {
        self->fewer = half;
    }
}

static void send_more(elastic *self) {
    self->fewer = self->fewer * 2 < self->flush.records ? self->fewer * 2 : 0;
}

static void judge_reply(elastic *self, size_t node, const kp_http_reply *reply, kp_batch *batch) {
    kp_error err;
    if (reply->transport != KP_OK || reply->status >= 500) {
        elastic_nodes_failed(&self->nodes, node, self->env.now_ms(self->env.ctx));
    } else {
        elastic_nodes_answered(&self->nodes, node);
    }
    if (reply->transport != KP_OK) {
        kp_batch_judge_all(batch, KP_AGAIN, &reply->err);
        return;
    }
    if (reply->status == 413) {
        halve(self, batch);
    }
    kp_status st = classify_bulk(reply->status, reply->body, batch, &err);
    if (st == KP_FATAL) {
        self->env.on_trouble(self->env.ctx, &err);
    } else if (reply->status == 400 && st == KP_RETRY) {
        send_fewer(self, batch);
    } else if (reply->status == 200 && self->fewer) {
        send_more(self);
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
    req->node = elastic_nodes_pick(&self->nodes, self->env.now_ms(self->env.ctx));
    kp_http_request http = {
        .method = "POST",
        .url = self->nodes.nodes[req->node].url,
        .content_type = "application/x-ndjson",
        .gzip_body = self->gzip,
        .body = {req->body.data, req->body.length},
    };
    kp_status st = kp_http_send(self->env.http, &http, on_reply, req, err);
    if (st == KP_OK) {
        req->next = self->requests;
        self->requests = req;
        self->in_flight++;
        self->in_flight_bytes += req->bytes;
        KP_FAIL_POINT("mid-bulk");
    }
    return st;
}

/* The caller keeps a batch that was not written, and may change it before the next try. */
static void forget_verdicts(kp_batch *batch) {
    memset(batch->verdicts, 0, batch->count * sizeof *batch->verdicts);
    batch->reason_count = 0;
}

/* A single batch may be larger than what may be under way: it goes alone. */
static bool is_full(const elastic *self, const kp_batch *batch) {
    return self->in_flight >= self->in_flight_max ||
           (self->in_flight > 0 && self->in_flight_bytes + batch->bytes > self->in_flight_bytes_max);
}

static kp_status elastic_write(kp_sink *base, kp_batch *batch, kp_error *err) {
    elastic *self = (elastic *)base;
    kp_status st = KP_OK;
    if (is_full(self, batch)) {
        return kp_error_set(err, KP_RETRY, "FULL", "%zu requests are under way", self->in_flight);
    }
    request *req = kp_calloc(1, sizeof *req);
    if (!req) {
        return kp_error_nomem(err);
    }
    req->sink = self;
    req->batch = batch;
    req->bytes = batch->bytes;
    KP_TRY(kp_buf_reserve(&req->body, batch->bytes + 128 * batch->count, err));
    KP_TRY(build_body(self, req, err));
    bool something = req->body.length > 0;
    if (something && self->gzip) {
        KP_TRY(compress_body(req, err));
    }
    if (something) {
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
    const elastic *self = (const elastic *)base;
    kp_sink_flush flush = self->flush;
    flush.records = self->fewer ? self->fewer : flush.records;
    return flush;
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
    elastic_nodes_deinit(&self->nodes);
    elastic_document_deinit(&self->document);
    kp_free(self);
}

/* Where _bulk is at a node, with what the answer should hold. */
static kp_status make_url(const char *node, const char *pipeline, kp_buf *url, kp_error *err) {
    kp_status st;
    size_t length = strlen(node);
    kp_buf_reset(url);
    KP_TRY(kp_buf_append(url, node, length && node[length - 1] == '/' ? length - 1 : length, err));
    KP_TRY(kp_buf_append_text(url, "/_bulk?filter_path=errors,items.*.status,items.*.error", err));
    if (pipeline) {
        KP_TRY(kp_buf_append_text(url, "&pipeline=", err));
        KP_TRY(kp_buf_append_url(url, kp_bytes_of(pipeline), "", err));
    }
done:
    return st;
}

static kp_status read_urls(elastic *self, const kp_json *config, kp_error *err) {
    kp_status st;
    const kp_json *urls;
    const kp_json *pipeline;
    kp_buf url = {0};
    KP_TRY(kp_json_need(config, "urls", &urls, err));
    KP_TRY(kp_json_need(config, "pipeline", &pipeline, err));
    for (const kp_json *at = kp_json_first(urls); at; at = kp_json_next(at)) {
        KP_TRY(make_url(kp_json_text(at, ""), kp_json_text(pipeline, NULL), &url, err));
        const char *text = kp_buf_text(&url);
        KP_TRY(text ? elastic_nodes_add(&self->nodes, text, err) : kp_error_nomem(err));
    }
    if (self->nodes.count == 0) {
        st = kp_error_set(err, KP_FATAL, "ECONFIG", "elasticsearch: urls names no server");
    }
done:
    kp_buf_deinit(&url);
    return st;
}

static kp_status configure(elastic *self, const kp_json *config, kp_error *err) {
    kp_status st;
    int64_t records;
    int64_t bytes;
    int64_t in_flight;
    int64_t in_flight_bytes;
    KP_TRY(elastic_document_init(&self->document, config, err));
    KP_TRY(read_urls(self, config, err));
    KP_TRY(kp_json_need_bool(config, "gzip", &self->gzip, err));
    KP_TRY(kp_json_need_int(config, "flush_records", &records, err));
    KP_TRY(kp_json_need_int(config, "flush_bytes", &bytes, err));
    KP_TRY(kp_json_need_int(config, "flush_age_ms", &self->flush.age_ms, err));
    KP_TRY(kp_json_need_int(config, "in_flight", &in_flight, err));
    KP_TRY(kp_json_need_int(config, "in_flight_bytes", &in_flight_bytes, err));
    self->flush.records = (size_t)records;
    self->flush.bytes = (size_t)bytes;
    self->in_flight_max = (size_t)in_flight;
    self->in_flight_bytes_max = (size_t)in_flight_bytes;
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
