/* _core.MockCluster: librdkafka's in-process brokers, for tests and for a trial without servers. */
#include "flow/mock.h"

#include "core/mem.h"
#include "python/module.h"

typedef struct {
    PyObject_HEAD kp_mock *mock; /* owned; NULL: closed */
} mock_object;

static PyObject *mock_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"brokers", NULL};
    int brokers = 1;
    kp_error err;
    kp_status st;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|i:MockCluster", names, &brokers)) {
        return NULL;
    }
    if (brokers < 1) {
        PyErr_SetString(PyExc_ValueError, "a mock cluster has at least one broker");
        return NULL;
    }
    mock_object *self = (mock_object *)type->tp_alloc(type, 0);
    if (!self) {
        return NULL;
    }

    Py_BEGIN_ALLOW_THREADS;
    st = kp_mock_new(&self->mock, brokers, &err);
    Py_END_ALLOW_THREADS;

    if (st != KP_OK) {
        Py_DECREF(self);
        return kp_python_raise(kp_python_state_of_type(type), &err, "start mock cluster");
    }
    return (PyObject *)self;
}

/* NULL with an exception. */
static kp_mock *usable(PyObject *self) {
    kp_mock *mock = ((mock_object *)self)->mock;
    if (!mock) {
        kp_error err;
        kp_error_set(&err, KP_CLOSED, "CLOSED", "mock cluster: it is closed: make a new one");
        kp_python_raise(kp_python_state_of_type(Py_TYPE(self)), &err, "mock cluster");
    }
    return mock;
}

static PyObject *answer(PyObject *self, kp_status st, const kp_error *err) {
    if (st != KP_OK) {
        return kp_python_raise(kp_python_state_of_type(Py_TYPE(self)), err, "mock cluster");
    }
    Py_RETURN_NONE;
}

static PyObject *mock_create_topic(PyObject *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"name", "partitions", "replication_factor", NULL};
    const char *topic;
    int partitions = 1;
    int replication_factor = 1;
    kp_error err;
    kp_mock *mock = usable(self);
    if (!mock || !PyArg_ParseTupleAndKeywords(args, kwargs, "s|ii:create_topic", names, &topic, &partitions,
                                              &replication_factor)) {
        return NULL;
    }
    kp_status st = kp_mock_create_topic(mock, topic, partitions, replication_factor, &err);
    return answer(self, st, &err);
}

static PyObject *mock_set_leader(PyObject *self, PyObject *args) {
    const char *topic;
    int partition;
    int broker;
    kp_error err;
    kp_mock *mock = usable(self);
    if (!mock || !PyArg_ParseTuple(args, "sii:set_leader", &topic, &partition, &broker)) {
        return NULL;
    }
    kp_status st = kp_mock_set_leader(mock, topic, partition, broker, &err);
    return answer(self, st, &err);
}

static PyObject *mock_set_up(PyObject *self, PyObject *args) {
    int broker;
    int up;
    kp_error err;
    kp_mock *mock = usable(self);
    if (!mock || !PyArg_ParseTuple(args, "ip:set_up", &broker, &up)) {
        return NULL;
    }
    kp_status st = kp_mock_set_up(mock, broker, up, &err);
    return answer(self, st, &err);
}

static PyObject *mock_set_rtt(PyObject *self, PyObject *args) {
    int broker;
    int rtt_ms;
    kp_error err;
    kp_mock *mock = usable(self);
    if (!mock || !PyArg_ParseTuple(args, "ii:set_rtt", &broker, &rtt_ms)) {
        return NULL;
    }
    kp_status st = kp_mock_set_rtt(mock, broker, rtt_ms, &err);
    return answer(self, st, &err);
}

static int read_codes(PyObject *items, rd_kafka_resp_err_t *codes) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(items); i++) {
        codes[i] = (rd_kafka_resp_err_t)PyLong_AsLong(PyTuple_GET_ITEM(items, i));
    }
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *mock_push_errors(PyObject *self, PyObject *args) {
    short api_key;
    PyObject *sequence;
    kp_mock *mock = usable(self);
    if (!mock || !PyArg_ParseTuple(args, "hO:push_errors", &api_key, &sequence)) {
        return NULL;
    }
    PyObject *items = PySequence_Tuple(sequence);
    size_t count = items ? (size_t)PyTuple_GET_SIZE(items) : 0;
    rd_kafka_resp_err_t *codes = items ? kp_calloc(count, sizeof *codes) : NULL;
    if (items && !codes) {
        PyErr_NoMemory();
    }
    bool read = codes && read_codes(items, codes) == 0;
    if (read) {
        kp_mock_push_errors(mock, api_key, codes, count);
    }
    kp_free(codes);
    Py_XDECREF(items);
    return read ? Py_NewRef(Py_None) : NULL;
}

