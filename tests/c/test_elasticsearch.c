/* The elasticsearch sink against scripted servers: what goes over the wire, byte for byte, and what becomes of each
 * record when the server fails in its many ways.
 */
#include "sink_rig.h"

#include "http_script.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define BULK "POST /_bulk?filter_path=errors,items.*.status,items.*.error HTTP/1.1"
#define CREATED "{\"create\":{\"status\":201}}"
#define ANSWER(items) "{\"errors\":false,\"items\":[" items "]}"

/* The first of two members of one name counts: what a test wants stands before the rest. */
static const char config_form[] =
    "{%s\"type\":\"elasticsearch\",\"urls\":[%s],\"index\":\"%s\",\"id\":\"%s\",\"gzip\":%s,\"flush_records\":%d,"
    "\"operation\":\"create\",\"tombstone\":\"reject\",\"id_template\":null,\"routing\":null,\"pipeline\":null,"
    "\"version_offset\":false,\"data_stream\":false,\"flush_bytes\":1000000,\"flush_age_ms\":100,\"in_flight\":2,"
    "\"in_flight_bytes\":100000000,\"user\":null,\"password\":null,\"timeout_ms\":5000}";

static void open_at(sink_rig *rig, const char *urls, const char *index, const char *id, bool gzip, int records) {
    char config[2048];
    int length = snprintf(config, sizeof config, config_form, "", urls, index, id, gzip ? "true" : "false", records);
    assert_true(length > 0 && (size_t)length < sizeof config);
    sink_rig_open(rig, "elasticsearch", config);
}

static void open_on(sink_rig *rig, http_script *server) {
    char urls[128];
    snprintf(urls, sizeof urls, "\"%s\"", http_script_url(server, ""));
    open_at(rig, urls, "i", "coordinates", false, 1000);
}

static void open_with(sink_rig *rig, http_script *server, const char *wanted) {
    char config[2048];
    char urls[128];
    snprintf(urls, sizeof urls, "\"%s\"", http_script_url(server, ""));
    int length = snprintf(config, sizeof config, config_form, wanted, urls, "i", "coordinates", "false", 1000);
    assert_true(length > 0 && (size_t)length < sizeof config);
    sink_rig_open(rig, "elasticsearch", config);
}

static void close_all(sink_rig *rig, http_script *server) {
    sink_rig_close(rig);
    const char *problem = http_script_problem(server);
    if (problem) {
        fail_msg("%s", problem);
    }
    http_script_free(server);
}

static const char *body_of(http_script *server, size_t index) {
    const char *request = http_script_request(server, index);
    assert_non_null(request);
    return strstr(request, "\r\n\r\n") + 4;
}

#define VALUES(...)                                                                                                    \
    (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)

static void test_bytes_on_the_wire(void **state) {
    (void)state;
    static const http_step steps[] = {
        {.expect = BULK, .status = "200 OK", .body = ANSWER(CREATED "," CREATED "," CREATED "," CREATED)}};
    sink_rig rig;
    http_script *server = http_script_new(steps, 1, HTTP_IN_ORDER);
    open_on(&rig, server);
    sink_rig_must_write(
        &rig,
        sink_rig_values(3, 9007199254740993,
                        VALUES("{\"n\":9007199254740993,\"f\":1.10,\"user\":\"홍길동 \\\"나\\\"\"}",
                               "\n{\n \"a\":1\n}\n", "{\"a\":1,\n\"create\":{\"_index\":\"evil\",\"_id\":\"1\"}\n}\n",
                               "{\"text\":\"{\\\"delete\\\":{}}\\n\",\"e\":1e400}")));
    sink_rig_until(&rig, &rig.back_count, 1);
    assert_string_equal(sink_rig_verdicts(rig.back[0]), "DDDD");
    assert_string_equal(body_of(server, 0), "{\"create\":{\"_index\":\"i\",\"_id\":\"t+3+9007199254740993\"}}\n"
                                            "{\"n\":9007199254740993,\"f\":1.10,\"user\":\"홍길동 \\\"나\\\"\"}\n"
                                            "{\"create\":{\"_index\":\"i\",\"_id\":\"t+3+9007199254740994\"}}\n"
                                            " {  \"a\":1 } \n"
                                            "{\"create\":{\"_index\":\"i\",\"_id\":\"t+3+9007199254740995\"}}\n"
                                            "{\"a\":1, \"create\":{\"_index\":\"evil\",\"_id\":\"1\"} } \n"
                                            "{\"create\":{\"_index\":\"i\",\"_id\":\"t+3+9007199254740996\"}}\n"
                                            "{\"text\":\"{\\\"delete\\\":{}}\\n\",\"e\":1e400}\n");
    assert_non_null(strstr(http_script_request(server, 0), "\r\nContent-Type: application/x-ndjson\r\n"));
    close_all(&rig, server);
}

