/* What an answer of _bulk means, on bodies as Elasticsearch 9 and OpenSearch 3 write them (with our filter_path). */
#include "kp_test.h"

#include "sinks/elasticsearch_reply.h"

#include <stdio.h>

enum { BATCH_MAX = 8 };

static kp_batch *batch_of(size_t count) {
    kp_batch *batch = kp_batch_new(BATCH_MAX, NULL);
    assert_non_null(batch);
    for (size_t i = 0; i < count; i++) {
        kp_batch_add(batch, &(kp_record){.topic = "t", .offset = (int64_t)i, .value = KP_BYTES_LITERAL("{}")});
    }
    return batch;
}

/* One letter a record: D delivered, A again, R rejected, P pending. */
static void assert_verdicts(const kp_batch *batch, const char *expected) {
    char seen[BATCH_MAX + 1] = "";
    for (size_t i = 0; i < batch->count; i++) {
        seen[i] = "PDAR"[batch->verdicts[i].outcome];
    }
    assert_string_equal(seen, expected);
}

typedef struct {
    int status;
    const char *body;
    kp_status st;
    const char *verdicts;
    const char *says; /* in the error, or in the first record's reason when there is no error; NULL: not looked at */
} answer;

static void check(const answer *one) {
    kp_error err;
    kp_error_init(&err);
    kp_batch *batch = batch_of(strlen(one->verdicts));
    kp_status st = classify_bulk(one->status, kp_bytes_of(one->body), batch, &err);
    if (st != one->st) {
        fail_msg("%s: %s %s", one->body, kp_status_name(st), err.message);
    }
    assert_verdicts(batch, one->verdicts);
    const char *said = st == KP_OK ? kp_batch_reason(batch, 0)->message : err.message;
    if (one->says && !strstr(said, one->says)) {
        fail_msg("\"%s\" does not say \"%s\"", said, one->says);
    }
    kp_batch_free(batch);
}

#define CHECK_ALL(answers)                                                                                             \
    for (size_t i = 0; i < sizeof(answers) / sizeof *(answers); i++) {                                                 \
        check(&(answers)[i]);                                                                                          \
    }

#define ITEM(status, error) "{\"errors\":true,\"items\":[{\"create\":{\"status\":" status ",\"error\":" error "}}]}"
#define ERROR(type, reason) "{\"type\":\"" type "\",\"reason\":\"" reason "\"}"

static void test_items(void **state) {
    (void)state;
    static const answer answers[] = {
        {200, "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}}]}", KP_OK, "D", NULL},
        {200, "{\"took\":3,\"errors\":false,\"items\":[{\"create\":{\"status\":201}},{\"create\":{\"status\":200}}]}",
         KP_OK, "DD", NULL},
        {200,
         ITEM("409", ERROR("version_conflict_engine_exception",
                           "[t+0+0]: version conflict, document already exists (current version [1])")),
         KP_OK, "D", NULL},
        {200, ITEM("429", ERROR("es_rejected_execution_exception", "rejected execution of primary operation")), KP_OK,
         "A", "rejected execution"},
        {200, ITEM("429", ERROR("rejected_execution_exception", "rejected execution of primary operation")), KP_OK, "A",
         "rejected execution"},
        {200,
         ITEM("429", ERROR("cluster_block_exception",
                           "index [i] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage "
                           "watermark, index has read-only-allow-delete block];")),
         KP_OK, "A", "flood-stage"},
        {200, ITEM("403", ERROR("cluster_block_exception", "index [i] blocked by: [FORBIDDEN/8/index write (api)];")),
         KP_OK, "A", "index write (api)"},
        {200, ITEM("503", ERROR("unavailable_shards_exception", "[i][0] primary shard is not active")), KP_OK, "A",
         "primary shard"},
        {200, ITEM("500", ERROR("exception", "x")), KP_OK, "A", NULL},
        {200, ITEM("408", ERROR("timeout_exception", "x")), KP_OK, "A", NULL},
        {200,
         ITEM("400", "{\"type\":\"document_parsing_exception\",\"reason\":\"[1:5] failed to parse field [n] of "
                     "type [long]\",\"caused_by\":{\"type\":\"illegal_argument_exception\",\"reason\":\"For input "
                     "string: \\\"홍길동\\\"\"}}"),
         KP_OK, "R", "For input string: \"홍길동\""},
        {200, ITEM("400", ERROR("mapper_parsing_exception", "failed to parse field [n] of type [long]")), KP_OK, "R",
         "failed to parse"},
        {200, ITEM("400", ERROR("illegal_argument_exception", "id is too long")), KP_OK, "R", "id is too long"},
        {200, ITEM("400", ERROR("invalid_index_name_exception", "Invalid index name [A]")), KP_OK, "R", NULL},
        {200, ITEM("413", ERROR("x", "too large")), KP_OK, "R", NULL},
        /* nobody's record is at fault: stop, and dead-letter nothing */
        {200, ITEM("404", ERROR("index_not_found_exception", "no such index [i]")), KP_FATAL, "A", "no such index [i]"},
        {200, ITEM("403", ERROR("security_exception", "action is unauthorized for user [u]")), KP_FATAL, "A",
         "unauthorized"},
        {200, ITEM("401", ERROR("security_exception", "missing authentication")), KP_FATAL, "A", "authentication"},
        /* an error that is only a text, as old servers wrote it */
        {200, ITEM("400", "\"MapperParsingException[x]\""), KP_OK, "R", "MapperParsingException"},
    };
    CHECK_ALL(answers);
}

