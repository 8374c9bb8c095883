/* A pipeline: see pipeline.h. Reads the document, owns the workers and their threads. */
#include "flow/pipeline.h"

#include "core/mem.h"
#include "flow/worker.h"

#include <signal.h>
#include <string.h>

struct kp_pipeline {
    kp_pipeline_config config;
    kp_worker *workers; /* owned */
    size_t worker_count;
    kp_kafka_signal wake;            /* for whoever watches */
    atomic_int_fast64_t deadline_ms; /* of the drain; 0: not stopping */
    atomic_bool failed;
    atomic_bool kept;        /* the workers' memory must outlive this */
    atomic_size_t running;   /* threads */
    atomic_size_t undrained; /* of those, the ones that may still have to commit */
};

/* ---- configuration ---- */

static kp_status read_dead_letter(kp_pipeline_config *config, kp_error *err) {
    kp_status st;
    const char *mode;
    const kp_json *dead;
    KP_TRY(kp_json_need(config->document, "dead_letter", &dead, err));
    KP_TRY(kp_json_need_text(dead, "mode", &mode, err));
    config->dead_topic = kp_json_text(kp_json_get(dead, "topic"), NULL);
    config->dead_mode = KP_DEAD_STOP;
    if (strcmp(mode, "drop") == 0) {
        config->dead_mode = KP_DEAD_DROP;
    } else if (strcmp(mode, "topic") == 0 && config->dead_topic) {
        config->dead_mode = KP_DEAD_TOPIC;
    }
done:
    return st;
}

static kp_status read_sink(kp_pipeline_config *config, kp_error *err) {
    kp_status st;
    const char *type;
    KP_TRY(kp_json_need(config->document, "sink", &config->sink, err));
    KP_TRY(kp_json_need_text(config->sink, "type", &type, err));
    config->sink_ops = kp_sink_find(type);
    if (!config->sink_ops) {
        st = kp_error_set(err, KP_FATAL, "ECONFIG", "pipeline %s: no sink of type %s", config->name, type);
    }
done:
    return st;
}

static kp_status read_config(kp_pipeline_config *config, kp_bytes text, kp_error *err) {
    kp_status st;
    KP_TRY(kp_json_parse(&config->document, text, "the pipeline's configuration", err));
    KP_TRY(kp_json_need_text(config->document, "name", &config->name, err));
    KP_TRY(kp_json_need_text(config->document, "group", &config->group, err));
    KP_TRY(kp_json_need(config->document, "topics", &config->topics, err));
    KP_TRY(kp_json_need(config->document, "kafka", &config->kafka, err));
    KP_TRY(kp_json_need_int(config->document, "workers", &config->workers, err));
    KP_TRY(kp_json_need_int(config->document, "in_flight_bytes", &config->in_flight_bytes, err));
    KP_TRY(kp_json_need_int(config->document, "backoff_min_ms", &config->backoff_min_ms, err));
    KP_TRY(kp_json_need_int(config->document, "backoff_max_ms", &config->backoff_max_ms, err));
    config->ranges =
        kp_json_is_array(kp_json_get(config->document, "ranges")) ? kp_json_get(config->document, "ranges") : NULL;
    config->redrive = kp_json_bool(kp_json_get(config->document, "redrive"), false);
    KP_TRY(read_dead_letter(config, err));
    KP_TRY(read_sink(config, err));
    if (config->workers < 1 || config->backoff_min_ms < 1) {
        st = kp_error_set(err, KP_FATAL, "ECONFIG", "pipeline %s: workers and backoff_min_ms must be 1 or more",
                          config->name);
    }
done:
    return st;
}

/* ---- lifetime ---- */

static kp_status add_workers(kp_pipeline *self, kp_error *err) {
    kp_status st = KP_OK;
    size_t count = (size_t)self->config.workers;
    self->workers = kp_calloc(count, sizeof *self->workers);
    if (!self->workers) {
        return kp_error_nomem(err);
    }
    for (; self->worker_count < count && st == KP_OK; self->worker_count++) {
        st = kp_worker_init(&self->workers[self->worker_count], self, &self->config, (int64_t)self->worker_count, err);
    }
    return st;
}

kp_status kp_pipeline_new(kp_pipeline **out, kp_bytes config, kp_error *err) {
    kp_status st;
    kp_pipeline *self = kp_calloc(1, sizeof *self);
    if (!self) {
        return kp_error_nomem(err);
    }
    KP_TRY(read_config(&self->config, config, err));
    KP_TRY(kp_kafka_signal_init(&self->wake, err));
    KP_TRY(add_workers(self, err));
    *out = self;
    return KP_OK;
done:
    kp_pipeline_free(self);
    return st;
}

