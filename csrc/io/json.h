/* Small JSON documents that are ours or a server's reply: a thin, type-checked view over cJSON.
 *
 * Numbers are doubles: integers are exact up to 2^53, and a getter refuses what is not a whole number in range. Never
 * for payloads (see core/json_scan.h). A document belongs to one thread.
 */
#ifndef KP_IO_JSON_H
#define KP_IO_JSON_H

#include "core/buf.h"

#include <stdbool.h>

typedef struct kp_json kp_json; /* a value inside a document; borrowed from it */

kp_status kp_json_parse(const kp_json **out, kp_bytes text, const char *what,
                        kp_error *err) KP_MUST_CHECK; /* the root, owned: kp_json_free */
void kp_json_free(const kp_json *root);

/* Lenient readers, for replies of servers: NULL or the fallback when the value is absent or of another type. */
const kp_json *kp_json_get(const kp_json *object, const char *key); /* NULL object gives NULL */
const kp_json *kp_json_first(const kp_json *array_or_object);       /* first child */
const kp_json *kp_json_next(const kp_json *child);
size_t kp_json_count(const kp_json *array);
const char *kp_json_key(const kp_json *child);                        /* name of an object's member */
const char *kp_json_text(const kp_json *value, const char *fallback); /* borrowed */
int64_t kp_json_int(const kp_json *value, int64_t fallback);
bool kp_json_bool(const kp_json *value, bool fallback);
bool kp_json_is_object(const kp_json *value);
bool kp_json_is_array(const kp_json *value);

/* Demanding readers, for our own configuration: a missing key or a wrong type is KP_FATAL and names the key. */
kp_status kp_json_need_text(const kp_json *object, const char *key, const char **out, kp_error *err) KP_MUST_CHECK;
kp_status kp_json_need_int(const kp_json *object, const char *key, int64_t *out, kp_error *err) KP_MUST_CHECK;
kp_status kp_json_need_bool(const kp_json *object, const char *key, bool *out, kp_error *err) KP_MUST_CHECK;
kp_status kp_json_need(const kp_json *object, const char *key, const kp_json **out, kp_error *err) KP_MUST_CHECK;

const char *kp_json_version(void);

#endif
