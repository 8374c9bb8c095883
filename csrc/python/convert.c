/* Python values into messages: see convert.h. */
#include "python/convert.h"

#include "core/mem.h"

#include <math.h>

static int unfit(kp_error *err, const char *what, PyObject *object, const char *fit) {
    kp_error_set(err, KP_REJECT, "INVALID_ARGUMENT", "%s is %s: give %s", what, Py_TYPE(object)->tp_name, fit);
    return 0;
}

/* An exception of a conversion is the argument's fault; anything else (memory, Ctrl-C) is the caller's to see. */
static int unfit_by_exception(kp_error *err, const char *what, PyObject *object, const char *fit) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_ValueError) &&
        !PyErr_ExceptionMatches(PyExc_OverflowError) && !PyErr_ExceptionMatches(PyExc_BufferError)) {
        return -1;
    }
    PyErr_Clear();
    return unfit(err, what, object, fit);
}

/* ---- bytes ---- */

void kp_python_buffers_deinit(kp_python_buffers *held) {
    for (size_t i = 0; i < held->count; i++) {
        PyBuffer_Release(&held->buffers[i]);
    }
    kp_free(held->buffers);
    *held = (kp_python_buffers){0};
}

static Py_buffer *next_buffer(kp_python_buffers *held) {
    if (held->count == held->capacity) {
        size_t capacity = held->capacity ? held->capacity * 2 : 4;
        Py_buffer *buffers = kp_realloc(held->buffers, capacity * sizeof *buffers);
        if (!buffers) {
            PyErr_NoMemory();
            return NULL;
        }
        held->buffers = buffers;
        held->capacity = capacity;
    }
    return &held->buffers[held->count];
}

static int read_buffer(kp_python_buffers *held, PyObject *object, const char *what, kp_bytes *out, kp_error *err) {
    static const char fit[] = "str, bytes, a contiguous buffer or None";
    if (!PyObject_CheckBuffer(object)) {
        return unfit(err, what, object, fit);
    }
    Py_buffer *buffer = next_buffer(held);
    if (!buffer) {
        return -1;
    }
    if (PyObject_GetBuffer(object, buffer, PyBUF_SIMPLE) < 0) {
        return unfit_by_exception(err, what, object, fit);
    }
    held->count++;
    *out = (kp_bytes){buffer->buf ? buffer->buf : "", (size_t)buffer->len}; /* empty is not missing */
    return 1;
}

static int read_str(PyObject *object, const char *what, kp_bytes *out, kp_error *err) {
    Py_ssize_t length;
    out->data = PyUnicode_AsUTF8AndSize(object, &length);
    if (!out->data) {
        return unfit_by_exception(err, what, object, "text without lone surrogates");
    }
    out->length = (size_t)length;
    return 1;
}

int kp_python_read_bytes(kp_python_buffers *held, PyObject *object, const char *what, kp_bytes *out, kp_error *err) {
    if (PyBytes_Check(object)) {
        *out = (kp_bytes){PyBytes_AS_STRING(object), (size_t)PyBytes_GET_SIZE(object)};
        return 1;
    }
    if (PyUnicode_Check(object)) {
        return read_str(object, what, out, err);
    }
    if (object == Py_None) {
        *out = (kp_bytes){0};
        return 1;
    }
    return read_buffer(held, object, what, out, err);
}

int kp_python_read_text(PyObject *object, const char *what, kp_bytes *out) {
    Py_ssize_t length;
    if (!PyUnicode_Check(object)) {
        PyErr_Format(PyExc_TypeError, "%s must be str, not %.100s", what, Py_TYPE(object)->tp_name);
        return -1;
    }
    out->data = PyUnicode_AsUTF8AndSize(object, &length);
    out->length = out->data ? (size_t)length : 0;
    return out->data ? 0 : -1;
}

/* ---- headers ---- */

static int add_header(rd_kafka_headers_t *headers, kp_python_buffers *held, PyObject *name, PyObject *value,
                      kp_error *err) {
    kp_bytes name_bytes = {0};
    kp_bytes value_bytes = {0};
    if (!PyUnicode_Check(name)) {
        return unfit(err, "name of a header", name, "str");
    }
    int fit = read_str(name, "name of a header", &name_bytes, err);
    if (fit == 1) {
        fit = kp_python_read_bytes(held, value, "value of a header", &value_bytes, err);
    }
    if (fit == 1 && rd_kafka_header_add(headers, name_bytes.data, (ssize_t)name_bytes.length, value_bytes.data,
                                        (ssize_t)value_bytes.length) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        PyErr_NoMemory();
        fit = -1;
    }
    return fit;
}

