/* P4: the same work as bench/producer.py's contenders in plain C on the same librdkafka: no Python, no core of ours.
 *
 *   produce BOOTSTRAP TOPIC RECORDS NAME=VALUE...
 *
 * Sends one record, waits for it, then sends RECORDS lines of standard input with a delivery report for each (a
 * counting callback, polled as rdkafka_performance -P does), and prints what it took as one line of JSON.
 */
#include <librdkafka/rdkafka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { LINE_MAX_BYTES = 1024, FLUSH_MS = 60000 };

static long delivered;
static char *text;
static size_t *ends;

static void on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
    (void)rk;
    (void)opaque;
    delivered += message->err == 0;
}

static _Noreturn void fail(const char *what, const char *why) {
    fprintf(stderr, "produce: %s: %s\n", what, why);
    exit(1);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void read_lines(long records) {
    char line[LINE_MAX_BYTES];
    size_t length = 0;
    text = malloc((size_t)records * LINE_MAX_BYTES / 2);
    ends = malloc((size_t)records * sizeof *ends);
    if (!text || !ends) {
        fail("memory", "exhausted");
    }
    for (long i = 0; i < records; i++) {
        if (!fgets(line, sizeof line, stdin)) {
            fail("standard input", "too few lines");
        }
        size_t size = strcspn(line, "\n");
        memcpy(text + length, line, size);
        length += size;
        ends[i] = length;
    }
}

static rd_kafka_t *connect_to(const char *bootstrap, char **settings) {
    char why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, NULL, 0);
    for (; *settings; settings++) {
        char *value = strchr(*settings, '=');
        if (!value) {
            fail(*settings, "no NAME=VALUE");
        }
        *value = '\0';
        if (rd_kafka_conf_set(conf, *settings, value + 1, why, sizeof why) != RD_KAFKA_CONF_OK) {
            fail(*settings, why);
        }
    }
    rd_kafka_conf_set_dr_msg_cb(conf, on_report);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (!rk) {
        fail("producer", why);
    }
    return rk;
}

static void produce(rd_kafka_t *rk, rd_kafka_topic_t *topic, char *value, size_t length) {
    while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, value, length, NULL, 0, NULL) == -1) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
        }
        rd_kafka_poll(rk, 10);
    }
    rd_kafka_poll(rk, 0);
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fail("usage", "BOOTSTRAP TOPIC RECORDS NAME=VALUE...");
    }
    long records = strtol(argv[3], NULL, 10);
    read_lines(records);
    rd_kafka_t *rk = connect_to(argv[1], argv + 4);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, argv[2], NULL);
    produce(rk, topic, NULL, 0);
    rd_kafka_flush(rk, FLUSH_MS);
    double begin = seconds();
    double cpu_begin = cpu();
    for (long i = 0; i < records; i++) {
        size_t start = i ? ends[i - 1] : 0;
        produce(rk, topic, text + start, ends[i] - start);
    }
    rd_kafka_flush(rk, FLUSH_MS);
    double took = seconds() - begin;
    double used = cpu() - cpu_begin;
    if (delivered != records + 1) {
        fail("delivered", "not every record");
    }
    struct rusage peak;
    getrusage(RUSAGE_SELF, &peak);
    printf("{\"seconds\":%f,\"cpu\":%f,\"peak_mib\":%f}\n", took, used, (double)peak.ru_maxrss / 1024);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(rk);
    free(text);
    free(ends);
    return 0;
}