static void *thread_main(void *opaque) {
    kp_worker *worker = opaque;
    kp_pipeline *self = worker->pipeline;
    sigset_t all;
    sigfillset(&all); /* signals are the interpreter's */
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    kp_worker_main(worker);
    atomic_fetch_sub(&self->running, 1);
    kp_pipeline_raise(self);
    return NULL;
}

kp_status kp_pipeline_start(kp_pipeline *self, kp_error *err) {
    for (size_t i = 0; i < self->worker_count; i++) {
        kp_worker *worker = &self->workers[i];
        atomic_fetch_add(&self->running, 1);
        atomic_fetch_add(&self->undrained, 1);
        worker->started = pthread_create(&worker->thread, NULL, thread_main, worker) == 0;
        if (!worker->started) {
            atomic_fetch_sub(&self->running, 1);
            atomic_fetch_sub(&self->undrained, 1);
            kp_pipeline_stop(self, 0);
            return kp_error_set(err, KP_FATAL, "EAGAIN", "pipeline %s: no thread for worker %zu", self->config.name, i);
        }
    }
    return KP_OK;
}

static void wake_workers(kp_pipeline *self) {
    for (size_t i = 0; i < self->worker_count; i++) {
        kp_kafka_signal_raise(&self->workers[i].wake);
    }
}

void kp_pipeline_stop(kp_pipeline *self, int64_t drain_ms) {
    int64_t deadline_ms = kp_now_ms(NULL) + drain_ms;
    int64_t old = atomic_load(&self->deadline_ms);
    if (old == 0 || deadline_ms < old) {
        atomic_store(&self->deadline_ms, deadline_ms);
    }
    wake_workers(self);
}

static void free_workers(kp_pipeline *self) {
    for (size_t i = 0; i < self->worker_count && !self->kept; i++) {
        kp_worker_deinit(&self->workers[i]);
    }
    if (!self->kept) {
        kp_free(self->workers);
    }
}

void kp_pipeline_free(kp_pipeline *self) {
    if (!self) {
        return;
    }
    kp_pipeline_stop(self, 0);
    for (size_t i = 0; i < self->worker_count; i++) {
        if (self->workers[i].started) {
            pthread_join(self->workers[i].thread, NULL);
        }
    }
    free_workers(self);
    kp_kafka_signal_deinit(&self->wake);
    kp_json_free(self->config.document);
    kp_free(self);
}

/* ---- between the workers and the world ---- */

enum { DRAIN_AFTER_FAILURE_MS = 10000 };

bool kp_pipeline_must_drain(kp_pipeline *self, int64_t *deadline_ms) {
    *deadline_ms = atomic_load(&self->deadline_ms);
    return *deadline_ms != 0;
}

void kp_pipeline_fail(kp_pipeline *self) {
    atomic_store(&self->failed, true);
    kp_pipeline_stop(self, DRAIN_AFTER_FAILURE_MS);
}

void kp_pipeline_drained(kp_pipeline *self) {
    atomic_fetch_sub(&self->undrained, 1);
    wake_workers(self);
}

void kp_pipeline_keep(kp_pipeline *self) {
    atomic_store(&self->kept, true);
}

bool kp_pipeline_all_drained(const kp_pipeline *self) {
    return atomic_load(&self->undrained) == 0;
}

void kp_pipeline_raise(kp_pipeline *self) {
    kp_kafka_signal_raise(&self->wake);
}

bool kp_pipeline_stopped(const kp_pipeline *self) {
    return atomic_load(&self->running) == 0;
}

int kp_pipeline_wake_fd(const kp_pipeline *self) {
    return self->wake.read_fd;
}

void kp_pipeline_clear_wake(kp_pipeline *self) {
    kp_kafka_signal_clear(&self->wake);
}

/* ---- snapshot ---- */

static const char *const state_names[] = {"starting", "running", "paused", "draining", "stopped", "failed"};

static void add_counters(kp_counters *sum, const kp_counters *one) {
    sum->records_in += one->records_in;
    sum->records_out += one->records_out;
    sum->bytes_in += one->bytes_in;
    sum->bytes_out += one->bytes_out;
    sum->retries += one->retries;
    sum->rejected += one->rejected;
    sum->dead_letters += one->dead_letters;
    sum->errors += one->errors;
    sum->in_flight_bytes += one->in_flight_bytes;
    sum->lag = sum->lag < 0 || one->lag < 0 ? -1 : sum->lag + one->lag;
}

