/* The transactions of _core.Producer: see producer.h. Each call waits for a coordinator, so it runs in a thread. */
#include "python/producer.h"

#include "python/records.h"

static kp_python_state *state_of(kp_python_producer *self) {
    return kp_python_state_of_type(Py_TYPE(self));
}

/* begin and abort: nothing but a bound goes in, nothing but a status comes out. */
static PyObject *call(kp_python_producer *self, PyObject *timeout, const char *op,
                      kp_status (*function)(kp_producer *, int, kp_error *)) {
    kp_producer *producer = kp_python_producer_usable(self);
    int timeout_ms = producer ? (int)PyLong_AsLong(timeout) : 0;
    kp_error err;
    kp_status st;
    if (!producer || PyErr_Occurred()) {
        return NULL;
    }

    self->calls++;
    Py_BEGIN_ALLOW_THREADS;
    st = function(producer, timeout_ms, &err);
    Py_END_ALLOW_THREADS;
    self->calls--;

    if (st != KP_OK) {
        return kp_python_raise(state_of(self), &err, op);
    }
    Py_RETURN_NONE;
}

PyObject *kp_python_producer_begin(PyObject *self, PyObject *timeout_ms) {
    return call((kp_python_producer *)self, timeout_ms, "begin transaction", kp_producer_begin);
}

PyObject *kp_python_producer_abort(PyObject *self, PyObject *timeout_ms) {
    return call((kp_python_producer *)self, timeout_ms, "abort transaction", kp_producer_abort);
}

PyObject *kp_python_producer_send_offsets(PyObject *object, PyObject *args) {
    kp_python_producer *self = (kp_python_producer *)object;
    kp_producer *producer = kp_python_producer_usable(self);
    PyObject *batch;
    int timeout_ms;
    kp_error err;
    kp_status st;
    if (!producer || !PyArg_ParseTuple(args, "Oi:send_offsets", &batch, &timeout_ms)) {
        return NULL;
    }
    kp_python_records *records = kp_python_records_of(state_of(self), batch);
    if (!records) {
        return NULL;
    }

    self->calls++;
    Py_BEGIN_ALLOW_THREADS;
    st = kp_producer_send_offsets(producer, records->messages, records->first, records->count, timeout_ms, &err);
    Py_END_ALLOW_THREADS;
    self->calls--;

    if (st != KP_OK) {
        return kp_python_raise(state_of(self), &err, "send offsets");
    }
    Py_RETURN_NONE;
}

PyObject *kp_python_producer_send_position(PyObject *object, PyObject *args) {
    kp_python_producer *self = (kp_python_producer *)object;
    kp_producer *producer = kp_python_producer_usable(self);
    const char *group;
    const char *topic;
    long long offset;
    int timeout_ms;
    kp_error err;
    kp_status st;
    if (!producer || !PyArg_ParseTuple(args, "ssLi:send_position", &group, &topic, &offset, &timeout_ms)) {
        return NULL;
    }

    self->calls++;
    Py_BEGIN_ALLOW_THREADS;
    st = kp_producer_send_position(producer, group, topic, offset, timeout_ms, &err);
    Py_END_ALLOW_THREADS;
    self->calls--;

    if (st != KP_OK) {
        return kp_python_raise(state_of(self), &err, "send position");
    }
    Py_RETURN_NONE;
}

PyObject *kp_python_producer_commit(PyObject *object, PyObject *timeout) {
    kp_python_producer *self = (kp_python_producer *)object;
    kp_producer *producer = kp_python_producer_usable(self);
    int timeout_ms = producer ? (int)PyLong_AsLong(timeout) : 0;
    bool must_abort;
    kp_error err;
    kp_status st;
    if (!producer || PyErr_Occurred()) {
        return NULL;
    }

    self->calls++;
    Py_BEGIN_ALLOW_THREADS;
    st = kp_producer_commit(producer, timeout_ms, &must_abort, &err);
    Py_END_ALLOW_THREADS;
    self->calls--;

    if (st != KP_OK && !must_abort) {
        return kp_python_raise(state_of(self), &err, "commit transaction");
    }
    return st == KP_OK ? Py_NewRef(Py_None) : kp_python_error_new(state_of(self), &err, "commit transaction");
}
