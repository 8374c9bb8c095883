/* Splits a request body into events: one object, an array of objects, or NDJSON. See json_scan.h for the rules. */
#include "core/json_scan.h"

#include <stdint.h>
#include <string.h>

typedef struct {
    kp_bytes body;
    size_t max_events;
    size_t count; /* events and problems reported so far */
    kp_json_on_event on_event;
    void *ctx;
} splitter;

static bool is_space(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static kp_bytes trim(kp_bytes text) {
    while (text.length > 0 && is_space(text.data[0])) {
        text.data++;
        text.length--;
    }
    while (text.length > 0 && is_space(text.data[text.length - 1])) {
        text.length--;
    }
    return text;
}

/* KP_CLOSED: on_event wants no more. */
static kp_status report(splitter *s, kp_bytes event, const kp_error *problem, kp_error *err) {
    if (s->count == s->max_events) {
        return kp_error_set(err, KP_REJECT, "TOO_MANY_EVENTS", "more than %zu events in one body", s->max_events);
    }
    return s->on_event(s->ctx, s->count++, event, problem) ? KP_OK : KP_CLOSED;
}

static kp_status report_problem(splitter *s, kp_bytes event, kp_error *err, const char *why, const char *detail) {
    kp_error problem;
    kp_error_init(&problem);
    kp_error_set(&problem, KP_REJECT, KP_JSON_INVALID, "%s%s", why, detail);
    return report(s, event, &problem, err);
}

static kp_status report_value(splitter *s, kp_json_kind kind, kp_bytes event, kp_error *err) {
    static const char *const names[] = {"nothing",  "null",     "false",    "true",
                                        "a number", "a string", "an array", "an object"};
    if (kind == KP_JSON_OBJECT) {
        return report(s, event, NULL, err);
    }
    return report_problem(s, event, err, "an event must be a JSON object, not ", names[kind]);
}

static kp_status split_line(splitter *s, kp_bytes line, kp_error *err) {
    kp_error problem;
    kp_json_kind kind;
    kp_error_init(&problem);
    if (kp_json_scan(line, NULL, 0, NULL, &kind, &problem) != KP_OK) {
        return report(s, line, &problem, err);
    }
    return report_value(s, kind, line, err);
}

static kp_status split_lines(splitter *s, kp_error *err) {
    const char *at = s->body.data;
    const char *end = at + s->body.length;
    kp_status st = KP_OK;
    while (st == KP_OK && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;
        kp_bytes line = trim((kp_bytes){at, (size_t)(stop - at)});
        if (line.length > 0) {
            st = split_line(s, line, err);
        }
        at = newline ? newline + 1 : end;
    }
    return st;
}

static size_t skip_space(const splitter *s, size_t at) {
    while (at < s->body.length && is_space(s->body.data[at])) {
        at++;
    }
    return at;
}

static char peek(const splitter *s, size_t at) {
    return at < s->body.length ? s->body.data[at] : '\0';
}

static kp_bytes rest_of(const splitter *s, size_t at) {
    return trim((kp_bytes){s->body.data + at, s->body.length - at});
}

/* Only white space may follow the bracket. */
static kp_status end_array(splitter *s, size_t at, kp_error *err) {
    kp_bytes rest = rest_of(s, at);
    if (rest.length == 0) {
        return KP_OK;
    }
    return report_problem(s, rest, err, "there is more behind the array of events", "");
}

/* at is behind the opening bracket. */
static kp_status split_array(splitter *s, size_t at, kp_error *err) {
    at = skip_space(s, at);
    if (peek(s, at) == ']') {
        return end_array(s, at + 1, err);
    }
    for (;;) {
        kp_json_span value;
        kp_error problem;
        kp_error_init(&problem);
        if (kp_json_scan_value(s->body, &at, &value, &problem) != KP_OK) {
            return report(s, rest_of(s, at), &problem, err);
        }
        kp_status st = report_value(s, value.kind, value.raw, err);
        if (st != KP_OK) {
            return st;
        }
        at = skip_space(s, at);
        if (peek(s, at) == ']') {
            return end_array(s, at + 1, err);
        }
        if (peek(s, at) != ',') {
            return report_problem(s, rest_of(s, at), err, "',' or ']' is expected behind an event of an array", "");
        }
        at++;
    }
}

static bool is_ndjson(kp_bytes event) {
    const char *newline = memchr(event.data, '\n', event.length);
    if (!newline) {
        return false;
    }
    kp_bytes line = trim((kp_bytes){event.data, (size_t)(newline - event.data)});
    if (memchr("{[,:", line.data[line.length - 1], 4)) {
        return false;
    }
    return kp_json_scan(event, NULL, 0, NULL, NULL, NULL) != KP_OK;
}

kp_status kp_json_split_events(kp_bytes body, size_t max_events, kp_json_on_event on_event, void *ctx, kp_error *err) {
    splitter s = {.body = body, .max_events = max_events, .on_event = on_event, .ctx = ctx};
    kp_bytes event = trim(body);
    kp_status st;
    if (event.length == 0) {
        st = report_problem(&s, event, err,
                            "the body is empty: ", "a JSON object, an array of objects or NDJSON is expected");
    } else if (event.data[0] == '[') {
        st = split_array(&s, (size_t)(event.data - body.data) + 1, err);
    } else if (is_ndjson(event)) {
        st = split_lines(&s, err);
    } else {
        st = split_line(&s, event, err);
    }
    return st == KP_CLOSED ? KP_OK : st;
}
