/* librdkafka: the one place that includes its header, sets up its configuration and judges its errors.
 *
 * The flow layer calls the library itself through this header; what is the same for every client of it is here. What a
 * newer library has and 2.0.2 has not is asked for by the KP_KAFKA_HAS_ names below and nowhere else.
 */
#ifndef KP_IO_KAFKA_H
#define KP_IO_KAFKA_H

#include "core/buf.h"
#include "core/error.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h> /* needs rdkafka.h before it */

#include <pthread.h>
#include <stdbool.h>

#define KP_KAFKA_HAS_INCREMENTAL_ALTER_CONFIGS (RD_KAFKA_VERSION >= 0x020200ff)
#define KP_KAFKA_HAS_DESCRIBE_CLUSTER (RD_KAFKA_VERSION >= 0x020300ff) /* and DescribeTopics, ListOffsets */
#define KP_KAFKA_HAS_CONSUMER_PROTOCOL (RD_KAFKA_VERSION >= 0x020c00ff)

const char *kp_kafka_version(void); /* of the library, at run time */

/* The partition.assignment.strategy that a consumer should have unless told otherwise: "cooperative-sticky", but not
 * with a library below 2.3.0, which aborts the process when a member that uses it is closed in the middle of a
 * rebalance. */
const char *kp_kafka_default_assignor(void);

/* False for a consumer that would abort the process so: one that asked for it all the same and never had an assignment
 * (was_assigned). It must be left alone, with everything it points to. */
bool kp_kafka_consumer_may_end(const rd_kafka_t *client, bool was_assigned);

/* ---- errors ---- */

kp_status kp_kafka_status(rd_kafka_resp_err_t code);

/* Sets err from an error of the library: "<what>: <reason>: <what to do>", with the library's name of it as code.
 * reason NULL: the library's own words for code. Returns the status. */
kp_status kp_kafka_error_set(kp_error *err, rd_kafka_resp_err_t code, const char *reason, const char *what, ...)
    KP_PRINTF(4, 5);

/* The same from an error object, which is moved: it is destroyed here. NULL is KP_OK. */
kp_status kp_kafka_error_take(kp_error *err, rd_kafka_error_t *error, const char *what, ...) KP_PRINTF(3, 4);

/* ---- log: what the library says goes here, never to stderr ---- */

enum { KP_KAFKA_LOG_TEXT_MAX = 512 };

typedef struct {
    pthread_mutex_t lock; /* the library's threads write, ours read */
    uint64_t count;       /* messages of level error or worse, since the start */
    char last[KP_KAFKA_LOG_TEXT_MAX];
} kp_kafka_log;

void kp_kafka_log_init(kp_kafka_log *log); /* must not move, and must outlive the client it is attached to */
void kp_kafka_log_deinit(kp_kafka_log *log);
void kp_kafka_log_attach(kp_kafka_log *log, rd_kafka_conf_t *conf); /* takes the configuration's opaque */
/* Copies the last problem, "" when there was none; out has KP_KAFKA_LOG_TEXT_MAX bytes. Any thread. */
void kp_kafka_log_last(kp_kafka_log *log, char *out);
/* Waiting for a broker that does not let us in ends in a timeout or with a lost connection. The code that a problem
 * from the log stands for, else the given one. */
rd_kafka_resp_err_t kp_kafka_blame(rd_kafka_resp_err_t code, const char *problem);

/* ---- configuration ---- */

typedef struct {
    const char *name; /* borrowed */
    const char *value;
} kp_kafka_property;

/* A configuration with these properties set, owned by the caller (rd_kafka_conf_destroy, or moved by rd_kafka_new). A
 * name or value that the library refuses is KP_REJECT with the property's name as code. */
kp_status kp_kafka_conf_new(rd_kafka_conf_t **out, const kp_kafka_property *properties, size_t count,
                            kp_error *err) KP_MUST_CHECK;

/* A whole number from a configuration; fallback when the library has no such property. */
int64_t kp_kafka_conf_int(const rd_kafka_conf_t *conf, const char *name, int64_t fallback);

/* conf is moved, also on failure. */
kp_status kp_kafka_client_new(rd_kafka_t **out, rd_kafka_type_t type, rd_kafka_conf_t *conf,
                              kp_error *err) KP_MUST_CHECK;

/* Appends the name of every property the library knows, each followed by a newline. */
kp_status kp_kafka_properties(kp_buf *out, kp_error *err) KP_MUST_CHECK;

/* ---- signal: a descriptor that becomes readable when something was put into a queue ---- */

typedef struct {
    int read_fd;
    int write_fd; /* the same one where there is eventfd */
} kp_kafka_signal;

kp_status kp_kafka_signal_init(kp_kafka_signal *signal, kp_error *err) KP_MUST_CHECK;
void kp_kafka_signal_deinit(kp_kafka_signal *signal); /* after the queue is gone; accepts one that is zeroed */
/* The descriptor is readable at once: the library tells only of what comes into an empty queue. */
void kp_kafka_signal_attach(kp_kafka_signal *signal, rd_kafka_queue_t *queue);
void kp_kafka_signal_raise(kp_kafka_signal *signal);
/* Call it before the queue is drained: the library writes again only after the queue was served. */
void kp_kafka_signal_clear(kp_kafka_signal *signal);

/* ---- fork ---- */

/* A number that differs in a child process. What was made under another number must not be used, nor destroyed: the
 * library's threads do not exist there. */
unsigned kp_kafka_process(void);

#endif
