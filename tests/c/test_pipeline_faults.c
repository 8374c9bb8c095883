/* Outages: the state says why, nothing spins, everything heals by itself, a stop ends in time, nothing is lost. */
#include "pipe_rig.h"

#include "http_script.h"
#include "io/kafka.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JOIN_GROUP = 11 }; /* Kafka's ApiKey */

/* Of one core, for the whole process with the mock brokers and what librdkafka does for itself. */
static const double IDLE_SHARE = 0.10;

static void elasticsearch_at(char *sink, size_t size, int port, int in_flight) {
    snprintf(sink, size,
             "{\"type\":\"elasticsearch\",\"urls\":[\"http://127.0.0.1:%d\"],\"index\":\"i\",\"id\":\"coordinates\","
             "\"gzip\":false,\"operation\":\"create\",\"tombstone\":\"reject\",\"id_template\":null,\"routing\":null,"
             "\"version_offset\":false,"
             "\"data_stream\":false,\"pipeline\":null,\"in_flight_bytes\":100000000,\"flush_records\":10,\"flush_"
             "bytes\":100000,\"flush_age_ms\":50,\"in_flight\":%d,"
             "\"user\":null,\"password\":null,\"timeout_ms\":5000}",
             port, in_flight);
}

static void assert_cheap(kp_pipeline *pipeline, const char *state) {
    char seen[32];
    char reason[1024];
    double share = pipe_rig_cpu_share(2000);
    pipe_rig_look(pipeline, seen, reason);
    print_message("%s: %.1f %% of a core\n", state, 100 * share);
    assert_string_equal(seen, state);
    assert_true(share < IDLE_SHARE);
}

/* A folder that cannot be made, as its parent is a file: permissions are nothing to root. */
static void test_a_store_that_cannot_be_written_pauses_and_heals(void **state) {
    (void)state;
    char block[128];
    snprintf(block, sizeof block, "%s/wall", pipe_rig_folder);
    pipe_rig_write_file("wall", "not a folder");
    pipe_rig_topic("wall", 2);
    pipe_rig_produce("wall", 2, 0, 100);
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){
        .topic = "wall", .path = "wall/{topic}-{partition}-{offset}.log", .records = 10, .backoff_max_ms = 2000});
    pipe_rig_await_state(pipeline, "paused", "file put");
    pipe_rig_await_state(pipeline, "paused", "Not a directory");
    pipe_rig_await(pipeline, "errors", 8); /* until the back-off is long */
    assert_cheap(pipeline, "paused");
    assert_int_equal(unlink(block), 0);
    pipe_rig_await_lag(pipeline, 0);
    pipe_rig_await_state(pipeline, "running", NULL);
    assert_int_equal(pipe_rig_counter(pipeline, "in_flight_bytes"), 0);
    pipe_rig_stop(pipeline, 10000);
    assert_int_equal(pipe_rig_count_files("wall", "wall-"), 10);
    assert_int_equal(pipe_rig_count_files("wall/_tmp", ""), 0);
}

static void test_idle_costs_nothing(void **state) {
    (void)state;
    pipe_rig_topic("idle", 3);
    pipe_rig_produce("idle", 3, 0, 30);
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){.topic = "idle", .workers = 2, .records = 5, .age_ms = 60000});
    pipe_rig_await_lag(pipeline, 0);
    assert_cheap(pipeline, "running");
    pipe_rig_produce("idle", 3, 30, 32); /* in files that are open for a minute */
    pipe_rig_await(pipeline, "records_out", 32);
    assert_cheap(pipeline, "running");
    assert_true(pipe_rig_stop(pipeline, 10000) < 5000);
    pipe_rig_assert_exactly_once("idle", 32);
}

