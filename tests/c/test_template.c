/* Name templates: what they render, what they refuse, and that no value leads out of the folder. */
#include "kp_test.h"

#include "core/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char value[] =
    "{\"user\":{\"id\":9007199254740993,\"name\":\"홍 \\\"길\\\" 동\\n\"},\"ok\":true,\"none\":null,"
    "\"list\":[],\"path\":\"../../etc/passwd\",\"empty\":\"\",\"COLOR\":\"Red\"}";

static kp_record record(void) {
    return (kp_record){.topic = "select-color",
                       .partition = 2,
                       .offset = 7,
                       .timestamp_ms = 1767229200123, /* 2026-01-01T01:00:00.123Z */
                       .key = KP_BYTES_LITERAL("키/1"),
                       .value = KP_BYTES_LITERAL(value)};
}

/* Renders text for rec behind "^", with offset 10 and end 20. out is empty but for that when it fails. */
static kp_status render(const char *text, kp_template_use use, const kp_record *rec, kp_buf *out, kp_error *err) {
    kp_template *template;
    assert_int_equal(kp_template_new(&template, text, use, err), KP_OK);
    assert_int_equal(kp_buf_append_text(out, "^", NULL), KP_OK);
    kp_status st = kp_template_render(template, rec, 10, 20, out, err);
    kp_template_free(template);
    return st;
}

static void expect(const char *text, kp_template_use use, const kp_record *rec, const char *want) {
    kp_buf out = {0};
    kp_error err;
    kp_error_init(&err);
    if (render(text, use, rec, &out, &err) != KP_OK) {
        fail_msg("%s: %s", text, err.message);
    }
    assert_string_equal(kp_buf_text(&out) + 1, want);
    kp_buf_deinit(&out);
}

static void expect_reject(const char *text, kp_template_use use, const kp_record *rec, const char *message) {
    kp_buf out = {0};
    kp_error err;
    kp_error_init(&err);
    assert_int_equal(render(text, use, rec, &out, &err), KP_REJECT);
    assert_string_equal(err.message, message);
    assert_string_equal(kp_buf_text(&out), "^");
    kp_buf_deinit(&out);
}

static void test_every_placeholder(void **state) {
    (void)state;
    kp_record rec = record();
    expect("/data/color-{partition}-{offset}.log", KP_TEMPLATE_PATH, &rec, "/data/color-2-10.log");
    expect("/d/{topic}/{offset}+{end}", KP_TEMPLATE_PATH, &rec, "/d/select-color/10+20");
    expect("/d/{timestamp:%Y/%m/%d}/{timestamp:%H-%M-%S day %j}", KP_TEMPLATE_PATH, &rec,
           "/d/2026/01/01/01-00-00 day 001");
    expect("/d/{key}", KP_TEMPLATE_PATH, &rec, "/d/키%2F1");
    expect("/d/{field:user.id}/{field:ok}-{field:COLOR}", KP_TEMPLATE_PATH, &rec, "/d/9007199254740993/true-Red");
    expect("/d/{field:user.name}", KP_TEMPLATE_PATH, &rec, "/d/홍 %22길%22 동%0A");
    expect("{field:user.name}|{key}", KP_TEMPLATE_RAW, &rec, "홍 \"길\" 동\n|키/1");
    expect("", KP_TEMPLATE_RAW, &rec, "");
}

static void test_a_default_stands_where_there_is_no_value(void **state) {
    (void)state;
    kp_record rec = record();
    expect("/d/{field:nothing.there|없음/}", KP_TEMPLATE_PATH, &rec, "/d/없음%2F");
    expect("{field:user.id|x}-{key|k}", KP_TEMPLATE_RAW, &rec, "9007199254740993-키/1");
    rec.value = KP_BYTES_LITERAL("{\"a\":null,\"o\":{}}");
    rec.key = (kp_bytes){NULL, 0};
    expect("i-{field:a|None}-{key|0}", KP_TEMPLATE_INDEX, &rec, "i-none-0");
    expect_reject("i-{field:o|x}", KP_TEMPLATE_INDEX, &rec, "{field:o}: a string, a number, true or false is needed");
    rec.value = KP_BYTES_LITERAL("no json");
    kp_buf out = {0};
    kp_error err;
    assert_int_equal(render("i-{field:a|x}", KP_TEMPLATE_INDEX, &rec, &out, &err), KP_REJECT);
    kp_buf_deinit(&out);
}