static void test_index_from_the_record_and_id_from_the_server(void **state) {
    (void)state;
    static const http_step steps[] = {{.expect = BULK, .status = "200 OK", .body = ANSWER(CREATED)}};
    sink_rig rig;
    char urls[128];
    http_script *server = http_script_new(steps, 1, HTTP_IN_ORDER);
    snprintf(urls, sizeof urls, "\"%s/\"", http_script_url(server, ""));
    open_at(&rig, urls, "c-{field:color}-{timestamp:%Y}", "auto", false, 1000);
    sink_rig_must_write(&rig, sink_rig_values(0, 0,
                                              VALUES("{\"color\":\"RED빨강\"}", "{\"color\":\"a/b\"}", "{\"user\":1}",
                                                     "{\"color\":\"a\\\",\\\"b\"}")));
    sink_rig_until(&rig, &rig.back_count, 1);
    assert_string_equal(sink_rig_verdicts(rig.back[0]), "DRRR");
    assert_string_equal(body_of(server, 0), "{\"create\":{\"_index\":\"c-red빨강-2026\"}}\n{\"color\":\"RED빨강\"}\n");
    close_all(&rig, server);
}

/* Two JSON texts in one value would be two lines, and so an action of the sender's choice. */
static void test_what_is_no_document_is_rejected(void **state) {
    (void)state;
    static const http_step steps[] = {{.expect = BULK, .status = "200 OK", .body = ANSWER(CREATED "," CREATED)}};
    sink_rig rig;
    http_script *server = http_script_new(steps, 1, HTTP_IN_ORDER);
    open_on(&rig, server);
    sink_rig_must_write(&rig,
                        sink_rig_values(0, 0,
                                        VALUES("{\"a\":1}", "{\"a\":1}\n{\"create\":{\"_index\":\"evil\"}}\n{\"b\":2}",
                                               "no json", "", NULL, "[1]", "7", "null", "{\"a\":\"\xff\"}",
                                               "{\"a\":\"\\ud800\"}", "{\"a\":1,}", "\"{}\"", "{\"a\":2}")));
    sink_rig_until(&rig, &rig.back_count, 1);
    const kp_batch *back = rig.back[0];
    assert_string_equal(sink_rig_verdicts(back), "DRRRRRRRRRRRD");
    assert_string_equal(kp_batch_reason(back, 1)->code, "INVALID_JSON");
    assert_string_equal(kp_batch_reason(back, 4)->code, "ENULL");
    assert_string_equal(kp_batch_reason(back, 5)->code, "ENOOBJECT");
    assert_string_equal(body_of(server, 0), "{\"create\":{\"_index\":\"i\",\"_id\":\"t+0+0\"}}\n{\"a\":1}\n"
                                            "{\"create\":{\"_index\":\"i\",\"_id\":\"t+0+12\"}}\n{\"a\":2}\n");
    close_all(&rig, server);
}

static void test_nothing_to_send_asks_nobody(void **state) {
    (void)state;
    sink_rig rig;
    http_script *server = http_script_new(NULL, 0, HTTP_IN_ORDER);
    open_on(&rig, server);
    sink_rig_must_write(&rig, sink_rig_values(0, 0, VALUES("no json", NULL)));
    assert_int_equal(rig.back_count, 1);
    assert_string_equal(sink_rig_verdicts(rig.back[0]), "RR");
    sink_rig_turn(&rig);
    assert_int_equal(http_script_count(server), 0);
    close_all(&rig, server);
}

