/* Documents over cJSON, and gzip over zlib. */
#include "kp_test.h"

#include "io/gzip.h"
#include "io/json.h"

#include <stdlib.h>
#include <zlib.h>

static const kp_json *parse(const char *text) {
    const kp_json *root = NULL;
    assert_int_equal(kp_json_parse(&root, kp_bytes_of(text), "test", NULL), KP_OK);
    return root;
}

static void test_lenient_readers_look_at_the_type_first(void **state) {
    (void)state;
    const kp_json *root = parse(" {\"a\":\"홍길동\",\"b\":9007199254740992,\"c\":true,\"d\":[1,2,3],\"e\":1.5,"
                                "\"f\":9007199254740993000,\"g\":null,\"h\":-1,\"a\":\"second\"} \n");
    assert_string_equal(kp_json_text(kp_json_get(root, "a"), ""), "홍길동");
    assert_string_equal(kp_json_text(kp_json_get(root, "b"), "no"), "no");
    assert_null(kp_json_get(root, "A"));
    assert_null(kp_json_get(NULL, "a"));
    assert_null(kp_json_get(kp_json_get(root, "a"), "a"));
    assert_null(kp_json_get(kp_json_get(root, "d"), "a"));
    assert_int_equal(kp_json_int(kp_json_get(root, "b"), -1), 9007199254740992);
    assert_int_equal(kp_json_int(kp_json_get(root, "h"), 0), -1);
    assert_int_equal(kp_json_int(kp_json_get(root, "e"), -7), -7); /* not whole */
    assert_int_equal(kp_json_int(kp_json_get(root, "f"), -7), -7); /* beyond 2^53 */
    assert_int_equal(kp_json_int(kp_json_get(root, "a"), -7), -7);
    assert_int_equal(kp_json_int(NULL, -7), -7);
    assert_true(kp_json_bool(kp_json_get(root, "c"), false));
    assert_true(kp_json_bool(kp_json_get(root, "b"), true));
    assert_int_equal(kp_json_count(kp_json_get(root, "d")), 3);
    assert_int_equal(kp_json_count(NULL), 0);
    assert_true(kp_json_is_array(kp_json_get(root, "d")) && kp_json_is_object(root));
    assert_false(kp_json_is_array(NULL) || kp_json_is_object(kp_json_get(root, "g")));
    int64_t sum = 0;
    for (const kp_json *n = kp_json_first(kp_json_get(root, "d")); n; n = kp_json_next(n)) {
        sum += kp_json_int(n, 100);
    }
    assert_int_equal(sum, 6);
    assert_string_equal(kp_json_key(kp_json_first(root)), "a");
    assert_string_equal(kp_json_key(root), "");
    kp_json_free(root);
}

static void test_demanding_readers_name_the_key(void **state) {
    (void)state;
    const kp_json *root = parse("{\"url\":\"http://x\",\"n\":3,\"on\":false,\"list\":[]}");
    const kp_json *value;
    const char *text;
    int64_t number;
    bool flag = true;
    kp_error err;
    assert_int_equal(kp_json_need_text(root, "url", &text, &err), KP_OK);
    assert_string_equal(text, "http://x");
    assert_int_equal(kp_json_need_int(root, "n", &number, &err), KP_OK);
    assert_int_equal(number, 3);
    assert_int_equal(kp_json_need_bool(root, "on", &flag, &err), KP_OK);
    assert_false(flag);
    assert_int_equal(kp_json_need(root, "list", &value, &err), KP_OK);
    assert_int_equal(kp_json_need_int(root, "url", &number, &err), KP_FATAL);
    assert_string_equal(err.message, "configuration: \"url\" must be a whole number below 2^53");
    assert_int_equal(kp_json_need_bool(root, "n", &flag, &err), KP_FATAL);
    assert_int_equal(kp_json_need_text(root, "on", &text, &err), KP_FATAL);
    assert_int_equal(kp_json_need_text(root, "user", &text, &err), KP_FATAL);
    assert_string_equal(err.message, "configuration: \"user\" is missing");
    kp_json_free(root);
}

