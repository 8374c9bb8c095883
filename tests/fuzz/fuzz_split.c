/* The splitter: events come in order, do not overlap, lie in the body and are JSON objects; indexes count up by one; a
 * body that is valid as a whole has no problem but elements that are no objects.
 */
#include "json_reference.h"

#include "core/mem.h"

enum { EVENTS_MAX = 50 };

typedef struct {
    kp_bytes body;
    const char *behind; /* the last event */
    size_t count;
    size_t invalid; /* problems that are not just an element of another type */
} listener;

static bool listen_to(void *ctx, size_t index, kp_bytes event, const kp_error *problem) {
    listener *self = ctx;
    const char *end = event.data + event.length;
    if (index != self->count++ || (event.length > 0 && event.data < self->behind) ||
        end > self->body.data + self->body.length || index >= EVENTS_MAX) {
        abort();
    }
    bool valid = reference_valid((const unsigned char *)event.data, event.length);
    if (!problem && (!valid || event.data[0] != '{' || end[-1] != '}')) {
        abort();
    }
    if (problem && (problem->status != KP_REJECT || problem->message[0] == '\0')) {
        abort();
    }
    self->invalid += problem && !valid;
    self->behind = end;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    listener self = {.body = {(const char *)data, size}, .behind = (const char *)data};
    kp_error err;
    kp_status st = kp_json_split_events(self.body, EVENTS_MAX, listen_to, &self, &err);
    if (st != KP_OK && (st != KP_REJECT || self.count != EVENTS_MAX)) {
        abort();
    }
    /* elements of an array count their depth from themselves: the array's own level is not in it */
    if (st == KP_OK && self.invalid > 0 && reference_valid(data, size)) {
        abort();
    }
    if (st == KP_OK && self.invalid == 0 && self.count == 0 && !reference_valid(data, size)) {
        abort();
    }
    return kp_mem_live() != 0 ? (abort(), 0) : 0;
}
