/* The files sink over a store in memory: which records come into which file, when a file is closed, and what happens
 * to memory and uploads. Publishing and cleaning are in test_files_publish.c.
 */
#include "files_rig.h"

#include "sinks/files.h"

#include <stdio.h>

#define LINE(n) "{\"n\":" #n ",\"c\":0}\n"

static const files_rules by_two = {.path = "/d/{topic}-{partition}-{offset}.log", .records = 2};

#define VALUES(...)                                                                                                    \
    (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)

static void close_all(sink_rig *rig, fake_disk *disk) {
    sink_rig_close(rig);
    fake_disk_deinit(disk);
}

static void test_so_many_records_a_file(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    files_rig_open(&rig, &disk, &by_two);
    files_rig_write(&rig, 0, 0, 5, 1);
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(group.committed, 4);
    assert_false(rig.ops->idle(rig.sink, 0, INT64_MAX)); /* the fifth waits for its file's end */
    assert_int_equal(rig.ops->held_bytes(rig.sink), strlen(LINE(4)));
    rig.ops->seal(rig.sink, 0);
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(group.committed, 5);
    assert_true(rig.ops->idle(rig.sink, 0, INT64_MAX));
    assert_int_equal(rig.ops->held_bytes(rig.sink), 0);
    assert_int_equal(disk.count, 3);
    files_rig_assert_file(&disk, "/d/t-0-0.log", LINE(0) LINE(1));
    files_rig_assert_file(&disk, "/d/t-0-2.log", LINE(2) LINE(3));
    files_rig_assert_file(&disk, "/d/t-0-4.log", LINE(4));
    close_all(&rig, &disk);
}

static void test_so_many_bytes_a_file(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    const files_rules rules = {.path = "/d/{partition}-{offset}-{end}.log", .bytes = 30};
    files_rig_open(&rig, &disk, &rules);
    files_rig_write(&rig, 0, 0, 7, 1); /* 14 bytes each */
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(group.committed, 6);
    files_rig_assert_file(&disk, "/d/0-0-3.log", LINE(0) LINE(1) LINE(2));
    files_rig_assert_file(&disk, "/d/0-3-6.log", LINE(3) LINE(4) LINE(5));
    close_all(&rig, &disk);
}

static void test_age_closes_a_file_without_another_record(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    const files_rules rules = {.path = "/d/{partition}-{offset}.log", .age_ms = 60000};
    files_rig_open(&rig, &disk, &rules);
    assert_true(rig.ops->next_ms(rig.sink) == INT64_MAX);
    files_rig_write(&rig, 0, 0, 1, 1);
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(disk.count, 0);
    assert_true(rig.ops->next_ms(rig.sink) < INT64_MAX);
    rig.skew_ms = 60000;
    files_rig_commit_all(&rig, 0, &group);
    files_rig_assert_file(&disk, "/d/0-0.log", LINE(0));
    assert_true(rig.ops->next_ms(rig.sink) == INT64_MAX);
    close_all(&rig, &disk);
}

static void test_a_line_is_a_record(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    const files_rules rules = {.path = "/d/{partition}-{offset}.log", .records = 2};
    files_rig_open(&rig, &disk, &rules);
    sink_rig_must_write(&rig, sink_rig_values(0, 0,
                                              VALUES("{\"n\":9007199254740993,\"u\":\"홍길동 \\\"나\\\"\"}",
                                                     "no json \xff\n", NULL, "", "{\n\"a\":\r\n1}\n")));
    assert_string_equal(sink_rig_verdicts(rig.back[0]), "DRRRD");
    assert_non_null(strstr(kp_batch_reason(rig.back[0], 2)->message, "no value (a tombstone)"));
    files_rig_commit_all(&rig, 0, &group);
    files_rig_assert_file(&disk, "/d/0-0.log",
                          "{\"n\":9007199254740993,\"u\":\"홍길동 \\\"나\\\"\"}\n{ \"a\":\r 1} \n");
    close_all(&rig, &disk);
}

