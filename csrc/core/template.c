/* Name templates: compiling and rendering. See template.h; what makes a value safe is in template_value.c.
 *
 * A template is a list of pieces over one owned text, into which the literals (braces undoubled) and the arguments of
 * the placeholders are copied side by side.
 */
#include "core/template.h"

#include "core/json_scan.h"
#include "core/mem.h"
#include "core/template_value.h"

#include <string.h>

typedef enum { LITERAL, TOPIC, PARTITION, OFFSET, END, TIMESTAMP, KEY, FIELD } piece_kind;

typedef struct {
    piece_kind kind;
    kp_bytes text; /* borrowed from the template's text: a literal, the form of a timestamp, a field's dotted name */
    kp_bytes fallback; /* the same; data NULL: none */
    size_t field;      /* its place in fields */
} piece;

struct kp_template {
    kp_template_use use;
    char *text;    /* owned */
    piece *pieces; /* owned */
    size_t count;
    unsigned kinds; /* one bit a piece_kind that is there */
    kp_json_path fields[KP_TEMPLATE_FIELDS_MAX];
    size_t field_count;
};

static const struct {
    const char *name;
    piece_kind kind;
} placeholders[] = {
    {"topic", TOPIC}, {"partition", PARTITION}, {"offset", OFFSET}, {"end", END}, {"timestamp", TIMESTAMP},
    {"key", KEY},     {"field", FIELD},
};

/* ---- compiling ---- */

typedef struct {
    const char *at; /* next character of the template */
    char *to;       /* where the next literal or argument goes */
    const char *whole;
} reader;

static kp_status wrong(const reader *r, kp_error *err, const char *what, kp_bytes which) {
    return kp_error_set(err, KP_FATAL, "ECONFIG", "template \"%s\": %s \"%.*s\"", r->whole, what, (int)which.length,
                        which.data ? which.data : "");
}

static void add_piece(kp_template *self, piece_kind kind, kp_bytes text, kp_bytes fallback) {
    self->pieces[self->count++] = (piece){.kind = kind, .text = text, .fallback = fallback, .field = self->field_count};
    self->kinds |= 1u << kind;
}

static bool starts_placeholder(const char *at) {
    return at[0] == '{' && at[1] != '{';
}

static kp_status read_literal(kp_template *self, reader *r, kp_error *err) {
    const char *from = r->to;
    while (*r->at && !starts_placeholder(r->at)) {
        if (*r->at == '{' || *r->at == '}') {
            if (r->at[1] != r->at[0]) {
                return wrong(r, err, "a lone brace must be doubled at", kp_bytes_of(r->at));
            }
            r->at++;
        }
        *r->to++ = *r->at++;
    }
    add_piece(self, LITERAL, (kp_bytes){from, (size_t)(r->to - from)}, (kp_bytes){NULL, 0});
    return KP_OK;
}

static kp_status add_field(kp_template *self, const reader *r, kp_bytes name, kp_bytes fallback, kp_error *err) {
    if (self->field_count == KP_TEMPLATE_FIELDS_MAX) {
        return wrong(r, err, "too many fields at", name);
    }
    kp_status st = kp_json_path_init(&self->fields[self->field_count], name, err);
    if (st == KP_OK) {
        add_piece(self, FIELD, name, fallback);
        self->field_count++;
    } else {
        kp_error_prefix(err, "template \"%s\"", r->whole);
    }
    return st;
}

static kp_status add_placeholder(kp_template *self, const reader *r, piece_kind kind, kp_bytes argument,
                                 kp_bytes fallback, kp_error *err) {
    if (fallback.data && kind != FIELD && kind != KEY) {
        return wrong(r, err, "only {key} and {field} may have a default, not this one:", fallback);
    }
    if (kind == FIELD) {
        return add_field(self, r, argument, fallback, err);
    }
    if (kind == TIMESTAMP ? !kp_template_time_valid(argument) : argument.data != NULL) {
        return wrong(r, err, kind == TIMESTAMP ? "a timestamp has no such form as" : "there must be no argument",
                     argument);
    }
    add_piece(self, kind, argument, fallback);
    return KP_OK;
}

/* Cuts text at the first such character: what stands behind it, copied to where it lasts; data NULL when it is not
 * there. */
static kp_bytes cut_at(reader *r, kp_bytes *text, char character) {
    kp_bytes behind = {NULL, 0};
    const char *at = memchr(text->data, character, text->length);
    if (at) {
        behind = (kp_bytes){r->to, text->length - (size_t)(at - text->data) - 1};
        memcpy(r->to, at + 1, behind.length);
        r->to += behind.length;
        text->length = (size_t)(at - text->data);
    }
    return behind;
}

