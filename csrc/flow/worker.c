/* The loop of a worker: it waits in one place for Kafka, the sink's sockets, requests and timers, and in each turn
 * moves everything on a step. It never sleeps and never spins.
 */
#include "flow/worker.h"

#include "core/mem.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TICK_MS = 1000, TRIM_RECORDS = 10000, FAILED_COMMIT_MS = 5000, RESTART_MS = 1000 };

int64_t kp_now_ms(void *ignored) {
    struct timespec now;
    (void)ignored;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- state ---- */

void kp_worker_publish_snapshot(kp_worker *self) {
    self->counters.in_flight_bytes = self->sink ? (int64_t)kp_worker_held_bytes(self) : 0;
    pthread_mutex_lock(&self->shared.lock);
    bool changed = self->shared.state != self->state;
    self->shared.state = self->state;
    self->shared.counters = self->counters;
    memcpy(self->shared.reason, self->reason, sizeof self->reason);
    pthread_mutex_unlock(&self->shared.lock);
    if (changed) {
        kp_pipeline_raise(self->pipeline);
    }
}

void kp_worker_fail(kp_worker *self, const kp_error *err) {
    if (self->fatal.status == KP_OK) {
        self->fatal = *err;
        self->fatal.status = KP_FATAL;
        memcpy(self->reason, err->message, sizeof self->reason);
    }
}

static int64_t backoff_ms(kp_worker *self) {
    int64_t most = self->config->backoff_min_ms;
    for (int i = 0; i < self->backoff_attempt && most < self->config->backoff_max_ms; i++) {
        most *= 2;
    }
    most = most < self->config->backoff_max_ms ? most : self->config->backoff_max_ms;
    /* full jitter, but never at once */
    return 1 + most / 10 + (int64_t)rand_r(&self->random_seed) % (most - most / 10 + 1);
}

void kp_worker_trouble(kp_worker *self, const kp_error *err) {
    if (self->fatal.status != KP_OK) { /* its reason stands */
        return;
    }
    if (err->status != KP_RETRY && err->status != KP_TIMEOUT && err->status != KP_NOMEM) {
        kp_worker_fail(self, err);
        return;
    }
    self->counters.errors++;
    memcpy(self->reason, err->message, sizeof self->reason);
    if (self->backoff_until_ms == 0) {
        self->backoff_until_ms = kp_now_ms(NULL) + backoff_ms(self);
        self->backoff_attempt++;
    }
    if (self->state == KP_RUNNING) {
        self->state = KP_PAUSED;
    }
}

void kp_worker_healthy(kp_worker *self) {
    if (self->backoff_until_ms != 0 || self->kafka_trouble) {
        return;
    }
    self->backoff_attempt = 0;
    self->reason[0] = '\0';
    if (self->state == KP_PAUSED) {
        self->state = KP_RUNNING;
    }
}

/* ---- a turn ---- */

static void resume_if_due(kp_worker *self, int64_t now_ms) {
    if (self->backoff_until_ms == 0 || now_ms < self->backoff_until_ms) {
        return;
    }
    self->backoff_until_ms = 0;
    if (self->sink->ops->resume) {
        self->sink->ops->resume(self->sink);
    }
    if (self->dead) {
        kp_dead_letters_resume(self->dead);
    }
    kp_worker_try_again(self);
    kp_worker_retry_publish(self);
    if (!self->sink_trouble && kp_worker_is_idle(self)) { /* what failed went with its partition: nobody will succeed */
        kp_worker_healthy(self);
    }
}

static void flush_if_old(kp_worker *self, int64_t now_ms) {
    if (self->gather && now_ms - self->gather_since_ms >= self->sink->ops->flush(self->sink).age_ms) {
        kp_worker_flush_gather(self);
    }
}

static void pump(kp_worker *self) {
    kp_error err;
    if (kp_http_pump(self->http, &err) != KP_OK || self->sink->ops->pump(self->sink, &err) != KP_OK) {
        kp_worker_trouble(self, &err);
    }
}

/* A burst leaves the allocator with several times the memory that is needed at rest. */
static void trim_if_quiet(kp_worker *self) {
    int64_t read = self->counters.records_in;
    bool quiet = read == self->read_at_tick && kp_worker_held_bytes(self) == 0;
    self->read_at_tick = read;
    if (quiet && read - self->read_at_trim >= TRIM_RECORDS) {
        self->read_at_trim = read;
        kp_mem_trim();
    }
}

static void tick_if_due(kp_worker *self, int64_t now_ms) {
    if (now_ms >= self->next_tick_ms) {
        self->next_tick_ms = now_ms + TICK_MS;
        trim_if_quiet(self);
        kp_worker_measure(self);
    }
}

/* In each turn: what waits for a full sink comes into files that are not open yet. */
static void seal_leaving(kp_worker *self) {
    for (size_t i = 0; i < self->part_count && self->sink->ops->seal && !self->ready; i++) {
        if (self->parts[i] && !self->parts[i]->gone && self->parts[i]->leaving) {
            self->sink->ops->seal(self->sink, self->parts[i]->slot);
        }
    }
}

static void turn(kp_worker *self, bool reading) {
    int64_t now_ms = kp_now_ms(NULL);
    kp_kafka_signal_clear(&self->wake);
    pump(self);
    kp_worker_serve_commits(self);
    if (self->dead) {
        kp_dead_letters_serve(self->dead);
    }
    resume_if_due(self, now_ms);
    kp_worker_write_ready(self);
    if (reading) {
        kp_worker_check_stall(self, now_ms);
        if (kp_worker_may_read(self) || self->paused) {
            kp_worker_consume(self);
        }
        now_ms = kp_now_ms(NULL);
    }
    flush_if_old(self, now_ms);
    kp_worker_write_ready(self);
    kp_range_seal(self);
    if (self->draining) {
        seal_leaving(self);
    }
    self->came_back = false;
    pump(self);
    kp_worker_advance(self, now_ms);
    tick_if_due(self, now_ms);
    kp_worker_publish_snapshot(self);
}

static int64_t earlier(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t wait_ms(kp_worker *self) {
    int64_t due = self->next_tick_ms;
    if (self->more_messages && !self->draining && (self->paused || kp_worker_may_read(self))) {
        return 0;
    }
    if (self->came_back && self->ready) { /* there may be room for what waits, and nothing else would tell */
        return 0;
    }
    if (self->backoff_until_ms) {
        due = earlier(due, self->backoff_until_ms);
    }
    if (self->gather) {
        due = earlier(due, self->gather_since_ms + self->sink->ops->flush(self->sink).age_ms);
    }
    if (self->sink->ops->next_ms) {
        due = earlier(due, self->sink->ops->next_ms(self->sink));
    }
    if (self->stalled_since_ms && !self->paused && !self->draining) {
        due = earlier(due, self->stalled_since_ms + KP_STALL_MS);
    }
    int64_t now_ms = kp_now_ms(NULL);
    return due > now_ms ? due - now_ms : 0;
}

static void wait_for_work(kp_worker *self, int64_t most_ms) {
    kp_error err;
    bool ready = false;
    int64_t timeout_ms = earlier(wait_ms(self), most_ms);
    if (kp_http_wait(self->http, &self->wake.read_fd, &ready, 1, timeout_ms, &err) != KP_OK) {
        kp_worker_fail(self, &err);
    }
}

void kp_worker_settle_until(kp_worker *self, bool (*done)(kp_worker *self), int64_t deadline_ms) {
    for (;;) {
        turn(self, false);
        int64_t left_ms = deadline_ms - kp_now_ms(NULL);
        if (done(self) || left_ms <= 0 || self->fatal.status != KP_OK) {
            return;
        }
        wait_for_work(self, left_ms);
    }
}

/* ---- a session: one consumer's life ---- */

static void on_trouble(void *ctx, const kp_error *err) {
    kp_worker *self = ctx;
    self->sink_trouble = true;
    kp_worker_trouble(self, err);
}

static void on_progress(void *ctx) {
    kp_worker *self = ctx;
    self->sink_trouble = false;
    kp_worker_healthy(self);
}

static bool header(void *ctx, const kp_record *rec, size_t index, kp_bytes *name, kp_bytes *value) {
    (void)ctx;
    const char *name_text;
    const void *data;
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(rec->handle, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        rd_kafka_header_get_all(headers, index, &name_text, &data, &value->length) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return false;
    }
    *name = kp_bytes_of(name_text);
    value->data = data;
    return true;
}

static kp_status open_session(kp_worker *self, kp_error *err) {
    kp_status st = KP_OK;
    kp_http_options http = {0};
    const kp_sink_ops *ops = self->config->sink_ops;
    kp_sink_env env = {
        .ctx = self,
        .group = self->config->group,
        .now_ms = kp_now_ms,
        .header = header,
        .on_batch = kp_worker_on_batch,
        .on_trouble = on_trouble,
        .on_progress = on_progress,
        .on_published = kp_worker_on_published,
        .on_lost = kp_worker_on_lost,
    };
    self->ready_end = &self->ready;
    self->again_end = &self->again;
    if (ops->http_options) {
        KP_TRY(ops->http_options(self->config->sink, &http, err));
    }
    KP_TRY(kp_http_new(&self->http, &http, err));
    env.http = self->http;
    KP_TRY(ops->open(&self->sink, self->config->sink, &env, err));
    KP_TRY(kp_worker_open_consumer(self, err));
done:
    return st;
}

/* After a failure: what was settled before it is committed, if that is possible soon. */
static bool nothing_to_commit(kp_worker *self) {
    return !kp_worker_has_to_commit(self);
}

static void leave_all(kp_worker *self) {
    self->draining = true;
    for (size_t i = 0; i < self->part_count; i++) {
        if (self->parts[i]) {
            self->parts[i]->leaving = true;
        }
    }
}

static void tell_drained(kp_worker *self) {
    if (!self->drained) {
        self->drained = true;
        kp_pipeline_drained(self->pipeline);
    }
}

static bool all_drained(kp_worker *self) {
    return kp_pipeline_all_drained(self->pipeline);
}

/* A worker that leaves the group makes a new generation, which may fence the commits of those that still drain: all
 * leave when all have committed. */
static void drain(kp_worker *self) {
    int64_t deadline_ms;
    kp_error fatal = self->fatal;
    leave_all(self);
    if (fatal.status == KP_OK && kp_pipeline_must_drain(self->pipeline, &deadline_ms)) {
        kp_worker_flush_gather(self);
        kp_worker_settle_until(self, kp_worker_is_idle, deadline_ms);
        tell_drained(self);
        kp_worker_settle_until(self, all_drained, deadline_ms);
    } else if (fatal.status != KP_OK) {
        kp_error_init(&self->fatal);
        kp_worker_drop_batches(self, false);
        kp_worker_settle_until(self, nothing_to_commit, kp_now_ms(NULL) + FAILED_COMMIT_MS);
        self->fatal = fatal;
    }
}

static void close_session(kp_worker *self) {
    if (self->sink) {
        kp_worker_close_consumer(self);
        self->sink->ops->close(self->sink); /* batches under way come back, and go */
        kp_worker_drop_batches(self, false);
    }
    kp_http_free(self->http);
    kp_parts_free(self);
    kp_origins_free(self);
    if (self->rk && kp_kafka_consumer_may_end(self->rk, self->joined)) {
        rd_kafka_destroy_flags(self->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE); /* it is closed */
    } else if (self->rk) {
        kp_pipeline_keep(self->pipeline);
    }
    self->sink = NULL;
    self->http = NULL;
    self->rk = NULL;
    self->joined = self->paused = self->draining = self->restart = self->sink_trouble = false;
    self->backoff_until_ms = self->stalled_since_ms = 0;
}

static void run_session(kp_worker *self) {
    int64_t deadline_ms;
    kp_error err;
    kp_status st = open_session(self, &err);
    if (st != KP_OK) {
        kp_worker_fail(self, &err);
    }
    self->state = KP_RUNNING;
    while (self->fatal.status == KP_OK && !self->restart && !kp_pipeline_must_drain(self->pipeline, &deadline_ms)) {
        turn(self, true);
        wait_for_work(self, TICK_MS);
    }
    if (st == KP_OK) {
        self->state = KP_DRAINING;
        kp_worker_publish_snapshot(self);
        drain(self);
    }
    close_session(self);
}

/* Waits before a consumer is made anew; a stop request ends the wait. */
static void wait_for_restart(kp_worker *self) {
    kp_error err;
    bool ready = false;
    int64_t deadline_ms;
    int64_t until_ms = kp_now_ms(NULL) + RESTART_MS;
    kp_http_options options = {0};
    kp_http *clock = NULL;
    if (kp_http_new(&clock, &options, &err) != KP_OK) {
        return;
    }
    while (!kp_pipeline_must_drain(self->pipeline, &deadline_ms) && kp_now_ms(NULL) < until_ms) {
        kp_kafka_signal_clear(&self->wake);
        if (kp_http_wait(clock, &self->wake.read_fd, &ready, 1, until_ms - kp_now_ms(NULL), &err) != KP_OK) {
            break;
        }
    }
    kp_http_free(clock);
}

void *kp_worker_main(void *opaque) {
    kp_worker *self = opaque;
    int64_t deadline_ms;
    for (;;) {
        run_session(self);
        if (self->fatal.status != KP_OK || kp_pipeline_must_drain(self->pipeline, &deadline_ms)) {
            break;
        }
        self->state = KP_STARTING;
        kp_worker_publish_snapshot(self);
        wait_for_restart(self);
    }
    tell_drained(self);
    self->state = self->fatal.status == KP_OK ? KP_STOPPED : KP_FAILED;
    if (self->state == KP_FAILED) {
        memcpy(self->reason, self->fatal.message, sizeof self->reason);
        kp_pipeline_fail(self->pipeline);
    }
    kp_worker_publish_snapshot(self);
    return NULL;
}

/* ---- lifetime ---- */

kp_status kp_worker_init(kp_worker *self, kp_pipeline *pipeline, const kp_pipeline_config *config, int64_t number,
                         kp_error *err) {
    memset(self, 0, sizeof *self);
    kp_kafka_log_init(&self->log);
    pthread_mutex_init(&self->shared.lock, NULL);
    self->pipeline = pipeline;
    self->config = config;
    self->number = number;
    self->random_seed = (unsigned)(kp_now_ms(NULL) ^ (number << 16));
    self->counters.lag = -1;
    self->shared.counters.lag = -1;
    return kp_kafka_signal_init(&self->wake, err);
}

void kp_worker_deinit(kp_worker *self) {
    kp_kafka_signal_deinit(&self->wake);
    kp_buf_deinit(&self->shared.assignment);
    kp_buf_deinit(&self->shared.existing);
    pthread_mutex_destroy(&self->shared.lock);
    kp_kafka_log_deinit(&self->log);
}
