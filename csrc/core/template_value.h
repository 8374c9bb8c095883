/* What template.c needs to know about names: how a value from data is made safe, and what a whole name may be. */
#ifndef KP_CORE_TEMPLATE_VALUE_H
#define KP_CORE_TEMPLATE_VALUE_H

#include "core/template.h"

/* Appends value as use has it, in a path most bytes of it (KP_TEMPLATE_NAME_MAX or less). On KP_REJECT *why (static
 * text) says what is wrong, and err is not set. */
kp_status kp_template_append_value(kp_template_use use, kp_bytes value, size_t most, kp_buf *out, const char **why,
                                   kp_error *err) KP_MUST_CHECK;

/* Whether a rendered name may be used; *why (static text) says what is wrong. */
bool kp_template_name_valid(kp_template_use use, kp_bytes name, const char **why);

bool kp_template_has_dot_segment(kp_bytes path);

/* Whether form has at least one of the letters, and no other behind a '%'. */
bool kp_template_time_valid(kp_bytes form);
kp_status kp_template_append_time(kp_bytes form, int64_t timestamp_ms, kp_buf *out, kp_error *err) KP_MUST_CHECK;

#endif
