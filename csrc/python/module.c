/* kafkapipe._core: the module itself, the versions of what it runs on, and the memory counters that tests watch. */
#include "python/module.h"

#include "core/mem.h"
#include "io/gzip.h"
#include "io/http.h"
#include "io/json.h"
#include "io/kafka.h"
#include "io/zstd.h"

static PyObject *versions(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    return Py_BuildValue("{ssssssssssss}", "kafkapipe", KP_VERSION, "librdkafka", kp_kafka_version(), "libcurl",
                         kp_http_version(), "cJSON", kp_json_version(), "zlib", kp_gzip_version(), "zstd",
                         kp_zstd_version());
}

static PyObject *memory_live(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    return PyLong_FromLongLong(kp_mem_live());
}

static PyObject *memory_fail_at(PyObject *module, PyObject *n) {
    (void)module;
    long long countdown = PyLong_AsLongLong(n);
    if (countdown == -1 && PyErr_Occurred()) {
        return NULL;
    }
    kp_mem_fail_at(countdown);
    Py_RETURN_NONE;
}

static PyObject *kafka_properties(PyObject *module, PyObject *unused) {
    kp_buf names = {0};
    kp_error err;
    (void)unused;
    kp_status st = kp_kafka_properties(&names, &err);
    PyObject *text = st == KP_OK ? PyUnicode_FromStringAndSize(names.data, (Py_ssize_t)names.length) : NULL;
    kp_buf_deinit(&names);
    if (st != KP_OK) {
        return kp_python_raise(kp_python_state_of(module), &err, "configure");
    }
    PyObject *list = text ? PyUnicode_Splitlines(text, 0) : NULL;
    Py_XDECREF(text);
    return list;
}

static PyObject *kafka_default_assignor(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    return PyUnicode_FromString(kp_kafka_default_assignor());
}

static PyMethodDef methods[] = {
    {"kafka_properties", kafka_properties, METH_NOARGS,
     PyDoc_STR("kafka_properties()\n--\n\nNames of the properties that librdkafka knows.")},
    {"versions", versions, METH_NOARGS,
     PyDoc_STR("versions()\n--\n\nVersions of the core and of each library it runs on, found at run time, by name.")},
    {"kafka_default_assignor", kafka_default_assignor, METH_NOARGS,
     PyDoc_STR("kafka_default_assignor()\n--\n\nThe partition.assignment.strategy that is safe with this librdkafka.")},
    {"memory_live", memory_live, METH_NOARGS,
     PyDoc_STR("memory_live()\n--\n\nNumber of memory blocks the core holds now.")},
    {"memory_fail_at", memory_fail_at, METH_O,
     PyDoc_STR("memory_fail_at(n, /)\n--\n\nMakes the core's n-th allocation from now fail, once; 0 turns it off.")},
    {NULL, NULL, 0, NULL},
};

static int import_errors(kp_python_state *state) {
    static const char *const names[KP_NOMEM] = {[KP_RETRY] = "RetryableError",
                                                [KP_REJECT] = "RejectedError",
                                                [KP_FATAL] = "FatalError",
                                                [KP_CLOSED] = "ClosedError",
                                                [KP_TIMEOUT] = "DeadlineError"};
    PyObject *errors = PyImport_ImportModule("kafkapipe.errors");
    if (!errors) {
        return -1;
    }
    for (int status = KP_RETRY; status < KP_NOMEM; status++) {
        state->errors[status] = PyObject_GetAttrString(errors, names[status]);
    }
    state->config_error = PyObject_GetAttrString(errors, "ConfigError");
    state->queue_full = PyObject_GetAttrString(errors, "QueueFull");
    Py_DECREF(errors);
    return PyErr_Occurred() ? -1 : 0;
}

static int module_exec(PyObject *module) {
    static int (*const parts[])(PyObject *) = {
        kp_python_add_admin,    kp_python_add_batch,  kp_python_add_consumer,
        kp_python_add_json,     kp_python_add_mock,   kp_python_add_pipeline,
        kp_python_add_producer, kp_python_add_reader, kp_python_add_records,
    };
    if (import_errors(kp_python_state_of(module)) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i](module) < 0) {
            return -1;
        }
    }
    return 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg) {
    kp_python_state *state = kp_python_state_of(module);
    for (int status = 0; status <= KP_NOMEM; status++) {
        Py_VISIT(state->errors[status]);
    }
    Py_VISIT(state->config_error);
    Py_VISIT(state->queue_full);
    Py_VISIT(state->batch_type);
    Py_VISIT(state->metadata_type);
    Py_VISIT(state->record_type);
    Py_VISIT(state->records_type);
    return 0;
}

static int module_clear(PyObject *module) {
    kp_python_state *state = kp_python_state_of(module);
    for (int status = 0; status <= KP_NOMEM; status++) {
        Py_CLEAR(state->errors[status]);
    }
    Py_CLEAR(state->config_error);
    Py_CLEAR(state->queue_full);
    Py_CLEAR(state->batch_type);
    Py_CLEAR(state->metadata_type);
    Py_CLEAR(state->record_type);
    Py_CLEAR(state->records_type);
    return 0;
}

static void module_free(void *module) {
    module_clear(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, KP_SLOT(module_exec)},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_SUPPORTED}, /* not with a GIL of their own */
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "kafkapipe._core",
    .m_doc = PyDoc_STR("The C core of kafkapipe. Not a public interface: use the names in kafkapipe."),
    .m_size = sizeof(kp_python_state),
    .m_methods = methods,
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

kp_python_state *kp_python_state_of(PyObject *module) {
    return PyModule_GetState(module);
}

kp_python_state *kp_python_state_of_type(PyTypeObject *type) {
    return PyType_GetModuleState(type);
}

int kp_python_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **keep) {
    PyObject *class = PyType_FromModuleAndSpec(module, spec, NULL);
    if (!class) {
        return -1;
    }
    int failed = PyModule_AddType(module, (PyTypeObject *)class);
    if (keep && !failed) {
        *keep = (PyTypeObject *)class;
    } else {
        Py_DECREF(class);
    }
    return failed;
}

PyMODINIT_FUNC PyInit__core(void) {
    return PyModuleDef_Init(&module_def);
}
