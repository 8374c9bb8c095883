/* Strict JSON scanner: RFC 8259, UTF-8 checked, depth bounded, length-delimited input, one pass, no allocation.
 *
 * It says whether bytes are one valid JSON text and where the named fields lie; it builds no tree and changes no byte.
 * Stricter than the grammar in three points that the RFC leaves open, because readers further down refuse or mangle
 * such texts: no byte order mark, no escaped half of a surrogate pair ("\ud800"), at most 512 levels. Numbers may be
 * of any size ("1e400"). Any thread; no state.
 */
#ifndef KP_CORE_JSON_SCAN_H
#define KP_CORE_JSON_SCAN_H

#include "core/buf.h"

#include <stdbool.h>

enum { KP_JSON_DEPTH_MAX = 512, KP_JSON_PATH_MAX = 8, KP_JSON_PATHS_MAX = 64 };

#define KP_JSON_INVALID "INVALID_JSON" /* the code of an error about the text */

typedef enum {
    KP_JSON_NONE = 0, /* not there */
    KP_JSON_NULL,
    KP_JSON_FALSE,
    KP_JSON_TRUE,
    KP_JSON_NUMBER,
    KP_JSON_STRING,
    KP_JSON_ARRAY,
    KP_JSON_OBJECT,
} kp_json_kind;

typedef struct {
    kp_json_kind kind;
    bool escaped; /* a string that has a backslash in it */
    kp_bytes raw; /* borrowed from the input: the value's exact bytes, a string with its quotes */
} kp_json_span;

/* A dotted path, compiled once: "user.id" has two steps. It leads through objects only, never into an array. */
typedef struct {
    kp_bytes steps[KP_JSON_PATH_MAX]; /* borrowed from the text it was compiled from */
    size_t count;
} kp_json_path;

/* KP_FATAL when dotted has an empty step or more than KP_JSON_PATH_MAX. */
kp_status kp_json_path_init(kp_json_path *path, kp_bytes dotted, kp_error *err) KP_MUST_CHECK;

/* Scans text as one JSON value with white space around it. found[i] is set for paths[i], of which there are at most
 * KP_JSON_PATHS_MAX: KP_JSON_NONE when absent; the last of duplicate keys wins, as everywhere. kind_out may be NULL.
 * KP_REJECT with position and reason when invalid: nothing in found may be used then. */
kp_status kp_json_scan(kp_bytes text, const kp_json_path *paths, size_t path_count, kp_json_span *found,
                       kp_json_kind *kind_out, kp_error *err) KP_MUST_CHECK;

/* Scans the one value that starts at text.data[*at] (leading white space is skipped); *at ends right behind it. When
 * invalid, *at stays where it was. */
kp_status kp_json_scan_value(kp_bytes text, size_t *at, kp_json_span *value, kp_error *err) KP_MUST_CHECK;

/* Appends the text of a string span that was found in a valid text, unescaped, without its quotes. */
kp_status kp_json_unescape(kp_json_span string, kp_buf *out, kp_error *err) KP_MUST_CHECK;

/* Whether the inside of a valid JSON string (without its quotes) means this text. */
bool kp_json_text_equals(kp_bytes inside, kp_bytes plain);

/* Length of the escape that text, a backslash, starts with, and the character it stands for; two escapes of a surrogate
 * pair are one. 0 when it is none: *code is then the surrogate that has no other half, or -1. */
size_t kp_json_escape(kp_bytes text, int32_t *code);

/* Goes through a request body that is one object, an array of objects, or NDJSON (objects, one a line; blank lines are
 * skipped, lines may end in CRLF). Calls on_event with each event's exact bytes, without white space around it; for
 * what is no JSON object problem is set and event is the bytes at fault. index counts events and problems together.
 *
 * One bad line of NDJSON or one element of another type is one problem, and the others go on; where an array breaks,
 * its rest is one problem; so is an empty body. A body that is not one value counts as NDJSON, unless its first line
 * ends in the middle of a value (in one of "{[,:"): then it is one broken object laid out over several lines.
 * Positions in messages count from the event's first byte, in an array from the body's.
 * Stops when on_event answers false (KP_OK), or behind max_events (KP_REJECT, code TOO_MANY_EVENTS). */
typedef bool (*kp_json_on_event)(void *ctx, size_t index, kp_bytes event, const kp_error *problem);
kp_status kp_json_split_events(kp_bytes body, size_t max_events, kp_json_on_event on_event, void *ctx,
                               kp_error *err) KP_MUST_CHECK;

#endif
