/* What an answer to a _bulk request means: see elasticsearch_reply.h. A bulk request is answered with 200 although
 * items failed, so every item is looked at.
 */
#include "sinks/elasticsearch_reply.h"

#include "io/json.h"

#include <string.h>

static bool is_one_of(const char *text, const char *const *known) {
    while (*known && strcmp(text, *known) != 0) {
        known++;
    }
    return *known != NULL;
}

static bool is_block(const char *type) {
    return strcmp(type, "cluster_block_exception") == 0;
}

/* Whoever runs the cluster can lift it: a block, a closed index, the bound on shards when an index would be made. */
static bool heals(const bulk_item *item) {
    return is_block(item->type) || strcmp(item->type, "index_closed_exception") == 0 ||
           strstr(item->reason, "maximum normal shards open");
}

/* The server blames each document of the topic for what is wrong with the configuration. */
static bool blames_all(const bulk_item *item) {
    return strcmp(item->type, "routing_missing_exception") == 0 ||
           (strncmp(item->reason, "pipeline with id [", 18) == 0 && strstr(item->reason, "does not exist")) ||
           strstr(item->reason, "only write ops with an op_type of create are allowed in data streams") ||
           strstr(item->reason, "no write index is defined for alias");
}

/* A processor of an ingest pipeline gave this document up, and calls that an error of the server. */
static bool is_pipelines(const char *type) {
    static const char *const types[] = {"fail_processor_exception", "ingest_processor_exception", NULL};
    return is_one_of(type, types);
}

static bool is_action(const bulk_item *item, const char *action) {
    return strcmp(item->action, action) == 0;
}

bulk_meaning classify_bulk_item(const bulk_item *item) {
    int status = item->status;
    if (status == 200 || status == 201 || (status == 404 && is_action(item, "delete"))) {
        return BULK_DELIVERED; /* what is deleted may not be there */
    }
    if (status == 409) { /* already there, or a newer version is; of an update: somebody else writes it, too */
        return is_action(item, "update") || !*item->action ? BULK_AGAIN : BULK_DELIVERED;
    }
    if (is_pipelines(item->type)) {
        return BULK_REJECTED;
    }
    if (status == 408 || status == 429 || status >= 500 || status < 400 || heals(item)) {
        return BULK_AGAIN; /* also what is no status of a failure: it does not tell what became of the document */
    }
    if (strcmp(item->type, "document_missing_exception") == 0) {
        return BULK_REJECTED; /* an update of what is not there */
    }
    return status == 401 || status == 403 || status == 404 || blames_all(item) ? BULK_STOP : BULK_REJECTED;
}

/* The document inside an update is parsed with the request, and fails all of it: a name twice, a number too long. */
static bool is_unreadable(int status, const char *type) {
    static const char *const types[] = {"x_content_parse_exception", "json_parse_exception", "parsing_exception", NULL};
    return status == 400 && is_one_of(type, types);
}

bulk_meaning classify_bulk_request(int status, const char *type) {
    if (status == 413 || is_unreadable(status, type)) {
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

/* What a person can do about it; "" when the server's own words are enough. */
static const char *advice_for(const char *type, const char *reason) {
    if (is_block(type) && strstr(reason, "flood")) {
        return " (its disk is nearly full: free space there; the index can be written again by itself, or when its "
               "block is lifted)";
    }
    if (is_block(type)) {
        return " (the index can be written again when its block is lifted)";
    }
    if (strcmp(type, "index_closed_exception") == 0) {
        return " (open the index)";
    }
    return "";
}

static kp_status describe(const kp_json *error, int status, kp_status disposition, kp_error *err) {
    const char *type = kp_json_text(kp_json_get(error, "type"), "");
    const char *reason = kp_json_text(kp_json_get(error, "reason"), kp_json_text(error, NULL));
    const char *cause = kp_json_text(kp_json_get(kp_json_get(error, "caused_by"), "reason"), "");
    if (!*type) {
        return kp_error_set(err, disposition, "HTTP", "elasticsearch bulk: HTTP %d: %s", status,
                            reason ? reason : words_for(status));
    }
    reason = reason ? reason : "no reason given";
    return kp_error_set(err, disposition, type, "elasticsearch bulk: %d %s: %s%s%s%s", status, type, reason,
                        *cause ? ": " : "", cause, advice_for(type, reason));
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
    bulk_meaning meaning = classify_bulk_item(&(bulk_item){
        .action = kp_json_key(result),
        .status = status,
        .type = kp_json_text(kp_json_get(error, "type"), ""),
        .reason = kp_json_text(kp_json_get(error, "reason"), ""),
    });
    kp_error reason;
    switch (meaning) {
    case BULK_DELIVERED:
        reason = (kp_error){KP_OK, "EXISTS", "it is there already"};
        kp_batch_judge(batch, index, KP_DELIVERED, status == 409 ? &reason : NULL);
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

static bool starts_with(kp_bytes text, const char *start, size_t length) {
    return text.length >= length && memcmp(text.data, start, length) == 0;
}

/* Length of the item that text starts with, when it says that all went well; 0 when it says something else. */
static size_t done_item(kp_bytes text) {
    static const char *const starts[] = {
        "{\"create\":{\"status\":20",
        "{\"index\":{\"status\":20",
        "{\"update\":{\"status\":20",
        "{\"delete\":{\"status\":20",
    };
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        size_t length = strlen(starts[i]);
        if (starts_with(text, starts[i], length)) {
            kp_bytes end = {text.data + length, text.length - length};
            return starts_with(end, "1}}", 3) || starts_with(end, "0}}", 3) ? length + 3 : 0;
        }
    }
    return 0;
}

/* The answer when all is well, as servers write it with our filter_path. It is nearly every answer, and to make a tree
 * of it costs as much as the rest of the request. */
static bool all_done(kp_bytes body, size_t documents) {
    static const char head[] = "{\"errors\":false,\"items\":[";
    if (documents == 0 || !starts_with(body, head, sizeof head - 1)) {
        return false;
    }
    kp_bytes left = {body.data + sizeof head - 1, body.length - (sizeof head - 1)};
    for (size_t i = 1; i <= documents; i++) {
        size_t length = done_item(left);
        if (length == 0 || length == left.length || left.data[length] != (i < documents ? ',' : ']')) {
            return false;
        }
        left = (kp_bytes){left.data + length + 1, left.length - length - 1};
    }
    return left.length == 1 && *left.data == '}';
}

kp_status classify_bulk(int status, kp_bytes body, kp_batch *batch, kp_error *err) {
    const kp_json *root = NULL;
    if (status != 200) {
        return judge_request(status, body, batch, err);
    }
    size_t pending = count_pending(batch);
    if (all_done(body, pending)) {
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