static PyObject *mock_close(PyObject *self, PyObject *unused) {
    kp_mock *mock = ((mock_object *)self)->mock;
    (void)unused;
    ((mock_object *)self)->mock = NULL;
    Py_BEGIN_ALLOW_THREADS;
    kp_mock_free(mock);
    Py_END_ALLOW_THREADS;
    Py_RETURN_NONE;
}

static PyObject *mock_enter(PyObject *self, PyObject *unused) {
    (void)unused;
    return Py_NewRef(self);
}

static PyObject *mock_exit(PyObject *self, PyObject *args) {
    (void)args;
    return mock_close(self, NULL);
}

static PyObject *get_bootstrap(PyObject *self, void *unused) {
    kp_mock *mock = usable(self);
    (void)unused;
    return mock ? PyUnicode_FromString(kp_mock_bootstrap(mock)) : NULL;
}

static void mock_finalize(PyObject *self) {
    if (((mock_object *)self)->mock) {
        kp_python_warn_unclosed(self, "unclosed mock cluster: use `with`, or close()");
    }
}

static void mock_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    if (PyObject_CallFinalizerFromDealloc(self) < 0) {
        return;
    }
    kp_mock_free(((mock_object *)self)->mock); /* its brokers are threads of this process: nothing to wait for */
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"create_topic", KP_METHOD(mock_create_topic), METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("create_topic($self, /, name, partitions=1, replication_factor=1)\n--\n\nMakes a topic.")},
    {"set_leader", mock_set_leader, METH_VARARGS,
     PyDoc_STR("set_leader($self, topic, partition, broker, /)\n--\n\nMoves a partition to a broker; -1: no leader.")},
    {"set_up", mock_set_up, METH_VARARGS,
     PyDoc_STR("set_up($self, broker, up, /)\n--\n\nCuts a broker off, or lets it answer again; -1: all brokers.")},
    {"set_rtt", mock_set_rtt, METH_VARARGS,
     PyDoc_STR("set_rtt($self, broker, rtt_ms, /)\n--\n\nDelays a broker's answers by milliseconds; -1: all brokers.")},
    {"push_errors", mock_push_errors, METH_VARARGS,
     PyDoc_STR("push_errors($self, api_key, codes, /)\n--\n\n"
               "The next requests of this kind get these error codes, in this order. Kafka's protocol guide has the\n"
               "numbers: produce is 0, metadata 3; -195 cuts the connection.")},
    {"close", mock_close, METH_NOARGS, PyDoc_STR("close($self, /)\n--\n\nEnds the brokers.")},
    {"__enter__", mock_enter, METH_NOARGS, PyDoc_STR("__enter__($self, /)\n--\n\n")},
    {"__exit__", mock_exit, METH_VARARGS, PyDoc_STR("__exit__($self, /, *exception)\n--\n\n")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef getset[] = {
    {"bootstrap", get_bootstrap, NULL, PyDoc_STR("Addresses of the brokers, for bootstrap.servers."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc,
     KP_SLOT(PyDoc_STR("MockCluster(brokers=1)\n--\n\n"
                       "Brokers of librdkafka's own, in this process, in memory. They speak Kafka's protocol,\n"
                       "make topics on demand, keep 5 MiB a partition and know no admin calls. A context\n"
                       "manager."))},
    {Py_tp_new, KP_SLOT(mock_new)},
    {Py_tp_dealloc, KP_SLOT(mock_dealloc)},
    {Py_tp_finalize, KP_SLOT(mock_finalize)},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "kafkapipe._core.MockCluster",
    .basicsize = sizeof(mock_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

int kp_python_add_mock(PyObject *module) {
    return kp_python_add_type(module, &spec, NULL);
}