static kp_status read_placeholder(kp_template *self, reader *r, kp_error *err) {
    size_t length = strcspn(r->at + 1, "{}");
    kp_bytes inside = {r->at + 1, length};
    if (inside.data[length] != '}') {
        return wrong(r, err, "a lone brace must be doubled at", kp_bytes_of(r->at));
    }
    kp_bytes name = inside;
    kp_bytes fallback = cut_at(r, &name, '|');
    kp_bytes argument = cut_at(r, &name, ':');
    r->at = inside.data + length + 1;
    for (size_t i = 0; i < sizeof placeholders / sizeof *placeholders; i++) {
        const char *known = placeholders[i].name;
        if (strlen(known) == name.length && memcmp(known, name.data, name.length) == 0) {
            return add_placeholder(self, r, placeholders[i].kind, argument, fallback, err);
        }
    }
    return wrong(r, err, "unknown placeholder", inside);
}

static kp_status compile(kp_template *self, const char *text, kp_error *err) {
    reader r = {text, self->text, text};
    kp_status st = KP_OK;
    while (st == KP_OK && *r.at) {
        st = starts_placeholder(r.at) ? read_placeholder(self, &r, err) : read_literal(self, &r, err);
    }
    return st;
}

/* A value never is "." or ".." and has no '/', so a harmless record shows every segment that could lead elsewhere. */
static kp_status check_segments(const kp_template *self, const char *text, kp_error *err) {
    kp_buf path = {0};
    kp_status st;
    for (size_t i = 0; i < self->count; i++) {
        const piece *p = &self->pieces[i];
        if (p->kind == TIMESTAMP) {
            KP_TRY(kp_template_append_time(p->text, 0, &path, err));
        } else {
            kp_bytes shown = p->kind == LITERAL ? p->text : KP_BYTES_LITERAL("x");
            KP_TRY(kp_buf_append(&path, shown.data, shown.length, err));
        }
    }
    st = KP_OK;
    if (kp_template_has_dot_segment((kp_bytes){path.data, path.length})) {
        st =
            kp_error_set(err, KP_FATAL, "ECONFIG", "template \"%s\": a path must not have \".\" or \"..\" in it", text);
    }
done:
    kp_buf_deinit(&path);
    return st;
}

kp_status kp_template_new(kp_template **out, const char *text, kp_template_use use, kp_error *err) {
    size_t length = strlen(text);
    kp_status st = KP_NOMEM;
    kp_template *self = kp_calloc(1, sizeof *self);
    if (self) {
        self->use = use;
        self->text = kp_alloc(length + 1);
        self->pieces = kp_calloc(length + 1, sizeof *self->pieces);
    }
    if (!self || !self->text || !self->pieces) {
        st = kp_error_nomem(err);
        goto done;
    }
    KP_TRY(compile(self, text, err));
    if (use == KP_TEMPLATE_PATH) {
        KP_TRY(check_segments(self, text, err));
    }
    *out = self;
    self = NULL;
done:
    kp_template_free(self);
    return st;
}

void kp_template_free(kp_template *self) {
    if (self) {
        kp_free(self->text);
        kp_free(self->pieces);
        kp_free(self);
    }
}

bool kp_template_is_constant(const kp_template *self) {
    return (self->kinds & ~(1u << LITERAL)) == 0;
}

bool kp_template_has_end(const kp_template *self) {
    return (self->kinds & 1u << END) != 0;
}

bool kp_template_per_record(const kp_template *self) {
    return (self->kinds & (1u << TIMESTAMP | 1u << KEY | 1u << FIELD)) != 0;
}

kp_bytes kp_template_base(const kp_template *self) {
    kp_bytes first = {self->text, 0};
    if (self->count > 0 && self->pieces[0].kind == LITERAL) {
        first = self->pieces[0].text;
    }
    while (first.length > 0 && first.data[first.length - 1] != '/') {
        first.length--;
    }
    return first;
}

/* ---- rendering ---- */

static kp_status reject(kp_error *err, const char *name, kp_bytes argument, const char *why) {
    return kp_error_set(err, KP_REJECT, "ENAME", "{%s%s%.*s}: %s", name, argument.length ? ":" : "",
                        (int)argument.length, argument.length ? argument.data : "", why);
}

static kp_status append_safe(const kp_template *self, const char *name, kp_bytes argument, kp_bytes value, kp_buf *out,
                             kp_error *err) {
    const char *why = NULL;
    kp_status st = kp_template_append_value(self->use, value, KP_TEMPLATE_VALUE_MAX, out, &why, err);
    return st == KP_REJECT ? reject(err, name, argument, why) : st;
}

