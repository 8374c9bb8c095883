/* One record as lines of a _bulk body: see elasticsearch_document.h. */
#include "sinks/elasticsearch_document.h"

#include "core/mem.h"
#include "core/template_value.h"
#include "core/utf8.h"

#include <string.h>

enum { ID_BYTES_MAX = 512 }; /* the server refuses the whole request for a longer one */

/* ---- the value ---- */

static kp_status check_value(const elastic_document *self, const kp_record *rec, bool *has_timestamp, kp_error *err) {
    kp_json_kind kind;
    kp_json_span timestamp = {0};
    kp_status st = kp_json_scan(rec->value, &self->timestamp_path, self->timestamp, &timestamp, &kind, err);
    if (st != KP_OK) {
        kp_error_prefix(err, "elasticsearch: the value is no JSON");
    } else if (kind != KP_JSON_OBJECT) {
        st = kp_error_set(err, KP_REJECT, "ENOOBJECT", "elasticsearch: the value is JSON, but no object");
    }
    *has_timestamp = timestamp.kind != KP_JSON_NONE;
    return st;
}

static kp_status append_one_line(kp_bytes value, kp_buf *body, kp_error *err) {
    kp_status st = kp_buf_reserve(body, value.length, err);
    if (st != KP_OK) {
        return st;
    }
    char *at = body->data + body->length;
    st = kp_buf_append(body, value.data, value.length, err);
    for (char *end = at + value.length; at < end && (at = memchr(at, '\n', (size_t)(end - at))); at++) {
        *at = ' ';
    }
    return st;
}

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The object, with the record's time as its first member. */
static kp_status append_with_timestamp(const kp_record *rec, kp_buf *body, kp_error *err) {
    kp_status st;
    size_t brace = 0;
    if (rec->timestamp_ms < 0) {
        return kp_error_set(err, KP_REJECT, "ENOTIME",
                            "elasticsearch: a data stream wants @timestamp, and the record has no time");
    }
    while (rec->value.data[brace] != '{') {
        brace++;
    }
    size_t rest = brace + 1;
    while (is_space(rec->value.data[rest])) {
        rest++;
    }
    KP_TRY(kp_buf_append_text(body, "{\"@timestamp\":\"", err));
    KP_TRY(kp_template_append_time(KP_BYTES_LITERAL("%Y-%m-%dT%H:%M:%S"), rec->timestamp_ms, body, err));
    KP_TRY(kp_buf_printf(body, err, ".%03dZ\"%s", (int)(rec->timestamp_ms % 1000),
                         rec->value.data[rest] == '}' ? "" : ","));
    KP_TRY(append_one_line((kp_bytes){rec->value.data + rest, rec->value.length - rest}, body, err));
done:
    return st;
}

static kp_status append_source(const elastic_document *self, const kp_record *rec, bool has_timestamp, kp_buf *body,
                               kp_error *err) {
    kp_status st;
    bool update = self->operation == ELASTIC_UPDATE || self->operation == ELASTIC_UPSERT;
    if (update) {
        KP_TRY(kp_buf_append_text(body, "{\"doc\":", err));
    }
    if (self->timestamp && !has_timestamp) {
        KP_TRY(append_with_timestamp(rec, body, err));
    } else {
        KP_TRY(append_one_line(rec->value, body, err));
    }
    if (update) {
        KP_TRY(kp_buf_append_text(body, self->operation == ELASTIC_UPSERT ? ",\"doc_as_upsert\":true}" : "}", err));
    }
    KP_TRY(kp_buf_append(body, "\n", 1, err));
done:
    return st;
}

/* ---- the action ---- */

static kp_status append_index(elastic_document *self, const kp_record *rec, kp_buf *body, kp_error *err) {
    kp_status st;
    if (self->constant_index.length) {
        return kp_buf_append(body, self->constant_index.data, self->constant_index.length, err);
    }
    kp_buf_reset(&self->scratch);
    KP_TRY(kp_template_render(self->index, rec, rec->offset, rec->offset, &self->scratch, err));
    KP_TRY(kp_buf_append_json_string(body, (kp_bytes){self->scratch.data, self->scratch.length}, err));
done:
    return st;
}

