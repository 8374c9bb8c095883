/* What a record becomes in a _bulk body, for every option that has a say in it; and which node comes next. */
#include "kp_test.h"

#include "sinks/elasticsearch_document.h"
#include "sinks/elasticsearch_nodes.h"

#include <stdio.h>

/* The first of two members of one name counts. */
static const char config_form[] =
    "{%s\"operation\":\"create\",\"tombstone\":\"reject\",\"index\":\"i\",\"id\":\"coordinates\",\"id_template\":null,"
    "\"routing\":null,\"version_offset\":false,\"data_stream\":false}";

static void open_document(elastic_document *self, const kp_json **config, const char *wanted) {
    kp_error err;
    char text[1024];
    snprintf(text, sizeof text, config_form, wanted);
    if (kp_json_parse(config, kp_bytes_of(text), "the test's document", &err) != KP_OK ||
        elastic_document_init(self, *config, &err) != KP_OK) {
        fail_msg("%s: %s", text, err.message);
    }
}

static kp_record record_of(const char *key, const char *value) {
    return (kp_record){.topic = "t",
                       .partition = 3,
                       .offset = 9007199254740993,
                       .timestamp_ms = 1767225600007, /* 2026-01-01T00:00:00.007Z */
                       .key = key ? kp_bytes_of(key) : (kp_bytes){NULL, 0},
                       .value = value ? kp_bytes_of(value) : (kp_bytes){NULL, 0}};
}

static kp_status append(const char *wanted, const kp_record *rec, kp_buf *body, kp_error *err) {
    elastic_document document;
    const kp_json *config;
    open_document(&document, &config, wanted);
    assert_int_equal(kp_buf_append_text(body, "before\n", err), KP_OK);
    kp_status st = elastic_document_append(&document, rec, body, err);
    elastic_document_deinit(&document);
    kp_json_free(config);
    return st;
}

static void expect(const char *wanted, const char *key, const char *value, const char *lines) {
    kp_error err;
    kp_buf body = {0};
    kp_record rec = record_of(key, value);
    if (append(wanted, &rec, &body, &err) != KP_OK) {
        fail_msg("%s: %s", wanted, err.message);
    }
    assert_string_equal(kp_buf_text(&body) + 7, lines);
    kp_buf_deinit(&body);
}

static void expect_reject(const char *wanted, kp_bytes key, const char *value, const char *says) {
    kp_error err;
    kp_buf body = {0};
    kp_record rec = record_of(NULL, value);
    rec.key = key;
    assert_int_equal(append(wanted, &rec, &body, &err), KP_REJECT);
    if (!strstr(err.message, says)) {
        fail_msg("\"%s\" does not say \"%s\"", err.message, says);
    }
    assert_string_equal(kp_buf_text(&body), "before\n");
    kp_buf_deinit(&body);
}

#define ID "\"_id\":\"t+3+9007199254740993\""

static void test_operations(void **state) {
    (void)state;
    expect("", NULL, "{\"a\":1}", "{\"create\":{\"_index\":\"i\"," ID "}}\n{\"a\":1}\n");
    expect("\"operation\":\"index\",", NULL, "{\"a\":\n1}", "{\"index\":{\"_index\":\"i\"," ID "}}\n{\"a\": 1}\n");
    expect("\"operation\":\"update\",", NULL, " {\"n\":9007199254740993}\n",
           "{\"update\":{\"_index\":\"i\"," ID ",\"retry_on_conflict\":3}}\n{\"doc\": {\"n\":9007199254740993} }\n");
    expect("\"operation\":\"upsert\",", NULL, "{}",
           "{\"update\":{\"_index\":\"i\"," ID ",\"retry_on_conflict\":3}}\n{\"doc\":{},\"doc_as_upsert\":true}\n");
}

