/* The JSON scanner: what it accepts, where it finds fields. Every text is scanned from memory of exactly its size, so
 * that the address sanitizer sees a read beyond it.
 */
#include "kp_test.h"

#include "json_vectors.h"

#include "core/json_scan.h"

#include <stdio.h>
#include <stdlib.h>

static kp_status scan_exact(kp_bytes text, kp_error *err) {
    char *copy = malloc(text.length ? text.length : 1);
    assert_non_null(copy);
    memcpy(copy, text.data, text.length);
    kp_status st = kp_json_scan((kp_bytes){copy, text.length}, NULL, 0, NULL, NULL, err);
    free(copy);
    return st;
}

static bool valid(const char *data, size_t length) {
    return scan_exact((kp_bytes){data, length}, NULL) == KP_OK;
}

static bool valid_text(const char *text) {
    return valid(text, strlen(text));
}

/* ---- what is JSON ---- */

static void test_conformance_suite(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof json_vectors / sizeof *json_vectors; i++) {
        kp_error err;
        kp_error_init(&err);
        kp_status st = scan_exact(json_vectors[i].text, &err);
        if (st != (json_vectors[i].valid ? KP_OK : KP_REJECT)) {
            fail_msg("%s: %s %s", json_vectors[i].name, kp_status_name(st), err.message);
        }
    }
}

static void test_conformance_suite_in_white_space_and_cut_short(void **state) {
    (void)state;
    char around[512];
    for (size_t i = 0; i < sizeof json_vectors / sizeof *json_vectors; i++) {
        kp_bytes text = json_vectors[i].text;
        if (!json_vectors[i].valid || !memchr("[{", text.data[0], 2)) {
            continue;
        }
        memset(around, ' ', sizeof around);
        memcpy(around + 7, "\t\r\n", 3);
        memcpy(around + 20, text.data, text.length);
        assert_true(valid(around, sizeof around));
        while (text.length > 0 && memchr(" \n", text.data[text.length - 1], 2)) {
            text.length--;
        }
        for (size_t length = 0; length < text.length; length++) {
            if (valid(text.data, length)) {
                fail_msg("%s is accepted when it is cut to %zu bytes", json_vectors[i].name, length);
            }
        }
    }
}

static void repeat(kp_buf *buf, const char *piece, size_t times) {
    for (size_t i = 0; i < times; i++) {
        assert_int_equal(kp_buf_append_text(buf, piece, NULL), KP_OK);
    }
}

static bool nested(const char *open, size_t opened, const char *inside, const char *close, size_t closed) {
    kp_buf buf = {0};
    repeat(&buf, open, opened);
    repeat(&buf, inside, 1);
    repeat(&buf, close, closed);
    bool good = valid(buf.data, buf.length);
    kp_buf_deinit(&buf);
    return good;
}

static void test_depth_is_bounded(void **state) {
    (void)state;
    assert_true(nested("[", 500, "", "]", 500)); /* i_structure_500_nested_arrays */
    assert_true(nested("[", KP_JSON_DEPTH_MAX, "", "]", KP_JSON_DEPTH_MAX));
    assert_false(nested("[", KP_JSON_DEPTH_MAX + 1, "", "]", KP_JSON_DEPTH_MAX + 1));
    assert_true(nested("{\"a\":[", KP_JSON_DEPTH_MAX / 2, "1", "]}", KP_JSON_DEPTH_MAX / 2));
    assert_false(nested("{\"a\":[", KP_JSON_DEPTH_MAX / 2, "{}", "]}", KP_JSON_DEPTH_MAX / 2));
    assert_false(nested("[", 100000, "", "", 0));        /* n_structure_100000_opening_arrays */
    assert_false(nested("[{\"\":", 50000, "\n", "", 0)); /* n_structure_open_array_object */
    assert_false(nested("[", 70, "", "]", 69));
    assert_false(nested("[", 70, "", "]", 71));
    assert_false(nested("{\"a\":[", 64, "1", "}]", 64)); /* each bracket must close its own kind, beyond one word too */
}

