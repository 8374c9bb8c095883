/* Strings and dotted paths of JSON. */
#include "kp_test.h"

#include "core/json_scan.h"

static kp_status unescape(const char *json, kp_buf *out) {
    kp_json_span string;
    size_t at = 0;
    assert_int_equal(kp_json_scan_value(kp_bytes_of(json), &at, &string, NULL), KP_OK);
    return kp_json_unescape(string, out, NULL);
}

static void test_unescape(void **state) {
    (void)state;
    static const struct {
        const char *json;
        const char *text;
    } cases[] = {
        {"\"\"", ""},
        {"\"홍길동\"", "홍길동"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"a\\u0041\\u00e9\\ud64D길\\uD83D\\uDE00z\"", "aA\xC3\xA9홍길😀z"},
        {"\"\\u007f\\u0080\\u07ff\\u0800\\uffff\\ud800\\udc00\\udbff\\udfff\"",
         "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kp_buf out = {0};
        assert_int_equal(kp_buf_append_text(&out, "before ", NULL), KP_OK);
        assert_int_equal(unescape(cases[i].json, &out), KP_OK);
        assert_int_equal(out.length, 7 + strlen(cases[i].text));
        assert_string_equal(kp_buf_text(&out) + 7, cases[i].text);
        kp_buf_deinit(&out);
    }
}

static void test_unescaped_nul_is_a_byte(void **state) {
    (void)state;
    kp_buf out = {0};
    assert_int_equal(unescape("\"a\\u0000b\"", &out), KP_OK);
    assert_int_equal(out.length, 3);
    assert_memory_equal(out.data, "a\0b", 3);
    kp_buf_deinit(&out);
}

static void test_unescape_refuses_what_no_scan_has_seen(void **state) {
    (void)state;
    static const char *const bad[] = {"\"x\\ud800\"", "\"x\\q\"", "\"x\\u12\"", "\"x\\ud800\\u0041\"", "\"x\\\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kp_buf out = {0};
        kp_json_span span = {KP_JSON_STRING, true, kp_bytes_of(bad[i])};
        assert_int_equal(kp_buf_append_text(&out, "kept", NULL), KP_OK);
        assert_int_equal(kp_json_unescape(span, &out, NULL), KP_REJECT);
        assert_string_equal(kp_buf_text(&out), "kept");
        kp_buf_deinit(&out);
    }
}

static void test_unescape_without_memory(void **state) {
    (void)state;
    kp_buf out = {0};
    kp_mem_fail_at(1);
    assert_int_equal(unescape("\"홍길동\"", &out), KP_NOMEM);
    assert_int_equal(out.length, 0);
    kp_buf_deinit(&out);
}

static void test_text_equals(void **state) {
    (void)state;
    kp_bytes escaped = KP_BYTES_LITERAL("\\uD64D\\n\\uD83D\\uDE00x");
    assert_true(kp_json_text_equals(escaped, kp_bytes_of("홍\n😀x")));
    assert_false(kp_json_text_equals(escaped, kp_bytes_of("홍\n😀")));
    assert_false(kp_json_text_equals(escaped, kp_bytes_of("홍\n😀xy")));
    assert_false(kp_json_text_equals(escaped, kp_bytes_of("홍n😀x")));
    assert_true(kp_json_text_equals(kp_bytes_of(""), kp_bytes_of("")));
    assert_false(kp_json_text_equals(KP_BYTES_LITERAL("\\u0000"), kp_bytes_of("")));
}

static void test_paths(void **state) {
    (void)state;
    kp_json_path path;
    assert_int_equal(kp_json_path_init(&path, kp_bytes_of("user.이름.id"), NULL), KP_OK);
    assert_int_equal(path.count, 3);
    assert_int_equal(path.steps[1].length, strlen("이름"));
    assert_memory_equal(path.steps[1].data, "이름", strlen("이름"));
    assert_int_equal(kp_json_path_init(&path, kp_bytes_of("a.b.c.d.e.f.g.h"), NULL), KP_OK);
    assert_int_equal(path.count, KP_JSON_PATH_MAX);
}

static void test_bad_paths(void **state) {
    (void)state;
    static const char *const bad[] = {"", ".", "a.", ".a", "a..b", "a.b.c.d.e.f.g.h.i"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kp_json_path path;
        kp_error err;
        assert_int_equal(kp_json_path_init(&path, kp_bytes_of(bad[i]), &err), KP_FATAL);
        assert_non_null(strstr(err.message, bad[i]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_unescape),
        KP_TEST(test_unescaped_nul_is_a_byte),
        KP_TEST(test_unescape_refuses_what_no_scan_has_seen),
        KP_TEST(test_unescape_without_memory),
        KP_TEST(test_text_equals),
        KP_TEST(test_paths),
        KP_TEST(test_bad_paths),
    };
    return kp_test_run(tests);
}