/* Each in a block of exactly its size, so that the sanitizer sees a read behind it. */
static void test_what_is_no_json_is_refused_within_its_bounds(void **state) {
    (void)state;
    static const char *const bad[] = {"",     " ",     "{",       "{\"1\":1,", "[1,", "{\"a\"", "{} x",
                                      "tru",  "\"",    "\"\\",    "\"\\u00",   "-",   "1 2",    "<html>404</html>",
                                      "[1]]", "{},{}", "\xEF\xBB"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const kp_json *root;
        kp_error err;
        size_t length = strlen(bad[i]);
        char *exact = malloc(length ? length : 1);
        memcpy(exact, bad[i], length);
        kp_status st = kp_json_parse(&root, (kp_bytes){exact, length}, "the reply", &err);
        free(exact);
        if (st != KP_REJECT) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
        assert_null(root);
        assert_memory_equal(err.message, "the reply is no valid JSON", 26);
    }
    const kp_json *root;
    assert_int_equal(kp_json_parse(&root, (kp_bytes){NULL, 0}, "nothing", NULL), KP_REJECT);
}

static void test_every_allocation_of_a_parse_may_fail(void **state) {
    (void)state;
    const kp_json *root;
    int64_t n = 1;
    for (;; n++) {
        kp_mem_fail_at(n);
        kp_status st = kp_json_parse(&root, KP_BYTES_LITERAL("{\"a\":[1,\"b\",{}]}"), "x", NULL);
        kp_mem_fail_at(0);
        if (st == KP_OK) {
            break;
        }
        assert_int_equal(st, KP_NOMEM);
        assert_int_equal(kp_mem_live(), 0);
    }
    kp_json_free(root);
    assert_in_range(n, 7, 30);
}

static void assert_unzips_to(const kp_buf *packed, const char *text, size_t length) {
    char *out = malloc(length + 1);
    z_stream z = {.next_in = (Bytef *)packed->data,
                  .avail_in = (uInt)packed->length,
                  .next_out = (Bytef *)out,
                  .avail_out = (uInt)length + 1};
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK); /* takes gzip only */
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.avail_in, 0);
    assert_int_equal(z.total_out, length);
    assert_memory_equal(out, text, length);
    inflateEnd(&z);
    free(out);
}

static void test_gzip_is_one_whole_member(void **state) {
    (void)state;
    size_t length = 3000000;
    char *text = malloc(length);
    uint32_t random = 1;
    for (size_t i = 0; i < length; i++) {
        random = random * 1664525 + 1013904223;
        text[i] = (char)(random >> 24);
    }
    kp_buf out = {0};
    assert_int_equal(kp_gzip((kp_bytes){text, length}, 1, &out, NULL), KP_OK); /* cannot be made smaller */
    assert_unzips_to(&out, text, length);
    memset(text, 'x', length);
    assert_int_equal(kp_gzip((kp_bytes){text, length}, 9, &out, NULL), KP_OK); /* replaces what was in out */
    assert_true(out.length < 10000);
    assert_unzips_to(&out, text, length);
    assert_int_equal(kp_gzip((kp_bytes){NULL, 0}, 6, &out, NULL), KP_OK);
    assert_unzips_to(&out, "", 0);
    kp_buf_deinit(&out);
    free(text);
}

static void test_every_allocation_of_gzip_may_fail(void **state) {
    (void)state;
    int64_t n = 1;
    for (;; n++) {
        kp_buf out = {0};
        kp_mem_fail_at(n);
        kp_status st = kp_gzip(KP_BYTES_LITERAL("홍길동"), 6, &out, NULL);
        kp_mem_fail_at(0);
        kp_buf_deinit(&out);
        if (st == KP_OK) {
            break;
        }
        assert_int_equal(st, KP_NOMEM);
        assert_int_equal(kp_mem_live(), 0);
    }
    assert_in_range(n, 5, 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_lenient_readers_look_at_the_type_first),
        KP_TEST(test_demanding_readers_name_the_key),
        KP_TEST(test_what_is_no_json_is_refused_within_its_bounds),
        KP_TEST(test_every_allocation_of_a_parse_may_fail),
        KP_TEST(test_gzip_is_one_whole_member),
        KP_TEST(test_every_allocation_of_gzip_may_fail),
    };
    return kp_test_run(tests);
}
