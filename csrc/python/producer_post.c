/* _core.Producer.post: the events of a request's body, checked and handed in by one call. No Python object is made for
 * an event, and without a future none for the batch.
 */
#include "python/producer.h"

#include "core/json_scan.h"
#include "core/mem.h"
#include "python/batch.h"
#include "python/convert.h"

enum {
    GIL_FREE_BYTES = 65536, /* a shorter body is scanned before another thread could take the GIL */
    GIL_WORTH = 16,         /* messages from which giving the GIL away costs less than it gives */
    SMALL = 4,              /* events that need no memory of their own */
};

typedef struct {
    kp_message *messages; /* small, or owned */
    size_t count;
    size_t capacity;
    size_t bytes;
    bool is_unfit;
    bool no_memory;
    kp_message small[SMALL];
} collected;

static void collected_deinit(collected *self) {
    if (self->messages != self->small) {
        kp_free(self->messages);
    }
}

static bool grow(collected *self) {
    size_t capacity = self->capacity * 4;
    bool is_small = self->messages == self->small;
    kp_message *messages = kp_realloc(is_small ? NULL : self->messages, capacity * sizeof *messages);
    if (!messages) {
        return false;
    }
    if (is_small) {
        memcpy(messages, self->small, sizeof self->small);
    }
    self->messages = messages;
    self->capacity = capacity;
    return true;
}

static bool on_event(void *ctx, size_t index, kp_bytes event, const kp_error *problem) {
    collected *self = ctx;
    (void)index;
    if (problem) {
        self->is_unfit = true;
        return false;
    }
    if (self->count == self->capacity && !grow(self)) {
        self->no_memory = true;
        return false;
    }
    self->messages[self->count++] = (kp_message){.value = event, .partition = RD_KAFKA_PARTITION_UA};
    self->bytes += event.length;
    return true;
}

/* 1: there are events and all are fit, 0: not, -1: exception. */
static int collect(collected *self, const Py_buffer *body, size_t max_events) {
    kp_bytes text = {body->buf, (size_t)body->len};
    PyThreadState *saved = body->len > GIL_FREE_BYTES ? PyEval_SaveThread() : NULL;
    kp_error err;

    kp_status st = kp_json_split_events(text, max_events, on_event, self, &err);

    if (saved) {
        PyEval_RestoreThread(saved);
    }
    if (self->no_memory) {
        PyErr_NoMemory();
        return -1;
    }
    return st == KP_OK && !self->is_unfit && self->count > 0;
}

static kp_status enqueue(kp_python_producer *self, kp_send *send, const collected *events, size_t *taken,
                         kp_error *err) {
    kp_status st;
    if (events->count < GIL_WORTH) {
        return kp_producer_enqueue(self->producer, send, events->messages, events->count, taken, err);
    }
    self->calls++;
    Py_BEGIN_ALLOW_THREADS;
    st = kp_producer_enqueue(self->producer, send, events->messages, events->count, taken, err);
    Py_END_ALLOW_THREADS;
    self->calls--;
    return st;
}

/* The send of these events; with a future it has a batch, which is in the set of the open ones. NULL with an exception.
 * *watched is borrowed. */
static kp_send *open_send(kp_python_producer *self, kp_bytes topic, size_t count, PyObject *future,
                          kp_python_batch **watched) {
    kp_python_state *state = kp_python_state_of_type(Py_TYPE(self));
    kp_send *send;
    kp_error err;
    *watched = NULL;
    if (kp_send_new(&send, self->producer, topic, count, &err) != KP_OK) {
        kp_python_raise(state, &err, "produce");
        return NULL;
    }
    if (future == Py_None) {
        return send;
    }
    kp_python_batch *batch = kp_python_batch_around(state, send, future);
    if (!batch || PySet_Add(self->open, (PyObject *)batch) < 0) {
        Py_XDECREF(batch);
        return NULL;
    }
    *watched = batch;
    Py_DECREF(batch); /* the set has it */
    return send;
}

/* -1 with an exception: nothing was handed in. */
static int hand_in(kp_python_producer *self, kp_bytes topic, const collected *events, PyObject *future) {
    kp_python_batch *watched;
    size_t taken;
    kp_error err;
    kp_send *send = open_send(self, topic, events->count, future, &watched);
    if (!send) {
        return -1;
    }

    kp_status st = enqueue(self, send, events, &taken, &err);
    if (st == KP_OK && taken < events->count) { /* another thread took the room: what is left over fails */
        kp_producer_abandon(self->producer, send, RD_KAFKA_RESP_ERR__QUEUE_FULL);
    }

    if (st != KP_OK && watched) {
        PySet_Discard(self->open, (PyObject *)watched);
    }
    if (!watched) {
        kp_send_release(send);
    }
    if (st != KP_OK) {
        kp_python_raise(kp_python_state_of_type(Py_TYPE(self)), &err, "produce");
        return -1;
    }
    return 0;
}

static PyObject *post(kp_python_producer *self, kp_bytes topic, const Py_buffer *body, size_t max_events,
                      PyObject *future) {
    collected events = {.capacity = SMALL};
    events.messages = events.small;
    long long result = collect(&events, body, max_events);
    if (result == 1 && !kp_python_producer_usable(self)) { /* closed while the GIL was away */
        result = -2;
    }
    if (result == 1) {
        int room = kp_python_producer_has_room(self, topic.data, events.count, events.bytes);
        result = room < 0 ? -2 : room == 0 ? -1 : (long long)events.count;
        if (room > 0 && hand_in(self, topic, &events, future) < 0) {
            result = -2;
        }
    } else if (result < 0) {
        result = -2;
    }
    collected_deinit(&events);
    return result == -2 ? NULL : PyLong_FromLongLong(result);
}

PyObject *kp_python_producer_post(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    kp_python_producer *self = (kp_python_producer *)object;
    Py_buffer body;
    kp_bytes topic;
    if (count != 4) {
        return PyErr_Format(PyExc_TypeError, "expected 4 arguments, got %zd", count);
    }
    size_t max_events = PyLong_AsSize_t(args[2]);
    if (PyErr_Occurred() || !kp_python_producer_usable(self) || kp_python_read_text(args[0], "topic", &topic) < 0 ||
        PyObject_GetBuffer(args[1], &body, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *result = post(self, topic, &body, max_events, args[3]);
    PyBuffer_Release(&body);
    return result;
}
