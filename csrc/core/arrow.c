/* The Arrow C interfaces: see arrow.h.
 *
 * Each node of an exported schema or array is one block of memory with what its struct points to. A consumer may move
 * a child out of its parent and let go of it later, so each node of an array holds a reference to the rows by itself.
 */
#include "core/arrow.h"

#include "core/mem.h"

#include <errno.h>
#include <string.h>

/* ---- schema ---- */

typedef struct {
    struct ArrowSchema dictionary;
    struct ArrowSchema **pointers;
    struct ArrowSchema *children;
    char *name;
} schema_node;

static const char *format_of(kp_column_kind kind) {
    static const char *const formats[] = {
        [KP_COLUMN_INT32] = "i", [KP_COLUMN_INT64] = "l",           [KP_COLUMN_FLOAT64] = "g", [KP_COLUMN_BOOL] = "b",
        [KP_COLUMN_UTF8] = "u",  [KP_COLUMN_TIMESTAMP] = "tsm:UTC", [KP_COLUMN_BINARY] = "z",  [KP_COLUMN_WORD] = "c",
        [KP_COLUMN_LIST] = "+l", [KP_COLUMN_STRUCT] = "+s",
    };
    return formats[kind];
}

static void schema_release(struct ArrowSchema *schema) {
    schema_node *node = schema->private_data;
    for (int64_t i = 0; i < schema->n_children; i++) {
        if (schema->children[i]->release) {
            schema->children[i]->release(schema->children[i]);
        }
    }
    if (node->dictionary.release) {
        node->dictionary.release(&node->dictionary);
    }
    kp_free(node);
    schema->release = NULL;
}

static schema_node *schema_node_new(const char *name, size_t children) {
    size_t name_size = strlen(name) + 1;
    size_t child_size = sizeof(struct ArrowSchema) + sizeof(struct ArrowSchema *);
    schema_node *node = kp_calloc(1, sizeof *node + children * child_size + name_size);
    if (node) {
        node->children = (struct ArrowSchema *)(void *)(node + 1);
        node->pointers = (struct ArrowSchema **)(void *)(node->children + children);
        node->name = (char *)(node->pointers + children);
        memcpy(node->name, name, name_size);
    }
    return node;
}

static kp_status export_field(const kp_field *field, struct ArrowSchema *out, kp_error *err) {
    static const kp_field words = {.name = "", .kind = KP_COLUMN_UTF8};
    kp_status st = KP_OK;
    schema_node *node = schema_node_new(field->name, field->child_count);
    if (!node) {
        return kp_error_nomem(err);
    }
    struct ArrowSchema schema = {
        .format = format_of(field->kind),
        .name = node->name,
        .flags = field->nullable ? ARROW_FLAG_NULLABLE : 0,
        .children = node->pointers,
        .release = schema_release,
        .private_data = node,
    };
    while (st == KP_OK && schema.n_children < (int64_t)field->child_count) {
        struct ArrowSchema *child = &node->children[schema.n_children];
        node->pointers[schema.n_children] = child;
        st = export_field(&field->children[schema.n_children++], child, err);
    }
    if (st == KP_OK && field->kind == KP_COLUMN_WORD) {
        schema.dictionary = &node->dictionary;
        st = export_field(&words, schema.dictionary, err);
    }
    if (st != KP_OK) {
        schema_release(&schema);
        return st;
    }
    *out = schema;
    return KP_OK;
}

kp_status kp_arrow_schema_export(const kp_table *table, struct ArrowSchema *out, kp_error *err) {
    kp_field row = {.name = "", .kind = KP_COLUMN_STRUCT, .children = table->fields, .child_count = table->field_count};
    return export_field(&row, out, err);
}

/* ---- array ---- */

typedef struct {
    kp_rows *rows; /* a reference */
    const void *buffers[3];
    struct ArrowArray dictionary;
    struct ArrowArray **pointers;
    struct ArrowArray *children;
} array_node;

static void array_release(struct ArrowArray *array) {
    array_node *node = array->private_data;
    for (int64_t i = 0; i < array->n_children; i++) {
        if (array->children[i]->release) {
            array->children[i]->release(array->children[i]);
        }
    }
    if (node->dictionary.release) {
        node->dictionary.release(&node->dictionary);
    }
    kp_rows_release(node->rows);
    kp_free(node);
    array->release = NULL;
}

