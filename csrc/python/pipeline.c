/* kafkapipe._core.Pipeline: starts, stops and watches a pipeline's workers. See flow/pipeline.h. */
#include "python/module.h"

#include "flow/pipeline.h"
#include "io/kafka.h"

typedef struct {
    PyObject_HEAD kp_pipeline *pipeline; /* NULL: closed */
    unsigned process;
} pipeline_object;

static kp_pipeline *usable(pipeline_object *self) {
    kp_error err;
    if (self->pipeline && self->process == kp_kafka_process()) {
        return self->pipeline;
    }
    kp_error_set(&err, KP_CLOSED, "CLOSED", "%s",
                 self->pipeline ? "this pipeline was made before a fork: make a new one in the child process"
                                : "the pipeline is closed");
    kp_python_raise(kp_python_state_of_type(Py_TYPE(self)), &err, "pipeline");
    return NULL;
}

static PyObject *pipeline_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"config", NULL};
    const char *config;
    Py_ssize_t length;
    kp_error err;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "s#:Pipeline", names, &config, &length)) {
        return NULL;
    }
    pipeline_object *self = (pipeline_object *)type->tp_alloc(type, 0);
    if (!self) {
        return NULL;
    }
    self->process = kp_kafka_process();
    if (kp_pipeline_new(&self->pipeline, (kp_bytes){config, (size_t)length}, &err) != KP_OK) {
        Py_DECREF(self);
        return kp_python_raise(kp_python_state_of_type(type), &err, "pipeline");
    }
    return (PyObject *)self;
}

static PyObject *pipeline_start(PyObject *object, PyObject *unused) {
    (void)unused;
    kp_pipeline *pipeline = usable((pipeline_object *)object);
    kp_error err;
    kp_status st;
    if (!pipeline) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS st = kp_pipeline_start(pipeline, &err);
    Py_END_ALLOW_THREADS if (st != KP_OK) {
        return kp_python_raise(kp_python_state_of_type(Py_TYPE(object)), &err, "pipeline start");
    }
    Py_RETURN_NONE;
}

static PyObject *pipeline_stop(PyObject *object, PyObject *drain_ms) {
    kp_pipeline *pipeline = usable((pipeline_object *)object);
    long long milliseconds = pipeline ? PyLong_AsLongLong(drain_ms) : 0;
    if (!pipeline || (milliseconds == -1 && PyErr_Occurred())) {
        return NULL;
    }
    kp_pipeline_stop(pipeline, milliseconds);
    Py_RETURN_NONE;
}

static PyObject *pipeline_stopped(PyObject *object, PyObject *unused) {
    (void)unused;
    kp_pipeline *pipeline = usable((pipeline_object *)object);
    return pipeline ? PyBool_FromLong(kp_pipeline_stopped(pipeline)) : NULL;
}

static PyObject *pipeline_fileno(PyObject *object, PyObject *unused) {
    (void)unused;
    kp_pipeline *pipeline = usable((pipeline_object *)object);
    return pipeline ? PyLong_FromLong(kp_pipeline_wake_fd(pipeline)) : NULL;
}

static PyObject *pipeline_clear_wake(PyObject *object, PyObject *unused) {
    (void)unused;
    kp_pipeline *pipeline = usable((pipeline_object *)object);
    if (!pipeline) {
        return NULL;
    }
    kp_pipeline_clear_wake(pipeline);
    Py_RETURN_NONE;
}

/* Ends the buffer; NULL when st is a failure, which is raised. */
static PyObject *text_or_raise(PyObject *object, kp_status st, kp_buf *json, const kp_error *err, const char *op) {
    PyObject *text = NULL;
    if (st == KP_OK) {
        text = PyUnicode_DecodeUTF8(json->data, (Py_ssize_t)json->length, "replace");
    } else {
        kp_python_raise(kp_python_state_of_type(Py_TYPE(object)), err, op);
    }
    kp_buf_deinit(json);
    return text;
}

static PyObject *pipeline_snapshot(PyObject *object, PyObject *unused) {
    (void)unused;
    kp_pipeline *pipeline = usable((pipeline_object *)object);
    kp_error err;
    kp_buf json = {0};
    if (!pipeline) {
        return NULL;
    }
    kp_status st = kp_pipeline_snapshot(pipeline, &json, &err);
    return text_or_raise(object, st, &json, &err, "pipeline snapshot");
}

