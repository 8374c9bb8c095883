/* Records that can never be delivered: into a topic, dropped, or the end of the pipeline; and never lost in between. */
#include "pipe_rig.h"

#include "http_script.h"
#include "io/kafka.h"

#include <stdio.h>
#include <stdlib.h>

enum { PRODUCE = 0 }; /* Kafka's ApiKey */

/* The offset stays in the folder's name, so that a record without the field {"c":...} is rejected by itself. */
#define BY_FIELD "{topic}-{field:n}/{partition}-{offset}.log"

static rd_kafka_message_t *read_one(rd_kafka_t *rk) {
    rd_kafka_message_t *message = rd_kafka_consumer_poll(rk, 10000);
    assert_non_null(message);
    assert_int_equal(message->err, RD_KAFKA_RESP_ERR_NO_ERROR);
    return message;
}

static rd_kafka_t *reader_of(const char *topic) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", kp_mock_bootstrap(pipe_rig_cluster), NULL, 0);
    rd_kafka_conf_set(conf, "group.id", "reader", NULL, 0);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, NULL, 0);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    assert_int_equal(rd_kafka_assign(rk, list), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
    return rk;
}

static void close_reader(rd_kafka_t *rk) {
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
}

static void assert_header(const rd_kafka_message_t *message, size_t index, const char *name, const char *value) {
    rd_kafka_headers_t *headers;
    const char *found;
    const void *bytes;
    size_t length;
    assert_int_equal(rd_kafka_message_headers(message, &headers), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_header_get_all(headers, index, &found, &bytes, &length), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_string_equal(found, name);
    assert_int_equal(length, strlen(value));
    assert_memory_equal(bytes, value, length);
}

static void test_a_dead_letter_is_the_record_and_why(void **state) {
    (void)state;
    static const char poison[] = "no json, 홍길동 \"나\"\n9007199254740993";
    pipe_rig_topic("sick", 1);
    pipe_rig_topic("sick.dlq", 1);
    pipe_rig_produce("sick", 1, 0, 2);
    pipe_rig_produce_one("sick", 0, "열쇠", poison, 1767225600123, "trace", "a\tb");
    pipe_rig_produce_one("sick", 0, NULL, NULL, 1767225600124, NULL, NULL);
    kp_pipeline *pipeline =
        pipe_rig_start(&(pipe_rules){.topic = "sick", .path = BY_FIELD, .age_ms = 100, .dead = "sick.dlq"});
    pipe_rig_await(pipeline, "dead_letters", 2);
    pipe_rig_await_lag(pipeline, 0);
    pipe_rig_await_state(pipeline, "running", NULL);
    assert_int_equal(pipe_rig_counter(pipeline, "rejected"), 2);
    assert_int_equal(pipe_rig_counter(pipeline, "records_out"), 2);
    rd_kafka_t *rk = reader_of("sick.dlq");
    rd_kafka_message_t *letter = read_one(rk);
    assert_int_equal(letter->len, strlen(poison));
    assert_memory_equal(letter->payload, poison, letter->len);
    assert_int_equal(letter->key_len, strlen("열쇠"));
    assert_memory_equal(letter->key, "열쇠", letter->key_len);
    assert_int_equal(rd_kafka_message_timestamp(letter, NULL), 1767225600123);
    assert_header(letter, 0, "trace", "a\tb");
    assert_header(letter, 1, "__connect.errors.topic", "sick");
    assert_header(letter, 2, "__connect.errors.partition", "0");
    assert_header(letter, 3, "__connect.errors.offset", "2");
    assert_header(letter, 4, "__connect.errors.connector.name", "p");
    assert_header(letter, 5, "__connect.errors.stage", "TASK_PUT");
    assert_header(letter, 6, "__connect.errors.exception.class.name", "INVALID_JSON");
    rd_kafka_message_destroy(letter);
    letter = read_one(rk);
    assert_null(letter->payload);
    assert_null(letter->key);
    assert_int_equal(rd_kafka_message_timestamp(letter, NULL), 1767225600124);
    assert_header(letter, 2, "__connect.errors.offset", "3");
    rd_kafka_message_destroy(letter);
    close_reader(rk);
    pipe_rig_stop(pipeline, 10000);
    char metadata[4200];
    assert_int_equal(pipe_rig_committed("sick", 0, metadata), 4);
}

/* Until the broker has it, a dead letter is not settled, whatever is delivered behind it. */
static void test_a_dead_letter_is_settled_by_its_ack(void **state) {
    (void)state;
    rd_kafka_resp_err_t errors[50];
    char metadata[4200];
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        errors[i] = RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; /* tried again by the library for some seconds */
    }
    pipe_rig_topic("acks", 1);
    pipe_rig_topic("acks.dlq", 1);
    pipe_rig_produce("acks", 1, 0, 1);
    pipe_rig_produce_one("acks", 0, NULL, "no json", 0, NULL, NULL);
    pipe_rig_produce("acks", 1, 2, 5);
    kp_mock_push_errors(pipe_rig_cluster, PRODUCE, errors, sizeof errors / sizeof *errors);
    kp_pipeline *pipeline =
        pipe_rig_start(&(pipe_rules){.topic = "acks", .path = BY_FIELD, .records = 1, .dead = "acks.dlq"});
    pipe_rig_await(pipeline, "records_out", 4);
    pipe_rig_await_lag(pipeline, 4);
    assert_int_equal(pipe_rig_counter(pipeline, "dead_letters"), 0);
    pipe_rig_stop(pipeline, 200); /* and a stop in between leaves it to the next owner */
    assert_int_equal(pipe_rig_committed("acks", 0, metadata), 1);
    pipeline = pipe_rig_start(&(pipe_rules){.topic = "acks", .path = BY_FIELD, .records = 1, .dead = "acks.dlq"});
    pipe_rig_await(pipeline, "dead_letters", 1);
    pipe_rig_await_lag(pipeline, 0);
    pipe_rig_await_state(pipeline, "running", NULL);
    pipe_rig_stop(pipeline, 10000);
    assert_int_equal(pipe_rig_count_files("acks-2", ""), 1);
    assert_int_equal(pipe_rig_count_files("acks-4", ""), 1);
}