static void test_raw_lines_are_any_bytes(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    const files_rules rules = {.path = "/d/{partition}-{offset}.log", .records = 5, .format = "raw"};
    files_rig_open(&rig, &disk, &rules);
    sink_rig_must_write(&rig, sink_rig_values(0, 0, VALUES("{\n\"a\":\r\n1}\n", "no json \xff\n", NULL, "", "한 줄")));
    assert_string_equal(sink_rig_verdicts(rig.back[0]), "DDDDD");
    files_rig_commit_all(&rig, 0, &group);
    files_rig_assert_file(&disk, "/d/0-0.log", "{ \"a\":\r 1} \nno json \xff \n\n\n한 줄\n");
    close_all(&rig, &disk);
}

static void test_records_fan_out_by_their_fields(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    const files_rules rules = {.path = "/d/{field:c}/{partition}-{offset}.log", .records = 2};
    files_rig_open(&rig, &disk, &rules);
    files_rig_write(&rig, 0, 0, 4, 3); /* c: 0 1 2 0, and the second 0 closes them all */
    files_rig_settle(&rig);
    assert_int_equal(disk.count, 3);
    assert_true(files_rig_intend(&rig, 0, 4, &group));
    assert_int_equal(group.intent_end, 4);
    files_rig_publish(&rig, 0, &group);
    files_rig_assert_file(&disk, "/d/0/0-0.log", "{\"n\":0,\"c\":0}\n{\"n\":3,\"c\":0}\n");
    files_rig_assert_file(&disk, "/d/1/0-1.log", "{\"n\":1,\"c\":1}\n");
    files_rig_assert_file(&disk, "/d/2/0-2.log", "{\"n\":2,\"c\":2}\n");
    close_all(&rig, &disk);
}

static void test_a_record_without_the_field_is_rejected_alone(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    const files_rules rules = {.path = "/d/{field:c}/{partition}-{offset}.log", .records = 2};
    files_rig_open(&rig, &disk, &rules);
    sink_rig_must_write(&rig, sink_rig_values(0, 0,
                                              VALUES("{\"n\":0,\"c\":\"a\"}", "{\"n\":1}", "no json",
                                                     "{\"n\":3,\"c\":\"../b\"}", "{\"n\":4,\"c\":\"a\"}")));
    assert_string_equal(sink_rig_verdicts(rig.back[0]), "DRRDD");
    assert_string_equal(kp_batch_reason(rig.back[0], 1)->message, "{field:c}: the record has no such field");
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(group.committed, 5); /* what was rejected lies within: its own settling is the worker's */
    files_rig_assert_file(&disk, "/d/a/0-0.log", "{\"n\":0,\"c\":\"a\"}\n{\"n\":4,\"c\":\"a\"}\n");
    files_rig_assert_file(&disk, "/d/%2E.%2Fb/0-3.log", "{\"n\":3,\"c\":\"../b\"}\n");
    close_all(&rig, &disk);
}

/* An intent has room for some thirty files: wide fan-outs go in pieces, each of which a broker takes. */
static void test_a_wide_fan_out_stays_within_the_metadata(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    const files_rules rules = {
        .path = "/data/some/longer/folder/한국어/{topic}/color={field:c}/{partition}-{offset}-{end}.log"};
    files_rig_open(&rig, &disk, &rules);
    files_rig_write(&rig, 0, 0, 300, 150);
    files_rig_write(&rig, 0, 300, 700, 150);
    rig.ops->seal(rig.sink, 0);
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(group.committed, 1000);
    files_rig_assert_exactly_once(&disk, 1000);
    close_all(&rig, &disk);
}

static void test_nothing_beyond_what_is_settled_is_intended(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    files_rig_open(&rig, &disk, &by_two);
    files_rig_write(&rig, 0, 0, 6, 1);
    files_rig_settle(&rig);
    assert_false(files_rig_intend(&rig, 0, 1, &group));
    assert_true(files_rig_intend(&rig, 0, 5, &group));
    assert_int_equal(group.intent_end, 4);
    close_all(&rig, &disk);
}

static void test_a_file_is_intended_only_when_it_is_there(void **state) {
    (void)state;
    fake_disk disk = {.hold = true};
    files_group group = {0};
    sink_rig rig;
    files_rig_open(&rig, &disk, &by_two);
    files_rig_write(&rig, 0, 0, 4, 1);
    files_rig_settle(&rig);
    assert_int_equal(disk.asked[FAKE_PUT], 2);
    assert_false(files_rig_intend(&rig, 0, 4, &group));
    disk.hold = false;
    disk.fails[FAKE_PUT] = 1; /* the older one: the younger does not overtake it */
    files_rig_settle(&rig);
    assert_int_equal(rig.troubles, 1);
    assert_false(files_rig_intend(&rig, 0, 4, &group));
    rig.ops->resume(rig.sink);
    files_rig_commit_all(&rig, 0, &group);
    files_rig_assert_exactly_once(&disk, 4);
    assert_int_equal(fake_disk_count(&disk, "_tmp"), 0);
    close_all(&rig, &disk);
}

