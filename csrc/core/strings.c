/* Arrow's layouts of strings: see strings.h. */
#include "core/strings.h"

#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

typedef enum { LAYOUT_NULL, LAYOUT_INT32, LAYOUT_INT64, LAYOUT_VIEW, LAYOUT_FIXED } layout;

typedef struct {
    struct ArrowArray array; /* owned */
    size_t first;            /* number of its first string among all */
} chunk;

struct kp_strings {
    layout layout;
    int64_t width; /* of LAYOUT_FIXED */
    chunk *chunks; /* owned */
    size_t chunk_count;
    size_t chunk_room;
    size_t count;
    size_t last; /* chunk that was read last */
};

static bool read_format(kp_strings *self, const struct ArrowSchema *schema) {
    static const struct {
        const char *format;
        layout layout;
    } known[] = {{"n", LAYOUT_NULL},  {"u", LAYOUT_INT32}, {"z", LAYOUT_INT32}, {"U", LAYOUT_INT64},
                 {"Z", LAYOUT_INT64}, {"vu", LAYOUT_VIEW}, {"vz", LAYOUT_VIEW}};
    const char *format = schema->format;
    for (size_t i = 0; i < sizeof known / sizeof *known && !schema->dictionary; i++) {
        if (strcmp(format, known[i].format) == 0) {
            self->layout = known[i].layout;
            return true;
        }
    }
    self->layout = LAYOUT_FIXED;
    self->width = strncmp(format, "w:", 2) == 0 && !schema->dictionary ? strtoll(format + 2, NULL, 10) : -1;
    return self->width >= 0;
}

static kp_status strings_new(kp_strings **out, const struct ArrowSchema *schema, kp_error *err) {
    *out = kp_calloc(1, sizeof **out);
    if (!*out) {
        return kp_error_nomem(err);
    }
    if (!read_format(*out, schema)) {
        return kp_error_set(err, KP_REJECT, "INVALID_ARGUMENT",
                            "an Arrow column of type \"%s\"%s: give one of strings or bytes, or cast it",
                            schema->format, schema->dictionary ? " with a dictionary" : "");
    }
    return KP_OK;
}

/* array is moved when it succeeds. */
static kp_status add_chunk(kp_strings *self, struct ArrowArray *array, kp_error *err) {
    if (self->chunk_count == self->chunk_room) {
        size_t room = self->chunk_room ? self->chunk_room * 2 : 1;
        chunk *chunks = kp_realloc(self->chunks, room * sizeof *chunks);
        if (!chunks) {
            return kp_error_nomem(err);
        }
        self->chunks = chunks;
        self->chunk_room = room;
    }
    self->chunks[self->chunk_count++] = (chunk){*array, self->count};
    self->count += (size_t)array->length;
    array->release = NULL;
    return KP_OK;
}

static kp_status finish(kp_strings **out, kp_strings *self, kp_status st) {
    if (st != KP_OK) {
        kp_strings_free(self);
        self = NULL;
    }
    *out = self;
    return st;
}

kp_status kp_strings_from_array(kp_strings **out, struct ArrowSchema *schema, struct ArrowArray *array, kp_error *err) {
    kp_strings *self = NULL;
    kp_status st;
    KP_TRY(strings_new(&self, schema, err));
    st = add_chunk(self, array, err);
done:
    schema->release(schema);
    if (array->release) {
        array->release(array);
    }
    return finish(out, self, st);
}

static kp_status stream_failed(struct ArrowArrayStream *stream, kp_error *err) {
    const char *reason = stream->get_last_error(stream);
    return kp_error_set(err, KP_REJECT, "INVALID_ARGUMENT", "an Arrow stream that cannot be read: %s",
                        reason ? reason : "no reason was given");
}

/* The stream ends with an array that is released. */
static kp_status read_chunks(kp_strings *self, struct ArrowArrayStream *stream, kp_error *err) {
    for (;;) {
        struct ArrowArray array = {0};
        if (stream->get_next(stream, &array) != 0) {
            return stream_failed(stream, err);
        }
        if (!array.release) {
            return KP_OK;
        }
        kp_status st = add_chunk(self, &array, err);
        if (st != KP_OK) {
            array.release(&array);
            return st;
        }
    }
}

kp_status kp_strings_from_stream(kp_strings **out, struct ArrowArrayStream *stream, kp_error *err) {
    kp_strings *self = NULL;
    struct ArrowSchema schema = {0};
    kp_status st;
    if (stream->get_schema(stream, &schema) != 0) {
        return finish(out, NULL, stream_failed(stream, err));
    }
    KP_TRY(strings_new(&self, &schema, err));
    st = read_chunks(self, stream, err);
done:
    schema.release(&schema);
    return finish(out, self, st);
}

void kp_strings_free(kp_strings *self) {
    for (size_t i = 0; self && i < self->chunk_count; i++) {
        self->chunks[i].array.release(&self->chunks[i].array);
    }
    kp_free(self ? self->chunks : NULL);
    kp_free(self);
}

size_t kp_strings_count(const kp_strings *self) {
    return self->count;
}

/* ---- one string ---- */

static const chunk *chunk_of(kp_strings *self, size_t i) {
    if (i < self->chunks[self->last].first) {
        self->last = 0;
    }
    while (i - self->chunks[self->last].first >= (size_t)self->chunks[self->last].array.length) {
        self->last++;
    }
    return &self->chunks[self->last];
}

static bool is_null(const struct ArrowArray *array, int64_t at) {
    const uint8_t *valid = array->n_buffers > 0 ? array->buffers[0] : NULL;
    return valid && !(valid[at / 8] >> (at % 8) & 1);
}

/* An empty string is not a missing one, wherever its layout points to. */
static kp_bytes bytes_at(const void *data, int64_t from, int64_t length) {
    return length > 0 ? (kp_bytes){(const char *)data + from, (size_t)length} : (kp_bytes){"", 0};
}

enum { VIEW_SIZE = 16, VIEW_INLINE = 12 };

static kp_bytes view_at(const struct ArrowArray *array, int64_t at) {
    const char *view = (const char *)array->buffers[1] + at * VIEW_SIZE;
    int32_t head[4]; /* length, prefix, number of the buffer, place in it */
    memcpy(head, view, sizeof head);
    return head[0] <= VIEW_INLINE ? bytes_at(view, (int64_t)sizeof *head, head[0])
                                  : bytes_at(array->buffers[2 + head[2]], head[3], head[0]);
}

kp_bytes kp_strings_at(kp_strings *self, size_t i) {
    const chunk *found = chunk_of(self, i);
    const struct ArrowArray *array = &found->array;
    int64_t at = array->offset + (int64_t)(i - found->first);
    const int32_t *narrow;
    const int64_t *wide;
    if (self->layout == LAYOUT_NULL || is_null(array, at)) {
        return (kp_bytes){0};
    }
    switch (self->layout) {
    case LAYOUT_INT32:
        narrow = array->buffers[1];
        return bytes_at(array->buffers[2], narrow[at], narrow[at + 1] - narrow[at]);
    case LAYOUT_INT64:
        wide = array->buffers[1];
        return bytes_at(array->buffers[2], wide[at], wide[at + 1] - wide[at]);
    case LAYOUT_VIEW:
        return view_at(array, at);
    default:
        return bytes_at(array->buffers[1], at * self->width, self->width);
    }
}