#define ITEM_OF(action, status, error)                                                                                 \
    "{\"errors\":true,\"items\":[{\"" action "\":{\"status\":" status ",\"error\":" error "}}]}"
#define CONFLICT "version_conflict_engine_exception"

/* The same status is another thing for another operation. */
static void test_items_of_every_operation(void **state) {
    (void)state;
    static const answer answers[] = {
        {200,
         ITEM_OF("index", "409", ERROR(CONFLICT, "current version [5] is higher or equal to the one provided [4]")),
         KP_OK, "D", NULL},
        {200, ITEM_OF("delete", "409", ERROR(CONFLICT, "current version [7] is higher")), KP_OK, "D", NULL},
        {200, ITEM_OF("update", "409", ERROR(CONFLICT, "[k]: version conflict, required seqNo [3]")), KP_OK, "A",
         "required seqNo"},
        {200, "{\"errors\":false,\"items\":[{\"delete\":{\"status\":404}}]}", KP_OK, "D", NULL},
        {200, ITEM_OF("delete", "404", ERROR("index_not_found_exception", "no such index [i]")), KP_OK, "D", NULL},
        {200, ITEM_OF("update", "404", ERROR("document_missing_exception", "[k]: document missing")), KP_OK, "R",
         "document missing"},
        {200, ITEM_OF("update", "404", ERROR("index_not_found_exception", "no such index [i]")), KP_FATAL, "A",
         "no such index"},
        {200,
         "{\"errors\":false,\"items\":[{\"index\":{\"status\":200}},{\"update\":{\"status\":200}},{\"delete\":{"
         "\"status\":200}},{\"create\":{\"status\":201}},{\"update\":{\"status\":201}}]}",
         KP_OK, "DDDDD", NULL},
        {200, "{\"errors\":false,\"items\":[{\"index\":{\"status\":200}},{\"index\":{\"status\":202}}]}", KP_OK, "DA",
         NULL},
    };
    CHECK_ALL(answers);
}

/* The server blames each document, and a dead letter of each would empty the topic into the dead letters. */
static void test_what_is_wrong_with_the_configuration_stops(void **state) {
    (void)state;
    static const answer answers[] = {
        {200, ITEM("400", ERROR("illegal_argument_exception", "pipeline with id [p] does not exist")), KP_FATAL, "A",
         "pipeline with id [p]"},
        {200,
         ITEM_OF("index", "400",
                 ERROR("illegal_argument_exception",
                       "only write ops with an op_type of create are allowed in data streams")),
         KP_FATAL, "A", "data streams"},
        {200, ITEM("400", ERROR("routing_missing_exception", "routing is required for [i]/[k]")), KP_FATAL, "A",
         "routing is required"},
        {200,
         ITEM("400", ERROR("illegal_argument_exception", "no write index is defined for alias [a]. The write index "
                                                         "may be explicitly disabled")),
         KP_FATAL, "A", "no write index"},
    };
    CHECK_ALL(answers);
}

