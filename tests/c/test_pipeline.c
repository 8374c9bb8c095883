/* The pipeline on librdkafka's mock cluster, into local files: delivery, rotation, restart, an intent left behind. */
#include "kp_test.h"

#include "flow/mock.h"
#include "flow/pipeline.h"
#include "io/json.h"
#include "io/kafka.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static kp_mock *cluster;
static int in_flight_bytes = 64 << 20;
static char folder[] = "/tmp/kafkapipe-test-XXXXXX";

static void produce(const char *topic, int from, int to) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", kp_mock_bootstrap(cluster), NULL, 0);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
    for (int i = from; i < to; i++) {
        char value[128];
        int length = snprintf(value, sizeof value,
                              "{\"n\":%d,\"userName\":\"홍길동 \\\"%d\\\"\",\"big\":9007199254740993}", i, i);
        rd_kafka_resp_err_t code = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(i % 2),
                                                     RD_KAFKA_V_VALUE(value, (size_t)length),
                                                     RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        assert_int_equal(code, RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    assert_int_equal(rd_kafka_flush(rk, 10000), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_destroy(rk);
}

static kp_pipeline *start(const char *group, const char *topic, int workers, int rotate_records, int age_ms) {
    char config[2048];
    kp_error err;
    kp_pipeline *pipeline = NULL;
    int length = snprintf(
        config, sizeof config,
        "{\"name\":\"p\",\"group\":\"%s\",\"topics\":[\"%s\"],\"workers\":%d,\"kafka\":{\"bootstrap.servers\":\"%s\","
        "\"auto.offset.reset\":\"earliest\"},\"in_flight_bytes\":%d,\"backoff_min_ms\":10,\"backoff_max_ms\":"
        "1000,"
        "\"dead_letter\":{\"mode\":\"stop\",\"topic\":null},\"sink\":{\"type\":\"file\",\"path\":\"%s/"
        "{topic}-{partition}-{offset}.log\","
        "\"rotate_records\":%d,\"rotate_bytes\":0,\"rotate_age_ms\":%d,\"buffer_bytes\":67108864,\"stream_bytes\":"
        "8388608,\"format\":\"json\",\"compression\":\"none\",\"envelope\":false,\"open_files\":256,"
        "\"overrides\":{}}}",
        group, topic, workers, kp_mock_bootstrap(cluster), in_flight_bytes, folder, rotate_records, age_ms);
    kp_status st = kp_pipeline_new(&pipeline, (kp_bytes){config, (size_t)length}, &err);
    if (st != KP_OK) {
        fail_msg("%s", err.message);
    }
    assert_int_equal(kp_pipeline_start(pipeline, &err), KP_OK);
    return pipeline;
}

static int64_t counter(kp_pipeline *pipeline, const char *key) {
    kp_buf text = {0};
    const kp_json *root;
    kp_error err;
    assert_int_equal(kp_pipeline_snapshot(pipeline, &text, &err), KP_OK);
    assert_int_equal(kp_json_parse(&root, (kp_bytes){text.data, text.length}, "snapshot", &err), KP_OK);
    int64_t value = kp_json_int(kp_json_get(root, key), -1);
    kp_json_free(root);
    kp_buf_deinit(&text);
    return value;
}

/* Waits, woken by the pipeline, until records have gone out and nothing lags. */
static void await_out(kp_pipeline *pipeline, int64_t records) {
    time_t end = time(NULL) + 30;
    while (counter(pipeline, "records_out") < records || counter(pipeline, "lag") != 0) {
        struct pollfd wake = {kp_pipeline_wake_fd(pipeline), POLLIN, 0};
        poll(&wake, 1, 1000);
        kp_pipeline_clear_wake(pipeline);
        if (time(NULL) > end) {
            kp_buf text = {0};
            (void)!kp_pipeline_snapshot(pipeline, &text, NULL);
            fail_msg("not drained: %s", kp_buf_text(&text));
        }
    }
}

static void stop(kp_pipeline *pipeline) {
    kp_pipeline_stop(pipeline, 10000);
    while (!kp_pipeline_stopped(pipeline)) {
        struct pollfd wake = {kp_pipeline_wake_fd(pipeline), POLLIN, 0};
        poll(&wake, 1, 1000);
        kp_pipeline_clear_wake(pipeline);
    }
    kp_pipeline_free(pipeline);
}

/* Counts each number in the published files of a topic; seen has room for `most`. */
static int read_lines(const char *topic, int *seen, int most, int *files) {
    int lines = 0;
    DIR *dir = opendir(folder);
    struct dirent *entry;
    *files = 0;
    while (dir && (entry = readdir(dir))) {
        char path[600];
        char line[256];
        if (strncmp(entry->d_name, topic, strlen(topic)) != 0) {
            continue;
        }
        ++*files;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        FILE *file = fopen(path, "r");
        while (fgets(line, sizeof line, file)) {
            int n = atoi(strchr(line, ':') + 1);
            assert_true(n >= 0 && n < most);
            seen[n]++;
            lines++;
        }
        fclose(file);
    }
    closedir(dir);
    return lines;
}

static void assert_exactly_once(const char *topic, int count, int files_expected) {
    int *seen = calloc((size_t)count, sizeof *seen);
    int files;
    assert_int_equal(read_lines(topic, seen, count, &files), count);
    for (int i = 0; i < count; i++) {
        assert_int_equal(seen[i], 1);
    }
    if (files_expected) {
        assert_int_equal(files, files_expected);
    }
    free(seen);
}

static void test_every_record_is_in_one_file(void **state) {
    (void)state;
    assert_int_equal(kp_mock_create_topic(cluster, "once", 2, 1, NULL), KP_OK);
    produce("once", 0, 1000);
    kp_pipeline *pipeline = start("g-once", "once", 1, 10, 300);
    await_out(pipeline, 1000);
    stop(pipeline);
    assert_exactly_once("once", 1000, 100);
}

static void test_age_writes_without_a_new_record(void **state) {
    (void)state;
    assert_int_equal(kp_mock_create_topic(cluster, "aged", 2, 1, NULL), KP_OK);
    kp_pipeline *pipeline = start("g-aged", "aged", 1, 1000, 200);
    produce("aged", 0, 3);
    await_out(pipeline, 3);
    assert_exactly_once("aged", 3, 2);
    stop(pipeline);
}

static void test_stop_seals_and_a_restart_goes_on(void **state) {
    (void)state;
    assert_int_equal(kp_mock_create_topic(cluster, "again", 2, 1, NULL), KP_OK);
    for (int round = 0; round < 3; round++) {
        kp_pipeline *pipeline = start("g-again", "again", 1, 0, 0);
        produce("again", round * 100, round * 100 + 100);
        time_t end = time(NULL) + 30;
        while (counter(pipeline, "records_in") < 100 && time(NULL) < end) {
            struct pollfd wake = {kp_pipeline_wake_fd(pipeline), POLLIN, 0};
            poll(&wake, 1, 200);
            kp_pipeline_clear_wake(pipeline);
        }
        stop(pipeline);
        assert_exactly_once("again", round * 100 + 100, 0);
    }
}

/* A sink may keep more than may be in flight: it says itself when it is full. */
static void test_what_a_sink_keeps_does_not_stop_the_flow(void **state) {
    (void)state;
    assert_int_equal(kp_mock_create_topic(cluster, "kept", 2, 1, NULL), KP_OK);
    produce("kept", 0, 5000);
    in_flight_bytes = 1 << 16;
    kp_pipeline *pipeline = start("g-kept", "kept", 1, 0, 0);
    in_flight_bytes = 64 << 20;
    time_t end = time(NULL) + 20;
    while (counter(pipeline, "records_out") < 5000 && time(NULL) < end) {
        struct pollfd wake = {kp_pipeline_wake_fd(pipeline), POLLIN, 0};
        poll(&wake, 1, 200);
        kp_pipeline_clear_wake(pipeline);
    }
    assert_int_equal(counter(pipeline, "records_out"), 5000);
    stop(pipeline);
    assert_exactly_once("kept", 5000, 0);
}

static int group_setup(void **state) {
    (void)state;
    kp_error err;
    assert_non_null(mkdtemp(folder));
    return kp_mock_new(&cluster, 1, &err);
}

static int group_teardown(void **state) {
    (void)state;
    char command[128];
    kp_mock_free(cluster);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static int live_before;

static int remember(void **state) {
    (void)state;
    live_before = (int)kp_mem_live();
    return 0;
}

static int compare(void **state) {
    (void)state;
    assert_int_equal(kp_mem_live(), live_before);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_record_is_in_one_file, remember, compare),
        cmocka_unit_test_setup_teardown(test_age_writes_without_a_new_record, remember, compare),
        cmocka_unit_test_setup_teardown(test_stop_seals_and_a_restart_goes_on, remember, compare),
        cmocka_unit_test_setup_teardown(test_what_a_sink_keeps_does_not_stop_the_flow, remember, compare),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