/* The pipeline is what its worst worker is. */
static kp_worker_state worse(kp_worker_state a, kp_worker_state b) {
    static const int badness[] = {
        [KP_RUNNING] = 0, [KP_STOPPED] = 1, [KP_DRAINING] = 2, [KP_STARTING] = 3, [KP_PAUSED] = 4, [KP_FAILED] = 5};
    return badness[a] >= badness[b] ? a : b;
}

static kp_status append_reason(kp_buf *json, const char *reason, kp_error *err) {
    return *reason ? kp_buf_append_json_string(json, kp_bytes_of(reason), err) : kp_buf_append_text(json, "null", err);
}

static kp_status append_worker(kp_worker *worker, kp_buf *json, kp_error *err) {
    kp_status st;
    const kp_worker_shared *shared = &worker->shared;
    KP_TRY(kp_buf_printf(json, err, "%s{\"state\":\"%s\",\"reason\":", worker->number ? "," : "",
                         state_names[shared->state]));
    KP_TRY(append_reason(json, shared->reason, err));
    KP_TRY(kp_buf_append_text(json, ",\"assignment\":", err));
    KP_TRY(kp_buf_append(json, shared->assignment.length ? shared->assignment.data : "[]",
                         shared->assignment.length ? shared->assignment.length : 2, err));
    KP_TRY(kp_buf_append_text(json, ",\"existing\":[", err));
    KP_TRY(kp_buf_append(json, shared->existing.data, shared->existing.length, err));
    KP_TRY(kp_buf_append_text(json, "]}", err));
done:
    return st;
}

static kp_status append_summary(const kp_pipeline *self, kp_worker_state state, const char *reason,
                                const kp_counters *sum, kp_buf *json, kp_error *err) {
    kp_status st;
    KP_TRY(kp_buf_append_text(json, "],\"name\":", err));
    KP_TRY(kp_buf_append_json_string(json, kp_bytes_of(self->config.name), err));
    KP_TRY(kp_buf_printf(json, err, ",\"state\":\"%s\",\"reason\":", state_names[state]));
    KP_TRY(append_reason(json, reason, err));
    KP_TRY(
        kp_buf_printf(json, err,
                      ",\"records_in\":%lld,\"records_out\":%lld,\"bytes_in\":%lld,\"bytes_out\":%lld,\"retries\":%lld,"
                      "\"rejected\":%lld,\"dead_letters\":%lld,\"errors\":%lld,\"in_flight_bytes\":%lld,\"lag\":",
                      (long long)sum->records_in, (long long)sum->records_out, (long long)sum->bytes_in,
                      (long long)sum->bytes_out, (long long)sum->retries, (long long)sum->rejected,
                      (long long)sum->dead_letters, (long long)sum->errors, (long long)sum->in_flight_bytes));
    KP_TRY(sum->lag < 0 ? kp_buf_append_text(json, "null}", err)
                        : kp_buf_printf(json, err, "%lld}", (long long)sum->lag));
done:
    return st;
}

kp_status kp_pipeline_snapshot(kp_pipeline *self, kp_buf *json, kp_error *err) {
    kp_counters sum = {0};
    kp_worker_state state = KP_RUNNING;
    char reason[KP_ERROR_MESSAGE_MAX] = "";
    kp_status st = kp_buf_append_text(json, "{\"workers\":[", err);
    for (size_t i = 0; i < self->worker_count && st == KP_OK; i++) {
        kp_worker *worker = &self->workers[i];
        pthread_mutex_lock(&worker->shared.lock);
        st = append_worker(worker, json, err);
        add_counters(&sum, &worker->shared.counters);
        kp_worker_state merged = i ? worse(state, worker->shared.state) : worker->shared.state;
        if (!*reason || (merged != state && *worker->shared.reason)) {
            memcpy(reason, worker->shared.reason, sizeof reason);
        }
        state = merged;
        pthread_mutex_unlock(&worker->shared.lock);
    }
    return st == KP_OK ? append_summary(self, state, reason, &sum, json, err) : st;
}

kp_status kp_pipeline_ends(kp_pipeline *self, int timeout_ms, kp_buf *json, kp_error *err) {
    return kp_pipeline_ends_ask(&self->config, self->workers, timeout_ms, json, err);
}
