/* Name templates: "/data/color-{partition}-{offset}.log" and index names, compiled once, rendered per record or file.
 *
 * Placeholders: {topic} {partition} {offset} {end} {timestamp:STRFTIME} {key} {field:a.b}; "{{" and "}}" are braces.
 * {key|text} and {field:a.b|text} give text where the record has no key, or no such field or null in it.
 * {timestamp} is the record's, in UTC, strftime of the letters Y m d H M S j only. Offsets are plain decimals. A field
 * is a string, a number, true or false of the record's JSON value. Any thread; a template never changes once made.
 */
#ifndef KP_CORE_TEMPLATE_H
#define KP_CORE_TEMPLATE_H

#include "core/record.h"

#include <stdbool.h>

enum { KP_TEMPLATE_VALUE_MAX = 200, KP_TEMPLATE_NAME_MAX = 255, KP_TEMPLATE_FIELDS_MAX = 8 };

typedef struct kp_template kp_template;

/* How a value that comes from data is made safe where it is put. KP_REJECT is about that record only. */
typedef enum {
    /* Part of one path segment. Encoded as %XX: control characters, bytes that are no UTF-8, a leading '.' or '_', and
       what Hive encodes in partition names or a shell takes for a pattern: / % : " # ' * = ? \ ^ [ ] { }
       KP_REJECT: an empty value, a value of more than KP_TEMPLATE_VALUE_MAX bytes when encoded, a segment of more than
       KP_TEMPLATE_NAME_MAX. */
    KP_TEMPLATE_PATH,
    /* An Elasticsearch index name. ASCII letters are lower-cased. KP_REJECT: a character that the name must not have
       (control characters, what is no UTF-8, a space, \ / * ? " < > | , # :), a first character that it must not have
       (- _ +), "." and "..", an empty name, one of more than KP_TEMPLATE_NAME_MAX bytes. */
    KP_TEMPLATE_INDEX,
    KP_TEMPLATE_RAW,
} kp_template_use;

/* *out: owned; kp_template_free. KP_FATAL when text is no template, or a path with a "." or ".." segment. */
kp_status kp_template_new(kp_template **out, const char *text, kp_template_use use, kp_error *err) KP_MUST_CHECK;
void kp_template_free(kp_template *self); /* accepts NULL */

bool kp_template_is_constant(const kp_template *self);
bool kp_template_has_end(const kp_template *self);    /* needs the file's end offset, known only when it is sealed */
bool kp_template_per_record(const kp_template *self); /* names timestamp, key or a field: differs by record */

/* Appends the rendered text; out is as before when it fails. rec gives topic, partition, timestamp, key and value;
 * offset and end are the file's. KP_REJECT when the record lacks what is named (a field that is missing, no timestamp,
 * no key, a value that is no JSON) or holds what may not stand there: a dead letter. */
kp_status kp_template_render(const kp_template *self, const kp_record *rec, int64_t offset, int64_t end, kp_buf *out,
                             kp_error *err) KP_MUST_CHECK;

/* The part before the first placeholder, up to and with its last '/': the folder that nothing leaves. Borrowed. */
kp_bytes kp_template_base(const kp_template *self);

#endif
