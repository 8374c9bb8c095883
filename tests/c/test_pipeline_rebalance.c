/* Members that come and go while records flow: every record in one line of one file, with both rebalance protocols. */
#include "pipe_rig.h"

#include "io/kafka.h"

#include <pthread.h>
#include <stdio.h>

enum { HEARTBEAT = 12, PARTITIONS = 4 }; /* Kafka's ApiKey */

/* How soon a member notices; the mock cluster's first rebalance takes three seconds, a session must last longer. */
#define QUICK ",\"heartbeat.interval.ms\":\"300\",\"session.timeout.ms\":\"4000\""

typedef struct {
    const char *topic;
    int to;
    pthread_t thread;
} source;

/* Records flow for as long as the test goes on: a hundred at a time. */
static void *produce_all(void *opaque) {
    source *self = opaque;
    for (int n = 0; n < self->to; n += 100) {
        pipe_rig_produce(self->topic, PARTITIONS, n, n + 100);
    }
    return NULL;
}

static void start_source(source *self, const char *topic, int records) {
    *self = (source){.topic = topic, .to = records};
    pipe_rig_topic(topic, PARTITIONS);
    assert_int_equal(pthread_create(&self->thread, NULL, produce_all, self), 0);
}

static void drain(kp_pipeline *pipeline) {
    pipe_rig_await_assigned(pipeline, PARTITIONS);
    pipe_rig_await_lag(pipeline, 0);
    pipe_rig_stop(pipeline, 10000);
}

static void come_and_go(const char *topic, const char *kafka) {
    source records;
    const pipe_rules rules = {.topic = topic, .records = 7, .age_ms = 300, .kafka = kafka};
    start_source(&records, topic, 2000);
    kp_pipeline *first = pipe_rig_start(&rules);
    pipe_rig_await(first, "records_out", 100);
    kp_pipeline *second = pipe_rig_start(&rules);
    pipe_rig_await(second, "records_out", 100);
    pipe_rig_await_assigned(first, PARTITIONS / 2);
    assert_true(pipe_rig_stop(first, 10000) < 10000);
    pthread_join(records.thread, NULL);
    drain(second);
    pipe_rig_assert_exactly_once(topic, 2000);
    assert_int_equal(pipe_rig_count_files("_tmp", ""), 0);
}

static void test_eager(void **state) {
    (void)state;
    come_and_go("eager", QUICK ",\"partition.assignment.strategy\":\"range\"");
}

static void test_cooperative(void **state) {
    (void)state;
    come_and_go("cooperative", QUICK ",\"partition.assignment.strategy\":\"cooperative-sticky\"");
}

static void test_two_workers_of_one_pipeline(void **state) {
    (void)state;
    source records;
    start_source(&records, "workers", 1000);
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){.topic = "workers", .workers = 2, .records = 10});
    pthread_join(records.thread, NULL);
    pipe_rig_await(pipeline, "records_out", 1000); /* but the last ones of each partition are in open files */
    assert_true(pipe_rig_stop(pipeline, 10000) < 5000);
    pipe_rig_assert_exactly_once("workers", 1000);
}

/* The group threw the member out: nothing of its old assignment is committed or published, all is read again. */
static void test_a_member_that_lost_its_partitions(void **state) {
    (void)state;
    static const rd_kafka_resp_err_t errors[] = {RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID};
    pipe_rig_topic("lost", PARTITIONS);
    pipe_rig_produce("lost", PARTITIONS, 0, 200);
    kp_pipeline *pipeline =
        pipe_rig_start(&(pipe_rules){.topic = "lost", .records = 7, .age_ms = 1500, .kafka = QUICK});
    pipe_rig_await(pipeline, "records_out", 200); /* some in files that are open */
    kp_mock_push_errors(pipe_rig_cluster, HEARTBEAT, errors, 1);
    pipe_rig_await(pipeline, "records_in", 201);
    pipe_rig_await_assigned(pipeline, PARTITIONS);
    pipe_rig_await_lag(pipeline, 0);
    pipe_rig_await_state(pipeline, "running", NULL);
    assert_int_equal(pipe_rig_counter(pipeline, "in_flight_bytes"), 0);
    pipe_rig_stop(pipeline, 10000);
    pipe_rig_assert_exactly_once("lost", 200);
    assert_int_equal(pipe_rig_count_files("_tmp", "g-lost"),
                     0); /* what it had uploaded and did not intend is gone too */
}

/* An error that the library calls fatal: the consumer is of no use any more, the pipeline is. */
static void test_a_consumer_that_cannot_go_on_is_made_anew(void **state) {
    (void)state;
    static const rd_kafka_resp_err_t errors[] = {RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID};
    pipe_rig_topic("fenced", PARTITIONS);
    pipe_rig_produce("fenced", PARTITIONS, 0, 200);
    kp_pipeline *pipeline =
        pipe_rig_start(&(pipe_rules){.topic = "fenced", .records = 7, .age_ms = 2000, .kafka = QUICK});
    pipe_rig_await(pipeline, "records_out", 200);
    kp_mock_push_errors(pipe_rig_cluster, HEARTBEAT, errors, 1);
    pipe_rig_await(pipeline, "errors", 1);
    pipe_rig_await(pipeline, "records_in", 201);
    pipe_rig_await_assigned(pipeline, PARTITIONS);
    pipe_rig_await_lag(pipeline, 0);
    pipe_rig_await_state(pipeline, "running", NULL);
    pipe_rig_stop(pipeline, 10000);
    pipe_rig_assert_exactly_once("fenced", 200);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        PIPE_TEST(test_eager),
        PIPE_TEST(test_cooperative),
        PIPE_TEST(test_two_workers_of_one_pipeline),
        PIPE_TEST(test_a_member_that_lost_its_partitions),
        PIPE_TEST(test_a_consumer_that_cannot_go_on_is_made_anew),
    };
    return pipe_rig_run(tests);
}
