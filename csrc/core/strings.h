/* Strings out of an Arrow column (https://arrow.apache.org/docs/format/CDataInterface.html), read where they lie: utf8,
 * binary, their large and their view forms, fixed-size binary, and null. One array, or the chunks of a stream.
 *
 * Owns what it was made from until kp_strings_free, which calls its release: the caller of that must be allowed to.
 * One thread at a time.
 */
#ifndef KP_CORE_STRINGS_H
#define KP_CORE_STRINGS_H

#include "core/arrow.h"

typedef struct kp_strings kp_strings;

/* Both structs are moved, also on failure. KP_REJECT for a column of another type. */
kp_status kp_strings_from_array(kp_strings **out, struct ArrowSchema *schema, struct ArrowArray *array,
                                kp_error *err) KP_MUST_CHECK;
/* Reads the stream to its end; the stream stays the caller's. */
kp_status kp_strings_from_stream(kp_strings **out, struct ArrowArrayStream *stream, kp_error *err) KP_MUST_CHECK;
void kp_strings_free(kp_strings *self); /* accepts NULL */

size_t kp_strings_count(const kp_strings *self);
kp_bytes kp_strings_at(kp_strings *self, size_t i); /* borrowed; data NULL: null. Fastest in order */

#endif
