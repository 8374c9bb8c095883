/* librdkafka's configuration, log and wake-ups: see kafka.h. Its errors are judged in kafka_error.c. */
#include "io/kafka.h"

#include "core/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

const char *kp_kafka_version(void) {
    return rd_kafka_version_str();
}

static bool cooperative_is_safe(void) {
    return rd_kafka_version() >= 0x020300ff;
}

const char *kp_kafka_default_assignor(void) {
    return cooperative_is_safe() ? "cooperative-sticky" : "range,roundrobin";
}

bool kp_kafka_consumer_may_end(const rd_kafka_t *client, bool was_assigned) {
    char strategy[256] = "";
    size_t size = sizeof strategy;
    if (was_assigned || cooperative_is_safe()) {
        return true;
    }
    rd_kafka_conf_get(rd_kafka_conf((rd_kafka_t *)client), "partition.assignment.strategy", strategy, &size);
    return !strstr(strategy, "cooperative");
}

/* ---- log ---- */

enum { LOG_LEVEL_ERROR = 3 }; /* of syslog */

void kp_kafka_log_init(kp_kafka_log *log) {
    memset(log, 0, sizeof *log);
    pthread_mutex_init(&log->lock, NULL);
}

void kp_kafka_log_deinit(kp_kafka_log *log) {
    pthread_mutex_destroy(&log->lock);
}

/* Of "[thrd:h:9092/1]: h:9092/1: Connect failed (after 0ms in state CONNECT, 2 identical error(s) suppressed)" the
 * middle is what a person wants to read. */
static void keep_core(char *out, size_t size, const char *text) {
    const char *thread_end = strncmp(text, "[thrd:", 6) == 0 ? strstr(text, "]: ") : NULL;
    snprintf(out, size, "%s", thread_end ? thread_end + 3 : text);
    char *aside = strstr(out, " (after ");
    if (aside) {
        *aside = '\0';
    }
}

static void on_log(const rd_kafka_t *client, int level, const char *facility, const char *text) {
    kp_kafka_log *log = rd_kafka_opaque(client);
    (void)facility;
    if (level > LOG_LEVEL_ERROR || !log) {
        return;
    }
    pthread_mutex_lock(&log->lock);
    log->count++;
    keep_core(log->last, sizeof log->last, text);
    pthread_mutex_unlock(&log->lock);
}

void kp_kafka_log_attach(kp_kafka_log *log, rd_kafka_conf_t *conf) {
    rd_kafka_conf_set_opaque(conf, log);
    rd_kafka_conf_set_log_cb(conf, on_log);
}

void kp_kafka_log_last(kp_kafka_log *log, char *out) {
    pthread_mutex_lock(&log->lock);
    memcpy(out, log->last, sizeof log->last);
    pthread_mutex_unlock(&log->lock);
}

rd_kafka_resp_err_t kp_kafka_blame(rd_kafka_resp_err_t code, const char *problem) {
    if (strstr(problem, "SASL authentication error")) {
        return RD_KAFKA_RESP_ERR__AUTHENTICATION;
    }
    return strstr(problem, "SSL handshake failed") ? RD_KAFKA_RESP_ERR__SSL : code;
}

/* ---- configuration ---- */

