/* Pipelines that take over: an intent that an earlier owner left in the group, files that it left on the disk, offsets
 * that are not where the topic is, and commits that fail on the way.
 */
#include "pipe_rig.h"

#include "io/kafka.h"

#include <stdio.h>
#include <unistd.h>

enum { OFFSET_COMMIT = 8, OFFSET_FETCH = 9 }; /* Kafka's ApiKeys */

#define LINE(n) "{\"n\":" #n "}\n"

static void produce_numbers(const char *topic, int from, int to) {
    char value[32];
    for (int i = from; i < to; i++) {
        snprintf(value, sizeof value, "{\"n\":%d}", i);
        pipe_rig_produce_one(topic, 0, NULL, value, 0, NULL, NULL);
    }
}

static void commit_intent(const char *topic, int64_t offset, int64_t end, const char *temp, const char *final,
                          size_t length) {
    char metadata[2048];
    snprintf(metadata, sizeof metadata, "{\"kafkapipe\":1,\"end\":%lld,\"files\":[[\"%s/%s\",\"%s/%s\",%zu]]}",
             (long long)end, pipe_rig_folder, temp, pipe_rig_folder, final, length);
    pipe_rig_commit(topic, 0, offset, metadata);
}

static void assert_at_rest(const char *topic, int64_t offset) {
    char metadata[4200];
    assert_int_equal(pipe_rig_committed(topic, 0, metadata), offset);
    assert_string_equal(metadata, "");
}

/* The first rebalance of a group takes the mock cluster three seconds: these groups wait together. */
enum { TOGETHER_MAX = 4 };

static void drain_together(const char *const *topics, size_t count, const int64_t *reads) {
    kp_pipeline *pipelines[TOGETHER_MAX];
    for (size_t i = 0; i < count; i++) {
        pipelines[i] = pipe_rig_start(&(pipe_rules){.topic = topics[i], .age_ms = 100});
    }
    for (size_t i = 0; i < count; i++) {
        pipe_rig_await_lag(pipelines[i], 0);
        assert_int_equal(pipe_rig_counter(pipelines[i], "records_in"), reads[i]);
        pipe_rig_await_state(pipelines[i], "running", NULL);
        pipe_rig_stop(pipelines[i], 10000);
    }
}

static void test_an_intent_is_published_and_reading_goes_on_behind_it(void **state) {
    (void)state;
    pipe_rig_topic("left", 1); /* not published */
    produce_numbers("left", 0, 6);
    pipe_rig_write_file("_tmp/g-left+left+0+0+0123456789abcdef-0+1", LINE(0) LINE(1) LINE(2));
    pipe_rig_write_file("_tmp/g-left+left+0+3+0123456789abcdef-0+2", LINE(3)); /* sealed, but never intended */
    pipe_rig_write_file("_tmp/g-left+left+1+0+0123456789abcdef-0+1", "another partition's");
    commit_intent("left", 0, 3, "_tmp/g-left+left+0+0+0123456789abcdef-0+1", "left-0-0.log", 24);
    pipe_rig_topic("done", 1); /* published, but not committed */
    produce_numbers("done", 0, 4);
    pipe_rig_write_file("done-0-0.log", LINE(0) LINE(1));
    commit_intent("done", 0, 2, "_tmp/g-done+done+0+0+0123456789abcdef-0+1", "done-0-0.log", 16);
    pipe_rig_topic("last", 1); /* no record behind it moves the group on */
    produce_numbers("last", 0, 2);
    pipe_rig_write_file("_tmp/g-last+last+0+0+0123456789abcdef-0+1", LINE(0) LINE(1));
    commit_intent("last", 0, 2, "_tmp/g-last+last+0+0+0123456789abcdef-0+1", "last-0-0.log", 16);
    drain_together((const char *const[]){"left", "done", "last"}, 3, (const int64_t[]){3, 2, 0});
    assert_true(pipe_rig_file_is("left-0-0.log", LINE(0) LINE(1) LINE(2)));
    assert_true(pipe_rig_file_is("left-0-3.log", LINE(3) LINE(4) LINE(5)));
    assert_int_equal(pipe_rig_count_files("_tmp", "g-left+left+0"), 0);
    assert_int_equal(pipe_rig_count_files("_tmp", "g-left+left+1"), 1);
    assert_at_rest("left", 6);
    pipe_rig_assert_exactly_once("done", 4);
    assert_at_rest("done", 4);
    assert_true(pipe_rig_file_is("last-0-0.log", LINE(0) LINE(1)));
    assert_at_rest("last", 2);
}