static void test_doubled_braces_are_braces(void **state) {
    (void)state;
    kp_record rec = record();
    expect("{{a}}{{{partition}}}", KP_TEMPLATE_RAW, &rec, "{a}{2}");
    expect("{{topic}}", KP_TEMPLATE_RAW, &rec, "{topic}");
}

static void test_a_path_value_stays_one_segment(void **state) {
    (void)state;
    const struct {
        kp_bytes key;
        const char *want;
    } cases[] = {
        {KP_BYTES_LITERAL(".."), "/d/%2E."},
        {KP_BYTES_LITERAL("../.."), "/d/%2E.%2F.."},
        {KP_BYTES_LITERAL("."), "/d/%2E"},
        {KP_BYTES_LITERAL("_tmp"), "/d/%5Ftmp"},
        {KP_BYTES_LITERAL("%2f%2F"), "/d/%252f%252F"},
        {KP_BYTES_LITERAL("a/b\\c:d"), "/d/a%2Fb%5Cc%3Ad"},
        {KP_BYTES_LITERAL("a\0b\x7F\n\x1F"), "/d/a%00b%7F%0A%1F"},
        {KP_BYTES_LITERAL("*?[a]{b}^"), "/d/%2A%3F%5Ba%5D%7Bb%7D%5E"},
        {KP_BYTES_LITERAL("k=v#'\""), "/d/k%3Dv%23%27%22"},
        {KP_BYTES_LITERAL("a.b_c-d e+f,g;h"), "/d/a.b_c-d e+f,g;h"},
        {KP_BYTES_LITERAL("\xFF\xED\xA0\x80\xC0\xAF"), "/d/%FF%ED%A0%80%C0%AF"},
        {KP_BYTES_LITERAL("\xC2\x80\xC2\x9F\xC2\xA0"), "/d/%C2%80%C2%9F\xC2\xA0"},
        {KP_BYTES_LITERAL("홍길동😀"), "/d/홍길동😀"},
        {KP_BYTES_LITERAL("홍\xEA\xB8"), "/d/홍%EA%B8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kp_record rec = record();
        rec.key = cases[i].key;
        expect("/d/{key}", KP_TEMPLATE_PATH, &rec, cases[i].want);
    }
    kp_record rec = record();
    expect("/d/{field:path}", KP_TEMPLATE_PATH, &rec, "/d/%2E.%2F..%2Fetc%2Fpasswd");
}

static void test_length_of_path_values(void **state) {
    (void)state;
    char text[400];
    char want[410];
    kp_record rec = record();
    memset(text, 'a', sizeof text);
    rec.key = (kp_bytes){text, KP_TEMPLATE_VALUE_MAX};
    snprintf(want, sizeof want, "/d/%.*s", KP_TEMPLATE_VALUE_MAX, text);
    expect("/d/{key}", KP_TEMPLATE_PATH, &rec, want);
    rec.key.length++;
    expect_reject("/d/{key}", KP_TEMPLATE_PATH, &rec, "{key}: the value is too long for a path");
    memset(text, '%', sizeof text); /* it is the encoded length that counts */
    rec.key.length = 67;
    expect_reject("/d/{key}", KP_TEMPLATE_PATH, &rec, "{key}: the value is too long for a path");
    rec.key.length = 0;
    expect_reject("/d/{key}", KP_TEMPLATE_PATH, &rec, "{key}: an empty value cannot be part of a path");
    expect_reject("/d/{field:empty}", KP_TEMPLATE_PATH, &rec, "{field:empty}: an empty value cannot be part of a path");
}

static void test_length_of_a_segment(void **state) {
    (void)state;
    char text[150];
    kp_buf out = {0};
    kp_error err;
    kp_record rec = record();
    memset(text, 'a', sizeof text);
    rec.key = (kp_bytes){text, 127};
    assert_int_equal(render("/d/{key}-{key}/x", KP_TEMPLATE_PATH, &rec, &out, &err), KP_OK);
    kp_buf_reset(&out);
    assert_int_equal(render("/d/{key}-{key}-/x", KP_TEMPLATE_PATH, &rec, &out, &err), KP_REJECT);
    assert_non_null(strstr(err.message, "has a part longer than 255 bytes"));
    kp_buf_deinit(&out);
}

static void test_a_topic_of_any_legal_length(void **state) {
    (void)state;
    char topic[250];
    char want[260];
    kp_record rec = record();
    memset(topic, 't', sizeof topic - 1);
    topic[sizeof topic - 1] = '\0';
    rec.topic = topic;
    snprintf(want, sizeof want, "/%s", topic);
    expect("/{topic}", KP_TEMPLATE_PATH, &rec, want);
    rec.topic = "_internal";
    expect("/{topic}", KP_TEMPLATE_PATH, &rec, "/%5Finternal");
}

static void test_index_names(void **state) {
    (void)state;
    kp_record rec = record();
    rec.topic = "Clicks";
    expect("kafka-to-es", KP_TEMPLATE_INDEX, &rec, "kafka-to-es");
    expect("{topic}-{timestamp:%Y.%m.%d}", KP_TEMPLATE_INDEX, &rec, "clicks-2026.01.01");
    expect("c-{field:COLOR}", KP_TEMPLATE_INDEX, &rec, "c-red");
    rec.key = KP_BYTES_LITERAL("홍길동");
    expect("c-{key}", KP_TEMPLATE_INDEX, &rec, "c-홍길동");
}

static void test_index_names_that_elasticsearch_forbids(void **state) {
    (void)state;
    static const char forbidden[] = "\\/*?\"<>| ,#:\n\x7F\xFF";
    kp_record rec = record();
    for (size_t i = 0; i < sizeof forbidden; i++) { /* the NUL at the end is one of them */
        char key[] = {'a', forbidden[i], 'b'};
        rec.key = (kp_bytes){key, sizeof key};
        expect_reject("x{key}", KP_TEMPLATE_INDEX, &rec,
                      "{key}: the value has a character that an index name must not have");
    }
    static const char *const names[] = {"-a", "_a", "+a", ".", "..", ""};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        kp_buf out = {0};
        rec.key = kp_bytes_of(names[i]);
        assert_int_equal(render("{key}", KP_TEMPLATE_INDEX, &rec, &out, NULL), KP_REJECT);
        assert_int_equal(out.length, 1);
        kp_buf_deinit(&out);
    }
    char longest[256];
    kp_buf out = {0};
    memset(longest, 'a', sizeof longest);
    rec.key = (kp_bytes){longest, 255};
    assert_int_equal(render("{key}", KP_TEMPLATE_INDEX, &rec, &out, NULL), KP_OK);
    rec.key.length++;
    assert_int_equal(render("{key}", KP_TEMPLATE_INDEX, &rec, &out, NULL), KP_REJECT);
    kp_buf_deinit(&out);
}