static void test_full_while_requests_are_under_way(void **state) {
    (void)state;
    static const http_step steps[] = {{.expect = BULK, .status = "200 OK", .body = ANSWER(CREATED), .delay_ms = 100}};
    sink_rig rig;
    kp_error err;
    http_script *server = http_script_new(steps, 1, HTTP_RULES);
    open_on(&rig, server);
    for (int64_t i = 0; i < 2; i++) {
        sink_rig_must_write(&rig, sink_rig_values(0, i, VALUES("{}")));
    }
    kp_batch *third = sink_rig_values(0, 2, VALUES("{}", "no json"));
    assert_int_equal(sink_rig_write(&rig, third, &err), KP_RETRY);
    assert_string_equal(err.code, "FULL");
    assert_string_equal(sink_rig_verdicts(third), "PP");
    sink_rig_until(&rig, &rig.back_count, 1);
    sink_rig_must_write(&rig, third);
    sink_rig_until(&rig, &rig.back_count, 3);
    assert_string_equal(sink_rig_verdicts(third), "DR");
    close_all(&rig, server);
}

#define AGAIN_ITEM                                                                                                     \
    "{\"create\":{\"status\":429,\"error\":{\"type\":\"rejected_execution_exception\",\"reason\":\"q\"}}}"
#define BAD_ITEM "{\"create\":{\"status\":400,\"error\":{\"type\":\"mapper_parsing_exception\",\"reason\":\"no\"}}}"

static void test_each_record_has_its_outcome(void **state) {
    (void)state;
    static const http_step steps[] = {
        {.expect = BULK, .status = "200 OK", .body = ANSWER(CREATED "," AGAIN_ITEM "," BAD_ITEM)}};
    sink_rig rig;
    http_script *server = http_script_new(steps, 1, HTTP_IN_ORDER);
    open_on(&rig, server);
    sink_rig_must_write(&rig, sink_rig_values(0, 0, VALUES("{}", "no json", "{}", "{}")));
    sink_rig_until(&rig, &rig.back_count, 1);
    assert_string_equal(sink_rig_verdicts(rig.back[0]), "DRAR");
    assert_int_equal(rig.troubles, 0);
    close_all(&rig, server);
}

/* What the server may have done is not known: everything is sent again, and the ids make it safe. */
static void test_a_lost_answer_sends_all_again(void **state) {
    (void)state;
    static const http_step steps[] = {
        {.expect = BULK, .status = "200 OK", .body = ANSWER(CREATED "," CREATED), .cut = 60},
        {.expect = BULK, .reset = true},
        {.expect = BULK, .raw = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"items\":"},
        {.expect = BULK, .status = "200 OK", .body = ANSWER(CREATED)},
        {.expect = BULK, .status = "503 Service Unavailable", .body = "upstream"},
        {.expect = BULK, .status = "429 Too Many Requests"},
    };
    sink_rig rig;
    const size_t count = sizeof steps / sizeof *steps;
    http_script *server = http_script_new(steps, count, HTTP_IN_ORDER);
    open_on(&rig, server);
    for (size_t i = 0; i < count; i++) {
        sink_rig_must_write(&rig, sink_rig_values(0, 0, VALUES("{}", "{}")));
        sink_rig_until(&rig, &rig.back_count, i + 1);
        assert_string_equal(sink_rig_verdicts(rig.back[i]), "AA");
    }
    assert_int_equal(rig.troubles, 0);
    close_all(&rig, server);
}

static void test_wrong_credentials_stop_and_reject_nothing(void **state) {
    (void)state;
    static const http_step steps[] = {{.expect = BULK, .status = "401 Unauthorized", .body = "Unauthorized"}};
    sink_rig rig;
    http_script *server = http_script_new(steps, 1, HTTP_IN_ORDER);
    open_on(&rig, server);
    sink_rig_must_write(&rig, sink_rig_values(0, 0, VALUES("{}", "{}")));
    sink_rig_until(&rig, &rig.back_count, 1);
    assert_string_equal(sink_rig_verdicts(rig.back[0]), "AA");
    assert_int_equal(rig.troubles, 1);
    assert_int_equal(rig.trouble.status, KP_FATAL);
    assert_string_equal(rig.trouble.message, "elasticsearch bulk: HTTP 401: the server wants another user or password");
    close_all(&rig, server);
}

/* A proxy may take far less than the server behind it. What it refuses comes back in halves, and one large document
 * does not make every later request small. */