static array_node *array_node_new(kp_rows *rows, size_t children) {
    size_t child_size = sizeof(struct ArrowArray) + sizeof(struct ArrowArray *);
    array_node *node = kp_calloc(1, sizeof *node + children * child_size);
    if (node) {
        node->rows = kp_rows_retain(rows);
        node->children = (struct ArrowArray *)(void *)(node + 1);
        node->pointers = (struct ArrowArray **)(void *)(node->children + children);
    }
    return node;
}

/* Readers may refuse a buffer that is not there, though no row needs it. */
static const void *data_of(const kp_buf *buf) {
    static const int64_t nothing = 0;
    return buf->data ? (const void *)buf->data : &nothing;
}

/* The number of buffers that the format lays down for this kind. */
static int64_t fill_buffers(const kp_column *column, const void **buffers) {
    buffers[0] = column->nulls ? column->valid.data : NULL;
    if (column->kind == KP_COLUMN_STRUCT) {
        return 1;
    }
    buffers[1] = data_of(&column->values);
    if (column->kind != KP_COLUMN_UTF8 && column->kind != KP_COLUMN_BINARY) {
        return 2;
    }
    buffers[2] = data_of(&column->bytes);
    return 3;
}

static kp_status export_column(kp_rows *rows, const kp_column *column, struct ArrowArray *out, kp_error *err) {
    kp_status st = KP_OK;
    size_t children = column->kind == KP_COLUMN_WORD ? 0 : column->child_count;
    array_node *node = array_node_new(rows, children);
    if (!node) {
        return kp_error_nomem(err);
    }
    struct ArrowArray array = {
        .length = column->length,
        .null_count = column->nulls,
        .n_buffers = fill_buffers(column, node->buffers),
        .buffers = node->buffers,
        .children = node->pointers,
        .release = array_release,
        .private_data = node,
    };
    while (st == KP_OK && array.n_children < (int64_t)children) {
        struct ArrowArray *child = &node->children[array.n_children];
        node->pointers[array.n_children] = child;
        st = export_column(rows, &column->children[array.n_children++], child, err);
    }
    if (st == KP_OK && column->kind == KP_COLUMN_WORD) {
        array.dictionary = &node->dictionary;
        st = export_column(rows, &column->children[0], array.dictionary, err);
    }
    if (st != KP_OK) {
        array_release(&array);
        return st;
    }
    *out = array;
    return KP_OK;
}

kp_status kp_arrow_rows_export(kp_rows *rows, struct ArrowArray *out, kp_error *err) {
    kp_column row = {
        .kind = KP_COLUMN_STRUCT, .length = rows->length, .children = rows->columns, .child_count = rows->column_count};
    return export_column(rows, &row, out, err);
}

/* ---- stream ---- */

typedef struct {
    kp_table *table; /* a reference */
    size_t next;
    kp_error err;
} stream_node;

static int code_of(kp_status st) {
    return st == KP_OK ? 0 : st == KP_NOMEM ? ENOMEM : EIO;
}

static int stream_schema(struct ArrowArrayStream *stream, struct ArrowSchema *out) {
    stream_node *node = stream->private_data;
    return code_of(kp_arrow_schema_export(node->table, out, &node->err));
}

static int stream_next(struct ArrowArrayStream *stream, struct ArrowArray *out) {
    stream_node *node = stream->private_data;
    if (node->next == node->table->batch_count) {
        memset(out, 0, sizeof *out); /* released: the end */
        return 0;
    }
    kp_status st = kp_arrow_rows_export(node->table->batches[node->next], out, &node->err);
    node->next += st == KP_OK;
    return code_of(st);
}

static const char *stream_error(struct ArrowArrayStream *stream) {
    stream_node *node = stream->private_data;
    return node->err.message[0] ? node->err.message : NULL;
}

static void stream_release(struct ArrowArrayStream *stream) {
    stream_node *node = stream->private_data;
    kp_table_release(node->table);
    kp_free(node);
    stream->release = NULL;
}

kp_status kp_arrow_stream_export(kp_table *table, struct ArrowArrayStream *out, kp_error *err) {
    stream_node *node = kp_calloc(1, sizeof *node);
    if (!node) {
        return kp_error_nomem(err);
    }
    node->table = kp_table_retain(table);
    *out = (struct ArrowArrayStream){stream_schema, stream_next, stream_error, stream_release, node};
    return KP_OK;
}