/* A topic's name needs no escaping: Kafka allows letters, digits, '.', '_' and '-'. */
static kp_status append_coordinates(const kp_record *rec, kp_buf *body, kp_error *err) {
    kp_status st;
    KP_TRY(kp_buf_append_text(body, ",\"_id\":\"", err));
    KP_TRY(kp_buf_append_text(body, rec->topic, err));
    KP_TRY(kp_buf_append(body, "+", 1, err));
    KP_TRY(kp_buf_append_int(body, rec->partition, err));
    KP_TRY(kp_buf_append(body, "+", 1, err));
    KP_TRY(kp_buf_append_int(body, rec->offset, err));
    KP_TRY(kp_buf_append(body, "\"", 1, err));
done:
    return st;
}

/* Two keys that are no text would become one id if they were made text. */
static const char *why_no_name(kp_bytes name, size_t most) {
    if (name.length == 0) {
        return "is empty";
    }
    if (name.length > most) {
        return "is longer than 512 bytes";
    }
    for (size_t i = 0; i < name.length;) {
        size_t length = kp_utf8_length((const unsigned char *)name.data + i, name.length - i);
        if (length == 0 && (unsigned char)name.data[i] >= 0x80) {
            return "is no UTF-8";
        }
        i += length ? length : 1;
    }
    return NULL;
}

/* A member of the action line whose value comes from the record: `what` is the name that people know it by. */
static kp_status append_named(elastic_document *self, const kp_template *template, const char *member, const char *what,
                              const kp_record *rec, kp_buf *body, kp_error *err) {
    kp_status st;
    kp_buf_reset(&self->scratch);
    KP_TRY(kp_template_render(template, rec, rec->offset, rec->offset, &self->scratch, err));
    kp_bytes name = {self->scratch.data, self->scratch.length};
    const char *why = why_no_name(name, ID_BYTES_MAX);
    if (why) {
        st = kp_error_set(err, KP_REJECT, "ENAME", "the %s %s", what, why);
        goto done;
    }
    KP_TRY(kp_buf_append_text(body, member, err));
    KP_TRY(kp_buf_append_json_string(body, name, err));
done:
    return st;
}

static const char *action_name(const elastic_document *self, bool tombstone) {
    static const char *const names[] = {
        [ELASTIC_CREATE] = "{\"create\":{\"_index\":",
        [ELASTIC_INDEX] = "{\"index\":{\"_index\":",
        [ELASTIC_UPDATE] = "{\"update\":{\"_index\":",
        [ELASTIC_UPSERT] = "{\"update\":{\"_index\":",
    };
    return tombstone ? "{\"delete\":{\"_index\":" : names[self->operation];
}

static kp_status append_action(elastic_document *self, const kp_record *rec, kp_buf *body, kp_error *err) {
    kp_status st;
    bool tombstone = !rec->value.data;
    KP_TRY(kp_buf_append_text(body, action_name(self, tombstone), err));
    KP_TRY(append_index(self, rec, body, err));
    if (self->coordinates) {
        KP_TRY(append_coordinates(rec, body, err));
    } else if (self->id) {
        KP_TRY(append_named(self, self->id, ",\"_id\":", "document's id", rec, body, err));
    }
    if (self->routing) {
        KP_TRY(append_named(self, self->routing, ",\"routing\":", "routing", rec, body, err));
    }
    if (self->offset_version) {
        KP_TRY(kp_buf_append_text(body, ",\"version_type\":\"external\",\"version\":", err));
        KP_TRY(kp_buf_append_int(body, rec->offset, err));
    }
    if (!tombstone && (self->operation == ELASTIC_UPDATE || self->operation == ELASTIC_UPSERT)) {
        KP_TRY(kp_buf_append_text(body, ",\"retry_on_conflict\":3", err));
    }
    KP_TRY(kp_buf_append_text(body, "}}\n", err));
done:
    return st;
}