/* Whoever runs the cluster can put it right, and the records wait for that. */
static void test_what_an_operator_can_heal_is_tried_again(void **state) {
    (void)state;
    static const answer answers[] = {
        {200, ITEM("400", ERROR("index_closed_exception", "closed")), KP_OK, "A", "closed (open the index)"},
        {200,
         ITEM("400", ERROR("validation_exception", "Validation Failed: 1: this action would add [2] shards, but this "
                                                   "cluster currently has [1000]/[1000] maximum normal shards open;")),
         KP_OK, "A", "maximum normal shards open"},
        {200, ITEM("429", ERROR("circuit_breaking_exception", "[parent] Data too large")), KP_OK, "A", NULL},
        {200,
         ITEM("429", ERROR("cluster_block_exception",
                           "index [i] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, "
                           "index has read-only-allow-delete block];")),
         KP_OK, "A", "its disk is nearly full: free space there"},
        {200, ITEM("403", ERROR("cluster_block_exception", "blocked by: [FORBIDDEN/5/index read-only (api)];")), KP_OK,
         "A", "when its block is lifted"},
        /* a processor that fails calls it an error of the server; to wait for that would be for ever */
        {200, ITEM("500", ERROR("fail_processor_exception", "no user")), KP_OK, "R", "no user"},
    };
    CHECK_ALL(answers);
}

/* The usual answer has a reading of its own; what differs from it by a byte has not. */
static void test_all_created(void **state) {
    (void)state;
#define CREATED "{\"create\":{\"status\":201}}"
    static const answer answers[] = {
        {200, "{\"errors\":false,\"items\":[" CREATED "," CREATED "," CREATED "]}", KP_OK, "DDD", NULL},
        {200, "{\"errors\":false,\"items\":[" CREATED "," CREATED "," CREATED "]}", KP_RETRY, "AA", "3 of 2"},
        {200, "{\"errors\":false,\"items\":[" CREATED "," CREATED "]}", KP_RETRY, "AAA", "2 of 3"},
        {200, "{\"errors\":false,\"items\":[" CREATED ",{\"create\":{\"status\":429}}]}", KP_OK, "DA", NULL},
        {200, "{\"errors\":false,\"items\":[{\"create\":{\"status\":501}}," CREATED "]}", KP_OK, "AD", NULL},
        {200, "{\"errors\":false,\"items\":[" CREATED "," CREATED "]]", KP_RETRY, "AA", NULL},
        {200, "{\"errors\":false,\"items\":[" CREATED "," CREATED ",}", KP_RETRY, "AA", NULL},
        {200, "{\"errors\":false,\"items\":[" CREATED "]" CREATED "]}", KP_RETRY, "AA", NULL},
        {200, "{\"errors\":false,\"items\":[" CREATED "," CREATED "]", KP_RETRY, "AA", NULL},
        {200, "{\"errors\":false,\"items\":[}", KP_RETRY, "A", NULL},
    };
#undef CREATED
    CHECK_ALL(answers);
}

/* What does not say what became of a document says nothing: it is sent again, never a dead letter. */
static void test_unknown_items_are_sent_again(void **state) {
    (void)state;
    static const answer answers[] = {
        {200, "{\"errors\":true,\"items\":[{}]}", KP_OK, "A", NULL},
        {200, "{\"errors\":true,\"items\":[null]}", KP_OK, "A", NULL},
        {200, "{\"errors\":true,\"items\":[[]]}", KP_OK, "A", NULL},
        {200, "{\"errors\":true,\"items\":[7]}", KP_OK, "A", NULL},
        {200, "{\"errors\":true,\"items\":[{\"create\":{}}]}", KP_OK, "A", NULL},
        {200, "{\"errors\":true,\"items\":[{\"create\":{\"status\":\"201\"}}]}", KP_OK, "A", NULL},
        {200, "{\"errors\":true,\"items\":[{\"create\":{\"status\":201.5}}]}", KP_OK, "A", NULL},
        {200, "{\"errors\":true,\"items\":[{\"create\":{\"status\":1e300}}]}", KP_OK, "A", NULL},
        {200, "{\"errors\":true,\"items\":[{\"create\":{\"status\":-1}}]}", KP_OK, "A", NULL},
        {200, "{\"errors\":true,\"items\":[{\"create\":{\"status\":4294967497}}]}", KP_OK, "A", NULL}, /* 201 + 2^32 */
        {200, "{\"errors\":true,\"items\":[{\"create\":{\"status\":302}}]}", KP_OK, "A", NULL},
    };
    CHECK_ALL(answers);
}

