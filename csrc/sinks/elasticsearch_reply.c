/* What an answer to a _bulk request means: see elasticsearch_reply.h. A bulk request is answered with 200 although
 * items failed, so every item is looked at.
 */
#include "sinks/elasticsearch_reply.h"

#include "io/json.h"

#include <string.h>

static bool is_block(const char *type) {
    return strcmp(type, "cluster_block_exception") == 0;
}

bulk_meaning classify_bulk_item(int status, const char *type) {
    if (status == 200 || status == 201 || status == 409) {
        return BULK_DELIVERED; /* 409 on create: it is already there */
    }
    if (status == 408 || status == 429 || status >= 500 || status < 400 || is_block(type)) {
        return BULK_AGAIN; /* also what is no status of a failure: it does not tell what became of the document */
    }
    if (status == 401 || status == 403 || status == 404) {
        return BULK_STOP;
    }
    return BULK_REJECTED;
}

bulk_meaning classify_bulk_request(int status, const char *type) {
    if (status == 413) {
        return BULK_REJECTED;
    }
    if (status == 408 || status == 429 || status >= 500 || is_block(type)) {
        return BULK_AGAIN;
    }
    return BULK_STOP;
}

/* Of a failure without a reason of the server's: a proxy's page, an empty body. */
static const char *words_for(int status) {
    switch (status) {
    case 401:
        return "the server wants another user or password";
    case 403:
        return "this user may not write there";
    case 404:
        return "no _bulk there: is the url right?";
    case 413:
        return "the request is too large";
    case 429:
        return "the server has too much to do";
    default:
        return status >= 500 ? "the server has trouble" : "not an answer of a search server";
    }
}

static kp_status describe(const kp_json *error, int status, kp_status disposition, kp_error *err) {
    const char *type = kp_json_text(kp_json_get(error, "type"), "");
    const char *reason = kp_json_text(kp_json_get(error, "reason"), kp_json_text(error, NULL));
    const char *cause = kp_json_text(kp_json_get(kp_json_get(error, "caused_by"), "reason"), "");
    if (!*type) {
        return kp_error_set(err, disposition, "HTTP", "elasticsearch bulk: HTTP %d: %s", status,
                            reason ? reason : words_for(status));
    }
    return kp_error_set(err, disposition, type, "elasticsearch bulk: %d %s: %s%s%s", status, type,
                        reason ? reason : "no reason given", *cause ? ": " : "", cause);
}

static kp_status judge_request(int status, kp_bytes body, kp_batch *batch, kp_error *err) {
    const kp_json *root = NULL;
    if (kp_json_parse(&root, body, "the answer of _bulk", err) == KP_NOMEM) {
        kp_batch_judge_all(batch, KP_AGAIN, err);
        return KP_RETRY;
    }
    const kp_json *error = kp_json_get(root, "error");
    bulk_meaning meaning = classify_bulk_request(status, kp_json_text(kp_json_get(error, "type"), ""));
    bool alone = meaning == BULK_REJECTED && batch->count == 1;
    kp_status disposition = alone ? KP_REJECT : meaning == BULK_STOP ? KP_FATAL : KP_RETRY;
    describe(error, status, disposition, err);
    kp_batch_judge_all(batch, alone ? KP_REJECTED : KP_AGAIN, err);
    kp_json_free(root);
    return alone ? KP_OK : disposition;
}

/* 0 when there is none. */
static int item_status(const kp_json *result) {
    int64_t status = kp_json_int(kp_json_get(result, "status"), 0);
    return status >= 100 && status <= 599 ? (int)status : 0;
}

/* Judges one record; KP_FATAL when the item says stop. */
static kp_status judge_item(const kp_json *item, kp_batch *batch, size_t index, kp_error *err) {
    const kp_json *result = kp_json_first(item); /* {"create": {...}} */
    int status = item_status(result);
    const kp_json *error = kp_json_get(result, "error");
    bulk_meaning meaning = classify_bulk_item(status, kp_json_text(kp_json_get(error, "type"), ""));
    kp_error reason;
    switch (meaning) {
    case BULK_DELIVERED:
        kp_batch_judge(batch, index, KP_DELIVERED, NULL);
        return KP_OK;
    case BULK_REJECTED:
        describe(error, status, KP_REJECT, &reason);
        kp_batch_judge(batch, index, KP_REJECTED, &reason);
        return KP_OK;
    case BULK_AGAIN:
        describe(error, status, KP_RETRY, &reason);
        kp_batch_judge(batch, index, KP_AGAIN, &reason);
        return KP_OK;
    case BULK_STOP:
        break;
    }
    kp_batch_judge(batch, index, KP_AGAIN, NULL);
    return describe(error, status, KP_FATAL, err);
}

static size_t count_pending(const kp_batch *batch) {
    size_t pending = 0;
    for (size_t i = 0; i < batch->count; i++) {
        pending += batch->verdicts[i].outcome == KP_PENDING;
    }
    return pending;
}

static kp_status judge_items(const kp_json *items, kp_batch *batch, kp_error *err) {
    kp_status st = KP_OK;
    const kp_json *item = kp_json_first(items);
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->verdicts[i].outcome == KP_PENDING) {
            kp_status judged = judge_item(item, batch, i, err);
            st = judged != KP_OK ? judged : st;
            item = kp_json_next(item);
        }
    }
    return st;
}

/* The answer when all is well, as servers write it with our filter_path. It is nearly every answer, and to make a tree
 * of it costs as much as the rest of the request. */
static bool all_created(kp_bytes body, size_t documents) {
    static const char head[] = "{\"errors\":false,\"items\":[";
    static const char item[] = "{\"create\":{\"status\":201}}";
    const char *at = body.data + sizeof head - 1;
    if (documents == 0 || body.length != sizeof head + documents * sizeof item ||
        memcmp(body.data, head, sizeof head - 1) != 0) {
        return false;
    }
    for (size_t i = 1; i <= documents; i++, at += sizeof item) {
        if (memcmp(at, item, sizeof item - 1) != 0 || at[sizeof item - 1] != (i < documents ? ',' : ']')) {
            return false;
        }
    }
    return *at == '}';
}

kp_status classify_bulk(int status, kp_bytes body, kp_batch *batch, kp_error *err) {
    const kp_json *root = NULL;
    if (status != 200) {
        return judge_request(status, body, batch, err);
    }
    size_t pending = count_pending(batch);
    if (all_created(body, pending)) {
        kp_batch_judge_all(batch, KP_DELIVERED, NULL);
        return KP_OK;
    }
    kp_status st = kp_json_parse(&root, body, "the answer of _bulk", err);
    const kp_json *items = kp_json_get(root, "items");
    if (st == KP_OK && kp_json_is_array(items) && kp_json_count(items) == pending) {
        st = judge_items(items, batch, err);
    } else {
        st = kp_error_set(err, KP_RETRY, "EANSWER", "elasticsearch bulk: the answer tells of %zu of %zu documents",
                          kp_json_count(items), pending);
        kp_batch_judge_all(batch, KP_AGAIN, err);
    }
    kp_json_free(root);
    return st;
}
