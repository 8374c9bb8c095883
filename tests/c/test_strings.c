/* Arrow's layouts of strings, built by hand as the specification draws them. */
#include "kp_test.h"

#include "core/strings.h"

#include <errno.h>

static int released;

static void release_array(struct ArrowArray *array) {
    array->release = NULL;
    released++;
}

static void release_schema(struct ArrowSchema *schema) {
    schema->release = NULL;
    released++;
}

static struct ArrowSchema schema_of(const char *format) {
    return (struct ArrowSchema){.format = format, .name = "", .release = release_schema};
}

static struct ArrowArray array_of(int64_t length, int64_t offset, int64_t n_buffers, const void **buffers) {
    return (struct ArrowArray){.length = length,
                               .offset = offset,
                               .null_count = -1,
                               .n_buffers = n_buffers,
                               .buffers = buffers,
                               .release = release_array};
}

static void assert_at(kp_strings *strings, size_t i, const char *text) {
    kp_bytes found = kp_strings_at(strings, i);
    assert_int_equal(found.length, text ? strlen(text) : 0);
    if (text) {
        assert_memory_equal(found.data, text, found.length);
    } else {
        assert_null(found.data);
    }
}

static void test_offsets_of_both_widths_start_anywhere(void **state) {
    (void)state;
    static const uint8_t valid[] = {0x1b}; /* the third of five is null */
    static const char data[] = "가나다라";
    static const int32_t narrow[] = {0, 3, 6, 6, 6, 12};
    static const int64_t wide[] = {0, 3, 6, 6, 6, 12};
    const void *offsets[] = {narrow, wide};
    const char *formats[] = {"u", "Z"};
    for (int i = 0; i < 2; i++) {
        const void *buffers[] = {valid, offsets[i], data};
        struct ArrowSchema schema = schema_of(formats[i]);
        struct ArrowArray array = array_of(4, 1, 3, buffers);
        kp_strings *strings;
        kp_error err;
        released = 0;
        assert_int_equal(kp_strings_from_array(&strings, &schema, &array, &err), KP_OK);
        assert_int_equal(kp_strings_count(strings), 4);
        assert_at(strings, 0, "나");
        assert_at(strings, 1, NULL);
        assert_at(strings, 2, "");
        assert_non_null(kp_strings_at(strings, 2).data); /* empty is not missing */
        assert_at(strings, 3, "다라");
        assert_at(strings, 0, "나");
        kp_strings_free(strings);
        assert_int_equal(released, 2);
    }
}

static void test_views_lie_inside_and_outside(void **state) {
    (void)state;
    static const char first[] = "........thirteen long";
    int32_t views[2][4] = {{12, 0, 0, 0}, {13, 0, 1, 8}};
    memcpy(&views[0][1], "just twelve!", 12);
    memcpy(&views[1][1], "thir", 4);
    const void *buffers[] = {NULL, views, "unused", first, NULL};
    struct ArrowSchema schema = schema_of("vu");
    struct ArrowArray array = array_of(2, 0, 5, buffers);
    kp_strings *strings;
    kp_error err;
    assert_int_equal(kp_strings_from_array(&strings, &schema, &array, &err), KP_OK);
    assert_at(strings, 0, "just twelve!");
    assert_at(strings, 1, "thirteen long");
    kp_strings_free(strings);
}

static void test_other_types_are_refused_and_let_go(void **state) {
    (void)state;
    const char *formats[] = {"l", "+s", "", "w:", "w:-1"};
    for (size_t i = 0; i < sizeof formats / sizeof *formats - 2; i++) {
        struct ArrowSchema schema = schema_of(formats[i]);
        struct ArrowArray array = array_of(0, 0, 0, NULL);
        kp_strings *strings;
        kp_error err;
        released = 0;
        assert_int_equal(kp_strings_from_array(&strings, &schema, &array, &err), KP_REJECT);
        assert_null(strings);
        assert_int_equal(released, 2);
    }
}

/* ---- streams ---- */

static int chunks_left;
static bool breaks;
static const int32_t one_offset[] = {0, 3};
static const void *chunk_buffers[] = {NULL, one_offset, "색"};

static int get_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    (void)stream;
    *out = schema_of("u");
    return 0;
}

static int get_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    (void)stream;
    if (breaks && chunks_left == 1) {
        return EIO;
    }
    *out = chunks_left-- > 0 ? array_of(chunks_left % 2, 0, 3, chunk_buffers) : (struct ArrowArray){0};
    return 0;
}

static const char *get_last_error(struct ArrowArrayStream *stream) {
    (void)stream;
    return "the disk is gone";
}

static void test_chunks_of_a_stream_are_one_column(void **state) {
    (void)state;
    struct ArrowArrayStream stream = {get_schema, get_next, get_last_error, NULL, NULL};
    kp_strings *strings;
    kp_error err;
    chunks_left = 10; /* each second one is empty */
    released = 0;
    assert_int_equal(kp_strings_from_stream(&strings, &stream, &err), KP_OK);
    assert_int_equal(kp_strings_count(strings), 5);
    for (size_t i = 0; i < 5; i++) {
        assert_at(strings, i, "색");
    }
    kp_strings_free(strings);
    assert_int_equal(released, 11);
}

static void test_stream_that_breaks_says_why_and_leaves_nothing(void **state) {
    (void)state;
    struct ArrowArrayStream stream = {get_schema, get_next, get_last_error, NULL, NULL};
    kp_strings *strings;
    kp_error err;
    chunks_left = 5;
    breaks = true;
    assert_int_equal(kp_strings_from_stream(&strings, &stream, &err), KP_REJECT);
    assert_non_null(strstr(err.message, "the disk is gone"));
    breaks = false;
    for (int64_t n = 1; n <= 4; n++) {
        chunks_left = 4;
        kp_mem_fail_at(n);
        assert_int_equal(kp_strings_from_stream(&strings, &stream, &err), KP_NOMEM);
        kp_mem_fail_at(0);
        assert_null(strings);
        assert_int_equal(kp_mem_live(), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_offsets_of_both_widths_start_anywhere),
        KP_TEST(test_views_lie_inside_and_outside),
        KP_TEST(test_other_types_are_refused_and_let_go),
        KP_TEST(test_chunks_of_a_stream_are_one_column),
        KP_TEST(test_stream_that_breaks_says_why_and_leaves_nothing),
    };
    return kp_test_run(tests);
}