static void an_intent_whose_list_is_a_file(void) {
    char list[1024];
    char metadata[512];
    pipe_rig_topic("list", 1);
    produce_numbers("list", 0, 3);
    pipe_rig_write_file("_tmp/g-list+list+0+0+0123456789abcdef-0+1", LINE(0));
    pipe_rig_write_file("list-0-1.log", LINE(1)); /* this one was published already */
    snprintf(list, sizeof list,
             "[[\"%s/_tmp/g-list+list+0+0+0123456789abcdef-0+1\",\"%s/list-0-0.log\",8],"
             "[\"%s/_tmp/g-list+list+0+1+0123456789abcdef-0+2\",\"%s/list-0-1.log\",8]]",
             pipe_rig_folder, pipe_rig_folder, pipe_rig_folder, pipe_rig_folder);
    pipe_rig_write_file("_tmp/g-list+list+0+0+0123456789abcdef-0+3", list);
    snprintf(metadata, sizeof metadata,
             "{\"kafkapipe\":1,\"end\":2,\"files\":[\"%s/_tmp/g-list+list+0+0+0123456789abcdef-0+3\"]}",
             pipe_rig_folder);
    pipe_rig_commit("list", 0, 0, metadata);
    drain_together((const char *const[]){"list"}, 1, (const int64_t[]){1});
    pipe_rig_assert_exactly_once("list", 3);
    assert_int_equal(pipe_rig_count_files("_tmp", "g-list"), 0);
    assert_at_rest("list", 3);
}

/* Nobody can publish what is not there: the offset stands where the records are, and they are read again. */
static void test_what_was_removed_is_read_again_and_a_list_is_found(void **state) {
    (void)state;
    pipe_rig_topic("removed", 1);
    produce_numbers("removed", 0, 4);
    commit_intent("removed", 1, 3, "_tmp/g-removed+removed+0+1+0123456789abcdef-0+1", "removed-0-1.log", 16);
    pipe_rig_write_file("removed-0-0.log", LINE(0));
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){.topic = "removed", .age_ms = 100});
    an_intent_whose_list_is_a_file(); /* meanwhile */
    pipe_rig_await(pipeline, "records_out", 3);
    pipe_rig_await_lag(pipeline, 0);
    assert_true(pipe_rig_counter(pipeline, "errors") > 0);
    pipe_rig_await_state(pipeline, "running", NULL);
    pipe_rig_stop(pipeline, 10000);
    pipe_rig_assert_exactly_once("removed", 4);
    assert_at_rest("removed", 4);
}

static void test_metadata_of_others_is_none_of_ours(void **state) {
    (void)state;
    static const char *const topics[] = {"others0", "others1", "others2", "others3"};
    static const char *const others[] = {"", "a word", "{\"files\":[]}", "{\"kafkapipe\":2,\"end\":1,\"files\":[]}"};
    for (size_t i = 0; i < 4; i++) {
        pipe_rig_topic(topics[i], 1);
        produce_numbers(topics[i], 0, 2);
        pipe_rig_commit(topics[i], 0, 1, others[i]);
    }
    drain_together(topics, 4, (const int64_t[]){1, 1, 1, 1});
    for (size_t i = 0; i < 4; i++) {
        assert_at_rest(topics[i], 2);
    }
}

static void test_an_intent_for_another_sink(void **state) {
    (void)state;
    pipe_rig_topic("wrong", 1);
    commit_intent("wrong", 0, 2, "_tmp/a", "b", 1);
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){.topic = "wrong", .sink = "{\"type\":\"null\"}"});
    pipe_rig_await_state(pipeline, "failed",
                         "group g-wrong has an unfinished publication of files of wrong [0]: run its files pipeline");
    pipe_rig_stop(pipeline, 10000);
    char metadata[4200];
    assert_int_equal(pipe_rig_committed("wrong", 0, metadata), 0); /* untouched */
    assert_non_null(strstr(metadata, "kafkapipe"));
}