static void test_trouble_is_told_once_and_waits_for_resume(void **state) {
    (void)state;
    fake_disk disk = {.fails = {[FAKE_PUT] = 100}};
    files_group group = {0};
    sink_rig rig;
    files_rig_open(&rig, &disk, &by_two);
    files_rig_write(&rig, 0, 0, 8, 1);
    files_rig_settle(&rig);
    files_rig_settle(&rig);
    assert_int_equal(rig.troubles, 1);
    assert_int_equal(rig.trouble.status, KP_RETRY);
    assert_int_equal(disk.asked[FAKE_PUT], 4); /* what was under way already; nothing was begun behind it */
    files_rig_write(&rig, 0, 8, 2, 1);
    files_rig_settle(&rig);
    assert_int_equal(disk.asked[FAKE_PUT], 4);
    rig.ops->resume(rig.sink);
    files_rig_settle(&rig);
    assert_int_equal(rig.troubles, 2);
    disk.fails[FAKE_PUT] = 0;
    rig.ops->resume(rig.sink);
    files_rig_commit_all(&rig, 0, &group);
    assert_true(rig.progress > 0);
    files_rig_assert_exactly_once(&disk, 10);
    close_all(&rig, &disk);
}

static void test_full_when_the_buffer_is_until_uploads_made_room(void **state) {
    (void)state;
    fake_disk disk = {.hold = true};
    files_group group = {0};
    sink_rig rig;
    kp_error err;
    const files_rules rules = {.path = "/d/{partition}-{offset}.log", .buffer_bytes = 100};
    files_rig_open(&rig, &disk, &rules);
    files_rig_write(&rig, 0, 0, 10, 1);
    kp_batch *more = sink_rig_values(0, 10, VALUES("{\"n\":10,\"c\":0}"));
    assert_int_equal(sink_rig_write(&rig, more, &err), KP_RETRY);
    assert_string_equal(err.code, "FULL");
    assert_string_equal(sink_rig_verdicts(more), "P");
    disk.hold = false;
    files_rig_commit_all(&rig, 0, &group); /* what was open was closed for it */
    sink_rig_must_write(&rig, more);
    rig.ops->seal(rig.sink, 0);
    files_rig_commit_all(&rig, 0, &group);
    files_rig_assert_exactly_once(&disk, 11);
    close_all(&rig, &disk);
}

/* Whoever filled the buffer may have nothing more to write until there is room in it. */
static void test_a_full_buffer_is_uploaded_without_another_write(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    const files_rules rules = {.path = "/d/{partition}-{offset}.log", .buffer_bytes = 100};
    files_rig_open(&rig, &disk, &rules);
    files_rig_write(&rig, 0, 0, 10, 1);
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(rig.ops->held_bytes(rig.sink), 0);
    files_rig_assert_exactly_once(&disk, 10);
    close_all(&rig, &disk);
}

static void test_a_slot_may_end_while_uploads_are_under_way(void **state) {
    (void)state;
    fake_disk disk = {.hold = true};
    files_group group = {0};
    sink_rig rig;
    files_rig_open(&rig, &disk, &by_two);
    files_rig_write(&rig, 0, 0, 41, 1); /* more files than go up at once, and one that is open */
    files_rig_settle(&rig);
    rig.ops->end(rig.sink, 0);
    size_t asked = disk.asked[FAKE_PUT];
    disk.slow = true;
    files_rig_begin(&rig, 0, 0); /* the same slot, at once, for the same partition */
    files_rig_write(&rig, 0, 0, 2, 1);
    disk.hold = false;
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(disk.asked[FAKE_PUT], asked + 1); /* nothing more went up for what was given up */
    assert_int_equal(group.committed, 2);
    assert_int_equal(fake_disk_count(&disk, "_tmp"), 0);
    assert_int_equal(rig.ops->held_bytes(rig.sink), 0);
    files_rig_assert_exactly_once(&disk, 2);
    close_all(&rig, &disk);
}

