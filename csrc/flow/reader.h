/* The bounded reader: a range of a topic, read into a table of Arrow columns.
 *
 * Asking finds the offsets of the range, reading reads them. Either runs in a thread of its own with a client of its
 * own that joins no group and commits nothing; kp_reader_wait waits for it in slices, so that whoever waits can do
 * something else in between, or give up: what is then still under way ends by itself. All calls from one thread.
 *
 * A partition ends where its position is at the end of the range or behind: not every offset has a record. A bound by
 * time counts for each record, as timestamps need not be in order; only where the broker has set them (LogAppendTime)
 * the first one behind the end is the last one that is looked at. Rows come by partition, then by offset.
 */
#ifndef KP_FLOW_READER_H
#define KP_FLOW_READER_H

#include "core/table.h"
#include "io/kafka.h"

typedef enum { KP_BOUND_EARLIEST, KP_BOUND_LATEST, KP_BOUND_OFFSET, KP_BOUND_TIME } kp_bound_kind;

typedef struct {
    kp_bound_kind kind;
    int64_t value; /* an offset, or milliseconds since 1970 */
} kp_bound;

typedef struct {
    int32_t partition;
    kp_bound start; /* inclusive */
    kp_bound end;   /* exclusive */
} kp_read_part;

typedef enum {
    KP_READ_TOPIC,
    KP_READ_PARTITION,
    KP_READ_OFFSET,
    KP_READ_TIMESTAMP,
    KP_READ_TIMESTAMP_TYPE,
    KP_READ_KEY,
    KP_READ_VALUE,
    KP_READ_HEADERS,
    KP_READ_JSON, /* a field of the value, found by name as a dotted path */
} kp_read_source;

typedef struct {
    kp_read_source source;
    kp_column_kind kind; /* of JSON: INT64, FLOAT64, BOOL or UTF8 */
    const char *name;    /* of JSON */
} kp_read_column;

typedef struct { /* copied, with all that it points to */
    const char *topic;
    const kp_read_part *parts; /* by partition, none twice */
    size_t part_count;         /* 0: every partition, from start to end */
    kp_bound start;
    kp_bound end;
    int64_t limit; /* rows; -1: all */
    const kp_read_column *columns;
    size_t column_count; /* at most KP_JSON_PATHS_MAX of JSON */
    int timeout_ms;      /* the longest wait for brokers: for the range, and for the next record */
} kp_read_config;

typedef struct {
    int32_t partition;
    int64_t start;
    int64_t end; /* exclusive; start when there is nothing to read */
} kp_read_range;

typedef struct kp_reader kp_reader;

const char *kp_read_source_name(kp_read_source source); /* of the column; "" for JSON */

kp_status kp_reader_new(kp_reader **out, const kp_read_config *config, rd_kafka_conf_t *conf,
                        kp_error *err) KP_MUST_CHECK; /* conf is moved, also on failure */
void kp_reader_free(kp_reader *self);                 /* accepts NULL; never waits */

/* Each only when nothing is under way; reading only after the range is known. */
kp_status kp_reader_ask(kp_reader *self, kp_error *err) KP_MUST_CHECK;
kp_status kp_reader_read(kp_reader *self, kp_error *err) KP_MUST_CHECK;
/* False: it is still under way. True: it ended, *result and err say how. */
bool kp_reader_wait(kp_reader *self, int timeout_ms, kp_status *result, kp_error *err);

/* Borrowed; when nothing is under way. */
size_t kp_reader_ranges(const kp_reader *self, kp_read_range *out, size_t capacity); /* by partition; their number */
kp_table *kp_reader_table(const kp_reader *self); /* borrowed; without rows until it was read */

#endif