/* A topic that was made again is shorter than what the group committed: auto.offset.reset says where to begin. */
static void test_a_topic_that_begins_anew(void **state) {
    (void)state;
    pipe_rig_topic("anew", 1);
    produce_numbers("anew", 0, 5);
    pipe_rig_commit("anew", 0, 1000, "");
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){.topic = "anew", .age_ms = 100});
    pipe_rig_await(pipeline, "records_out", 5);
    pipe_rig_await_lag(pipeline, 0);
    pipe_rig_stop(pipeline, 10000);
    pipe_rig_assert_exactly_once("anew", 5);
    assert_at_rest("anew", 5);
}

static void test_commits_that_fail_are_sent_again(void **state) {
    (void)state;
    static const rd_kafka_resp_err_t errors[] = {
        RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE,
        RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
    };
    pipe_rig_topic("commits", 2);
    pipe_rig_produce("commits", 2, 0, 100);
    kp_mock_push_errors(pipe_rig_cluster, OFFSET_COMMIT, errors, sizeof errors / sizeof *errors);
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){.topic = "commits", .records = 10, .age_ms = 100});
    pipe_rig_await(pipeline, "records_out", 100);
    pipe_rig_await_lag(pipeline, 0);
    assert_true(pipe_rig_counter(pipeline, "errors") > 0);
    pipe_rig_await_state(pipeline, "running", NULL);
    pipe_rig_stop(pipeline, 10000);
    pipe_rig_assert_exactly_once("commits", 100);
    assert_int_equal(pipe_rig_count_files("_tmp", "g-commits"), 0);
}

/* Where the group stands is not known: nothing is read until it is. */
static void test_an_assignment_that_cannot_be_read(void **state) {
    (void)state;
    static const rd_kafka_resp_err_t errors[] = {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED};
    pipe_rig_topic("fetch", 1);
    produce_numbers("fetch", 0, 3);
    pipe_rig_commit("fetch", 0, 1, "");
    kp_mock_push_errors(pipe_rig_cluster, OFFSET_FETCH, errors, 1);
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){.topic = "fetch", .age_ms = 100});
    pipe_rig_await_lag(pipeline, 0); /* unknown until the assignment was read */
    assert_int_equal(pipe_rig_counter(pipeline, "records_in"), 2);
    assert_true(pipe_rig_counter(pipeline, "errors") > 0);
    pipe_rig_await_state(pipeline, "running", NULL);
    pipe_rig_stop(pipeline, 10000);
    assert_at_rest("fetch", 3);
}

/* The store takes the upload and refuses the name, a file being where a folder must be: the group stays where it is,
 * its metadata names what is to be done, and the next owner does it. */
static void test_nothing_is_committed_before_it_is_published(void **state) {
    (void)state;
    char metadata[4200];
    char wall[128];
    const pipe_rules rules = {.topic = "held", .records = 10, .path = "held/{partition}/{offset}.log"};
    snprintf(wall, sizeof wall, "%s/held/0", pipe_rig_folder);
    pipe_rig_write_file("held/0", "not a folder");
    pipe_rig_topic("held", 1);
    produce_numbers("held", 0, 10);
    kp_pipeline *pipeline = pipe_rig_start(&rules);
    pipe_rig_await_state(pipeline, "paused", "file rename");
    assert_int_equal(pipe_rig_committed("held", 0, metadata), 0);
    assert_non_null(strstr(metadata, "\"end\":10,"));
    pipe_rig_stop(pipeline, 0);
    assert_int_equal(pipe_rig_committed("held", 0, metadata), 0);
    assert_non_null(strstr(metadata, "\"end\":10,"));
    assert_int_equal(unlink(wall), 0);
    pipeline = pipe_rig_start(&rules);
    pipe_rig_await_lag(pipeline, 0);
    assert_int_equal(pipe_rig_counter(pipeline, "records_in"), 0);
    pipe_rig_stop(pipeline, 10000);
    assert_int_equal(pipe_rig_count_files("held/0", "0.log"), 1);
    assert_at_rest("held", 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        PIPE_TEST(test_an_intent_is_published_and_reading_goes_on_behind_it),
        PIPE_TEST(test_what_was_removed_is_read_again_and_a_list_is_found),
        PIPE_TEST(test_metadata_of_others_is_none_of_ours),
        PIPE_TEST(test_an_intent_for_another_sink),
        PIPE_TEST(test_a_topic_that_begins_anew),
        PIPE_TEST(test_commits_that_fail_are_sent_again),
        PIPE_TEST(test_an_assignment_that_cannot_be_read),
        PIPE_TEST(test_nothing_is_committed_before_it_is_published),
    };
    return pipe_rig_run(tests);
}