static void test_a_body_that_is_too_large_comes_in_halves(void **state) {
    (void)state;
    static const http_step steps[] = {{.expect = BULK, .status = "413 Request Entity Too Large"},
                                      {.expect = BULK, .status = "413 Request Entity Too Large"}};
    sink_rig rig;
    http_script *server = http_script_new(steps, 2, HTTP_IN_ORDER);
    open_on(&rig, server);
    kp_batch *both = sink_rig_values(0, 0, VALUES("{}", "{\"large\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}"));
    size_t bytes = both->bytes;
    sink_rig_must_write(&rig, both);
    sink_rig_until(&rig, &rig.back_count, 1);
    assert_string_equal(sink_rig_verdicts(both), "AA");
    kp_sink_flush less = rig.ops->flush(rig.sink);
    assert_int_equal(less.bytes, bytes / 2);
    assert_int_equal(less.records, 1000);
    sink_rig_must_write(&rig, sink_rig_values(0, 1, VALUES("{\"large\":\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}")));
    sink_rig_until(&rig, &rig.back_count, 2);
    assert_string_equal(sink_rig_verdicts(rig.back[1]), "R"); /* alone and still too large */
    assert_int_equal(rig.ops->flush(rig.sink).bytes, less.bytes);
    close_all(&rig, server);
}

#define UNREADABLE                                                                                                     \
    "{\"error\":{\"type\":\"x_content_parse_exception\",\"reason\":\"[1:13] [UpdateRequest] failed to parse field "    \
    "[doc]\"}}"

/* The document of an update that the server cannot parse fails its neighbours, too: it is looked for, found, and the
 * requests grow again. */
static void test_a_record_that_fails_its_request_is_found(void **state) {
    (void)state;
    static const http_step steps[] = {{.expect = BULK, .status = "400 Bad Request", .body = UNREADABLE},
                                      {.expect = BULK, .status = "400 Bad Request", .body = UNREADABLE},
                                      {.expect = BULK, .status = "400 Bad Request", .body = UNREADABLE},
                                      {.expect = BULK, .status = "200 OK", .body = ANSWER(CREATED)},
                                      {.expect = BULK, .status = "200 OK", .body = ANSWER(CREATED)}};
    static const struct {
        size_t records;
        const char *verdicts;
        size_t then; /* records at once */
    } turns[] = {{4, "AAAA", 2}, {2, "AA", 1}, {1, "R", 1}, {1, "D", 2}, {1, "D", 4}};
    sink_rig rig;
    http_script *server = http_script_new(steps, 5, HTTP_IN_ORDER);
    open_with(&rig, server, "\"operation\":\"upsert\",");
    for (size_t i = 0; i < 5; i++) {
        static const char *const values[] = {"{}", "{}", "{}", "{}"};
        sink_rig_must_write(&rig, sink_rig_values(0, 0, values, turns[i].records));
        sink_rig_until(&rig, &rig.back_count, i + 1);
        assert_string_equal(sink_rig_verdicts(rig.back[i]), turns[i].verdicts);
        assert_int_equal(rig.ops->flush(rig.sink).records, turns[i].then);
    }
    assert_int_equal(rig.troubles, 0);
    close_all(&rig, server);
}

static void open_on_two(sink_rig *rig, int first_port, http_script *second) {
    char urls[128];
    snprintf(urls, sizeof urls, "\"http://127.0.0.1:%d\",\"http://127.0.0.1:%d\"", first_port,
             http_script_port(second));
    open_at(rig, urls, "i", "coordinates", false, 1000);
}

static const http_step always_created[] = {{.expect = BULK, .status = "200 OK", .body = ANSWER(CREATED)}};

static void test_a_dead_node_is_left_out(void **state) {
    (void)state;
    sink_rig rig;
    http_script *server = http_script_new(always_created, 1, HTTP_RULES);
    open_on_two(&rig, http_closed_port(), server);
    for (size_t i = 0; i < 4; i++) {
        sink_rig_must_write(&rig, sink_rig_values(0, 0, VALUES("{}")));
        sink_rig_until(&rig, &rig.back_count, i + 1);
        assert_string_equal(sink_rig_verdicts(rig.back[i]), i == 0 ? "A" : "D");
    }
    rig.skew_ms = 1500; /* its rest is over: one request finds out whether it lives */
    for (size_t i = 4; i < 8; i++) {
        sink_rig_must_write(&rig, sink_rig_values(0, 0, VALUES("{}")));
        sink_rig_until(&rig, &rig.back_count, i + 1);
    }
    size_t failed = 0;
    for (size_t i = 4; i < 8; i++) {
        failed += strcmp(sink_rig_verdicts(rig.back[i]), "A") == 0;
    }
    assert_int_equal(failed, 1);
    close_all(&rig, server);
}

