/* Turns a kp_error into an exception of kafkapipe.errors: the status chooses the class. */
#include "python/module.h"

static PyObject *error_new(PyObject *class, const kp_error *err, const char *op) {
    PyObject *message = PyUnicode_DecodeUTF8(err->message, (Py_ssize_t)strlen(err->message), "replace");
    PyObject *args = message ? PyTuple_Pack(1, message) : NULL;
    PyObject *kwargs = args ? Py_BuildValue("{ssss}", "op", op, "code", err->code) : NULL;
    PyObject *error = kwargs ? PyObject_Call(class, args, kwargs) : NULL;
    Py_XDECREF(message);
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return error;
}

PyObject *kp_python_error_new(kp_python_state *state, const kp_error *err, const char *op) {
    if (err->status == KP_NOMEM) {
        return PyObject_CallFunction(PyExc_MemoryError, "s", err->message);
    }
    bool queue_full = err->status == KP_RETRY && strcmp(err->code, "_QUEUE_FULL") == 0;
    return error_new(queue_full ? state->queue_full : state->errors[err->status], err, op);
}

static PyObject *raise_new(PyObject *error) {
    if (error) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}

PyObject *kp_python_raise(kp_python_state *state, const kp_error *err, const char *op) {
    return raise_new(kp_python_error_new(state, err, op));
}

PyObject *kp_python_raise_config(kp_python_state *state, const kp_error *err, const char *op) {
    if (err->status == KP_REJECT) {
        return raise_new(error_new(state->config_error, err, op));
    }
    return kp_python_raise(state, err, op);
}