static void test_what_the_record_lacks(void **state) {
    (void)state;
    kp_record rec = record();
    expect_reject("/{field:user.age}", KP_TEMPLATE_PATH, &rec, "{field:user.age}: the record has no such field");
    expect_reject("/{field:none}", KP_TEMPLATE_PATH, &rec, "{field:none}: a string, a number, true or false is needed");
    expect_reject("/{field:list}", KP_TEMPLATE_PATH, &rec, "{field:list}: a string, a number, true or false is needed");
    expect_reject("/{field:user}", KP_TEMPLATE_RAW, &rec, "{field:user}: a string, a number, true or false is needed");
    rec.value = KP_BYTES_LITERAL("{\"user\":");
    expect_reject("/{field:user}", KP_TEMPLATE_PATH, &rec,
                  "the record has no fields: invalid JSON at byte 8: a value is expected (the text ends here)");
    rec = (kp_record){.topic = "t", .timestamp_ms = -1};
    expect_reject("/{field:user}", KP_TEMPLATE_PATH, &rec, "{field:user}: the record has no such field");
    expect_reject("/{key}", KP_TEMPLATE_PATH, &rec, "{key}: the record has no key");
    expect_reject("/{timestamp:%Y}", KP_TEMPLATE_PATH, &rec, "{timestamp:%Y}: the record has no timestamp");
    expect("/{topic}/{partition}-{offset}", KP_TEMPLATE_PATH, &rec, "/t/0-10"); /* needs no value */
}