static void test_ids_routing_and_versions(void **state) {
    (void)state;
    expect("\"id\":\"auto\",", NULL, "{}", "{\"create\":{\"_index\":\"i\"}}\n{}\n");
    expect("\"id\":\"template\",\"id_template\":\"{key}\",", "홍 \"길\"\n동", "{}",
           "{\"create\":{\"_index\":\"i\",\"_id\":\"홍 \\\"길\\\"\\n동\"}}\n{}\n");
    expect("\"id\":\"template\",\"id_template\":\"{field:user.id}-{topic}\",\"routing\":\"{field:user.city|없음}\",",
           NULL, "{\"user\":{\"id\":9007199254740993}}",
           "{\"create\":{\"_index\":\"i\",\"_id\":\"9007199254740993-t\",\"routing\":\"없음\"}}\n"
           "{\"user\":{\"id\":9007199254740993}}\n");
    expect("\"operation\":\"index\",\"version_offset\":true,\"id\":\"template\",\"id_template\":\"{key}\",", "k", "{}",
           "{\"index\":{\"_index\":\"i\",\"_id\":\"k\",\"version_type\":\"external\",\"version\":9007199254740993}}\n"
           "{}\n");
    expect("\"index\":\"c-{field:color|none}-{timestamp:%Y.%m}\",", NULL, "{\"color\":null}",
           "{\"create\":{\"_index\":\"c-none-2026.01\"," ID "}}\n{\"color\":null}\n");
}

static void test_tombstones(void **state) {
    (void)state;
    static const char keyed[] = "\"operation\":\"%s\",\"tombstone\":\"%s\",\"id\":\"template\",\"id_template\":"
                                "\"{key}\",\"routing\":\"{field:a|r}\",\"version_offset\":%s,";
    char wanted[256];
    snprintf(wanted, sizeof wanted, keyed, "index", "delete", "true");
    expect(wanted, "키", NULL,
           "{\"delete\":{\"_index\":\"i\",\"_id\":\"키\",\"routing\":\"r\",\"version_type\":\"external\","
           "\"version\":9007199254740993}}\n");
    expect_reject(wanted, KP_BYTES_LITERAL("키"), "", "the value is no JSON"); /* empty is not nothing */
    expect_reject(wanted, (kp_bytes){NULL, 0}, NULL, "the record has no key");
    snprintf(wanted, sizeof wanted, keyed, "upsert", "delete", "false");
    expect(wanted, "키", NULL, "{\"delete\":{\"_index\":\"i\",\"_id\":\"키\",\"routing\":\"r\"}}\n");
    expect("\"tombstone\":\"ignore\",", NULL, NULL, "");
    expect_reject("", KP_BYTES_LITERAL("k"), NULL, "a record without a value is no document");
    expect_reject("\"tombstone\":\"delete\",\"id\":\"template\",\"id_template\":\"{field:a}\",", KP_BYTES_LITERAL("k"),
                  NULL, "the record has no such field");
}

/* Each of these would be refused as a whole request, or make two keys one document. */
static void test_ids_that_cannot_be(void **state) {
    (void)state;
    static const char keyed[] = "\"id\":\"template\",\"id_template\":\"{key}\",";
    static const char routed[] = "\"routing\":\"{key}\",";
    char longest[513];
    char lines[700];
    memset(longest, 'k', sizeof longest);
    expect_reject(keyed, (kp_bytes){longest, 513}, "{}", "the document's id is longer than 512 bytes");
    expect_reject(keyed, KP_BYTES_LITERAL(""), "{}", "the document's id is empty");
    expect_reject(keyed, KP_BYTES_LITERAL("\xff\x01"), "{}", "the document's id is no UTF-8");
    expect_reject(keyed, KP_BYTES_LITERAL("홍\xea\xb8"), "{}", "the document's id is no UTF-8");
    expect_reject(routed, KP_BYTES_LITERAL(""), "{}", "the routing is empty");
    longest[512] = '\0';
    snprintf(lines, sizeof lines, "{\"create\":{\"_index\":\"i\",\"_id\":\"%s\"}}\n{}\n", longest);
    expect(keyed, longest, "{}", lines);
}

#define STREAM "\"data_stream\":true,"
#define ACTION "{\"create\":{\"_index\":\"i\"," ID "}}\n"
#define TIME "\"@timestamp\":\"2026-01-01T00:00:00.007Z\""

static void test_a_data_stream_gets_the_time(void **state) {
    (void)state;
    expect(STREAM, NULL, "{\"a\":9007199254740993}", ACTION "{" TIME ",\"a\":9007199254740993}\n");
    expect(STREAM, NULL, "\n{\n}\n", ACTION "{" TIME "} \n");
    expect(STREAM, NULL, " { \"user\":{\"@timestamp\":1},\n\"b\":2}",
           ACTION "{" TIME ",\"user\":{\"@timestamp\":1}, \"b\":2}\n");
    expect(STREAM, NULL, "{\"a\":1,\"@timestamp\":null}", ACTION "{\"a\":1,\"@timestamp\":null}\n");
    expect(STREAM, NULL, "{\"\\u0040timestamp\":5}", ACTION "{\"\\u0040timestamp\":5}\n");
    kp_error err;
    kp_buf body = {0};
    kp_record rec = record_of(NULL, "{}");
    rec.timestamp_ms = -1;
    assert_int_equal(append(STREAM, &rec, &body, &err), KP_REJECT);
    assert_string_equal(err.code, "ENOTIME");
    kp_buf_deinit(&body);
}

