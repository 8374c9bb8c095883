/* The Arrow C data interface (https://arrow.apache.org/docs/format/CDataInterface.html) and C stream interface: a table
 * handed to whoever speaks them, without a copy. The structs are those of the specification, names included; what is
 * exported holds references to what it points into, and its release may be called in any thread.
 */
#ifndef KP_CORE_ARROW_H
#define KP_CORE_ARROW_H

#include "core/table.h"

#ifndef ARROW_C_DATA_INTERFACE
#define ARROW_C_DATA_INTERFACE

#define ARROW_FLAG_DICTIONARY_ORDERED 1
#define ARROW_FLAG_NULLABLE 2
#define ARROW_FLAG_MAP_KEYS_SORTED 4

struct ArrowSchema {
    const char *format;
    const char *name;
    const char *metadata;
    int64_t flags;
    int64_t n_children;
    struct ArrowSchema **children;
    struct ArrowSchema *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length;
    int64_t null_count;
    int64_t offset;
    int64_t n_buffers;
    int64_t n_children;
    const void **buffers;
    struct ArrowArray **children;
    struct ArrowArray *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

#endif

#ifndef ARROW_C_STREAM_INTERFACE
#define ARROW_C_STREAM_INTERFACE

struct ArrowArrayStream {
    int (*get_schema)(struct ArrowArrayStream *, struct ArrowSchema *out);
    int (*get_next)(struct ArrowArrayStream *, struct ArrowArray *out);
    const char *(*get_last_error)(struct ArrowArrayStream *);
    void (*release)(struct ArrowArrayStream *);
    void *private_data;
};

#endif

/* out is the caller's memory; it owns what is in it until it calls out->release. Not touched on failure. */
kp_status kp_arrow_schema_export(const kp_table *table, struct ArrowSchema *out, kp_error *err) KP_MUST_CHECK;
kp_status kp_arrow_rows_export(kp_rows *rows, struct ArrowArray *out, kp_error *err) KP_MUST_CHECK;
kp_status kp_arrow_stream_export(kp_table *table, struct ArrowArrayStream *out, kp_error *err) KP_MUST_CHECK;

#endif