static void test_a_sink_that_is_down_pauses_and_a_stop_ends_in_time(void **state) {
    (void)state;
    char sink[512];
    char metadata[4200];
    pipe_rig_topic("down", 1);
    pipe_rig_produce("down", 1, 0, 500);
    elasticsearch_at(sink, sizeof sink, http_closed_port(), 2);
    kp_pipeline *pipeline =
        pipe_rig_start(&(pipe_rules){.topic = "down", .sink = sink, .backoff_max_ms = 60000, .in_flight_bytes = 65536});
    pipe_rig_await_state(pipeline, "paused", "connection refused");
    pipe_rig_await(pipeline, "errors", 8);
    assert_cheap(pipeline, "paused");
    int64_t took = pipe_rig_stop(pipeline, 1500);
    assert_in_range(took, 1000, 4000);
    assert_int_equal(pipe_rig_committed("down", 0, metadata), -1);
}

/* It answers, but never in time: what is under way is given up at the deadline, and the next owner sends it again. */
static void test_a_sink_that_hangs_and_a_stop(void **state) {
    (void)state;
    static const http_step hangs[] = {{.status = "200 OK", .body = "{}", .delay_ms = 60000}};
    char sink[512];
    http_script *server = http_script_new(hangs, 1, HTTP_RULES);
    pipe_rig_topic("hangs", 1);
    pipe_rig_produce("hangs", 1, 0, 500);
    elasticsearch_at(sink, sizeof sink, http_script_port(server), 2);
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){.topic = "hangs", .sink = sink, .in_flight_bytes = 65536});
    while (http_script_count(server) < 2) {
        pipe_rig_wait(pipeline, 50);
    }
    pipe_rig_wait(pipeline, 700); /* paused in the consumer */
    assert_cheap(pipeline, "running");
    assert_in_range(pipe_rig_stop(pipeline, 1500), 1000, 4000);
    http_script_free(server);
}

static void test_kafka_is_down_at_the_start(void **state) {
    (void)state;
    pipe_rig_topic("late", 1);
    pipe_rig_produce("late", 1, 0, 20);
    assert_int_equal(kp_mock_set_up(pipe_rig_cluster, -1, false, NULL), KP_OK);
    kp_pipeline *pipeline =
        pipe_rig_start(&(pipe_rules){.topic = "late", .records = 10, .kafka = ",\"reconnect.backoff.max.ms\":\"500\""});
    pipe_rig_await_state(pipeline, "paused", "consumer of group g-late: ");
    assert_cheap(pipeline, "paused");
    assert_int_equal(kp_mock_set_up(pipe_rig_cluster, -1, true, NULL), KP_OK);
    pipe_rig_await(pipeline, "records_out", 20);
    pipe_rig_await_lag(pipeline, 0);
    pipe_rig_await_state(pipeline, "running", NULL);
    assert_int_equal(kp_mock_set_up(pipe_rig_cluster, -1, false, NULL), KP_OK);
    pipe_rig_await_state(pipeline, "paused", "consumer of group g-late: ");
    assert_cheap(pipeline, "paused");
    int64_t took = pipe_rig_stop(pipeline, 1000); /* with no one to leave the group at */
    print_message("stopped without Kafka in %lld ms\n", (long long)took);
    assert_in_range(took, 0, 5000);
    assert_int_equal(kp_mock_set_up(pipe_rig_cluster, -1, true, NULL), KP_OK);
}

static void wait_for_a_topic(const char *topic, rd_kafka_resp_err_t code, const char *hint) {
    pipe_rig_topic(topic, 1);
    kp_mock_set_topic_error(pipe_rig_cluster, topic, code);
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){.topic = topic, .records = 10});
    pipe_rig_await_state(pipeline, "paused", topic);
    pipe_rig_await_state(pipeline, "paused", hint);
    assert_cheap(pipeline, "paused"); /* and does not take it for over */
    kp_mock_set_topic_error(pipe_rig_cluster, topic, RD_KAFKA_RESP_ERR_NO_ERROR);
    pipe_rig_produce(topic, 1, 0, 20);
    pipe_rig_await(pipeline, "records_out", 20);
    pipe_rig_await_state(pipeline, "running", NULL);
    pipe_rig_stop(pipeline, 10000);
}

