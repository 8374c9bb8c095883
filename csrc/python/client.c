/* What the types of all clients share: reading properties, and what becomes of a client that nobody closed. */
#include "core/mem.h"
#include "io/kafka.h"
#include "python/module.h"

#include <pthread.h>

static int read_property(PyObject *pair, kp_kafka_property *property) {
    PyObject *name;
    PyObject *value;
    if (!PyTuple_Check(pair) || !PyArg_ParseTuple(pair, "UU;a property is a pair of str", &name, &value)) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "a property is a pair of str");
        }
        return -1;
    }
    property->name = PyUnicode_AsUTF8(name);
    property->value = PyUnicode_AsUTF8(value);
    return property->name && property->value ? 0 : -1;
}

static rd_kafka_conf_t *conf_of(kp_python_state *state, PyObject *pairs) {
    rd_kafka_conf_t *conf = NULL;
    kp_error err;
    size_t count = (size_t)PyTuple_GET_SIZE(pairs);
    kp_kafka_property *properties = kp_calloc(count, sizeof *properties);
    if (!properties) {
        PyErr_NoMemory();
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (read_property(PyTuple_GET_ITEM(pairs, (Py_ssize_t)i), &properties[i]) < 0) {
            goto done;
        }
    }
    if (kp_kafka_conf_new(&conf, properties, count, &err) != KP_OK) {
        kp_python_raise_config(state, &err, "configure");
    }
done:
    kp_free(properties);
    return conf;
}

rd_kafka_conf_t *kp_python_conf_new(kp_python_state *state, PyObject *pairs) {
    PyObject *items = PySequence_Tuple(pairs);
    rd_kafka_conf_t *conf = items ? conf_of(state, items) : NULL;
    Py_XDECREF(items);
    return conf;
}

void kp_python_warn_unclosed(PyObject *object, const char *text) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (PyErr_ResourceWarning(object, 1, "%s", text) < 0) {
        PyErr_WriteUnraisable(object);
    }
    PyErr_Restore(type, value, traceback);
}

typedef struct {
    void (*end)(void *client);
    void *client;
} ending;

static void *run_ending(void *argument) {
    ending *job = argument;
    job->end(job->client);
    kp_free(job);
    return NULL;
}

static bool is_finalizing(void) {
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

void kp_python_end_in_background(void (*end)(void *client), void *client) {
    pthread_t thread;
    ending *job = is_finalizing() ? NULL : kp_alloc(sizeof *job);
    if (!job) {
        return; /* the process ends: the system takes it all back */
    }
    *job = (ending){end, client};
    if (pthread_create(&thread, NULL, run_ending, job) == 0) {
        pthread_detach(thread);
    } else {
        kp_free(job);
    }
}