static kp_status append_tombstone(elastic_document *self, const kp_record *rec, kp_buf *body, kp_error *err) {
    switch (self->tombstone) {
    case ELASTIC_TOMBSTONE_IGNORE:
        return KP_OK;
    case ELASTIC_TOMBSTONE_DELETE:
        return append_action(self, rec, body, err);
    case ELASTIC_TOMBSTONE_REJECT:
        break;
    }
    return kp_error_set(err, KP_REJECT, "ENULL", "elasticsearch: a record without a value is no document");
}

kp_status elastic_document_append(elastic_document *self, const kp_record *rec, kp_buf *body, kp_error *err) {
    kp_status st;
    bool has_timestamp;
    size_t start = body->length;
    if (!rec->value.data) {
        st = append_tombstone(self, rec, body, err);
        goto done;
    }
    KP_TRY(check_value(self, rec, &has_timestamp, err));
    KP_TRY(append_action(self, rec, body, err));
    KP_TRY(append_source(self, rec, has_timestamp, body, err));
done:
    if (st != KP_OK) {
        body->length = start;
    }
    return st;
}

/* ---- configuration ---- */

/* *out: the place of text among words. */
static kp_status read_word(const kp_json *config, const char *key, const char *const *words, size_t count, int *out,
                           kp_error *err) {
    const char *text;
    kp_status st = kp_json_need_text(config, key, &text, err);
    for (size_t i = 0; st == KP_OK && i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = (int)i;
            return KP_OK;
        }
    }
    return st == KP_OK ? kp_error_set(err, KP_FATAL, "ECONFIG", "elasticsearch: unknown %s %s", key, text) : st;
}

#define READ_WORD(config, key, out, err, ...)                                                                          \
    read_word(config, key, (const char *const[]){__VA_ARGS__},                                                         \
              sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), out, err)

static kp_status read_index(elastic_document *self, const kp_json *config, kp_error *err) {
    kp_status st;
    const char *index;
    const kp_record nothing = {.topic = "", .timestamp_ms = -1};
    KP_TRY(kp_json_need_text(config, "index", &index, err));
    KP_TRY(kp_template_new(&self->index, index, KP_TEMPLATE_INDEX, err));
    if (kp_template_is_constant(self->index)) {
        KP_TRY(kp_template_render(self->index, &nothing, 0, 0, &self->scratch, err));
        KP_TRY(kp_buf_append_json_string(&self->constant_index, (kp_bytes){self->scratch.data, self->scratch.length},
                                         err));
    }
done:
    return st;
}

/* NULL when the document has null there. */
static kp_status read_template(kp_template **out, const kp_json *config, const char *key, kp_error *err) {
    const kp_json *value;
    kp_status st = kp_json_need(config, key, &value, err);
    const char *text = kp_json_text(value, NULL);
    return st == KP_OK && text ? kp_template_new(out, text, KP_TEMPLATE_RAW, err) : st;
}

kp_status elastic_document_init(elastic_document *self, const kp_json *config, kp_error *err) {
    kp_status st;
    int operation;
    int tombstone;
    int id;
    memset(self, 0, sizeof *self);
    KP_TRY(READ_WORD(config, "operation", &operation, err, "create", "index", "update", "upsert"));
    KP_TRY(READ_WORD(config, "tombstone", &tombstone, err, "reject", "ignore", "delete"));
    KP_TRY(READ_WORD(config, "id", &id, err, "coordinates", "auto", "template"));
    KP_TRY(read_index(self, config, err));
    KP_TRY(read_template(&self->id, config, "id_template", err));
    KP_TRY(read_template(&self->routing, config, "routing", err));
    KP_TRY(kp_json_need_bool(config, "version_offset", &self->offset_version, err));
    KP_TRY(kp_json_need_bool(config, "data_stream", &self->timestamp, err));
    KP_TRY(kp_json_path_init(&self->timestamp_path, KP_BYTES_LITERAL("@timestamp"), err));
    self->operation = (elastic_operation)operation;
    self->tombstone = (elastic_tombstone)tombstone;
    self->coordinates = id == 0;
done:
    return st;
}

void elastic_document_deinit(elastic_document *self) {
    kp_template_free(self->index);
    kp_template_free(self->id);
    kp_template_free(self->routing);
    kp_buf_deinit(&self->constant_index);
    kp_buf_deinit(&self->scratch);
}
