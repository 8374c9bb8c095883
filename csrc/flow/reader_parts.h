/* What the files of the bounded reader share. The thread that asks or reads owns all of it while it runs. */
#ifndef KP_FLOW_READER_PARTS_H
#define KP_FLOW_READER_PARTS_H

#include "core/json_scan.h"
#include "flow/reader.h"

#include <stdatomic.h>

enum { KP_READER_BROKER_MAX = 128 };

typedef struct { /* a partition */
    kp_read_range range;
    int64_t from_ms;                   /* records before this are left out; INT64_MIN: none */
    int64_t until_ms;                  /* and from this on; INT64_MAX: none */
    char broker[KP_READER_BROKER_MAX]; /* its leader's address, "" when it has none */

    bool started;
    bool done;
    int64_t next;      /* position: offset of the next record */
    int64_t hidden_ms; /* since when the broker shows no more, though there is; 0: not so */
    kp_rows *rows;     /* owned: the batch that grows; NULL: none */
    size_t bytes;      /* in it */
    kp_buf batches;    /* of kp_rows *, owned: those that are complete */
} kp_reader_part;

typedef struct {             /* makes rows of records */
    kp_read_column *columns; /* owned; names are the table's */
    size_t column_count;
    kp_json_path paths[KP_JSON_PATHS_MAX]; /* of the JSON columns, in their order */
    size_t path_count;
    kp_buf scratch;
} kp_reader_maker;

struct kp_reader {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    int refs;     /* by lock: the caller's, and the thread's */
    bool running; /* by lock */
    kp_status st; /* how it ended */
    kp_error err;
    atomic_bool given_up;

    char *topic;
    kp_read_part *wishes; /* owned */
    size_t wish_count;
    kp_bound start;
    kp_bound end;
    int64_t limit;
    int timeout_ms;
    rd_kafka_conf_t *conf; /* owned: each client gets a copy */
    kp_kafka_log log;

    kp_reader_part *parts; /* owned */
    size_t part_count;
    kp_reader_maker maker;
    kp_table *table; /* a reference */
};

/* ---- reader_ask.c ---- */

/* Metadata of the topic, owned by the caller. Asks again until deadline_ms (of kp_reader_clock_ms). */
kp_status kp_reader_metadata(kp_reader *self, rd_kafka_t *rk, rd_kafka_topic_t *topic, int64_t deadline_ms,
                             const struct rd_kafka_metadata **out, kp_error *err) KP_MUST_CHECK;
/* Fills parts. */
kp_status kp_reader_find_ranges(kp_reader *self, rd_kafka_t *rk, rd_kafka_topic_t *topic, kp_error *err) KP_MUST_CHECK;

/* ---- reader_read.c ---- */

kp_status kp_reader_read_ranges(kp_reader *self, rd_kafka_t *rk, rd_kafka_topic_t *topic, kp_error *err) KP_MUST_CHECK;

/* ---- reader_rows.c ---- */

kp_status kp_reader_maker_init(kp_reader_maker *maker, const kp_read_config *config, kp_table **table,
                               kp_error *err) KP_MUST_CHECK;
void kp_reader_maker_deinit(kp_reader_maker *maker);
/* Appends a row to rows; *bytes grows by what was copied. */
kp_status kp_reader_maker_append(kp_reader_maker *maker, kp_rows *rows, const rd_kafka_message_t *message,
                                 size_t *bytes, kp_error *err) KP_MUST_CHECK;

/* ---- reader.c ---- */

int64_t kp_reader_clock_ms(void);
/* KP_OK unless whoever waits gave up, or the client met an error that it cannot get over, like a wrong password. */
kp_status kp_reader_check(kp_reader *self, rd_kafka_t *rk, kp_error *err) KP_MUST_CHECK;
/* "<what>: nothing from <broker> within <timeout>: <the client's last words>: <what to do>"; broker "": the bootstrap
 * servers. */
kp_status kp_reader_late(kp_reader *self, const char *broker, kp_error *err, const char *what, ...) KP_PRINTF(4, 5);

#endif
