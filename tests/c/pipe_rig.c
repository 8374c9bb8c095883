/* Pipelines on the mock cluster: see pipe_rig.h. */
#include "pipe_rig.h"

#include "io/json.h"
#include "io/kafka.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MAX_MS = 30000 };

kp_mock *pipe_rig_cluster;
char pipe_rig_folder[64];
static int64_t live_before;
static rd_kafka_t *producer;

int64_t pipe_rig_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static rd_kafka_t *client(rd_kafka_type_t type, const char *group) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", kp_mock_bootstrap(pipe_rig_cluster), NULL, 0);
    if (group) {
        rd_kafka_conf_set(conf, "group.id", group, NULL, 0);
    }
    rd_kafka_t *rk = rd_kafka_new(type, conf, NULL, 0);
    assert_non_null(rk);
    return rk;
}

int pipe_rig_setup(void **state) {
    (void)state;
    kp_error err;
    strcpy(pipe_rig_folder, "/tmp/kafkapipe-test-XXXXXX");
    assert_non_null(mkdtemp(pipe_rig_folder));
    if (kp_mock_new(&pipe_rig_cluster, 1, &err) != KP_OK) {
        return -1;
    }
    producer = client(RD_KAFKA_PRODUCER, NULL);
    return 0;
}

int pipe_rig_teardown(void **state) {
    (void)state;
    char command[128];
    rd_kafka_destroy(producer);
    kp_mock_free(pipe_rig_cluster);
    snprintf(command, sizeof command, "rm -r %s", pipe_rig_folder);
    return system(command);
}

int pipe_rig_remember(void **state) {
    (void)state;
    live_before = kp_mem_live();
    return 0;
}

int pipe_rig_compare(void **state) {
    (void)state;
    assert_int_equal(kp_mem_live(), live_before);
    return 0;
}

/* ---- topics ---- */

void pipe_rig_topic(const char *topic, int partitions) {
    kp_error err;
    assert_int_equal(kp_mock_create_topic(pipe_rig_cluster, topic, partitions, 1, &err), KP_OK);
}

static void flush_all(void) {
    assert_int_equal(rd_kafka_flush(producer, 20000), RD_KAFKA_RESP_ERR_NO_ERROR);
}

void pipe_rig_produce(const char *topic, int partitions, int from, int to) {
    for (int i = from; i < to; i++) {
        char value[128];
        int length = snprintf(value, sizeof value,
                              "{\"n\":%d,\"userName\":\"홍길동 \\\"%d\\\"\\n\",\"big\":9007199254740993}", i, i);
        rd_kafka_resp_err_t code = rd_kafka_producev(
            producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(i % partitions),
            RD_KAFKA_V_VALUE(value, (size_t)length), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        assert_int_equal(code, RD_KAFKA_RESP_ERR_NO_ERROR);
    }
    flush_all();
}

void pipe_rig_produce_one(const char *topic, int32_t partition, const char *key, const char *value, int64_t timestamp,
                          const char *header, const char *header_value) {
    rd_kafka_headers_t *headers = rd_kafka_headers_new(1);
    if (header) {
        rd_kafka_header_add(headers, header, -1, header_value, -1);
    }
    rd_kafka_resp_err_t code = rd_kafka_producev(
        producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_KEY(key, key ? strlen(key) : 0),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)value, value ? strlen(value) : 0), RD_KAFKA_V_TIMESTAMP(timestamp),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    assert_int_equal(code, RD_KAFKA_RESP_ERR_NO_ERROR);
    flush_all();
}

/* ---- groups ---- */

static rd_kafka_topic_partition_list_t *one_entry(const char *topic, int32_t partition) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition);
    return list;
}

static void group_of(const char *topic, char group[256]) {
    snprintf(group, 256, "g-%s", topic);
}

int64_t pipe_rig_committed(const char *topic, int32_t partition, char metadata[4200]) {
    char group[256];
    group_of(topic, group);
    rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, group);
    rd_kafka_topic_partition_list_t *list = one_entry(topic, partition);
    assert_int_equal(rd_kafka_committed(rk, list, 10000), RD_KAFKA_RESP_ERR_NO_ERROR);
    int64_t offset = list->elems[0].offset;
    assert_true(list->elems[0].metadata_size < 4200);
    memcpy(metadata, list->elems[0].metadata_size ? list->elems[0].metadata : "", list->elems[0].metadata_size);
    metadata[list->elems[0].metadata_size] = '\0';
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
    return offset < 0 ? -1 : offset;
}