/* Without dead letters such a record is where the pipeline ends, all before it committed; dropping goes on there. */
static void test_stop_at_the_record_then_drop_it(void **state) {
    (void)state;
    char metadata[4200];
    pipe_rig_topic("stops", 1);
    pipe_rig_produce("stops", 1, 0, 3);
    pipe_rig_produce_one("stops", 0, NULL, "no json", 0, NULL, NULL);
    pipe_rig_produce("stops", 1, 4, 6);
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){.topic = "stops", .path = BY_FIELD, .records = 1});
    pipe_rig_await_state(pipeline, "failed",
                         "stops [0] offset 3 can never be delivered and no dead_letter is configured: ");
    pipe_rig_await_stopped(pipeline);
    pipe_rig_stop(pipeline, 1000);
    assert_int_equal(pipe_rig_committed("stops", 0, metadata), 3);
    assert_string_equal(metadata, "");
    assert_int_equal(pipe_rig_count_files("stops-2", ""), 1);
    assert_int_equal(pipe_rig_count_files("stops-4", ""), 0);
    pipeline = pipe_rig_start(&(pipe_rules){.topic = "stops", .path = BY_FIELD, .records = 1, .dead = "drop"});
    pipe_rig_await_lag(pipeline, 0);
    assert_int_equal(pipe_rig_counter(pipeline, "rejected"), 1);
    assert_int_equal(pipe_rig_counter(pipeline, "dead_letters"), 0);
    pipe_rig_stop(pipeline, 10000);
    assert_int_equal(pipe_rig_count_files("stops-4", ""), 1);
    assert_int_equal(pipe_rig_count_files("stops-5", ""), 1);
}

/* Into files that stay open: what lies before the record is published all the same. */
static void test_stop_publishes_what_lies_before(void **state) {
    (void)state;
    char metadata[4200];
    pipe_rig_topic("before", 2);
    pipe_rig_produce("before", 2, 0, 20);
    kp_pipeline *pipeline = pipe_rig_start(
        &(pipe_rules){.topic = "before", .path = "{topic}-{field:userName}/{partition}-{offset}.log", .age_ms = 60000});
    pipe_rig_await(pipeline, "records_out", 20);
    pipe_rig_produce_one("before", 0, NULL, "no json", 0, NULL, NULL);
    int64_t begin = pipe_rig_now_ms();
    pipe_rig_await_state(pipeline, "failed", "before [0] offset 10 can never be delivered");
    assert_true(pipe_rig_now_ms() - begin < 4000);
    pipe_rig_stop(pipeline, 1000);
    assert_int_equal(pipe_rig_committed("before", 0, metadata), 10);
    assert_int_equal(pipe_rig_committed("before", 1, metadata), 10);
    assert_int_equal(pipe_rig_count_files("_tmp", "g-before"), 0);
}