/* Against the C library, for a day in each of the months of 800 years and for odd moments. */
static void test_dates(void **state) {
    (void)state;
    kp_template *template;
    assert_int_equal(kp_template_new(&template, "{timestamp:%Y-%m-%d %H:%M:%S %j}", KP_TEMPLATE_RAW, NULL), KP_OK);
    for (int64_t seconds = 0; seconds < INT64_C(800) * 366 * 86400; seconds += INT64_C(29) * 86400 + 3671) {
        char want[64];
        struct tm tm;
        time_t when = (time_t)seconds;
        kp_buf out = {0};
        kp_record rec = {.topic = "t", .timestamp_ms = seconds * 1000 + 999};
        strftime(want, sizeof want, "%Y-%m-%d %H:%M:%S %j", gmtime_r(&when, &tm));
        assert_int_equal(kp_template_render(template, &rec, 0, 0, &out, NULL), KP_OK);
        assert_string_equal(kp_buf_text(&out), want);
        kp_buf_deinit(&out);
    }
    kp_buf out = {0};
    kp_record rec = {.topic = "t", .timestamp_ms = INT64_MAX};
    assert_int_equal(kp_template_render(template, &rec, 0, 0, &out, NULL), KP_OK);
    assert_string_equal(kp_buf_text(&out), "292278994-08-17 07:12:55 229");
    kp_buf_deinit(&out);
    kp_template_free(template);
}

static void test_what_is_no_template(void **state) {
    (void)state;
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"/{", "template \"/{\": a lone brace must be doubled at \"{\""},
        {"/}x", "template \"/}x\": a lone brace must be doubled at \"}x\""},
        {"/{topic", "template \"/{topic\": a lone brace must be doubled at \"{topic\""},
        {"/{to{pic}", "template \"/{to{pic}\": a lone brace must be doubled at \"{to{pic}\""},
        {"/{}", "template \"/{}\": unknown placeholder \"\""},
        {"/{offsets}", "template \"/{offsets}\": unknown placeholder \"offsets\""},
        {"/{topic:x}", "template \"/{topic:x}\": there must be no argument \"x\""},
        {"/{key:}", "template \"/{key:}\": there must be no argument \"\""},
        {"/{timestamp}", "template \"/{timestamp}\": a timestamp has no such form as \"\""},
        {"/{timestamp:x}", "template \"/{timestamp:x}\": a timestamp has no such form as \"x\""},
        {"/{timestamp:%y}", "template \"/{timestamp:%y}\": a timestamp has no such form as \"%y\""},
        {"/{timestamp:%Y%}", "template \"/{timestamp:%Y%}\": a timestamp has no such form as \"%Y%\""},
        {"/{field}", "template \"/{field}\": path \"\" has an empty step"},
        {"/{field:}", "template \"/{field:}\": path \"\" has an empty step"},
        {"/{field:a..b}", "template \"/{field:a..b}\": path \"a..b\" has an empty step"},
        {"/a/../{key}", "template \"/a/../{key}\": a path must not have \".\" or \"..\" in it"},
        {"/a/{timestamp:../%Y}", "template \"/a/{timestamp:../%Y}\": a path must not have \".\" or \"..\" in it"},
        {"./a", "template \"./a\": a path must not have \".\" or \"..\" in it"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kp_template *template;
        kp_error err;
        assert_int_equal(kp_template_new(&template, cases[i].text, KP_TEMPLATE_PATH, &err), KP_FATAL);
        assert_string_equal(err.message, cases[i].message);
    }
}

