/* A table: its fields, and batches of rows in their order. Filled by one thread; complete, it never changes and may be
 * shared.
 */
#ifndef KP_CORE_TABLE_H
#define KP_CORE_TABLE_H

#include "core/column.h"

typedef struct {
    atomic_int refs;
    size_t field_count;
    kp_field *fields;  /* owned, with their names and words */
    kp_rows **batches; /* owned, with a reference to each */
    size_t batch_count;
    size_t batch_capacity;
    int64_t length; /* rows in all of them */
} kp_table;

/* Names and words are copied; children are borrowed and must be static. The caller has the one reference. */
kp_status kp_table_new(kp_table **out, const kp_field *fields, size_t count, kp_error *err) KP_MUST_CHECK;
kp_table *kp_table_retain(kp_table *table);
void kp_table_release(kp_table *table); /* accepts NULL */
/* The reference to rows is moved, on success only. */
kp_status kp_table_add(kp_table *table, kp_rows *rows, kp_error *err) KP_MUST_CHECK;

#endif