static void test_items_are_matched_by_position(void **state) {
    (void)state;
    static const char mixed[] =
        "{\"errors\":true,\"items\":[{\"create\":{\"status\":201}},"
        "{\"create\":{\"status\":429,\"error\":{\"type\":\"es_rejected_execution_exception\",\"reason\":\"queue\"}}},"
        "{\"create\":{\"status\":400,\"error\":{\"type\":\"document_parsing_exception\",\"reason\":\"bad\"}}},"
        "{\"create\":{\"status\":409,\"error\":{\"type\":\"version_conflict_engine_exception\",\"reason\":\"v\"}}}]}";
    kp_error err;
    kp_batch *batch = batch_of(6);
    const kp_error earlier = {KP_REJECT, "ENOOBJECT", "no object"};
    kp_batch_judge(batch, 0, KP_REJECTED, &earlier); /* these two were not sent */
    kp_batch_judge(batch, 3, KP_REJECTED, &earlier);
    assert_int_equal(classify_bulk(200, kp_bytes_of(mixed), batch, &err), KP_OK);
    assert_verdicts(batch, "RDARRD");
    assert_string_equal(kp_batch_reason(batch, 0)->code, "ENOOBJECT");
    assert_string_equal(kp_batch_reason(batch, 2)->code, "es_rejected_execution_exception");
    assert_string_equal(kp_batch_reason(batch, 3)->code, "ENOOBJECT");
    assert_string_equal(kp_batch_reason(batch, 4)->code, "document_parsing_exception");
    kp_batch_free(batch);
}

/* One item that says stop does not undo its kin. */
static void test_stop_keeps_what_the_others_said(void **state) {
    (void)state;
    static const answer answers[] = {
        {200,
         "{\"errors\":true,\"items\":[{\"create\":{\"status\":201}},{\"create\":{\"status\":404,\"error\":"
         "{\"type\":\"index_not_found_exception\",\"reason\":\"no such index [a]\"}}},{\"create\":{\"status\":400,"
         "\"error\":{\"type\":\"document_parsing_exception\",\"reason\":\"bad\"}}}]}",
         KP_FATAL, "DAR", "no such index [a]"},
    };
    CHECK_ALL(answers);
}

static void test_answers_that_tell_nothing(void **state) {
    (void)state;
    static const answer answers[] = {
        {200, "", KP_RETRY, "AA", "2 documents"},
        {200, "{\"errors\":true,\"items\":[{\"create\":{\"status\":201}},{\"crea", KP_RETRY, "AA", NULL},
        {200, "{\"errors\":false}", KP_RETRY, "AA", "0 of 2"},
        {200, "{\"errors\":false,\"items\":[]}", KP_RETRY, "AA", "0 of 2"},
        {200, "{\"errors\":false,\"items\":[{\"create\":{\"status\":201}}]}", KP_RETRY, "AA", "1 of 2"},
        {200, "{\"errors\":false,\"items\":{\"a\":{\"status\":201},\"b\":{\"status\":201}}}", KP_RETRY, "AA", NULL},
        {200, "{\"items\":[{\"create\":{\"status\":201}},{\"create\":{\"status\":201}},{\"create\":{\"status\":201}}]}",
         KP_RETRY, "AA", "3 of 2"},
        {200, "[]", KP_RETRY, "AA", NULL},
        {200, "null", KP_RETRY, "AA", NULL},
        {200, "<html>logged in</html>", KP_RETRY, "AA", NULL},
        {200, "{\"items\":[{\"create\":{\"status\":201}},{\"create\":{\"status\":201}}]} trailing", KP_RETRY, "AA",
         NULL},
    };
    CHECK_ALL(answers);
}

