/* Columns, tables and their export through the Arrow C interfaces, read back as a consumer reads them. */
#include "kp_test.h"

#include "core/arrow.h"
#include "core/json_column.h"

#include <errno.h>

static const char *const WORDS[] = {"빨강", "blue \"quoted\"\n"};
static const kp_field PAIR[] = {
    {.name = "key", .kind = KP_COLUMN_UTF8},
    {.name = "value", .kind = KP_COLUMN_BINARY, .nullable = true},
};
static const kp_field ITEM = {.name = "item", .kind = KP_COLUMN_STRUCT, .children = PAIR, .child_count = 2};
static const kp_field FIELDS[] = {
    {.name = "partition", .kind = KP_COLUMN_INT32},
    {.name = "offset", .kind = KP_COLUMN_INT64, .nullable = true},
    {.name = "color", .kind = KP_COLUMN_WORD, .nullable = true, .words = WORDS, .word_count = 2},
    {.name = "ok", .kind = KP_COLUMN_BOOL, .nullable = true},
    {.name = "이름", .kind = KP_COLUMN_UTF8, .nullable = true},
    {.name = "headers", .kind = KP_COLUMN_LIST, .children = &ITEM, .child_count = 1},
    {.name = "ratio", .kind = KP_COLUMN_FLOAT64, .nullable = true},
};
enum { FIELD_COUNT = sizeof FIELDS / sizeof *FIELDS, ROWS = 21, FIRST_NULL = 11 };

static const int64_t BIG = INT64_C(9007199254740993);

/* From FIRST_NULL on, every third row is null in all columns that can be. */
static bool is_null(int64_t row) {
    return row >= FIRST_NULL && row % 3 == 0;
}

static kp_status append_headers(kp_column *column, int64_t row, kp_error *err) {
    kp_status st = KP_OK;
    kp_column *item = &column->children[0];
    for (int64_t i = 0; i < row % 3; i++) {
        KP_TRY(kp_column_append_bytes(&item->children[0], KP_BYTES_LITERAL("h"), err));
        KP_TRY(i ? kp_column_append_null(&item->children[1], err)
                 : kp_column_append_bytes(&item->children[1], KP_BYTES_LITERAL("\0\xFF"), err));
        kp_column_end_struct(item);
    }
    KP_TRY(kp_column_end_list(column, err));
done:
    return st;
}

static kp_status append_row(kp_rows *rows, int64_t row, kp_error *err) {
    kp_status st;
    kp_column *column = rows->columns;
    KP_TRY(kp_column_append_int(&column[0], row, err));
    KP_TRY(append_headers(&column[5], row, err));
    rows->length++;
    for (size_t i = 1; is_null(row) && i < FIELD_COUNT; i++) {
        if (FIELDS[i].nullable) {
            KP_TRY(kp_column_append_null(&column[i], err));
        }
    }
    if (is_null(row)) {
        return KP_OK;
    }
    KP_TRY(kp_column_append_int(&column[1], BIG + row, err));
    KP_TRY(kp_column_append_int(&column[2], row % 2, err));
    KP_TRY(kp_column_append_bool(&column[3], row % 2, err));
    KP_TRY(kp_column_append_bytes(&column[4], kp_bytes_of(row % 2 ? "홍길동" : ""), err));
    KP_TRY(kp_column_append_double(&column[6], (double)row / 2, err));
done:
    return st;
}

static kp_status build(kp_table **table, kp_error *err) {
    kp_rows *rows = NULL;
    kp_status st;
    KP_TRY(kp_table_new(table, FIELDS, FIELD_COUNT, err));
    for (int batch = 0; batch < 2; batch++) {
        KP_TRY(kp_rows_new(&rows, FIELDS, FIELD_COUNT, err));
        for (int64_t row = 0; row < ROWS; row++) {
            KP_TRY(append_row(rows, row, err));
        }
        kp_rows_trim(rows);
        KP_TRY(kp_table_add(*table, rows, err));
        rows = NULL;
    }
done:
    kp_rows_release(rows);
    return st;
}

static kp_table *table_of_two(void) {
    kp_table *table;
    kp_error err;
    assert_int_equal(build(&table, &err), KP_OK);
    return table;
}

