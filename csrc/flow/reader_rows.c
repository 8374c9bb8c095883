/* Records into rows of Arrow columns: see reader.h. Nothing is copied that no column asks for. */
#include "flow/reader_parts.h"

#include "core/json_column.h"
#include "core/mem.h"
#include "core/utf8.h"

#include <string.h>

enum { CREATE_TIME, LOG_APPEND_TIME, TIMESTAMP_TYPES };

static const char *const timestamp_types[TIMESTAMP_TYPES] = {"CreateTime", "LogAppendTime"};

static const kp_field header_fields[] = {
    {.name = "key", .kind = KP_COLUMN_UTF8},
    {.name = "value", .kind = KP_COLUMN_BINARY, .nullable = true},
};
static const kp_field header_item = {
    .name = "item", .kind = KP_COLUMN_STRUCT, .children = header_fields, .child_count = 2};

static const kp_field source_fields[KP_READ_JSON] = {
    [KP_READ_TOPIC] = {.name = "topic", .kind = KP_COLUMN_WORD, .word_count = 1},
    [KP_READ_PARTITION] = {.name = "partition", .kind = KP_COLUMN_INT32},
    [KP_READ_OFFSET] = {.name = "offset", .kind = KP_COLUMN_INT64},
    [KP_READ_TIMESTAMP] = {.name = "timestamp", .kind = KP_COLUMN_TIMESTAMP, .nullable = true},
    [KP_READ_TIMESTAMP_TYPE] = {.name = "timestamp_type",
                                .kind = KP_COLUMN_WORD,
                                .nullable = true,
                                .words = timestamp_types,
                                .word_count = TIMESTAMP_TYPES},
    [KP_READ_KEY] = {.name = "key", .kind = KP_COLUMN_BINARY, .nullable = true},
    [KP_READ_VALUE] = {.name = "value", .kind = KP_COLUMN_BINARY, .nullable = true},
    [KP_READ_HEADERS] = {.name = "headers", .kind = KP_COLUMN_LIST, .children = &header_item, .child_count = 1},
};

const char *kp_read_source_name(kp_read_source source) {
    return source < KP_READ_JSON ? source_fields[source].name : "";
}

/* ---- appending ---- */

static kp_status append_bytes_or_null(kp_column *column, const void *data, size_t length, kp_error *err) {
    return data ? kp_column_append_bytes(column, (kp_bytes){data, length}, err) : kp_column_append_null(column, err);
}

static kp_status append_timestamp(kp_column *column, const rd_kafka_message_t *message, kp_error *err) {
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(message, &type);
    if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE) {
        return kp_column_append_null(column, err);
    }
    if (column->kind == KP_COLUMN_WORD) {
        timestamp = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME ? LOG_APPEND_TIME : CREATE_TIME;
    }
    return kp_column_append_int(column, timestamp, err);
}

/* Arrow's texts are UTF-8, a header's name should be. */
static kp_status append_name(kp_column *column, const char *name, kp_buf *scratch, kp_error *err) {
    kp_status st = KP_OK;
    size_t left = strlen(name);
    kp_buf_reset(scratch);
    while (st == KP_OK && left > 0) {
        size_t length = (unsigned char)*name < 0x80 ? 1 : kp_utf8_length((const unsigned char *)name, left);
        st = length > 0 ? kp_buf_append(scratch, name, length, err) : kp_buf_append_text(scratch, "\xEF\xBF\xBD", err);
        length += length == 0;
        name += length;
        left -= length;
    }
    return st == KP_OK ? kp_column_append_bytes(column, (kp_bytes){scratch->data, scratch->length}, err) : st;
}

static kp_status append_headers(kp_reader_maker *maker, kp_column *column, const rd_kafka_message_t *message,
                                size_t *bytes, kp_error *err) {
    kp_status st;
    rd_kafka_headers_t *headers = NULL;
    kp_column *item = &column->children[0];
    const char *name;
    const void *value;
    size_t length;
    if (rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &length) == 0; i++) {
            KP_TRY(append_name(&item->children[0], name, &maker->scratch, err));
            KP_TRY(append_bytes_or_null(&item->children[1], value, length, err));
            kp_column_end_struct(item);
            *bytes += strlen(name) + length;
        }
    }
    st = kp_column_end_list(column, err);
done:
    return st;
}