void pipe_rig_commit(const char *topic, int32_t partition, int64_t offset, const char *metadata) {
    char group[256];
    group_of(topic, group);
    rd_kafka_t *rk = client(RD_KAFKA_CONSUMER, group);
    rd_kafka_topic_partition_list_t *list = one_entry(topic, partition);
    list->elems[0].offset = offset;
    list->elems[0].metadata = strdup(metadata);
    list->elems[0].metadata_size = strlen(metadata);
    assert_int_equal(rd_kafka_commit(rk, list, 0), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_destroy(rk);
}

/* ---- pipelines ---- */

static void append_sink(const pipe_rules *rules, char *config, size_t size) {
    size_t used = strlen(config);
    if (rules->sink) {
        snprintf(config + used, size - used, "%s}", rules->sink);
        return;
    }
    snprintf(config + used, size - used,
             "{\"type\":\"file\",\"path\":\"%s/%s\",\"rotate_records\":%d,\"rotate_bytes\":0,\"rotate_age_ms\":%d,"
             "\"buffer_bytes\":67108864,\"stream_bytes\":8388608,\"format\":\"json\",\"compression\":\"none\","
             "\"envelope\":false,\"open_files\":256,\"overrides\":{}}}",
             pipe_rig_folder, rules->path ? rules->path : "{topic}-{partition}-{offset}.log", rules->records,
             rules->age_ms);
}

static void make_config(const pipe_rules *rules, char *config, size_t size) {
    char group[256];
    char topic[256] = "null";
    const char *mode = !rules->dead ? "stop" : strcmp(rules->dead, "drop") == 0 ? "drop" : "topic";
    if (strcmp(mode, "topic") == 0) {
        snprintf(topic, sizeof topic, "\"%s\"", rules->dead);
    }
    group_of(rules->topic, group);
    snprintf(config, size,
             "{\"name\":\"p\",\"group\":\"%s\",\"topics\":[\"%s\"],\"workers\":%d,\"kafka\":{\"bootstrap.servers\":"
             "\"%s\",\"auto.offset.reset\":\"earliest\"%s},\"in_flight_bytes\":%d,\"backoff_min_ms\":10,"
             "\"backoff_max_ms\":%d,\"dead_letter\":{\"mode\":\"%s\",\"topic\":%s},\"sink\":",
             group, rules->topic, rules->workers ? rules->workers : 1,
             rules->bootstrap ? rules->bootstrap : kp_mock_bootstrap(pipe_rig_cluster),
             rules->kafka ? rules->kafka : "", rules->in_flight_bytes ? rules->in_flight_bytes : 64 << 20,
             rules->backoff_max_ms ? rules->backoff_max_ms : 100, mode, topic);
    append_sink(rules, config, size);
}

kp_status pipe_rig_try_start(kp_pipeline **out, const pipe_rules *rules, kp_error *err) {
    char config[4096];
    *out = NULL;
    make_config(rules, config, sizeof config);
    kp_status st = kp_pipeline_new(out, kp_bytes_of(config), err);
    return st == KP_OK ? kp_pipeline_start(*out, err) : st;
}

kp_pipeline *pipe_rig_start(const pipe_rules *rules) {
    kp_pipeline *pipeline;
    kp_error err;
    if (pipe_rig_try_start(&pipeline, rules, &err) != KP_OK) {
        fail_msg("%s", err.message);
    }
    return pipeline;
}

void pipe_rig_wait(kp_pipeline *pipeline, int milliseconds) {
    struct pollfd wake = {kp_pipeline_wake_fd(pipeline), POLLIN, 0};
    poll(&wake, 1, milliseconds);
    kp_pipeline_clear_wake(pipeline);
}

int64_t pipe_rig_stop(kp_pipeline *pipeline, int64_t drain_ms) {
    int64_t begin = pipe_rig_now_ms();
    kp_pipeline_stop(pipeline, drain_ms);
    while (!kp_pipeline_stopped(pipeline)) {
        pipe_rig_wait(pipeline, 100);
    }
    int64_t took = pipe_rig_now_ms() - begin;
    kp_pipeline_free(pipeline);
    return took;
}

static const kp_json *snapshot(kp_pipeline *pipeline) {
    kp_buf text = {0};
    const kp_json *root;
    kp_error err;
    assert_int_equal(kp_pipeline_snapshot(pipeline, &text, &err), KP_OK);
    assert_int_equal(kp_json_parse(&root, (kp_bytes){text.data, text.length}, "snapshot", &err), KP_OK);
    kp_buf_deinit(&text);
    return root;
}

int64_t pipe_rig_counter(kp_pipeline *pipeline, const char *key) {
    const kp_json *root = snapshot(pipeline);
    int64_t value = kp_json_int(kp_json_get(root, key), -1);
    kp_json_free(root);
    return value;
}

void pipe_rig_look(kp_pipeline *pipeline, char state[32], char reason[1024]) {
    const kp_json *root = snapshot(pipeline);
    snprintf(state, 32, "%s", kp_json_text(kp_json_get(root, "state"), "?"));
    snprintf(reason, 1024, "%s", kp_json_text(kp_json_get(root, "reason"), ""));
    kp_json_free(root);
}

static void wait_or_fail(kp_pipeline *pipeline, int64_t limit) {
    if (pipe_rig_now_ms() > limit) {
        kp_buf text = {0};
        (void)!kp_pipeline_snapshot(pipeline, &text, NULL);
        fail_msg("it did not come: %s", kp_buf_text(&text));
    }
    pipe_rig_wait(pipeline, 50);
}

void pipe_rig_await(kp_pipeline *pipeline, const char *counter, int64_t least) {
    int64_t limit = pipe_rig_now_ms() + WAIT_MAX_MS;
    while (pipe_rig_counter(pipeline, counter) < least) {
        wait_or_fail(pipeline, limit);
    }
}

void pipe_rig_await_lag(kp_pipeline *pipeline, int64_t lag) {
    int64_t limit = pipe_rig_now_ms() + WAIT_MAX_MS;
    while (pipe_rig_counter(pipeline, "lag") != lag) {
        wait_or_fail(pipeline, limit);
    }
}

void pipe_rig_await_state(kp_pipeline *pipeline, const char *state, const char *reason) {
    char seen[32];
    char why[1024];
    int64_t limit = pipe_rig_now_ms() + WAIT_MAX_MS;
    for (;;) {
        pipe_rig_look(pipeline, seen, why);
        if (strcmp(seen, state) == 0 && (reason ? strstr(why, reason) != NULL : !*why)) {
            return;
        }
        wait_or_fail(pipeline, limit);
    }
}

void pipe_rig_await_stopped(kp_pipeline *pipeline) {
    int64_t limit = pipe_rig_now_ms() + WAIT_MAX_MS;
    while (!kp_pipeline_stopped(pipeline)) {
        wait_or_fail(pipeline, limit);
    }
}

static size_t assigned(kp_pipeline *pipeline) {
    size_t count = 0;
    const kp_json *root = snapshot(pipeline);
    for (const kp_json *worker = kp_json_first(kp_json_get(root, "workers")); worker; worker = kp_json_next(worker)) {
        count += kp_json_count(kp_json_get(worker, "assignment"));
    }
    kp_json_free(root);
    return count;
}

void pipe_rig_await_assigned(kp_pipeline *pipeline, size_t partitions) {
    int64_t limit = pipe_rig_now_ms() + WAIT_MAX_MS;
    while (assigned(pipeline) != partitions) {
        wait_or_fail(pipeline, limit);
    }
}

/* ---- files ---- */

static void count_lines(const char *path, int *seen, int count) {
    char line[256];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        int n = atoi(strchr(line, ':') + 1);
        assert_true(n >= 0 && n < count);
        seen[n]++;
    }
    fclose(file);
}