static bool is_valid(const struct ArrowArray *array, int64_t row) {
    const unsigned char *bits = array->buffers[0];
    return !bits || bits[row / 8] >> row % 8 & 1;
}

static void check_text(const struct ArrowArray *array, int64_t row, const char *text) {
    const int32_t *ends = array->buffers[1];
    assert_int_equal(ends[row + 1] - ends[row], strlen(text));
    assert_memory_equal((const char *)array->buffers[2] + ends[row], text, strlen(text));
}

static void check_headers(const struct ArrowArray *array) {
    const int32_t *ends = array->buffers[1];
    const struct ArrowArray *item = array->children[0];
    for (int64_t row = 0; row < ROWS; row++) {
        assert_int_equal(ends[row + 1] - ends[row], row % 3);
    }
    assert_int_equal(item->length, ends[ROWS]);
    assert_int_equal(item->children[0]->length, ends[ROWS]);
    assert_int_equal(item->children[1]->null_count, ROWS / 3);
    check_text(item->children[0], 0, "h");
}

static void check_array(const struct ArrowArray *array) {
    assert_int_equal(array->length, ROWS);
    assert_int_equal(array->n_children, FIELD_COUNT);
    struct ArrowArray *const *columns = array->children;
    int64_t nulls = 0;
    for (int64_t row = 0; row < ROWS; row++) {
        nulls += is_null(row);
        assert_int_equal(((const int32_t *)columns[0]->buffers[1])[row], row);
        for (size_t i = 1; i < FIELD_COUNT; i++) {
            assert_int_equal(is_valid(columns[i], row), !FIELDS[i].nullable || !is_null(row));
        }
        if (!is_null(row)) {
            assert_int_equal(((const int64_t *)columns[1]->buffers[1])[row], BIG + row);
            assert_int_equal(((const int8_t *)columns[2]->buffers[1])[row], row % 2);
            assert_int_equal(((const unsigned char *)columns[3]->buffers[1])[row / 8] >> row % 8 & 1, row % 2);
            check_text(columns[4], row, row % 2 ? "홍길동" : "");
            assert_true(((const double *)columns[6]->buffers[1])[row] == (double)row / 2);
        }
    }
    assert_null(columns[0]->buffers[0]);
    assert_int_equal(columns[4]->null_count, nulls);
    assert_int_equal(columns[2]->dictionary->length, 2);
    check_text(columns[2]->dictionary, 1, WORDS[1]);
    check_headers(columns[5]);
}

static void test_the_schema_says_what_the_columns_are(void **state) {
    (void)state;
    static const char *const formats[] = {"i", "l", "c", "b", "u", "+l", "g"};
    kp_table *table = table_of_two();
    struct ArrowSchema schema;
    kp_error err;
    assert_int_equal(kp_arrow_schema_export(table, &schema, &err), KP_OK);
    kp_table_release(table);
    assert_string_equal(schema.format, "+s");
    assert_int_equal(schema.n_children, FIELD_COUNT);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        assert_string_equal(schema.children[i]->name, FIELDS[i].name);
        assert_string_equal(schema.children[i]->format, formats[i]);
        assert_int_equal(schema.children[i]->flags, FIELDS[i].nullable ? ARROW_FLAG_NULLABLE : 0);
    }
    assert_string_equal(schema.children[2]->dictionary->format, "u");
    assert_string_equal(schema.children[5]->children[0]->format, "+s");
    assert_string_equal(schema.children[5]->children[0]->children[1]->name, "value");
    schema.release(&schema);
    assert_null(schema.release);
}

static void test_a_stream_outlives_its_table_and_an_array_its_stream(void **state) {
    (void)state;
    kp_table *table = table_of_two();
    struct ArrowArrayStream stream;
    struct ArrowArray arrays[3];
    kp_error err;
    assert_int_equal(kp_arrow_stream_export(table, &stream, &err), KP_OK);
    kp_table_release(table);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(stream.get_next(&stream, &arrays[i]), 0);
    }
    assert_null(arrays[2].release);
    assert_null(stream.get_last_error(&stream));
    stream.release(&stream);
    check_array(&arrays[1]);
    arrays[1].release(&arrays[1]);
    check_array(&arrays[0]);
    arrays[0].release(&arrays[0]);
}