static kp_status append_source(kp_reader_maker *maker, kp_read_source source, kp_column *column,
                               const rd_kafka_message_t *message, size_t *bytes, kp_error *err) {
    switch (source) {
    case KP_READ_TOPIC:
        return kp_column_append_int(column, 0, err);
    case KP_READ_PARTITION:
        return kp_column_append_int(column, message->partition, err);
    case KP_READ_OFFSET:
        return kp_column_append_int(column, message->offset, err);
    case KP_READ_TIMESTAMP:
    case KP_READ_TIMESTAMP_TYPE:
        return append_timestamp(column, message, err);
    case KP_READ_KEY:
        *bytes += message->key_len;
        return append_bytes_or_null(column, message->key, message->key_len, err);
    case KP_READ_VALUE:
        *bytes += message->len;
        return append_bytes_or_null(column, message->payload, message->len, err);
    default:
        return append_headers(maker, column, message, bytes, err);
    }
}

static void find_fields(const kp_reader_maker *maker, const rd_kafka_message_t *message, kp_json_span *found) {
    kp_bytes value = {message->payload, message->len};
    if (!value.data || kp_json_scan(value, maker->paths, maker->path_count, found, NULL, NULL) != KP_OK) {
        memset(found, 0, maker->path_count * sizeof *found);
    }
}

kp_status kp_reader_maker_append(kp_reader_maker *maker, kp_rows *rows, const rd_kafka_message_t *message,
                                 size_t *bytes, kp_error *err) {
    kp_status st = KP_OK;
    kp_json_span found[KP_JSON_PATHS_MAX];
    size_t field = 0;
    if (maker->path_count > 0) {
        find_fields(maker, message, found);
    }
    for (size_t i = 0; i < maker->column_count; i++) {
        kp_column *column = &rows->columns[i];
        if (maker->columns[i].source == KP_READ_JSON) {
            *bytes += found[field].raw.length;
            KP_TRY(kp_column_append_json(column, found[field++], &maker->scratch, err));
        } else {
            KP_TRY(append_source(maker, maker->columns[i].source, column, message, bytes, err));
        }
    }
    rows->length++;
done:
    return st;
}

/* ---- the columns that are asked for ---- */

static kp_status add_path(kp_reader_maker *maker, const char *name, kp_error *err) {
    if (maker->path_count == KP_JSON_PATHS_MAX) {
        return kp_error_set(err, KP_REJECT, "TOO_MANY_FIELDS", "parse_json names more than %d fields",
                            KP_JSON_PATHS_MAX);
    }
    kp_status st = kp_json_path_init(&maker->paths[maker->path_count++], kp_bytes_of(name), err);
    if (st != KP_OK) {
        err->status = KP_REJECT;
        kp_error_prefix(err, "parse_json");
    }
    return st == KP_OK ? KP_OK : KP_REJECT;
}

static kp_status name_columns(kp_reader_maker *maker, const kp_table *table, kp_error *err) {
    kp_status st = KP_OK;
    for (size_t i = 0; i < maker->column_count; i++) {
        maker->columns[i].name = table->fields[i].name;
        if (maker->columns[i].source == KP_READ_JSON) {
            KP_TRY(add_path(maker, maker->columns[i].name, err));
        }
    }
done:
    return st;
}

kp_status kp_reader_maker_init(kp_reader_maker *maker, const kp_read_config *config, kp_table **table, kp_error *err) {
    kp_status st;
    kp_field *fields = kp_calloc(config->column_count, sizeof *fields);
    maker->columns = kp_calloc(config->column_count, sizeof *maker->columns);
    if (!fields || !maker->columns) {
        kp_free(fields);
        return kp_error_nomem(err);
    }
    maker->column_count = config->column_count;
    for (size_t i = 0; i < config->column_count; i++) {
        const kp_read_column *column = &config->columns[i];
        maker->columns[i] = *column;
        fields[i] = column->source == KP_READ_JSON
                        ? (kp_field){.name = column->name, .kind = column->kind, .nullable = true}
                        : source_fields[column->source];
        if (column->source == KP_READ_TOPIC) {
            fields[i].words = &config->topic;
        }
    }
    KP_TRY(kp_table_new(table, fields, config->column_count, err));
    st = name_columns(maker, *table, err);
done:
    kp_free(fields);
    return st;
}

void kp_reader_maker_deinit(kp_reader_maker *maker) {
    kp_free(maker->columns);
    kp_buf_deinit(&maker->scratch);
}
