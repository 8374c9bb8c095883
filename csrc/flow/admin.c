/* The admin client's life, its calls on their way and their answers: see admin.h. */
#include "flow/admin_parts.h"

#include "core/mem.h"

#include <string.h>

struct kp_admin_call {
    kp_admin_call *next; /* list of calls without an answer */
    kp_admin_call *prev;
    void *ticket;
    const char *op; /* "create topic" */
    char name[];    /* of the topic */
};

/* A consumer's handle, as a producer's would make the topics it asks about. */
kp_status kp_admin_new(kp_admin **out, rd_kafka_conf_t *conf, kp_error *err) {
    kp_status st;
    kp_admin *self = kp_calloc(1, sizeof *self);
    *out = NULL;
    if (!self) {
        rd_kafka_conf_destroy(conf);
        return kp_error_nomem(err);
    }
    self->process = kp_kafka_process();
    pthread_mutex_init(&self->lock, NULL);
    kp_kafka_log_init(&self->log);
    kp_kafka_log_attach(&self->log, conf);
    st = kp_kafka_signal_init(&self->signal, err);
    if (st != KP_OK) {
        rd_kafka_conf_destroy(conf);
        goto done;
    }
    KP_TRY(kp_kafka_client_new(&self->client, RD_KAFKA_CONSUMER, conf, err));
    self->answers = rd_kafka_queue_new(self->client);
    kp_kafka_signal_attach(&self->signal, self->answers);
    *out = self;
    self = NULL;
done:
    kp_admin_free(self);
    return st;
}

void kp_admin_free(kp_admin *self) {
    if (!self || kp_admin_is_foreign(self)) {
        return;
    }
    if (self->client) {
        rd_kafka_queue_destroy(self->answers);
        rd_kafka_destroy(self->client);
    }
    for (kp_admin_call *each = self->open, *next; each; each = next) {
        next = each->next;
        kp_free(each);
    }
    kp_kafka_signal_deinit(&self->signal);
    kp_kafka_log_deinit(&self->log);
    pthread_mutex_destroy(&self->lock);
    kp_free(self);
}

int kp_admin_fd(const kp_admin *self) {
    return self->signal.read_fd;
}

bool kp_admin_is_foreign(const kp_admin *self) {
    return self->process != kp_kafka_process();
}

kp_status kp_admin_check_process(const kp_admin *self, kp_error *err) {
    if (kp_admin_is_foreign(self)) {
        return kp_error_set(err, KP_FATAL, "FORKED",
                            "admin: made before a fork, cannot be used in the child process: make a new one here");
    }
    return KP_OK;
}

/* ---- calls ---- */

static kp_admin_call *call_new(kp_admin *self, const char *op, const char *name, void *ticket) {
    size_t length = strlen(name) + 1;
    kp_admin_call *made = kp_alloc(sizeof *made + length);
    if (!made) {
        return NULL;
    }
    made->ticket = ticket;
    made->op = op;
    memcpy(made->name, name, length);
    made->prev = NULL;
    pthread_mutex_lock(&self->lock);
    made->next = self->open;
    if (made->next) {
        made->next->prev = made;
    }
    self->open = made;
    pthread_mutex_unlock(&self->lock);
    return made;
}

static void call_free(kp_admin *self, kp_admin_call *done) {
    pthread_mutex_lock(&self->lock);
    if (done->prev) {
        done->prev->next = done->next;
    } else {
        self->open = done->next;
    }
    if (done->next) {
        done->next->prev = done->prev;
    }
    pthread_mutex_unlock(&self->lock);
    kp_free(done);
}

/* Only these have a time for the broker to act in, besides that for its answer. */
static bool acts_slowly(rd_kafka_admin_op_t api) {
    return api == RD_KAFKA_ADMIN_OP_CREATETOPICS || api == RD_KAFKA_ADMIN_OP_DELETETOPICS ||
           api == RD_KAFKA_ADMIN_OP_CREATEPARTITIONS || api == RD_KAFKA_ADMIN_OP_DELETERECORDS;
}

rd_kafka_AdminOptions_t *kp_admin_call_open(kp_admin *self, rd_kafka_admin_op_t api, const char *op, const char *name,
                                            int timeout_ms, void *ticket, kp_error *err) {
    char reason[256];
    if (kp_admin_check_process(self, err) != KP_OK) {
        return NULL;
    }
    kp_admin_call *made = call_new(self, op, name, ticket);
    if (!made) {
        kp_error_nomem(err);
        return NULL;
    }
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(self->client, api);
    rd_kafka_resp_err_t code = rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, reason, sizeof reason);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR && acts_slowly(api)) {
        code = rd_kafka_AdminOptions_set_operation_timeout(options, timeout_ms, reason, sizeof reason);
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        kp_kafka_error_set(err, code, reason, "%s %s", op, name);
        rd_kafka_AdminOptions_destroy(options);
        call_free(self, made);
        return NULL;
    }
    rd_kafka_AdminOptions_set_opaque(options, made);
    return options;
}

/* ---- answers ---- */

kp_status kp_admin_error_set(kp_admin *self, kp_admin_verdict verdict, const char *op, const char *name,
                             kp_error *err) {
    char problem[KP_KAFKA_LOG_TEXT_MAX];
    const char *space = name && *name ? " " : "";
    kp_status st = kp_kafka_status(verdict.code);
    kp_kafka_log_last(&self->log, problem);
    if (problem[0] && (st == KP_TIMEOUT || st == KP_RETRY)) {
        rd_kafka_resp_err_t code = kp_kafka_blame(verdict.code, problem);
        return kp_kafka_error_set(err, code, problem, "%s%s%s: %s", op, space, name ? name : "",
                                  rd_kafka_err2str(code));
    }
    return kp_kafka_error_set(err, verdict.code, verdict.reason, "%s%s%s", op, space, name ? name : "");
}

bool kp_admin_next(kp_admin *self, kp_admin_answer *answer) {
    rd_kafka_event_t *event;
    kp_admin_call *asked = NULL;
    memset(answer, 0, sizeof *answer);
    if (kp_admin_is_foreign(self)) {
        return false;
    }
    kp_kafka_signal_clear(&self->signal);
    while ((event = rd_kafka_queue_poll(self->answers, 0)) && !(asked = rd_kafka_event_opaque(event))) {
        rd_kafka_event_destroy(event);
    }
    if (!event) {
        return false;
    }
    answer->event = event;
    answer->ticket = asked->ticket;
    answer->op = asked->op;
    answer->status = kp_admin_error_set(self, kp_admin_verdict_of(event), asked->op, asked->name, &answer->err);
    call_free(self, asked);
    return true;
}

void kp_admin_answer_deinit(kp_admin_answer *answer) {
    if (answer->event) {
        rd_kafka_event_destroy(answer->event);
    }
    memset(answer, 0, sizeof *answer);
}
