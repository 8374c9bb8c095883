/* Splitting a request body: the events and problems of each body, written as one line each. */
#include "kp_test.h"

#include "core/json_scan.h"

typedef struct {
    kp_buf seen; /* "index=event" or "index!message", each with a newline */
    size_t stop_after;
    const char *begin;
    const char *end;
} listener;

static bool listen_to(void *ctx, size_t index, kp_bytes event, const kp_error *problem) {
    listener *self = ctx;
    assert_true(event.data >= self->begin && event.data + event.length <= self->end);
    if (problem) {
        assert_int_equal(problem->status, KP_REJECT);
        assert_int_equal(kp_buf_printf(&self->seen, NULL, "%zu!%s\n", index, problem->message), KP_OK);
    } else {
        assert_int_equal(kp_buf_printf(&self->seen, NULL, "%zu=%.*s\n", index, (int)event.length, event.data), KP_OK);
    }
    return index + 1 != self->stop_after;
}

static void expect(const char *body, const char *want) {
    listener self = {.begin = body, .end = body + strlen(body)};
    assert_int_equal(kp_json_split_events(kp_bytes_of(body), 100, listen_to, &self, NULL), KP_OK);
    assert_string_equal(kp_buf_text(&self.seen), want);
    kp_buf_deinit(&self.seen);
}

static void test_one_object(void **state) {
    (void)state;
    expect("{\"user\":\"홍길동\"}", "0={\"user\":\"홍길동\"}\n");
    expect(" \r\n{\"a\":9007199254740993} \n", "0={\"a\":9007199254740993}\n");
    expect("{\n  \"a\": 1,\n  \"b\": [\n    {}\n  ]\n}\n", "0={\n  \"a\": 1,\n  \"b\": [\n    {}\n  ]\n}\n");
    expect("{\"a\"\n:\n1}", "0={\"a\"\n:\n1}\n");
}

static void test_array(void **state) {
    (void)state;
    expect("[]", "");
    expect(" [ ] \n", "");
    expect("[{}]", "0={}\n");
    expect("\n[ {\"a\":[1,{}]} ,\n{\"b\":\"],[\"} ]\n", "0={\"a\":[1,{}]}\n1={\"b\":\"],[\"}\n");
}

static void test_ndjson(void **state) {
    (void)state;
    expect("{\"a\":1}\n{\"a\":2}\n", "0={\"a\":1}\n1={\"a\":2}\n");
    expect("\n\n  {\"a\":1} \r\n\r\n\t\n{\"a\":2}", "0={\"a\":1}\n1={\"a\":2}\n");
}

static void test_a_bad_line_is_one_problem(void **state) {
    (void)state;
    expect("{\"a\":1}\n{\"a\":}\n{\"a\":3}\n",
           "0={\"a\":1}\n1!invalid JSON at byte 5: a value is expected\n2={\"a\":3}\n");
    expect("{\"a\":1\n{\"a\":2}",
           "0!invalid JSON at byte 6: ',' or '}' is expected (the text ends here)\n1={\"a\":2}\n");
    expect("oops\n{\"a\":2}", "0!invalid JSON at byte 0: a value is expected\n1={\"a\":2}\n");
    expect("{}\n7\n[{}]\n\"s\"\ntrue\n{}", "0={}\n1!an event must be a JSON object, not a number\n"
                                           "2!an event must be a JSON object, not an array\n"
                                           "3!an event must be a JSON object, not a string\n"
                                           "4!an event must be a JSON object, not true\n5={}\n");
    expect("{} {}\n{}", "0!invalid JSON at byte 3: there is more behind the value\n1={}\n");
}

static void test_a_broken_object_over_several_lines_is_one_problem(void **state) {
    (void)state;
    expect("{\n\"a\": [\n{\"x\":1}\n],,\n}", "0!invalid JSON at byte 19: a key in quotes is expected\n");
    expect("{\"a\":1,\n{\"b\":1}\n", "0!invalid JSON at byte 8: a key in quotes is expected\n");
}

static void test_a_bad_element_is_one_problem(void **state) {
    (void)state;
    expect("[{\"a\":1}, 5, null, {\"a\":2}]", "0={\"a\":1}\n1!an event must be a JSON object, not a number\n"
                                              "2!an event must be a JSON object, not null\n3={\"a\":2}\n");
}