static void test_every_allocation_may_fail(void **state) {
    (void)state;
    elastic_document document;
    const kp_json *config;
    kp_error err;
    kp_record rec = record_of("키", "{\"a\":\"b\"}");
    for (int64_t n = 1; n < 30; n++) {
        kp_buf body = {0};
        open_document(&document, &config,
                      "\"index\":\"i-{field:a}\",\"id\":\"template\",\"id_template\":\"{key}\",\"data_stream\":true,");
        kp_mem_fail_at(n);
        kp_status st = elastic_document_append(&document, &rec, &body, &err);
        kp_mem_fail_at(0);
        assert_true(st == KP_OK || (st == KP_NOMEM && body.length == 0));
        kp_buf_deinit(&body);
        elastic_document_deinit(&document);
        kp_json_free(config);
    }
    assert_int_equal(kp_mem_live(), 0);
}

/* ---- nodes ---- */

static void add_three(elastic_nodes *nodes) {
    kp_error err;
    memset(nodes, 0, sizeof *nodes);
    for (char url[] = "http://a"; url[7] < 'd'; url[7]++) {
        assert_int_equal(elastic_nodes_add(nodes, url, &err), KP_OK);
    }
}

static void test_nodes_take_turns(void **state) {
    (void)state;
    elastic_nodes nodes;
    add_three(&nodes);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(elastic_nodes_pick(&nodes, 0), i % 3);
    }
    elastic_nodes_deinit(&nodes);
}

static void test_a_failed_node_rests_longer_each_time(void **state) {
    (void)state;
    elastic_nodes nodes;
    add_three(&nodes);
    int64_t now = 5000;
    assert_int_equal(elastic_nodes_pick(&nodes, now), 0);
    elastic_nodes_failed(&nodes, 0, now);
    elastic_nodes_failed(&nodes, 0, now); /* another request of the same moment: one failure */
    int64_t rest = 1000;
    for (int trial = 0; trial < 8; trial++) {
        nodes.next = 0;
        assert_int_equal(elastic_nodes_pick(&nodes, now + rest - 1), 1); /* not yet */
        now += rest;
        nodes.next = 0;
        assert_int_equal(elastic_nodes_pick(&nodes, now), 0); /* one request tries */
        nodes.next = 0;
        assert_int_equal(elastic_nodes_pick(&nodes, now), 1); /* and only one */
        elastic_nodes_failed(&nodes, 0, now);
        rest = rest * 2 < 60000 ? rest * 2 : 60000;
    }
    elastic_nodes_answered(&nodes, 0);
    nodes.next = 0;
    assert_int_equal(elastic_nodes_pick(&nodes, now), 0);
    elastic_nodes_deinit(&nodes);
}

static void test_when_all_rest_the_first_to_come_back_is_tried(void **state) {
    (void)state;
    elastic_nodes nodes;
    add_three(&nodes);
    elastic_nodes_failed(&nodes, 0, 300);
    elastic_nodes_failed(&nodes, 1, 100);
    elastic_nodes_failed(&nodes, 2, 200);
    assert_int_equal(elastic_nodes_pick(&nodes, 400), 1);
    assert_int_equal(elastic_nodes_pick(&nodes, 400), 2); /* 1 is on trial */
    elastic_nodes_deinit(&nodes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_operations),
        KP_TEST(test_ids_routing_and_versions),
        KP_TEST(test_tombstones),
        KP_TEST(test_ids_that_cannot_be),
        KP_TEST(test_a_data_stream_gets_the_time),
        KP_TEST(test_every_allocation_may_fail),
        KP_TEST(test_nodes_take_turns),
        KP_TEST(test_a_failed_node_rests_longer_each_time),
        KP_TEST(test_when_all_rest_the_first_to_come_back_is_tried),
    };
    return kp_test_run(tests);
}