kp_status kp_kafka_conf_new(rd_kafka_conf_t **out, const kp_kafka_property *properties, size_t count, kp_error *err) {
    char reason[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    *out = NULL;
    rd_kafka_conf_set_log_cb(conf, NULL);
    for (size_t i = 0; i < count; i++) {
        const kp_kafka_property *property = &properties[i];
        if (rd_kafka_conf_set(conf, property->name, property->value, reason, sizeof reason) != RD_KAFKA_CONF_OK) {
            rd_kafka_conf_destroy(conf);
            return kp_error_set(err, KP_REJECT, property->name, "kafka property %s: %s", property->name, reason);
        }
    }
    *out = conf;
    return KP_OK;
}

int64_t kp_kafka_conf_int(const rd_kafka_conf_t *conf, const char *name, int64_t fallback) {
    char text[32];
    size_t size = sizeof text;
    if (rd_kafka_conf_get(conf, name, text, &size) != RD_KAFKA_CONF_OK) {
        return fallback;
    }
    char *end;
    long long number = strtoll(text, &end, 10);
    return end == text || *end ? fallback : number;
}

kp_status kp_kafka_client_new(rd_kafka_t **out, rd_kafka_type_t type, rd_kafka_conf_t *conf, kp_error *err) {
    char reason[512];
    *out = rd_kafka_new(type, conf, reason, sizeof reason);
    if (!*out) {
        rd_kafka_conf_destroy(conf);
        return kp_error_set(err, KP_REJECT, rd_kafka_err2name(rd_kafka_last_error()), "kafka client: %s", reason);
    }
    return KP_OK;
}

/* The library tells the names of its properties only by printing a table of them: "name | C/P | range | ...". */
static kp_status append_names(const char *table, kp_buf *out, kp_error *err) {
    kp_status st = KP_OK;
    while (*table && st == KP_OK) {
        size_t line = strcspn(table, "\n");
        size_t name = strspn(table, "abcdefghijklmnopqrstuvwxyz0123456789._");
        size_t bar = name + strspn(table + name, " ");
        if (name > 0 && bar > name && table[bar] == '|') {
            st = kp_buf_printf(out, err, "%.*s\n", (int)name, table);
        }
        table += line + (table[line] != '\0');
    }
    return st;
}

kp_status kp_kafka_properties(kp_buf *out, kp_error *err) {
    char *table = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&table, &size);
    if (!stream) {
        return kp_error_nomem(err);
    }
    rd_kafka_conf_properties_show(stream);
    kp_status st = fclose(stream) == 0 ? append_names(table, out, err) : kp_error_nomem(err);
    free(table);
    return st;
}

/* ---- signal ---- */

/* eventfd wants eight bytes; a pipe takes any. */
static const uint64_t SIGNAL_ONE = 1;

static int open_pair(kp_kafka_signal *signal) {
#ifdef __linux__
    signal->read_fd = signal->write_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return signal->read_fd < 0 ? -1 : 0;
#else
    int pair[2];
    if (pipe(pair) < 0) {
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        fcntl(pair[i], F_SETFL, O_NONBLOCK);
        fcntl(pair[i], F_SETFD, FD_CLOEXEC);
    }
    signal->read_fd = pair[0];
    signal->write_fd = pair[1];
    return 0;
#endif
}

kp_status kp_kafka_signal_init(kp_kafka_signal *signal, kp_error *err) {
    memset(signal, 0, sizeof *signal);
    if (open_pair(signal) < 0) {
        int code = errno;
        memset(signal, 0, sizeof *signal);
        return kp_error_set(err, KP_RETRY, "", "no descriptor for the wake-up of a Kafka client: %s", strerror(code));
    }
    return KP_OK;
}

void kp_kafka_signal_deinit(kp_kafka_signal *signal) {
    if (signal->read_fd > 0) {
        close(signal->read_fd);
    }
    if (signal->write_fd > 0 && signal->write_fd != signal->read_fd) {
        close(signal->write_fd);
    }
    memset(signal, 0, sizeof *signal);
}

void kp_kafka_signal_attach(kp_kafka_signal *signal, rd_kafka_queue_t *queue) {
    rd_kafka_queue_io_event_enable(queue, signal->write_fd, &SIGNAL_ONE, sizeof SIGNAL_ONE);
    kp_kafka_signal_raise(signal); /* what is in the queue already would never be told of */
}

void kp_kafka_signal_raise(kp_kafka_signal *signal) {
    ssize_t written = write(signal->write_fd, &SIGNAL_ONE, sizeof SIGNAL_ONE);
    (void)written; /* full: it is readable then */
}

void kp_kafka_signal_clear(kp_kafka_signal *signal) {
    char waste[512];
    while (read(signal->read_fd, waste, sizeof waste) == (ssize_t)sizeof waste) {
    }
}

/* ---- fork ---- */

static atomic_uint process = 1;

static void on_fork_in_child(void) {
    atomic_fetch_add_explicit(&process, 1, memory_order_relaxed);
}

static void watch_forks(void) {
    pthread_atfork(NULL, NULL, on_fork_in_child);
}

unsigned kp_kafka_process(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_forks);
    return atomic_load_explicit(&process, memory_order_relaxed);
}
