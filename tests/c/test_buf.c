/* Buffers and errors. */
#include "kp_test.h"

#include "core/buf.h"
#include "core/mem.h"

static void test_numbers_and_text(void **state) {
    (void)state;
    kp_buf buf = {0};
    assert_int_equal(kp_buf_append_int(&buf, INT64_MIN, NULL), KP_OK);
    assert_int_equal(kp_buf_append_text(&buf, "|", NULL), KP_OK);
    assert_int_equal(kp_buf_append_int(&buf, 0, NULL), KP_OK);
    assert_int_equal(kp_buf_printf(&buf, NULL, "|%s|%d", "홍길동", 7), KP_OK);
    assert_string_equal(kp_buf_text(&buf), "-9223372036854775808|0|홍길동|7");
    kp_buf_deinit(&buf);
}

static void test_json_string_escapes_what_must_be(void **state) {
    (void)state;
    kp_buf buf = {0};
    assert_int_equal(kp_buf_append_json_string(&buf, KP_BYTES_LITERAL("a\"b\\c\n\x01길"), NULL), KP_OK);
    assert_string_equal(kp_buf_text(&buf), "\"a\\\"b\\\\c\\n\\u0001길\"");
    kp_buf_deinit(&buf);
}

static void test_url_encoding_keeps_only_what_is_asked(void **state) {
    (void)state;
    kp_buf buf = {0};
    assert_int_equal(kp_buf_append_url(&buf, KP_BYTES_LITERAL("/a b/홍?\0x"), "/", NULL), KP_OK);
    assert_string_equal(kp_buf_text(&buf), "/a%20b/%ED%99%8D%3F%00x");
    kp_buf_deinit(&buf);
}

static void test_failed_allocation_is_reported_and_loses_nothing(void **state) {
    (void)state;
    kp_buf buf = {0};
    kp_error err;
    assert_int_equal(kp_buf_append_text(&buf, "kept", NULL), KP_OK);
    kp_mem_fail_at(1);
    char big[4096] = {0};
    assert_int_equal(kp_buf_append(&buf, big, sizeof big, &err), KP_NOMEM);
    assert_string_equal(kp_buf_text(&buf), "kept");
    kp_buf_deinit(&buf);
}

static void test_error_message_is_one_line_and_whole_characters(void **state) {
    (void)state;
    kp_error err;
    char text[3000];
    for (size_t i = 0; i + 3 < sizeof text; i += 3) {
        memcpy(text + i, "길", 3);
    }
    text[2997] = '\0';
    kp_error_set(&err, KP_RETRY, "X", "a\nb%s", text);
    size_t length = strlen(err.message);
    assert_true(length > 1000);
    assert_memory_equal(err.message + length - 3, "길", 3);
    assert_null(strchr(err.message, '\n'));
    kp_error_prefix(&err, "hdfs");
    assert_memory_equal(err.message, "hdfs: a b", 9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_numbers_and_text),
        KP_TEST(test_json_string_escapes_what_must_be),
        KP_TEST(test_url_encoding_keeps_only_what_is_asked),
        KP_TEST(test_failed_allocation_is_reported_and_loses_nothing),
        KP_TEST(test_error_message_is_one_line_and_whole_characters),
    };
    return kp_test_run(tests);
}