static void test_a_child_that_was_moved_outlives_its_parent(void **state) {
    (void)state;
    kp_table *table = table_of_two();
    struct ArrowArray array;
    kp_error err;
    assert_int_equal(kp_arrow_rows_export(table->batches[0], &array, &err), KP_OK);
    struct ArrowArray moved = *array.children[4];
    array.children[4]->release = NULL;
    array.release(&array);
    kp_table_release(table);
    check_text(&moved, 1, "홍길동");
    moved.release(&moved);
}

static void test_two_exports_share_their_memory(void **state) {
    (void)state;
    kp_table *table = table_of_two();
    struct ArrowArray one;
    struct ArrowArray two;
    kp_error err;
    assert_int_equal(kp_arrow_rows_export(table->batches[0], &one, &err), KP_OK);
    assert_int_equal(kp_arrow_rows_export(table->batches[0], &two, &err), KP_OK);
    kp_table_release(table);
    assert_ptr_equal(one.children[4]->buffers[2], two.children[4]->buffers[2]);
    one.release(&one);
    check_array(&two);
    two.release(&two);
}

/* What a consumer does, until the n-th allocation fails. */
static kp_status consume(kp_error *err) {
    kp_table *table = NULL;
    struct ArrowSchema schema = {0};
    struct ArrowArrayStream stream = {0};
    struct ArrowArray array = {0};
    kp_status st;
    KP_TRY(build(&table, err));
    KP_TRY(kp_arrow_stream_export(table, &stream, err));
    int code = stream.get_schema(&stream, &schema);
    if (code == 0) {
        schema.release(&schema);
        code = stream.get_next(&stream, &array);
    }
    if (code == 0) {
        check_array(&array);
        array.release(&array);
    } else {
        assert_int_equal(code, ENOMEM);
        assert_non_null(stream.get_last_error(&stream));
        st = KP_NOMEM;
    }
done:
    if (stream.release) {
        stream.release(&stream);
    }
    kp_table_release(table);
    return st;
}

static void test_every_allocation_may_fail(void **state) {
    (void)state;
    enum { TRIES = 300 }; /* more than there are allocations */
    kp_error err;
    kp_status st = KP_NOMEM;
    int failed = 0;
    for (int64_t n = 1; n <= TRIES; n++) {
        kp_mem_fail_at(n);
        st = consume(&err);
        kp_mem_fail_at(0);
        assert_int_equal(kp_mem_live(), 0);
        assert_true(st == KP_OK || st == KP_NOMEM);
        failed += st == KP_NOMEM; /* giving back what a column grew ahead may fail, and nothing is lost */
    }
    assert_int_equal(st, KP_OK);
    assert_in_range(failed, 60, TRIES - 60);
}

static void test_a_column_of_bytes_ends_at_two_gigabytes(void **state) {
    (void)state;
    kp_rows *rows;
    kp_error err;
    assert_int_equal(kp_rows_new(&rows, &PAIR[1], 1, &err), KP_OK);
    assert_int_equal(kp_column_append_bytes(rows->columns, KP_BYTES_LITERAL("x"), &err), KP_OK);
    assert_int_equal(kp_column_append_bytes(rows->columns, (kp_bytes){"", KP_COLUMN_BYTES_MAX}, &err), KP_REJECT);
    assert_string_equal(err.code, "COLUMN_FULL");
    kp_rows_release(rows);
}

/* ---- JSON ---- */

static kp_column *append_json(kp_rows **rows, kp_column_kind kind, const char *text) {
    const kp_field field = {.name = "", .kind = kind, .nullable = true};
    kp_buf scratch = {0};
    kp_json_span span;
    size_t at = 0;
    kp_error err;
    assert_int_equal(kp_json_scan_value(kp_bytes_of(text), &at, &span, &err), KP_OK);
    assert_int_equal(kp_rows_new(rows, &field, 1, &err), KP_OK);
    assert_int_equal(kp_column_append_json((*rows)->columns, span, &scratch, &err), KP_OK);
    assert_int_equal((*rows)->columns[0].length, 1);
    kp_buf_deinit(&scratch);
    return (*rows)->columns;
}