/* Not from data, so it may be as long as Kafka has it: up to 249 bytes. */
static kp_status append_topic(const kp_template *self, const kp_record *rec, kp_buf *out, kp_error *err) {
    const char *why = NULL;
    kp_bytes topic = kp_bytes_of(rec->topic);
    kp_status st = kp_template_append_value(self->use, topic, KP_TEMPLATE_NAME_MAX, out, &why, err);
    return st == KP_REJECT ? reject(err, "topic", (kp_bytes){NULL, 0}, why) : st;
}

static kp_status append_field(const kp_template *self, const piece *p, kp_json_span span, kp_buf *out, kp_error *err) {
    kp_buf text = {0};
    kp_bytes value = span.raw;
    kp_status st = KP_OK;
    if (p->fallback.data && (span.kind == KP_JSON_NONE || span.kind == KP_JSON_NULL)) {
        return append_safe(self, "field", p->text, p->fallback, out, err);
    }
    switch (span.kind) {
    case KP_JSON_NONE:
        return reject(err, "field", p->text, "the record has no such field");
    case KP_JSON_NULL:
    case KP_JSON_ARRAY:
    case KP_JSON_OBJECT:
        return reject(err, "field", p->text, "a string, a number, true or false is needed");
    case KP_JSON_STRING:
        value = (kp_bytes){span.raw.data + 1, span.raw.length - 2};
        if (span.escaped) {
            KP_TRY(kp_json_unescape(span, &text, err));
            value = (kp_bytes){text.data, text.length};
        }
        break;
    case KP_JSON_NUMBER:
    case KP_JSON_FALSE:
    case KP_JSON_TRUE:
        break;
    }
    KP_TRY(append_safe(self, "field", p->text, value, out, err));
done:
    kp_buf_deinit(&text);
    return st;
}

static kp_status find_fields(const kp_template *self, const kp_record *rec, kp_json_span *found, kp_error *err) {
    if (self->field_count == 0 || !rec->value.data) { /* a tombstone has no fields, which is not to be no JSON */
        return KP_OK;
    }
    kp_status st = kp_json_scan(rec->value, self->fields, self->field_count, found, NULL, err);
    if (st != KP_OK) {
        kp_error_prefix(err, "the record has no fields");
    }
    return st;
}

static kp_status append_timestamp(const piece *p, const kp_record *rec, kp_buf *out, kp_error *err) {
    if (rec->timestamp_ms < 0) {
        return reject(err, "timestamp", p->text, "the record has no timestamp");
    }
    return kp_template_append_time(p->text, rec->timestamp_ms, out, err);
}

static kp_status append_key(const kp_template *self, const piece *p, const kp_record *rec, kp_buf *out, kp_error *err) {
    const kp_bytes none = {NULL, 0};
    kp_bytes key = rec->key.data ? rec->key : p->fallback;
    if (!key.data) {
        return reject(err, "key", none, "the record has no key");
    }
    return append_safe(self, "key", none, key, out, err);
}

typedef struct {
    const kp_record *rec;
    int64_t offset;
    int64_t end;
    kp_json_span fields[KP_TEMPLATE_FIELDS_MAX];
} source;

static kp_status append_piece(const kp_template *self, const piece *p, const source *from, kp_buf *out, kp_error *err) {
    switch (p->kind) {
    case LITERAL:
        return kp_buf_append(out, p->text.data, p->text.length, err);
    case TOPIC:
        return append_topic(self, from->rec, out, err);
    case PARTITION:
        return kp_buf_append_int(out, from->rec->partition, err);
    case OFFSET:
        return kp_buf_append_int(out, from->offset, err);
    case END:
        return kp_buf_append_int(out, from->end, err);
    case TIMESTAMP:
        return append_timestamp(p, from->rec, out, err);
    case KEY:
        return append_key(self, p, from->rec, out, err);
    case FIELD:
        break;
    }
    return append_field(self, p, from->fields[p->field], out, err);
}

static kp_status check_name(const kp_template *self, kp_bytes name, kp_error *err) {
    const char *why = NULL;
    if (kp_template_name_valid(self->use, name, &why)) {
        return KP_OK;
    }
    return kp_error_set(err, KP_REJECT, "ENAME", "the name \"%.*s\" %s", (int)name.length, name.data, why);
}

kp_status kp_template_render(const kp_template *self, const kp_record *rec, int64_t offset, int64_t end, kp_buf *out,
                             kp_error *err) {
    source from = {.rec = rec, .offset = offset, .end = end};
    size_t before = out->length;
    kp_status st = find_fields(self, rec, from.fields, err);
    for (size_t i = 0; st == KP_OK && i < self->count; i++) {
        st = append_piece(self, &self->pieces[i], &from, out, err);
    }
    if (st == KP_OK) {
        st = check_name(self, (kp_bytes){out->data ? out->data + before : "", out->length - before}, err);
    }
    if (st != KP_OK) {
        out->length = before;
    }
    return st;
}