static void test_a_topic_that_is_missing(void **state) {
    (void)state;
    wait_for_a_topic("missing", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "create it first");
}

static void test_a_topic_that_is_forbidden(void **state) {
    (void)state;
    wait_for_a_topic("secret", RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "this user needs an ACL");
}

static void test_a_group_that_is_forbidden(void **state) {
    (void)state;
    rd_kafka_resp_err_t errors[8];
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        errors[i] = RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED;
    }
    pipe_rig_topic("club", 1);
    pipe_rig_produce("club", 1, 0, 20);
    kp_mock_push_errors(pipe_rig_cluster, JOIN_GROUP, errors, sizeof errors / sizeof *errors);
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){.topic = "club", .records = 10});
    pipe_rig_await_state(pipeline, "paused", "this user needs an ACL");
    assert_cheap(pipeline, "paused");
    pipe_rig_await(pipeline, "records_out", 20);
    pipe_rig_await_state(pipeline, "running", NULL);
    pipe_rig_stop(pipeline, 10000);
}

/* A stop while the sink takes no more: what waited goes into files that are sealed too. */
static void test_a_stop_under_pressure_drains(void **state) {
    (void)state;
    char sink[512];
    char metadata[4200];
    snprintf(sink, sizeof sink,
             "{\"type\":\"file\",\"path\":\"%s/{topic}-{partition}-{offset}.log\",\"rotate_records\":0,"
             "\"rotate_bytes\":0,\"rotate_age_ms\":60000,\"buffer_bytes\":4096,\"stream_bytes\":0,\"format\":\"json\","
             "\"compression\":\"none\",\"envelope\":false,\"open_files\":256,\"overrides\":{}}",
             pipe_rig_folder);
    pipe_rig_topic("press", 2);
    pipe_rig_produce("press", 2, 0, 5000);
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){.topic = "press", .sink = sink, .in_flight_bytes = 200000});
    pipe_rig_await(pipeline, "records_out", 100);
    int64_t took = pipe_rig_stop(pipeline, 10000);
    assert_true(took < 5000);
    int64_t committed = 0;
    for (int32_t partition = 0; partition < 2; partition++) {
        int64_t offset = pipe_rig_committed("press", partition, metadata);
        committed += offset < 0 ? 0 : offset;
    }
    assert_true(committed >= 100);
    pipeline = pipe_rig_start(&(pipe_rules){.topic = "press", .sink = sink});
    pipe_rig_await(pipeline, "records_out", 5000 - committed);
    pipe_rig_stop(pipeline, 10000);
    pipe_rig_assert_exactly_once("press", 5000);
    assert_int_equal(pipe_rig_count_files("_tmp", "g-press"), 0);
}

static void test_a_property_that_the_library_refuses(void **state) {
    (void)state;
    pipe_rig_topic("refused", 1);
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){.topic = "refused", .kafka = ",\"no.such\":\"x\""});
    pipe_rig_await_state(pipeline, "failed", "kafka property no.such: ");
    pipe_rig_stop(pipeline, 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        PIPE_TEST(test_a_store_that_cannot_be_written_pauses_and_heals),
        PIPE_TEST(test_idle_costs_nothing),
        PIPE_TEST(test_a_sink_that_is_down_pauses_and_a_stop_ends_in_time),
        PIPE_TEST(test_a_sink_that_hangs_and_a_stop),
        PIPE_TEST(test_kafka_is_down_at_the_start),
        PIPE_TEST(test_a_topic_that_is_missing),
        PIPE_TEST(test_a_topic_that_is_forbidden),
        PIPE_TEST(test_a_group_that_is_forbidden),
        PIPE_TEST(test_a_stop_under_pressure_drains),
        PIPE_TEST(test_a_property_that_the_library_refuses),
    };
    return pipe_rig_run(tests);
}