static void test_a_node_in_trouble_is_left(void **state) {
    (void)state;
    static const http_step busy[] = {{.expect = BULK, .status = "503 Service Unavailable"}};
    sink_rig rig;
    http_script *first = http_script_new(busy, 1, HTTP_IN_ORDER);
    http_script *second = http_script_new(always_created, 1, HTTP_RULES);
    open_on_two(&rig, http_script_port(first), second);
    for (size_t i = 0; i < 2; i++) {
        sink_rig_must_write(&rig, sink_rig_values(0, 0, VALUES("{}")));
        sink_rig_until(&rig, &rig.back_count, i + 1);
    }
    assert_string_equal(sink_rig_verdicts(rig.back[0]), "A");
    assert_string_equal(sink_rig_verdicts(rig.back[1]), "D");
    close_all(&rig, second);
    assert_null(http_script_problem(first));
    http_script_free(first);
}

static void test_an_ingest_pipeline_is_named_in_the_url(void **state) {
    (void)state;
    static const http_step steps[] = {
        {.expect = "items.*.error&pipeline=%EC%83%89%20%26a HTTP/1.1", .status = "200 OK", .body = ANSWER(CREATED)}};
    sink_rig rig;
    http_script *server = http_script_new(steps, 1, HTTP_IN_ORDER);
    open_with(&rig, server, "\"pipeline\":\"색 &a\",");
    sink_rig_must_write(&rig, sink_rig_values(0, 0, VALUES("{}")));
    sink_rig_until(&rig, &rig.back_count, 1);
    assert_string_equal(sink_rig_verdicts(rig.back[0]), "D");
    close_all(&rig, server);
}

static void test_bytes_under_way_are_bounded(void **state) {
    (void)state;
    static const http_step steps[] = {{.expect = BULK, .status = "200 OK", .body = ANSWER(CREATED), .delay_ms = 50}};
    sink_rig rig;
    kp_error err;
    http_script *server = http_script_new(steps, 1, HTTP_RULES);
    open_with(&rig, server, "\"in_flight_bytes\":1,\"in_flight\":8,");
    sink_rig_must_write(&rig, sink_rig_values(0, 0, VALUES("{\"more\":\"than one byte\"}"))); /* alone it may go */
    kp_batch *second = sink_rig_values(0, 1, VALUES("{}"));
    assert_int_equal(sink_rig_write(&rig, second, &err), KP_RETRY);
    assert_string_equal(err.code, "FULL");
    sink_rig_until(&rig, &rig.back_count, 1);
    sink_rig_must_write(&rig, second);
    sink_rig_until(&rig, &rig.back_count, 2);
    close_all(&rig, server);
}

static void test_a_tombstone_that_is_ignored_is_settled(void **state) {
    (void)state;
    sink_rig rig;
    http_script *server = http_script_new(NULL, 0, HTTP_IN_ORDER);
    open_with(&rig, server, "\"tombstone\":\"ignore\",");
    sink_rig_must_write(&rig, sink_rig_values(0, 0, VALUES(NULL, "no json")));
    assert_int_equal(rig.back_count, 1);
    assert_string_equal(sink_rig_verdicts(rig.back[0]), "DR");
    close_all(&rig, server);
}