static void test_too_many_fields(void **state) {
    (void)state;
    kp_template *template;
    kp_record rec = record();
    expect("{field:ok}{field:ok}{field:ok}{field:ok}{field:ok}{field:ok}{field:ok}{field:COLOR}", KP_TEMPLATE_RAW, &rec,
           "truetruetruetruetruetruetrueRed");
    assert_int_equal(
        kp_template_new(&template, "{field:a}{field:b}{field:c}{field:d}{field:e}{field:f}{field:g}{field:h}{field:i}",
                        KP_TEMPLATE_RAW, NULL),
        KP_FATAL);
}

static void test_what_a_template_says_of_itself(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool constant, end, per_record;
        const char *base;
    } cases[] = {
        {"/data/color.log", true, false, false, "/data/"},
        {"/data/color-{partition}-{offset}.log", false, false, false, "/data/"},
        {"/data/x{{/y{topic}/{end}", false, true, false, "/data/x{/"},
        {"/{timestamp:%Y/%m}/a/b", false, false, true, "/"},
        {"/a/b/{key}", false, false, true, "/a/b/"},
        {"{field:a}/b/c", false, false, true, ""},
        {"name", true, false, false, ""},
        {"", true, false, false, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kp_template *template;
        assert_int_equal(kp_template_new(&template, cases[i].text, KP_TEMPLATE_PATH, NULL), KP_OK);
        assert_int_equal(kp_template_is_constant(template), cases[i].constant);
        assert_int_equal(kp_template_has_end(template), cases[i].end);
        assert_int_equal(kp_template_per_record(template), cases[i].per_record);
        kp_bytes base = kp_template_base(template);
        assert_int_equal(base.length, strlen(cases[i].base));
        assert_memory_equal(base.data, cases[i].base, base.length);
        kp_template_free(template);
    }
    kp_template_free(NULL);
}

static void test_every_allocation_can_fail(void **state) {
    (void)state;
    const char *text = "/data/{timestamp:%Y}/{field:user.name}/{key}-{offset}";
    kp_record rec = record();
    bool worked = false;
    for (int64_t n = 1; !worked; n++) {
        kp_template *template = NULL;
        kp_buf out = {0};
        kp_mem_fail_at(n);
        kp_status st = kp_template_new(&template, text, KP_TEMPLATE_PATH, NULL);
        if (st == KP_OK) {
            st = kp_template_render(template, &rec, 1, 2, &out, NULL);
            kp_template_free(template);
        }
        worked = st == KP_OK;
        if (!worked) {
            assert_int_equal(st, KP_NOMEM);
            assert_int_equal(out.length, 0);
        }
        kp_buf_deinit(&out);
        assert_int_equal(kp_mem_live(), 0);
        assert_in_range(n, 1, 20);
    }
    kp_mem_fail_at(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_every_placeholder),
        KP_TEST(test_a_default_stands_where_there_is_no_value),
        KP_TEST(test_doubled_braces_are_braces),
        KP_TEST(test_a_path_value_stays_one_segment),
        KP_TEST(test_length_of_path_values),
        KP_TEST(test_length_of_a_segment),
        KP_TEST(test_a_topic_of_any_legal_length),
        KP_TEST(test_index_names),
        KP_TEST(test_index_names_that_elasticsearch_forbids),
        KP_TEST(test_what_the_record_lacks),
        KP_TEST(test_dates),
        KP_TEST(test_what_is_no_template),
        KP_TEST(test_too_many_fields),
        KP_TEST(test_what_a_template_says_of_itself),
        KP_TEST(test_every_allocation_can_fail),
    };
    return kp_test_run(tests);
}