static PyObject *pipeline_ends(PyObject *object, PyObject *timeout_ms) {
    kp_pipeline *pipeline = usable((pipeline_object *)object);
    kp_error err;
    kp_buf json = {0};
    kp_status st;
    int timeout = pipeline ? (int)PyLong_AsLong(timeout_ms) : 0;
    if (!pipeline || (timeout == -1 && PyErr_Occurred())) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS st = kp_pipeline_ends(pipeline, timeout, &json, &err);
    Py_END_ALLOW_THREADS return text_or_raise(object, st, &json, &err, "pipeline ends");
}

static PyObject *pipeline_close(PyObject *object, PyObject *unused) {
    (void)unused;
    pipeline_object *self = (pipeline_object *)object;
    kp_pipeline *pipeline = self->pipeline && self->process == kp_kafka_process() ? self->pipeline : NULL;
    self->pipeline = NULL;
    Py_BEGIN_ALLOW_THREADS kp_pipeline_free(pipeline);
    Py_END_ALLOW_THREADS Py_RETURN_NONE;
}

/* A finalizer must not wait: workers that still run are asked to stop and left to themselves. */
static void pipeline_finalize(PyObject *object) {
    pipeline_object *self = (pipeline_object *)object;
    PyObject *type, *value, *traceback;
    if (!self->pipeline || self->process != kp_kafka_process()) {
        return;
    }
    PyErr_Fetch(&type, &value, &traceback);
    if (kp_pipeline_stopped(self->pipeline)) {
        kp_pipeline_free(self->pipeline);
    } else {
        kp_pipeline_stop(self->pipeline, 0);
        if (PyErr_ResourceWarning(object, 1, "unclosed pipeline: use `async with` or await its stop()") < 0) {
            PyErr_WriteUnraisable(object);
        }
    }
    self->pipeline = NULL;
    PyErr_Restore(type, value, traceback);
}

static void pipeline_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    if (PyObject_CallFinalizerFromDealloc(object) < 0) {
        return;
    }
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"start", pipeline_start, METH_NOARGS, PyDoc_STR("start($self, /)\n--\n\nStarts the worker threads.")},
    {"stop", pipeline_stop, METH_O,
     PyDoc_STR("stop($self, drain_ms, /)\n--\n\nAsks the workers to finish within drain_ms; returns at once.")},
    {"stopped", pipeline_stopped, METH_NOARGS, PyDoc_STR("stopped($self, /)\n--\n\nWhether no worker runs.")},
    {"fileno", pipeline_fileno, METH_NOARGS,
     PyDoc_STR("fileno($self, /)\n--\n\nA descriptor that becomes readable when there is something new to see.")},
    {"clear_wake", pipeline_clear_wake, METH_NOARGS,
     PyDoc_STR("clear_wake($self, /)\n--\n\nMakes the descriptor unreadable again; call it before looking.")},
    {"snapshot", pipeline_snapshot, METH_NOARGS,
     PyDoc_STR("snapshot($self, /)\n--\n\nState and counters, as one JSON text.")},
    {"ends", pipeline_ends, METH_O,
     PyDoc_STR(
         "ends($self, timeout_ms, /)\n--\n\nAsks the brokers for [topic, partition, low, high, committed] of every "
         "partition, as one JSON text. Waits without the interpreter's lock.")},
    {"close", pipeline_close, METH_NOARGS,
     PyDoc_STR("close($self, /)\n--\n\nStops without draining, waits for the threads, frees. Twice does nothing.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc,
     PyDoc_STR("Pipeline(config)\n--\n\nA pipeline from its complete, resolved JSON document; not started.")},
    {Py_tp_new, KP_SLOT(pipeline_new)},
    {Py_tp_finalize, KP_SLOT(pipeline_finalize)},
    {Py_tp_dealloc, KP_SLOT(pipeline_dealloc)},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "kafkapipe._core.Pipeline",
    .basicsize = sizeof(pipeline_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

int kp_python_add_pipeline(PyObject *module) {
    return kp_python_add_type(module, &spec, NULL);
}