/* Places the bytes at each offset of strings around the block sizes, so that every path through the scan sees them. */
static bool valid_in_string(const char *bytes, size_t length) {
    size_t accepted = 0;
    size_t tried = 0;
    char text[64];
    for (size_t before = 0; before < 20; before++) {
        for (size_t after = 0; after < 20; after += 19) {
            memset(text, 'a', sizeof text);
            text[0] = '"';
            memcpy(text + 1 + before, bytes, length);
            text[1 + before + length + after] = '"';
            accepted += valid(text, 2 + before + length + after);
            tried++;
        }
    }
    assert_true(accepted == 0 || accepted == tried);
    return accepted > 0;
}

static void test_each_byte_in_a_string(void **state) {
    (void)state;
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        assert_int_equal(valid_in_string(&byte, 1), c >= 0x20 && c < 0x80 && c != '"' && c != '\\');
    }
}

/* Well-formed UTF-8 by the second byte's range for each first one: table 3-7 of the Unicode standard. */
static bool well_formed(const unsigned char *u, size_t length) {
    static const struct {
        unsigned char first, last, low, high;
        size_t length;
    } rows[] = {{0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3},
                {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
                {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (u[0] >= rows[i].first && u[0] <= rows[i].last) {
            bool good = length == rows[i].length && u[1] >= rows[i].low && u[1] <= rows[i].high;
            for (size_t k = 2; good && k < length; k++) {
                good = u[k] >= 0x80 && u[k] <= 0xBF;
            }
            return good;
        }
    }
    return false;
}

static void test_every_start_of_a_utf8_sequence(void **state) {
    (void)state;
    static const unsigned char tails[] = {0x00, 0x22, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF};
    char text[16];
    for (unsigned first = 0x80; first < 0x100; first++) {
        for (unsigned second = 0; second < 0x100; second++) {
            for (size_t k = 0; k < sizeof tails; k++) {
                unsigned char u[4] = {(unsigned char)first, (unsigned char)second, tails[k], 0x80};
                for (size_t length = 2; length <= 4; length++) {
                    text[0] = '"';
                    memcpy(text + 1, u, length);
                    text[1 + length] = '"';
                    bool good = well_formed(u, length);
                    /* a shorter sequence with plain characters behind it is none of these rows, but is JSON */
                    bool shorter =
                        (length > 2 && well_formed(u, 2) && u[2] >= 0x20 && u[2] < 0x80 && u[2] != '"' && length == 3);
                    if (valid(text, length + 2) != (good || shorter)) {
                        fail_msg("%02x %02x %02x %02x, %zu bytes", u[0], u[1], u[2], u[3], length);
                    }
                }
            }
        }
    }
}

static void test_korean_at_every_offset(void **state) {
    (void)state;
    assert_true(valid_in_string("홍길동", strlen("홍길동")));
    assert_true(valid_in_string("길\\\"😀\\n", strlen("길\\\"😀\\n")));
    assert_false(valid_in_string("\xED\x99", 2)); /* 홍 without its last byte */
    assert_false(valid_in_string("\xED\xA0\x80", 3));
    assert_false(valid_in_string("\xF4\x90\x80\x80", 4));
}

static void test_numbers_of_any_length(void **state) {
    (void)state;
    static const char *const good[] = {"0",
                                       "-0",
                                       "9007199254740993",
                                       "1e400",
                                       "-1.5E+9999",
                                       "0.1",
                                       "1e-7",
                                       "12345678",
                                       "123456789",
                                       "1234567.12345678",
                                       "0e0",
                                       "10",
                                       "18446744073709551616"};
    static const char *const bad[] = {"00",       "01",        "-",   "+1",       "1.",        ".5",
                                      "1e",       "1e+",       "0x1", "1234567a", "12345678*", "1234567*",
                                      "1234567:", "12345678/", "--1", "1.e1",     "12345678.", "1234567\xB1"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(valid_text(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(valid_text(bad[i]));
    }
}

static void test_surrogate_escapes_come_in_pairs(void **state) {
    (void)state;
    assert_true(valid_text("\"\\ud83d\\ude00\""));
    assert_true(valid_text("\"\\uD800\\uDC00\\uDBFF\\uDFFF\""));
    assert_true(valid_text("\"\\ud7ff\\ue000\""));
    assert_false(valid_text("\"\\ud83d\""));
    assert_false(valid_text("\"\\ude00\""));
    assert_false(valid_text("\"\\ud83d\\u0041\""));
    assert_false(valid_text("\"\\ud83dx\\ude00\""));
    assert_false(valid_text("\"\\ud83d\\ud83d\\ude00\""));
    assert_false(valid_text("\"\\ud83d\\ude0\""));
    assert_false(valid_text("{\"\\udfaa\":0}"));
}

static void test_message_tells_where_and_why(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"", "invalid JSON at byte 0: a value is expected (the text ends here)"},
        {"{\"a\":1,}", "invalid JSON at byte 7: a key in quotes is expected"},
        {"{\"a\" 1}", "invalid JSON at byte 5: ':' is expected behind a key"},
        {"[1 2]", "invalid JSON at byte 3: ',' or ']' is expected"},
        {"{\"a\":1", "invalid JSON at byte 6: ',' or '}' is expected (the text ends here)"},
        {"\"홍", "invalid JSON at byte 4: a string is not closed (the text ends here)"},
        {"[\"a\nb\"]", "invalid JSON at byte 3: a control character in a string must be escaped"},
        {"[\"\xFF\"]", "invalid JSON at byte 2: a string is not valid UTF-8"},
        {"[\"\\ud800\"]", "invalid JSON at byte 2: half of a surrogate pair"},
        {"{} {}", "invalid JSON at byte 3: there is more behind the value"},
        {"\xEF\xBB\xBF{}", "invalid JSON at byte 0: a byte order mark is not allowed"},
        {"[012]", "invalid JSON at byte 1: a number must not start with 0"},
        {"nul", "invalid JSON at byte 0: a value is expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kp_error err;
        assert_int_equal(scan_exact(kp_bytes_of(cases[i].text), &err), KP_REJECT);
        assert_string_equal(err.message, cases[i].message);
        assert_string_equal(err.code, "INVALID_JSON");
    }
}

static void test_empty_input_may_be_null(void **state) {
    (void)state;
    assert_int_equal(kp_json_scan((kp_bytes){NULL, 0}, NULL, 0, NULL, NULL, NULL), KP_REJECT);
}

static void test_kind_of_the_whole(void **state) {
    (void)state;
    static const char *const texts[] = {"null", "false", "true", "-1", "\"a\"", "[{}]", " {\"a\":[]} "};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        kp_json_kind kind = KP_JSON_NONE;
        assert_int_equal(kp_json_scan(kp_bytes_of(texts[i]), NULL, 0, NULL, &kind, NULL), KP_OK);
        assert_int_equal(kind, KP_JSON_NULL + i);
    }
}

/* ---- where fields lie ---- */

/* The raw bytes found for a path; "" when there is none. In static memory. */
static const char *find(const char *text, const char *dotted) {
    static char raw[256];
    kp_json_path path;
    kp_json_span span;
    assert_int_equal(kp_json_path_init(&path, kp_bytes_of(dotted), NULL), KP_OK);
    assert_int_equal(kp_json_scan(kp_bytes_of(text), &path, 1, &span, NULL, NULL), KP_OK);
    if (span.kind == KP_JSON_NONE) {
        return "";
    }
    snprintf(raw, sizeof raw, "%.*s", (int)span.raw.length, span.raw.data);
    return raw;
}

static void test_fields_are_exact_bytes(void **state) {
    (void)state;
    const char *text = " { \"id\" : 9007199254740993 , \"user\":{\"name\":\"홍 \\\"길\\\" 동\",\"age\" : 1e400},"
                       "\"tags\":[ 1, {\"id\":2} ],\"none\":null, \"ok\":true, \"no\":false}";
    assert_string_equal(find(text, "id"), "9007199254740993");
    assert_string_equal(find(text, "user"), "{\"name\":\"홍 \\\"길\\\" 동\",\"age\" : 1e400}");
    assert_string_equal(find(text, "user.name"), "\"홍 \\\"길\\\" 동\"");
    assert_string_equal(find(text, "user.age"), "1e400");
    assert_string_equal(find(text, "tags"), "[ 1, {\"id\":2} ]");
    assert_string_equal(find(text, "none"), "null");
    assert_string_equal(find(text, "ok"), "true");
    assert_string_equal(find(text, "no"), "false");
}

static void test_absent_fields(void **state) {
    (void)state;
    const char *text = "{\"user\":{\"name\":1},\"tags\":[{\"id\":2}],\"id\":\"\",\"ab\":{}}";
    assert_string_equal(find(text, "name"), "");
    assert_string_equal(find(text, "user.id"), "");
    assert_string_equal(find(text, "user.name.x"), "");
    assert_string_equal(find(text, "tags.id"), ""); /* a path never leads into an array */
    assert_string_equal(find(text, "tags.0"), "");
    assert_string_equal(find(text, "a"), "");
    assert_string_equal(find(text, "abc"), "");
    assert_string_equal(find("[{\"id\":1}]", "id"), "");
    assert_string_equal(find("1", "id"), "");
}

static void test_last_of_duplicate_keys_wins(void **state) {
    (void)state;
    assert_string_equal(find("{\"a\":1,\"b\":0,\"a\":2}", "a"), "2");
    assert_string_equal(find("{\"a\":{\"b\":1},\"a\":{\"b\":2}}", "a.b"), "2");
    assert_string_equal(find("{\"a\":{\"b\":1},\"a\":{\"c\":2}}", "a.b"), "");
    assert_string_equal(find("{\"a\":{\"b\":1},\"a\":5}", "a.b"), "");
    assert_string_equal(find("{\"a\":5,\"\\u0061\":{\"b\":{}}}", "a.b"), "{}");
}

static void test_keys_are_compared_unescaped(void **state) {
    (void)state;
    assert_string_equal(find("{\"\\uD64D\\u0067\":1}", "홍g"), "1");
    assert_string_equal(find("{\"\\ud83d\\ude00\":1}", "😀"), "1");
    assert_string_equal(find("{\"a\\nb\\\"c\":1}", "a\nb\"c"), "1");
    assert_string_equal(find("{\"a\\nb\":1}", "a\\nb"), "1"); /* a path is text too: \n is a backslash and an n */
    assert_string_equal(find("{\"a\\\\nb\":1}", "a\\nb"), "1");
    assert_string_equal(find("{\"a\\u0000\":1}", "a"), "");
}

static void test_many_paths_at_once(void **state) {
    (void)state;
    static const char *const dotted[] = {"a", "a.b", "a.b.c", "a.b", "z.z", "d", "a.b.c.d.e.f.g.h"};
    static const char *const want[] = {"{\"b\":{\"c\":{\"d\":{\"e\":{\"f\":{\"g\":{\"h\":[7]}}}}}}}",
                                       "{\"c\":{\"d\":{\"e\":{\"f\":{\"g\":{\"h\":[7]}}}}}}",
                                       "{\"d\":{\"e\":{\"f\":{\"g\":{\"h\":[7]}}}}}",
                                       "{\"c\":{\"d\":{\"e\":{\"f\":{\"g\":{\"h\":[7]}}}}}}",
                                       "",
                                       "\"\\u0041\"",
                                       "[7]"};
    const char *text = "{\"x\":{\"a\":1},\"a\":{\"b\":{\"c\":{\"d\":{\"e\":{\"f\":{\"g\":{\"h\":[7]}}}}}}},"
                       "\"d\":\"\\u0041\",\"y\":[{\"d\":0}]}";
    kp_json_path paths[7];
    kp_json_span found[7];
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(kp_json_path_init(&paths[i], kp_bytes_of(dotted[i]), NULL), KP_OK);
    }
    assert_int_equal(kp_json_scan(kp_bytes_of(text), paths, 7, found, NULL, NULL), KP_OK);
    for (size_t i = 0; i < 7; i++) {
        assert_int_equal(found[i].raw.length, strlen(want[i]));
        assert_memory_equal(found[i].raw.data ? found[i].raw.data : "", want[i], strlen(want[i]));
        assert_int_equal(found[i].escaped, i == 5);
    }
}

static void test_sixty_four_paths(void **state) {
    (void)state;
    kp_json_path paths[KP_JSON_PATHS_MAX];
    kp_json_span found[KP_JSON_PATHS_MAX];
    char names[KP_JSON_PATHS_MAX][8];
    kp_buf text = {0};
    for (size_t i = 0; i < KP_JSON_PATHS_MAX; i++) {
        snprintf(names[i], sizeof names[i], "k%zu", i);
        assert_int_equal(kp_json_path_init(&paths[i], kp_bytes_of(names[i]), NULL), KP_OK);
        assert_int_equal(kp_buf_printf(&text, NULL, "%c\"k%zu\":%zu", i ? ',' : '{', i, 100 + i), KP_OK);
    }
    assert_int_equal(kp_buf_append_text(&text, "}", NULL), KP_OK);
    assert_int_equal(kp_json_scan((kp_bytes){text.data, text.length}, paths, KP_JSON_PATHS_MAX, found, NULL, NULL),
                     KP_OK);
    for (size_t i = 0; i < KP_JSON_PATHS_MAX; i++) {
        assert_int_equal(atoi(found[i].raw.data), 100 + (int)i);
    }
    kp_buf_deinit(&text);
}

/* ---- one value after the other ---- */

static void test_values_one_after_the_other(void **state) {
    (void)state;
    kp_bytes text = KP_BYTES_LITERAL(" {\"a\":\"]\"} [1,2]\"\\\"x\" 12 true");
    static const char *const want[] = {"{\"a\":\"]\"}", "[1,2]", "\"\\\"x\"", "12", "true"};
    size_t at = 0;
    for (size_t i = 0; i < 5; i++) {
        kp_json_span value;
        assert_int_equal(kp_json_scan_value(text, &at, &value, NULL), KP_OK);
        assert_int_equal(value.raw.length, strlen(want[i]));
        assert_memory_equal(value.raw.data, want[i], value.raw.length);
        assert_int_equal(value.escaped, i == 2);
    }
    assert_int_equal(at, text.length);
}

static void test_a_broken_value_leaves_the_place(void **state) {
    (void)state;
    kp_json_span value;
    kp_error err;
    size_t at = 3;
    assert_int_equal(kp_json_scan_value(KP_BYTES_LITERAL("[1,{\"a\":x}]"), &at, &value, &err), KP_REJECT);
    assert_int_equal(at, 3);
    assert_string_equal(err.message, "invalid JSON at byte 8: a value is expected");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_conformance_suite),
        KP_TEST(test_conformance_suite_in_white_space_and_cut_short),
        KP_TEST(test_depth_is_bounded),
        KP_TEST(test_each_byte_in_a_string),
        KP_TEST(test_every_start_of_a_utf8_sequence),
        KP_TEST(test_korean_at_every_offset),
        KP_TEST(test_numbers_of_any_length),
        KP_TEST(test_surrogate_escapes_come_in_pairs),
        KP_TEST(test_message_tells_where_and_why),
        KP_TEST(test_empty_input_may_be_null),
        KP_TEST(test_kind_of_the_whole),
        KP_TEST(test_fields_are_exact_bytes),
        KP_TEST(test_absent_fields),
        KP_TEST(test_last_of_duplicate_keys_wins),
        KP_TEST(test_keys_are_compared_unescaped),
        KP_TEST(test_many_paths_at_once),
        KP_TEST(test_sixty_four_paths),
        KP_TEST(test_values_one_after_the_other),
        KP_TEST(test_a_broken_value_leaves_the_place),
    };
    return kp_test_run(tests);
}