static void test_the_rest_of_a_broken_array_is_one_problem(void **state) {
    (void)state;
    expect("[{\"a\":1}, {\"b\":}, {\"c\":1}]", "0={\"a\":1}\n1!invalid JSON at byte 15: a value is expected\n");
    expect("[{\"a\":1} {\"b\":1}]", "0={\"a\":1}\n1!',' or ']' is expected behind an event of an array\n");
    expect("[{\"a\":1},", "0={\"a\":1}\n1!invalid JSON at byte 9: a value is expected (the text ends here)\n");
    expect("[{\"a\":1},]", "0={\"a\":1}\n1!invalid JSON at byte 9: a value is expected\n");
    expect(" [{\"a\":1}", "0={\"a\":1}\n1!',' or ']' is expected behind an event of an array\n");
    expect("[", "0!invalid JSON at byte 1: a value is expected (the text ends here)\n");
    expect("[{}]\n{}", "0={}\n1!there is more behind the array of events\n");
    expect("[] ]", "0!there is more behind the array of events\n");
}

static void test_what_is_no_event_at_all(void **state) {
    (void)state;
    const char *empty = "0!the body is empty: a JSON object, an array of objects or NDJSON is expected\n";
    expect("", empty);
    expect(" \r\n\t", empty);
    expect("\"text\"", "0!an event must be a JSON object, not a string\n");
    expect("\xEF\xBB\xBF{}", "0!invalid JSON at byte 0: a byte order mark is not allowed\n");
}

static void test_null_body_is_empty(void **state) {
    (void)state;
    listener self = {0};
    assert_int_equal(kp_json_split_events((kp_bytes){NULL, 0}, 1, listen_to, &self, NULL), KP_OK);
    assert_memory_equal(self.seen.data, "0!the body is empty", 19);
    kp_buf_deinit(&self.seen);
}

static void test_a_line_with_nul_bytes(void **state) {
    (void)state;
    static const char body[] = "\0\n{}";
    listener self = {.begin = body, .end = body + sizeof body};
    assert_int_equal(kp_json_split_events((kp_bytes){body, sizeof body - 1}, 9, listen_to, &self, NULL), KP_OK);
    assert_string_equal(kp_buf_text(&self.seen), "0!invalid JSON at byte 0: a value is expected\n1={}\n");
    kp_buf_deinit(&self.seen);
}

static void test_too_many_events(void **state) {
    (void)state;
    static const char *const bodies[] = {"{}\n{}\n{}", "[{},{},{}]", "[{},1,x]", "{}\nx\n{}"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        listener self = {.begin = bodies[i], .end = bodies[i] + strlen(bodies[i])};
        kp_error err;
        assert_int_equal(kp_json_split_events(kp_bytes_of(bodies[i]), 3, listen_to, &self, &err), KP_OK);
        kp_buf_reset(&self.seen);
        assert_int_equal(kp_json_split_events(kp_bytes_of(bodies[i]), 2, listen_to, &self, &err), KP_REJECT);
        assert_string_equal(err.code, "TOO_MANY_EVENTS");
        assert_string_equal(err.message, "more than 2 events in one body");
        assert_memory_equal(self.seen.data, "0={}\n1", 6);
        kp_buf_deinit(&self.seen);
    }
}

static void test_the_listener_can_stop(void **state) {
    (void)state;
    static const char *const bodies[] = {"{}\n{}\n{}", "[{},{},{}]"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        listener self = {.stop_after = 2, .begin = bodies[i], .end = bodies[i] + strlen(bodies[i])};
        assert_int_equal(kp_json_split_events(kp_bytes_of(bodies[i]), 9, listen_to, &self, NULL), KP_OK);
        assert_string_equal(kp_buf_text(&self.seen), "0={}\n1={}\n");
        kp_buf_deinit(&self.seen);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_one_object),
        KP_TEST(test_array),
        KP_TEST(test_ndjson),
        KP_TEST(test_a_bad_line_is_one_problem),
        KP_TEST(test_a_broken_object_over_several_lines_is_one_problem),
        KP_TEST(test_a_bad_element_is_one_problem),
        KP_TEST(test_the_rest_of_a_broken_array_is_one_problem),
        KP_TEST(test_what_is_no_event_at_all),
        KP_TEST(test_null_body_is_empty),
        KP_TEST(test_a_line_with_nul_bytes),
        KP_TEST(test_too_many_events),
        KP_TEST(test_the_listener_can_stop),
    };
    return kp_test_run(tests);
}