#define REQUEST(type, reason, status) "{\"error\":" ERROR(type, reason) ",\"status\":" status "}"

static void test_whole_requests(void **state) {
    (void)state;
    static const answer answers[] = {
        {429, REQUEST("es_rejected_execution_exception", "rejected execution of coordinating operation", "429"),
         KP_RETRY, "AA", "coordinating operation"},
        {429, REQUEST("rejected_execution_exception", "rejected execution of coordinating operation", "429"), KP_RETRY,
         "AA", "coordinating operation"},
        {429, REQUEST("circuit_breaking_exception", "[parent] Data too large", "429"), KP_RETRY, "AA",
         "Data too large"},
        {429, REQUEST("cluster_block_exception", "blocked by: [TOO_MANY_REQUESTS/12/flood stage]", "429"), KP_RETRY,
         "AA", "flood stage"},
        {403, REQUEST("cluster_block_exception", "blocked by: [FORBIDDEN/5/index read-only (api)]", "403"), KP_RETRY,
         "AA", "read-only"},
        {503, REQUEST("cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered]", "503"),
         KP_RETRY, "AA", "state not recovered"},
        {503, "Service Unavailable", KP_RETRY, "AA", "503"},
        {502, "<html>Bad Gateway</html>", KP_RETRY, "AA", "502"},
        {500, "", KP_RETRY, "AA", "500"},
        {408, "", KP_RETRY, "AA", "408"},
        {413, "", KP_RETRY, "AA", "413"},
        {400, REQUEST("x_content_parse_exception", "[1:13] [UpdateRequest] failed to parse field [doc]", "400"),
         KP_RETRY, "AA", "failed to parse"},
        {400, REQUEST("x_content_parse_exception", "[1:13] [UpdateRequest] failed to parse field [doc]", "400"), KP_OK,
         "R", "failed to parse"},
        {413, "", KP_OK, "R", "413"}, /* alone and too large: it will never be accepted */
        {401, REQUEST("security_exception", "unable to authenticate user [elastic]", "401"), KP_FATAL, "AA",
         "unable to authenticate"},
        {401, "Unauthorized", KP_FATAL, "AA", "401"}, /* OpenSearch writes a plain text */
        {403, REQUEST("security_exception", "no permissions for [indices:data/write/bulk]", "403"), KP_FATAL, "AA",
         "no permissions"},
        {403, "<html>Forbidden</html>", KP_FATAL, "AA", "403"},
        {404, REQUEST("index_not_found_exception", "no such index [i]", "404"), KP_FATAL, "AA", "no such index"},
        {404, "", KP_FATAL, "A", "404"},
        {400, REQUEST("illegal_argument_exception", "Malformed action/metadata line [1]", "400"), KP_FATAL, "AA",
         "Malformed action"},
        {400, "", KP_FATAL, "A", "400"},
        {405, REQUEST("x", "Incorrect HTTP method", "405"), KP_FATAL, "A", "Incorrect HTTP method"},
        {301, "", KP_FATAL, "AA", "301"},
    };
    CHECK_ALL(answers);
}

/* No double space, no colon without words behind it: a person reads this. */
static void test_messages_without_a_body_read_well(void **state) {
    (void)state;
    kp_error err;
    kp_batch *batch = batch_of(1);
    assert_int_equal(classify_bulk(401, kp_bytes_of(""), batch, &err), KP_FATAL);
    assert_string_equal(err.message, "elasticsearch bulk: HTTP 401: the server wants another user or password");
    assert_int_equal(classify_bulk(404, kp_bytes_of("<html>"), batch, &err), KP_FATAL);
    assert_string_equal(err.message, "elasticsearch bulk: HTTP 404: no _bulk there: is the url right?");
    kp_batch_free(batch);
}

/* A reason may quote the document, or be in the server's own encoding; it goes into headers and JSON. */
static void test_a_reason_that_is_no_utf8_becomes_text(void **state) {
    (void)state;
    kp_error err;
    kp_batch *batch = batch_of(1);
    static const char body[] = ITEM("400", ERROR("x", "\xc8\xab\xb1\xe6 홍길동 \xea\xb8"));
    assert_int_equal(classify_bulk(200, kp_bytes_of(body), batch, &err), KP_OK);
    assert_string_equal(kp_batch_reason(batch, 0)->message, "elasticsearch bulk: 400 x: ȫ?? 홍길동 ??");
    kp_batch_free(batch);
}

