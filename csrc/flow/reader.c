/* The bounded reader: its life, and the thread that asks or reads. See reader.h.
 *
 * The library's calls cannot be interrupted. Whoever gives up leaves the thread alone with the reader; the one who lets
 * go of it last frees it.
 */
#include "flow/reader_parts.h"

#include "core/mem.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- life ---- */

static void part_deinit(kp_reader_part *part) {
    kp_rows **batches = (kp_rows **)(void *)part->batches.data;
    for (size_t i = 0; i < part->batches.length / sizeof *batches; i++) {
        kp_rows_release(batches[i]);
    }
    kp_buf_deinit(&part->batches);
    kp_rows_release(part->rows);
}

static void parts_free(kp_reader *self) {
    for (size_t i = 0; i < self->part_count; i++) {
        part_deinit(&self->parts[i]);
    }
    kp_free(self->parts);
    self->parts = NULL;
    self->part_count = 0;
}

static void reader_free(kp_reader *self) {
    parts_free(self);
    kp_reader_maker_deinit(&self->maker);
    kp_table_release(self->table);
    if (self->conf) {
        rd_kafka_conf_destroy(self->conf);
    }
    kp_kafka_log_deinit(&self->log);
    pthread_cond_destroy(&self->ended);
    pthread_mutex_destroy(&self->lock);
    kp_free(self->wishes);
    kp_free(self->topic);
    kp_free(self);
}

static void unlock_and_release(kp_reader *self) {
    int left = --self->refs;
    pthread_mutex_unlock(&self->lock);
    if (left == 0) {
        reader_free(self);
    }
}

void kp_reader_free(kp_reader *self) {
    if (self) {
        atomic_store(&self->given_up, true);
        pthread_mutex_lock(&self->lock);
        unlock_and_release(self);
    }
}

static kp_status copy_config(kp_reader *self, const kp_read_config *config, kp_error *err) {
    self->topic = kp_strdup(config->topic);
    self->wishes = kp_calloc(config->part_count, sizeof *self->wishes);
    if (!self->topic || !self->wishes) {
        return kp_error_nomem(err);
    }
    if (config->part_count > 0) {
        memcpy(self->wishes, config->parts, config->part_count * sizeof *self->wishes);
    }
    self->wish_count = config->part_count;
    self->start = config->start;
    self->end = config->end;
    self->limit = config->limit;
    self->timeout_ms = config->timeout_ms;
    return kp_reader_maker_init(&self->maker, config, &self->table, err);
}

kp_status kp_reader_new(kp_reader **out, const kp_read_config *config, rd_kafka_conf_t *conf, kp_error *err) {
    kp_reader *self = kp_calloc(1, sizeof *self);
    *out = NULL;
    if (!self) {
        rd_kafka_conf_destroy(conf);
        return kp_error_nomem(err);
    }
    self->refs = 1;
    self->conf = conf;
    atomic_init(&self->given_up, false);
    pthread_mutex_init(&self->lock, NULL);
    pthread_cond_init(&self->ended, NULL);
    kp_kafka_log_init(&self->log);
    kp_kafka_log_attach(&self->log, conf);
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR);
    kp_status st = copy_config(self, config, err);
    if (st != KP_OK) {
        kp_reader_free(self);
        return st;
    }
    *out = self;
    return KP_OK;
}

/* ---- the thread ---- */

typedef kp_status (*job)(kp_reader *self, rd_kafka_t *rk, rd_kafka_topic_t *topic, kp_error *err);

typedef struct {
    kp_reader *reader;
    job run;
} work;

/* Where a partition ends is asked with transactions that are open: the last of them may be committed already, only its
 * marker not be written. */
static rd_kafka_conf_t *conf_for(const kp_reader *self, job run) {
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(self->conf);
    if (run == kp_reader_find_ranges) {
        rd_kafka_conf_set(conf, "isolation.level", "read_uncommitted", NULL, 0);
    }
    return conf;
}