#define CREATED "{\"create\":{\"status\":201}}"
#define BAD                                                                                                            \
    "{\"create\":{\"status\":400,\"error\":{\"type\":\"document_parsing_exception\",\"reason\":\"홍 \\\"x\\\"\"}}}"

/* What Elasticsearch refuses goes there with Elasticsearch's reason; a 413 is halved until one is alone. */
static void test_what_elasticsearch_refuses(void **state) {
    (void)state;
    static const http_step steps[] = {
        {.status = "413 Request Entity Too Large"},
        {.status = "200 OK", .body = "{\"errors\":true,\"items\":[" CREATED "," BAD "]}", .delay_ms = 50},
        {.status = "413 Request Entity Too Large", .delay_ms = 100},
    };
    char sink[512];
    http_script *server = http_script_new(steps, 3, HTTP_IN_ORDER);
    snprintf(sink, sizeof sink,
             "{\"type\":\"elasticsearch\",\"urls\":[\"%s\"],\"index\":\"i\",\"id\":\"coordinates\",\"gzip\":false,"
             "\"operation\":\"create\",\"tombstone\":\"reject\",\"id_template\":null,\"routing\":null,\"version_"
             "offset\":false,"
             "\"data_stream\":false,\"pipeline\":null,\"in_flight_bytes\":100000000,\"flush_records\":100,\"flush_"
             "bytes\":1000000,\"flush_age_ms\":500,\"in_flight\":2,\"user\":null,"
             "\"password\":null,\"timeout_ms\":5000}",
             http_script_url(server, ""));
    pipe_rig_topic("es", 1);
    pipe_rig_topic("es.dlq", 1);
    pipe_rig_produce_one("es", 0, NULL, "{\"n\":0}", 0, NULL, NULL);
    pipe_rig_produce_one("es", 0, NULL, "{\"n\":\"x\"}", 0, NULL, NULL);
    char large[600] = "{\"large\":\"";
    memset(large + 10, 'x', 500);
    memcpy(large + 510, "\"}", 3);
    pipe_rig_produce_one("es", 0, NULL, large, 0, NULL, NULL);
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){.topic = "es", .sink = sink, .dead = "es.dlq"});
    pipe_rig_await(pipeline, "dead_letters", 2);
    pipe_rig_await_lag(pipeline, 0);
    pipe_rig_await_state(pipeline, "running", NULL);
    pipe_rig_stop(pipeline, 10000);
    rd_kafka_t *rk = reader_of("es.dlq");
    rd_kafka_message_t *letter = read_one(rk);
    assert_header(letter, 5, "__connect.errors.exception.class.name", "document_parsing_exception");
    assert_header(letter, 6, "__connect.errors.exception.message",
                  "elasticsearch bulk: 400 document_parsing_exception: 홍 \"x\"");
    rd_kafka_message_destroy(letter);
    letter = read_one(rk);
    assert_int_equal(letter->len, strlen(large));
    assert_header(letter, 6, "__connect.errors.exception.message",
                  "elasticsearch bulk: HTTP 413: the request is too large");
    rd_kafka_message_destroy(letter);
    close_reader(rk);
    const char *problem = http_script_problem(server);
    if (problem) {
        fail_msg("%s", problem);
    }
    http_script_free(server);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        PIPE_TEST(test_a_dead_letter_is_the_record_and_why), PIPE_TEST(test_a_dead_letter_is_settled_by_its_ack),
        PIPE_TEST(test_stop_at_the_record_then_drop_it),     PIPE_TEST(test_stop_publishes_what_lies_before),
        PIPE_TEST(test_what_elasticsearch_refuses),
    };
    return pipe_rig_run(tests);
}