static void check_json_null(kp_column_kind kind, const char *text) {
    kp_rows *rows;
    assert_true(kp_column_is_null(append_json(&rows, kind, text), 0));
    kp_rows_release(rows);
}

static void check_json_number(kp_column_kind kind, const char *text, int64_t whole, double number) {
    kp_rows *rows;
    const kp_column *column = append_json(&rows, kind, text);
    assert_false(kp_column_is_null(column, 0));
    if (kind == KP_COLUMN_FLOAT64) {
        assert_true(kp_column_double(column, 0) == number);
    } else {
        assert_int_equal(kp_column_int(column, 0), whole);
    }
    kp_rows_release(rows);
}

static void test_whole_numbers_are_exact_or_null(void **state) {
    (void)state;
    check_json_number(KP_COLUMN_INT64, "9007199254740993", BIG, 0);
    check_json_number(KP_COLUMN_INT64, "-9223372036854775808", INT64_MIN, 0);
    check_json_number(KP_COLUMN_INT64, "9223372036854775807", INT64_MAX, 0);
    check_json_number(KP_COLUMN_INT64, "-0", 0, 0);
    check_json_number(KP_COLUMN_INT64, "-9", -9, 0);
    static const char *const unfit[] = {
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999",
        "1.0",
        "1e2",
        "\"1\"",
        "true",
        "null",
        "[1]",
    };
    for (size_t i = 0; i < sizeof unfit / sizeof *unfit; i++) {
        check_json_null(KP_COLUMN_INT64, unfit[i]);
    }
}

static void test_numbers_are_the_nearest_double_or_null(void **state) {
    (void)state;
    check_json_number(KP_COLUMN_FLOAT64, "0.1", 0, 0.1);
    check_json_number(KP_COLUMN_FLOAT64, "-1234.5678e-3", 0, -1234.5678e-3);
    check_json_number(KP_COLUMN_FLOAT64, "1E+2", 0, 100.0);
    check_json_number(KP_COLUMN_FLOAT64, "9007199254740993", 0, 9007199254740992.0);
    check_json_number(KP_COLUMN_FLOAT64, "2.2250738585072011e-308", 0, 2.2250738585072011e-308);
    check_json_number(KP_COLUMN_FLOAT64, "1e-99999999999999999999", 0, 0.0);
    check_json_number(KP_COLUMN_FLOAT64, "17", 0, 17.0);
    check_json_null(KP_COLUMN_FLOAT64, "1e400");
    check_json_null(KP_COLUMN_FLOAT64, "-1e99999999999999999999");
    check_json_null(KP_COLUMN_FLOAT64, "\"0.1\"");
}

static void test_texts_are_unescaped(void **state) {
    (void)state;
    kp_rows *rows;
    kp_bytes text = kp_column_bytes(append_json(&rows, KP_COLUMN_UTF8, "\"\\ud55c \\\"인용\\\"\\n\""), 0);
    assert_int_equal(text.length, strlen("한 \"인용\"\n"));
    assert_memory_equal(text.data, "한 \"인용\"\n", text.length);
    kp_rows_release(rows);
    check_json_null(KP_COLUMN_UTF8, "1");
    check_json_null(KP_COLUMN_UTF8, "{}");
    check_json_number(KP_COLUMN_BOOL, "true", 1, 0);
    check_json_number(KP_COLUMN_BOOL, "false", 0, 0);
    check_json_null(KP_COLUMN_BOOL, "1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_the_schema_says_what_the_columns_are),
        KP_TEST(test_a_stream_outlives_its_table_and_an_array_its_stream),
        KP_TEST(test_a_child_that_was_moved_outlives_its_parent),
        KP_TEST(test_two_exports_share_their_memory),
        KP_TEST(test_every_allocation_may_fail),
        KP_TEST(test_a_column_of_bytes_ends_at_two_gigabytes),
        KP_TEST(test_whole_numbers_are_exact_or_null),
        KP_TEST(test_numbers_are_the_nearest_double_or_null),
        KP_TEST(test_texts_are_unescaped),
    };
    return kp_test_run(tests);
}