static kp_batch *reject_each_for_its_own_reason(size_t count) {
    kp_error err;
    kp_buf body = {0};
    kp_batch *batch = kp_batch_new(count, NULL);
    assert_non_null(batch);
    assert_int_equal(kp_buf_append_text(&body, "{\"items\":[", &err), KP_OK);
    for (size_t i = 0; i < count; i++) {
        kp_batch_add(batch, &(kp_record){.topic = "t", .offset = (int64_t)i});
        assert_int_equal(kp_buf_printf(&body, &err,
                                       "%s"
                                       "{\"create\":{\"status\":400,\"error\":" ERROR("x", "id %zu") "}}",
                                       i ? "," : "", i),
                         KP_OK);
    }
    assert_int_equal(kp_buf_append_text(&body, "]}", &err), KP_OK);
    assert_int_equal(classify_bulk(200, (kp_bytes){body.data, body.length}, batch, &err), KP_OK);
    kp_buf_deinit(&body);
    return batch;
}

/* Elasticsearch names the document in a reason, so each one differs, and a dead letter must not tell another's. */
static void test_each_record_has_its_own_reason(void **state) {
    (void)state;
    char expected[64];
    kp_batch *batch = reject_each_for_its_own_reason(500);
    for (size_t i = 0; i < batch->count; i++) {
        snprintf(expected, sizeof expected, "elasticsearch bulk: 400 x: id %zu", i);
        assert_string_equal(kp_batch_reason(batch, i)->message, expected);
    }
    kp_batch_free(batch);
    batch = reject_each_for_its_own_reason(2000); /* bounded: then it says that it is not told */
    assert_string_equal(kp_batch_reason(batch, 1999)->message, "one of many reasons in this batch, not kept");
    assert_int_equal(kp_batch_reason(batch, 1999)->status, KP_REJECT);
    kp_batch_free(batch);
}

static void test_a_refused_allocation_leaves_no_record_pending(void **state) {
    (void)state;
    static const char body[] = ITEM("400", ERROR("document_parsing_exception", "bad"));
    static const char stop[] = REQUEST("cluster_block_exception", "read-only", "403");
    for (int64_t n = 1; n < 40; n++) {
        kp_error err;
        kp_batch *batch = batch_of(1);
        kp_mem_fail_at(n);
        kp_status st = classify_bulk(200, kp_bytes_of(body), batch, &err);
        assert_true(st == KP_OK || st == KP_RETRY);
        assert_int_not_equal(batch->verdicts[0].outcome, KP_PENDING);
        assert_int_not_equal(batch->verdicts[0].outcome, KP_DELIVERED);
        kp_mem_fail_at(0);
        kp_batch_free(batch);
        batch = batch_of(1);
        kp_mem_fail_at(n);
        assert_int_equal(classify_bulk(403, kp_bytes_of(stop), batch, &err), KP_RETRY);
        kp_mem_fail_at(0);
        assert_verdicts(batch, "A");
        kp_batch_free(batch);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_items),
        KP_TEST(test_items_of_every_operation),
        KP_TEST(test_what_is_wrong_with_the_configuration_stops),
        KP_TEST(test_what_an_operator_can_heal_is_tried_again),
        KP_TEST(test_all_created),
        KP_TEST(test_unknown_items_are_sent_again),
        KP_TEST(test_items_are_matched_by_position),
        KP_TEST(test_stop_keeps_what_the_others_said),
        KP_TEST(test_answers_that_tell_nothing),
        KP_TEST(test_whole_requests),
        KP_TEST(test_messages_without_a_body_read_well),
        KP_TEST(test_a_reason_that_is_no_utf8_becomes_text),
        KP_TEST(test_each_record_has_its_own_reason),
        KP_TEST(test_a_refused_allocation_leaves_no_record_pending),
    };
    return kp_test_run(tests);
}