static void test_gzip_body_is_the_same_ndjson(void **state) {
    (void)state;
    static const http_step steps[] = {{.expect = BULK, .status = "200 OK", .body = ANSWER(CREATED)}};
    sink_rig rig;
    char urls[128];
    char plain[512] = "";
    http_script *server = http_script_new(steps, 1, HTTP_IN_ORDER);
    snprintf(urls, sizeof urls, "\"%s\"", http_script_url(server, ""));
    open_at(&rig, urls, "i", "coordinates", true, 1000);
    sink_rig_must_write(&rig, sink_rig_values(0, 7, VALUES("{\"n\":9007199254740993,\"u\":\"홍길동\"}")));
    sink_rig_until(&rig, &rig.back_count, 1);
    const char *request = http_script_request(server, 0);
    const char *length = strstr(request, "\r\nContent-Length: ");
    assert_non_null(strstr(request, "\r\nContent-Encoding: gzip\r\n"));
    assert_non_null(length);
    z_stream z = {.next_in = (Bytef *)(uintptr_t)body_of(server, 0),
                  .avail_in = (uInt)atoi(length + 18),
                  .next_out = (Bytef *)plain,
                  .avail_out = sizeof plain - 1};
    assert_int_equal(inflateInit2(&z, 16 + MAX_WBITS), Z_OK);
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    inflateEnd(&z);
    assert_string_equal(plain, "{\"create\":{\"_index\":\"i\",\"_id\":\"t+0+7\"}}\n"
                               "{\"n\":9007199254740993,\"u\":\"홍길동\"}\n");
    close_all(&rig, server);
}

static void test_close_gives_back_what_is_under_way(void **state) {
    (void)state;
    static const http_step steps[] = {{.expect = BULK, .status = "200 OK", .body = ANSWER(CREATED), .delay_ms = 60000}};
    sink_rig rig;
    http_script *server = http_script_new(steps, 1, HTTP_RULES);
    open_on(&rig, server);
    for (int64_t i = 0; i < 2; i++) {
        sink_rig_must_write(&rig, sink_rig_values(0, 3 * i, VALUES("{}", "no json", "{}")));
        sink_rig_turn(&rig);
    }
    rig.ops->close(rig.sink);
    rig.sink = NULL;
    assert_int_equal(rig.back_count, 2);
    assert_string_equal(sink_rig_verdicts(rig.back[0]), "ARA");
    assert_string_equal(sink_rig_verdicts(rig.back[1]), "ARA");
    sink_rig_close(&rig); /* and what the http handle calls back now is nobody's */
    http_script_free(server);
}

/* A write that ran out of memory half way has said nothing about any record. */
static void test_a_write_that_failed_left_no_verdicts(void **state) {
    (void)state;
    for (int64_t n = 1; n < 40; n++) {
        sink_rig rig;
        kp_error err;
        open_at(&rig, "\"http://127.0.0.1:1\"", "c-{field:c}", "coordinates", true, 1000);
        kp_batch *batch = sink_rig_values(0, 0, VALUES("no json", "{\"c\":\"\\ud55c\\uae00\"}", "{\"c\":1}"));
        kp_mem_fail_at(n);
        kp_status st = sink_rig_write(&rig, batch, &err);
        kp_mem_fail_at(0);
        if (st != KP_OK) {
            assert_int_equal(st, KP_NOMEM);
            assert_string_equal(sink_rig_verdicts(batch), "PPP");
            kp_batch_free(batch);
        }
        sink_rig_close(&rig);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_bytes_on_the_wire),
        KP_TEST(test_index_from_the_record_and_id_from_the_server),
        KP_TEST(test_what_is_no_document_is_rejected),
        KP_TEST(test_nothing_to_send_asks_nobody),
        KP_TEST(test_full_while_requests_are_under_way),
        KP_TEST(test_each_record_has_its_outcome),
        KP_TEST(test_a_lost_answer_sends_all_again),
        KP_TEST(test_wrong_credentials_stop_and_reject_nothing),
        KP_TEST(test_a_body_that_is_too_large_comes_in_halves),
        KP_TEST(test_a_record_that_fails_its_request_is_found),
        KP_TEST(test_a_dead_node_is_left_out),
        KP_TEST(test_an_ingest_pipeline_is_named_in_the_url),
        KP_TEST(test_bytes_under_way_are_bounded),
        KP_TEST(test_a_tombstone_that_is_ignored_is_settled),
        KP_TEST(test_a_node_in_trouble_is_left),
        KP_TEST(test_gzip_body_is_the_same_ndjson),
        KP_TEST(test_close_gives_back_what_is_under_way),
        KP_TEST(test_a_write_that_failed_left_no_verdicts),
    };
    return kp_test_run(tests);
}