static void test_close_with_everything_under_way(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    kp_error err;
    files_rig_open(&rig, &disk, &by_two);
    files_rig_begin(&rig, 1, 1);
    files_rig_write(&rig, 0, 0, 2, 1);
    files_rig_settle(&rig);
    assert_true(files_rig_intend(&rig, 0, 2, &group));
    disk.hold = true;
    assert_int_equal(rig.ops->publish(rig.sink, 0, kp_bytes_of(group.intent), &err), KP_OK);
    rig.ops->clean(rig.sink, 1);
    files_rig_write(&rig, 0, 2, 3, 1);
    files_rig_write(&rig, 1, 0, 3, 1);
    files_rig_settle(&rig);
    rig.ops->end(rig.sink, 1);
    close_all(&rig, &disk);
    assert_int_equal(rig.published, 0);
}

/* {offset} is not known before a file begins, nor {end} before it ends: a name that would then be too long must not
 * become the trouble of every record behind it. */
static void test_a_name_at_its_limit(void **state) {
    (void)state;
    char path[512];
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    snprintf(path, sizeof path, "/d/{field:c}%0210d-{offset}-{end}", 0);
    const files_rules rules = {.path = path, .records = 2};
    files_rig_open(&rig, &disk, &rules);
    kp_batch *batch = sink_rig_batch(4);
    sink_rig_add(batch, 0, 1000000000000, NULL, "{\"c\":\"aaaaaaa\"}");
    sink_rig_add(batch, 0, 1000000000001, NULL, "{\"c\":\"b\"}");
    sink_rig_add(batch, 0, 1000000000002, NULL, "{\"c\":\"aaaaaaaaaaaaaaaaaaaa\"}");
    sink_rig_add(batch, 0, 1000000000003, NULL, "{\"c\":\"b\"}");
    sink_rig_must_write(&rig, batch);
    assert_string_equal(sink_rig_verdicts(batch), "RDRD");
    files_rig_commit_all(&rig, 0, &group);
    assert_int_equal(group.committed, 1000000000004);
    close_all(&rig, &disk);
}

/* A group may have 255 characters, which Korean ones make 765 bytes, and a topic 249. */
static void test_long_names_of_topic_and_group(void **state) {
    (void)state;
    fake_disk disk = {0};
    files_group group = {0};
    sink_rig rig;
    kp_error err;
    char topic[250];
    const files_rules rules = {.path = "/d/{partition}-{offset}.log", .records = 1};
    memset(topic, 'x', sizeof topic - 1);
    topic[sizeof topic - 1] = '\0';
    files_rig_open(&rig, &disk, &rules);
    assert_int_equal(rig.ops->begin(rig.sink, 1, topic, 1, &err), KP_OK);
    fake_disk_put(&disk, "/d/_tmp/g+t+1+0+0123456789abcdef-0+0", "not this topic's");
    files_rig_write(&rig, 1, 0, 1, 1);
    rig.ops->clean(rig.sink, 1);
    files_rig_commit_all(&rig, 1, &group);
    files_rig_assert_file(&disk, "/d/1-0.log", LINE(0));
    assert_int_equal(disk.count, 2);
    close_all(&rig, &disk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_so_many_records_a_file),
        KP_TEST(test_so_many_bytes_a_file),
        KP_TEST(test_age_closes_a_file_without_another_record),
        KP_TEST(test_a_line_is_a_record),
        KP_TEST(test_raw_lines_are_any_bytes),
        KP_TEST(test_records_fan_out_by_their_fields),
        KP_TEST(test_a_record_without_the_field_is_rejected_alone),
        KP_TEST(test_a_wide_fan_out_stays_within_the_metadata),
        KP_TEST(test_nothing_beyond_what_is_settled_is_intended),
        KP_TEST(test_a_file_is_intended_only_when_it_is_there),
        KP_TEST(test_trouble_is_told_once_and_waits_for_resume),
        KP_TEST(test_full_when_the_buffer_is_until_uploads_made_room),
        KP_TEST(test_a_full_buffer_is_uploaded_without_another_write),
        KP_TEST(test_a_slot_may_end_while_uploads_are_under_way),
        KP_TEST(test_close_with_everything_under_way),
        KP_TEST(test_a_name_at_its_limit),
        KP_TEST(test_long_names_of_topic_and_group),
    };
    return kp_test_run(tests);
}