static int add_pair(rd_kafka_headers_t *headers, kp_python_buffers *held, PyObject *pair, kp_error *err) {
    if ((!PyTuple_Check(pair) && !PyList_Check(pair)) || PySequence_Fast_GET_SIZE(pair) != 2) {
        return unfit(err, "header", pair, "a pair of name and value");
    }
    return add_header(headers, held, PySequence_Fast_GET_ITEM(pair, 0), PySequence_Fast_GET_ITEM(pair, 1), err);
}

static int add_all(rd_kafka_headers_t *headers, kp_python_buffers *held, PyObject *pairs, kp_error *err) {
    Py_ssize_t count = PySequence_Fast_GET_SIZE(pairs);
    int fit = 1;
    for (Py_ssize_t i = 0; i < count && fit == 1; i++) {
        fit = add_pair(headers, held, PySequence_Fast_GET_ITEM(pairs, i), err);
    }
    return fit;
}

int kp_python_read_headers(kp_python_buffers *held, PyObject *object, rd_kafka_headers_t **out, kp_error *err) {
    *out = NULL;
    if (object == Py_None) {
        return 1;
    }
    bool mapping = PyMapping_Check(object) && !PySequence_Check(object);
    PyObject *pairs = mapping || PyDict_Check(object) ? PyMapping_Items(object) : PySequence_Tuple(object);
    if (!pairs) {
        return unfit_by_exception(err, "headers", object, "pairs of name and value, or a dict");
    }
    rd_kafka_headers_t *headers = rd_kafka_headers_new((size_t)PySequence_Fast_GET_SIZE(pairs));
    int fit = add_all(headers, held, pairs, err);
    Py_DECREF(pairs);
    if (fit == 1) {
        *out = headers;
    } else {
        rd_kafka_headers_destroy(headers);
    }
    return fit;
}

/* ---- numbers ---- */

/* A datetime knows microseconds, Kafka milliseconds: cut, as its own clients do. */
static int read_datetime(PyObject *object, int64_t *out, kp_error *err) {
    static const char fit[] = "milliseconds since 1970 as int, a datetime or None";
    PyObject *method = PyObject_GetAttrString(object, "timestamp");
    PyObject *seconds = method ? PyObject_CallNoArgs(method) : NULL;
    double number = seconds ? PyFloat_AsDouble(seconds) : -1;
    Py_XDECREF(method);
    Py_XDECREF(seconds);
    if (PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear();
            return unfit(err, "timestamp", object, fit);
        }
        return unfit_by_exception(err, "timestamp", object, fit);
    }
    *out = llround(number * 1e6) / 1000;
    return 1;
}

int kp_python_read_timestamp(PyObject *object, int64_t *out, kp_error *err) {
    if (object == Py_None) {
        *out = 0;
        return 1;
    }
    int fit = 1;
    if (PyLong_Check(object)) {
        int overflow;
        *out = PyLong_AsLongLongAndOverflow(object, &overflow);
        *out = overflow ? -1 : *out;
    } else {
        fit = read_datetime(object, out, err);
    }
    if (fit == 1 && *out <= 0) { /* zero means now to the library */
        kp_error_set(err, KP_REJECT, "INVALID_TIMESTAMP",
                     "timestamp is out of range: give milliseconds since 1970, more than 0");
        return 0;
    }
    return fit;
}

int kp_python_read_partition(PyObject *object, int32_t *out, kp_error *err) {
    if (object == Py_None) {
        *out = RD_KAFKA_PARTITION_UA;
        return 1;
    }
    if (!PyIndex_Check(object)) {
        return unfit(err, "partition", object, "int or None");
    }
    PyObject *index = PyNumber_Index(object); /* NumPy's numbers are no int */
    if (!index) {
        return unfit_by_exception(err, "partition", object, "int or None");
    }
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(index, &overflow);
    Py_DECREF(index);
    if (overflow || number < 0 || number > INT32_MAX) {
        kp_error_set(err, KP_REJECT, "INVALID_PARTITION",
                     "partition is out of range: give a number from 0 up, or None");
        return 0;
    }
    *out = (int32_t)number;
    return 1;
}