static kp_status with_client(kp_reader *self, job run, kp_error *err) {
    kp_status st;
    rd_kafka_t *rk = NULL;
    rd_kafka_topic_t *topic = NULL;
    KP_TRY(kp_kafka_client_new(&rk, RD_KAFKA_CONSUMER, conf_for(self, run), err));
    topic = rd_kafka_topic_new(rk, self->topic, NULL);
    st = topic ? run(self, rk, topic, err)
               : kp_kafka_error_set(err, rd_kafka_last_error(), NULL, "read %s", self->topic);
done:
    if (topic) {
        rd_kafka_topic_destroy(topic);
    }
    if (rk) {
        rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    return st;
}

static void *thread_main(void *argument) {
    work *job = argument;
    kp_reader *self = job->reader;
    kp_error err;
    kp_error_init(&err);
    kp_status st = with_client(self, job->run, &err);
    kp_free(job);

    pthread_mutex_lock(&self->lock);
    self->st = st;
    self->err = err;
    self->running = false;
    pthread_cond_signal(&self->ended);
    unlock_and_release(self);
    return NULL;
}

static kp_status start(kp_reader *self, job run, kp_error *err) {
    pthread_t thread;
    work *job = kp_alloc(sizeof *job);
    if (!job) {
        return kp_error_nomem(err);
    }
    *job = (work){self, run};
    self->refs++; /* nobody else has one now */
    self->running = true;
    int code = pthread_create(&thread, NULL, thread_main, job);
    if (code) {
        self->refs--;
        self->running = false;
        kp_free(job);
        return kp_error_set(err, KP_RETRY, "", "read %s: no thread: %s", self->topic, strerror(code));
    }
    pthread_detach(thread);
    return KP_OK;
}

kp_status kp_reader_ask(kp_reader *self, kp_error *err) {
    parts_free(self);
    return start(self, kp_reader_find_ranges, err);
}

kp_status kp_reader_read(kp_reader *self, kp_error *err) {
    return start(self, kp_reader_read_ranges, err);
}

bool kp_reader_wait(kp_reader *self, int timeout_ms, kp_status *result, kp_error *err) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&self->lock);
    int code = 0;
    while (self->running && code == 0) {
        code = pthread_cond_timedwait(&self->ended, &self->lock, &until);
    }
    bool ended = !self->running;
    if (ended) {
        *result = self->st;
        *err = self->err;
    }
    pthread_mutex_unlock(&self->lock);
    return ended;
}

/* ---- results ---- */

size_t kp_reader_ranges(const kp_reader *self, kp_read_range *out, size_t capacity) {
    for (size_t i = 0; i < self->part_count && i < capacity; i++) {
        out[i] = self->parts[i].range;
    }
    return self->part_count;
}

kp_table *kp_reader_table(const kp_reader *self) {
    return self->table;
}

/* ---- what asking and reading share ---- */

int64_t kp_reader_clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A broker that is down may come back; a password does not become right. */
static kp_status client_error(const kp_reader *self, rd_kafka_t *rk, kp_error *err) {
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(rk);
    rd_kafka_event_t *event;
    kp_status st = KP_OK;
    while (st == KP_OK && (event = rd_kafka_queue_poll(queue, 0))) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR &&
            kp_kafka_status(rd_kafka_event_error(event)) == KP_FATAL) {
            st = kp_kafka_error_set(err, rd_kafka_event_error(event), rd_kafka_event_error_string(event), "read %s",
                                    self->topic);
        }
        rd_kafka_event_destroy(event);
    }
    rd_kafka_queue_destroy(queue);
    return st;
}

kp_status kp_reader_check(kp_reader *self, rd_kafka_t *rk, kp_error *err) {
    if (atomic_load_explicit(&self->given_up, memory_order_relaxed)) {
        return kp_error_set(err, KP_CLOSED, "CLOSED", "read %s: given up", self->topic);
    }
    return client_error(self, rk, err);
}

kp_status kp_reader_late(kp_reader *self, const char *broker, kp_error *err, const char *what, ...) {
    char place[KP_ERROR_MESSAGE_MAX / 4];
    char servers[KP_ERROR_MESSAGE_MAX / 4];
    char words[KP_KAFKA_LOG_TEXT_MAX];
    size_t size = sizeof servers;
    va_list args;
    va_start(args, what);
    vsnprintf(place, sizeof place, what, args);
    va_end(args);
    if (rd_kafka_conf_get(self->conf, "bootstrap.servers", servers, &size) != RD_KAFKA_CONF_OK) {
        snprintf(servers, sizeof servers, "the bootstrap servers");
    }
    kp_kafka_log_last(&self->log, words);
    return kp_error_set(err, KP_TIMEOUT, rd_kafka_err2name(RD_KAFKA_RESP_ERR__TIMED_OUT),
                        "%s: nothing came from %s within %g s%s%s: see whether it runs, or give a longer timeout",
                        place, *broker ? broker : servers, self->timeout_ms / 1000.0, *words ? ": " : "", words);
}
