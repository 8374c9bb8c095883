/* The classifier of _bulk answers: whatever a server says, every record that was pending is judged, none that was not,
 * and only an answer that counts every document delivers one. Control characters of the input stand for pieces of an
 * answer, so that whole ones are made as easily as broken ones.
 */
#include "core/mem.h"
#include "core/utf8.h"
#include "sinks/elasticsearch_reply.h"

#include <stdlib.h>
#include <string.h>

enum { RECORDS_MAX = 15 };

static const int statuses[] = {200, 200, 200, 200, 200, 201, 301, 400, 401, 403, 404, 408, 413, 429, 500, 503};

static const char *const pieces[] = {
    "{\"errors\":true,\"items\":[",
    "]}",
    "{\"create\":{\"status\":201}}",
    "{\"create\":{\"status\":409}}",
    "{\"create\":{\"status\":429,\"error\":{\"type\":\"",
    "{\"create\":{\"status\":400,\"error\":{\"type\":\"",
    "{\"create\":{\"status\":403,\"error\":{\"type\":\"",
    "{\"create\":{\"status\":",
    "\"error\":{\"type\":\"",
    "cluster_block_exception",
    "\",\"reason\":\"",
    "\",\"caused_by\":{\"reason\":\"",
    "\"}",
    "}}",
    "{\"error\":{\"type\":\"",
    ",",
    "홍길동",
    "\xff\xea\xb8",
    "{\"index\":{\"status\":200}}",
    "{\"update\":{\"status\":409}}",
    "{\"delete\":{\"status\":404}}",
    "pipeline with id [",
    "does not exist",
};

static void expand(const uint8_t *data, size_t size, kp_buf *body) {
    for (size_t i = 0; i < size; i++) {
        const char *piece = data[i] < sizeof pieces / sizeof *pieces ? pieces[data[i]] : NULL;
        kp_status st = piece ? kp_buf_append_text(body, piece, NULL) : kp_buf_append(body, data + i, 1, NULL);
        if (st != KP_OK) {
            abort();
        }
    }
}

static void must(bool holds) {
    if (!holds) {
        abort();
    }
}

/* One line of UTF-8 that says something. */
static void check_message(const kp_error *err) {
    const unsigned char *at = (const unsigned char *)err->message;
    size_t left = strlen(err->message);
    must(left > 0);
    while (left > 0) {
        size_t length = *at < 0x80 ? *at >= 0x20 : kp_utf8_length(at, left);
        must(length > 0);
        at += length;
        left -= length;
    }
}

static kp_batch *batch_of(size_t count, unsigned judged) {
    static const kp_error earlier = {KP_REJECT, "EARLIER", "judged before"};
    kp_batch *batch = kp_batch_new(RECORDS_MAX, NULL);
    for (size_t i = 0; i < count; i++) {
        kp_batch_add(batch, &(kp_record){.topic = "t", .offset = (int64_t)i});
        if (judged & 1u << i) {
            kp_batch_judge(batch, i, KP_REJECTED, &earlier);
        }
    }
    return batch;
}

static void check_record(const kp_batch *batch, size_t index, bool judged, int status) {
    kp_outcome outcome = batch->verdicts[index].outcome;
    if (judged) {
        must(outcome == KP_REJECTED && strcmp(kp_batch_reason(batch, index)->code, "EARLIER") == 0);
        return;
    }
    must(outcome != KP_PENDING);
    must(outcome != KP_DELIVERED || status == 200);
    if (outcome == KP_REJECTED) {
        must(strcmp(kp_batch_reason(batch, index)->code, "EARLIER") != 0);
        check_message(kp_batch_reason(batch, index));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kp_error err;
    kp_buf body = {0};
    if (size < 3) {
        return 0;
    }
    int status = statuses[data[0] & 15];
    size_t count = data[0] >> 4;
    unsigned judged = data[1] | (unsigned)data[2] << 8;
    kp_batch *batch = batch_of(count, judged);
    kp_error_init(&err);
    expand(data + 3, size - 3, &body);
    kp_status st = classify_bulk(status, (kp_bytes){body.data, body.length}, batch, &err);
    must(st == KP_OK || st == KP_RETRY || st == KP_FATAL);
    if (st != KP_OK) {
        must(err.status == st);
        check_message(&err);
    }
    for (size_t i = 0; i < count; i++) {
        check_record(batch, i, judged & 1u << i, status);
    }
    kp_batch_free(batch);
    kp_buf_deinit(&body);
    must(kp_mem_live() == 0);
    return 0;
}
