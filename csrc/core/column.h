/* Columns that grow row by row, in the layout of Apache Arrow, and the batches of rows made of them.
 *
 * A column is filled by one thread; a batch of rows that is complete never changes and may be shared between threads.
 * After a failed append the columns of a batch differ in length: the batch is good for kp_rows_release only.
 */
#ifndef KP_CORE_COLUMN_H
#define KP_CORE_COLUMN_H

#include "core/buf.h"

#include <stdatomic.h>
#include <stdbool.h>

typedef enum {
    KP_COLUMN_INT32,
    KP_COLUMN_INT64,
    KP_COLUMN_FLOAT64,
    KP_COLUMN_BOOL,
    KP_COLUMN_TIMESTAMP, /* milliseconds since 1970, UTC */
    KP_COLUMN_UTF8,
    KP_COLUMN_BINARY,
    KP_COLUMN_WORD, /* one of a few texts: a dictionary with int8 numbers */
    KP_COLUMN_LIST,
    KP_COLUMN_STRUCT,
} kp_column_kind;

typedef struct kp_field kp_field;

struct kp_field { /* what a column is */
    const char *name;
    kp_column_kind kind;
    bool nullable;
    const kp_field *children; /* LIST: one; STRUCT: its fields */
    size_t child_count;
    const char *const *words; /* WORD: what its numbers mean */
    size_t word_count;
};

typedef struct kp_column kp_column;

struct kp_column {
    kp_column_kind kind;
    int64_t length;
    int64_t nulls;
    kp_buf valid;        /* a bit a row; empty while there is no null */
    kp_buf values;       /* numbers; of UTF8, BINARY and LIST the int32 ends, with a 0 before them */
    kp_buf bytes;        /* of UTF8 and BINARY */
    kp_column *children; /* owned; LIST and STRUCT as their field has them, WORD: its words */
    size_t child_count;
};

enum { KP_COLUMN_BYTES_MAX = INT32_MAX }; /* of UTF8 and BINARY, in one column of one batch */

kp_status kp_column_append_null(kp_column *column, kp_error *err) KP_MUST_CHECK; /* not to LIST and STRUCT */
/* INT32, INT64, TIMESTAMP and WORD; the number must fit. */
kp_status kp_column_append_int(kp_column *column, int64_t number, kp_error *err) KP_MUST_CHECK;
kp_status kp_column_append_double(kp_column *column, double number, kp_error *err) KP_MUST_CHECK;
kp_status kp_column_append_bool(kp_column *column, bool truth, kp_error *err) KP_MUST_CHECK;
/* UTF8 and BINARY. KP_REJECT when the column would pass KP_COLUMN_BYTES_MAX. */
kp_status kp_column_append_bytes(kp_column *column, kp_bytes bytes, kp_error *err) KP_MUST_CHECK;
/* LIST: the row has what was appended to the child since the row before. */
kp_status kp_column_end_list(kp_column *column, kp_error *err) KP_MUST_CHECK;
/* STRUCT: the row has what was appended to each child. */
void kp_column_end_struct(kp_column *column);

bool kp_column_is_null(const kp_column *column, int64_t row);
int64_t kp_column_int(const kp_column *column, int64_t row); /* INT32, INT64, TIMESTAMP, WORD, BOOL */
double kp_column_double(const kp_column *column, int64_t row);
kp_bytes kp_column_bytes(const kp_column *column, int64_t row);   /* UTF8 and BINARY; borrowed */
int64_t kp_column_list_end(const kp_column *column, int64_t row); /* LIST: behind the row's last; row -1: 0 */

/* ---- rows ---- */

typedef struct kp_rows kp_rows; /* a batch: the same number of rows in every column */

struct kp_rows {
    atomic_int refs;
    int64_t length; /* rows that are complete */
    size_t column_count;
    kp_column columns[];
};

/* The caller has the one reference; count may be 0. */
kp_status kp_rows_new(kp_rows **out, const kp_field *fields, size_t count, kp_error *err) KP_MUST_CHECK;
kp_rows *kp_rows_retain(kp_rows *rows);
void kp_rows_release(kp_rows *rows); /* accepts NULL */
void kp_rows_trim(kp_rows *rows);    /* gives back what it grew ahead; call it when complete */

#endif