void pipe_rig_assert_exactly_once(const char *topic, int count) {
    char path[600];
    struct dirent *entry;
    int *seen = calloc((size_t)count, sizeof *seen);
    DIR *dir = opendir(pipe_rig_folder);
    assert_true(seen && dir);
    while ((entry = readdir(dir))) {
        if (strncmp(entry->d_name, topic, strlen(topic)) == 0 && entry->d_name[strlen(topic)] == '-') {
            snprintf(path, sizeof path, "%s/%s", pipe_rig_folder, entry->d_name);
            count_lines(path, seen, count);
        }
    }
    closedir(dir);
    for (int i = 0; i < count; i++) {
        if (seen[i] != 1) {
            fail_msg("record %d of %s is there %d times", i, topic, seen[i]);
        }
    }
    free(seen);
}

int pipe_rig_count_files(const char *subfolder, const char *prefix) {
    char path[600];
    int count = 0;
    struct dirent *entry;
    snprintf(path, sizeof path, "%s/%s", pipe_rig_folder, subfolder);
    DIR *dir = opendir(path);
    while (dir && (entry = readdir(dir))) {
        count += entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    }
    if (dir) {
        closedir(dir);
    }
    return count;
}

void pipe_rig_write_file(const char *name, const char *body) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", pipe_rig_folder, name);
    char *slash = path + strlen(pipe_rig_folder);
    while ((slash = strchr(slash + 1, '/'))) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(body, file);
    fclose(file);
}

bool pipe_rig_file_is(const char *name, const char *body) {
    char path[600];
    char text[4096] = "";
    snprintf(path, sizeof path, "%s/%s", pipe_rig_folder, name);
    FILE *file = fopen(path, "r");
    if (!file) {
        return false;
    }
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    return length == strlen(body) && memcmp(text, body, length) == 0;
}

/* ---- what it costs ---- */

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

double pipe_rig_cpu_share(int64_t milliseconds) {
    double before = cpu_seconds();
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
    return (cpu_seconds() - before) / ((double)milliseconds / 1000);
}
