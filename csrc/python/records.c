/* Batch and Record: see records.h. A record is made when it is touched, and each of its attributes when it is read. */
#include "python/records.h"

typedef struct {
    PyObject_HEAD kp_python_records *whole; /* owned: it holds the memory */
    rd_kafka_message_t *message;            /* borrowed from there */
} record_object;

/* ---- Record ---- */

static PyObject *bytes_or_none(const void *data, size_t length) {
    if (!data) {
        Py_RETURN_NONE;
    }
    return PyBytes_FromStringAndSize(data, (Py_ssize_t)length);
}

static PyObject *get_value(PyObject *self, void *unused) {
    const rd_kafka_message_t *message = ((record_object *)self)->message;
    (void)unused;
    return bytes_or_none(message->payload, message->len);
}

static PyObject *get_key(PyObject *self, void *unused) {
    const rd_kafka_message_t *message = ((record_object *)self)->message;
    (void)unused;
    return bytes_or_none(message->key, message->key_len);
}

static PyObject *get_topic(PyObject *self, void *unused) {
    record_object *record = (record_object *)self;
    kp_python_records *whole = record->whole;
    (void)unused;
    if (whole->topic_handle != record->message->rkt) {
        PyObject *topic = PyUnicode_FromString(rd_kafka_topic_name(record->message->rkt));
        if (!topic) {
            return NULL;
        }
        Py_XSETREF(whole->topic, topic);
        whole->topic_handle = record->message->rkt;
    }
    Py_INCREF(whole->topic);
    return whole->topic;
}

static PyObject *get_partition(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromLong(((record_object *)self)->message->partition);
}

static PyObject *get_offset(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromLongLong(((record_object *)self)->message->offset);
}

static PyObject *get_timestamp(PyObject *self, void *unused) {
    rd_kafka_timestamp_type_t type;
    int64_t timestamp = rd_kafka_message_timestamp(((record_object *)self)->message, &type);
    (void)unused;
    return PyLong_FromLongLong(type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE ? -1 : timestamp);
}

/* A name need not be UTF-8: other clients may have written it. */
static PyObject *header_at(const rd_kafka_headers_t *headers, size_t i) {
    const char *name;
    const void *value;
    size_t length;
    if (rd_kafka_header_get_all(headers, i, &name, &value, &length) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        PyErr_SetString(PyExc_IndexError, "no such header");
        return NULL;
    }
    PyObject *text = PyUnicode_DecodeUTF8(name, (Py_ssize_t)strlen(name), "surrogateescape");
    PyObject *bytes = text ? bytes_or_none(value, length) : NULL;
    PyObject *pair = bytes ? PyTuple_Pack(2, text, bytes) : NULL;
    Py_XDECREF(text);
    Py_XDECREF(bytes);
    return pair;
}

static PyObject *get_headers(PyObject *self, void *unused) {
    rd_kafka_headers_t *headers;
    (void)unused;
    if (rd_kafka_message_headers(((record_object *)self)->message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return PyList_New(0);
    }
    size_t count = rd_kafka_header_cnt(headers);
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; i < count && list; i++) {
        PyObject *pair = header_at(headers, i);
        if (pair) {
            PyList_SET_ITEM(list, (Py_ssize_t)i, pair);
        } else {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *record_repr(PyObject *self) {
    const rd_kafka_message_t *message = ((record_object *)self)->message;
    return PyUnicode_FromFormat("<Record %s [%d] offset %lld, %zu bytes>", rd_kafka_topic_name(message->rkt),
                                (int)message->partition, (long long)message->offset, message->len);
}

static PyObject *record_html(PyObject *self, PyObject *unused) {
    (void)unused;
    return kp_python_html("record", self);
}

static void record_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    Py_DECREF(((record_object *)self)->whole);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *record_new(kp_python_state *state, kp_python_records *whole, rd_kafka_message_t *message) {
    record_object *record = (record_object *)state->record_type->tp_alloc(state->record_type, 0);
    if (record) {
        Py_INCREF(whole);
        record->whole = whole;
        record->message = message;
    }
    return (PyObject *)record;
}

static PyGetSetDef record_getset[] = {
    {"topic", get_topic, NULL, PyDoc_STR("Name of its topic."), NULL},
    {"partition", get_partition, NULL, PyDoc_STR("Number of its partition."), NULL},
    {"offset", get_offset, NULL, PyDoc_STR("Its place in the partition."), NULL},
    {"timestamp", get_timestamp, NULL, PyDoc_STR("Milliseconds since 1970, UTC; -1 when there is none."), NULL},
    {"key", get_key, NULL, PyDoc_STR("Its key as bytes, or None. Each reading makes them anew."), NULL},
    {"value", get_value, NULL, PyDoc_STR("Its value as bytes, or None. Each reading makes them anew."), NULL},
    {"headers", get_headers, NULL, PyDoc_STR("List of (name, value) in their order; a value is bytes or None."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef record_methods[] = {
    {"_repr_html_", record_html, METH_NOARGS, PyDoc_STR("_repr_html_($self, /)\n--\n\nA table, for notebooks.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot record_slots[] = {
    {Py_tp_doc, KP_SLOT(PyDoc_STR("One record of a batch, read from the batch's memory, which it keeps alive."))},
    {Py_tp_dealloc, KP_SLOT(record_dealloc)},
    {Py_tp_repr, KP_SLOT(record_repr)},
    {Py_tp_getset, record_getset},
    {Py_tp_methods, record_methods},
    {0, NULL},
};

static PyType_Spec record_spec = {
    .name = "kafkapipe._core.Record",
    .basicsize = sizeof(record_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = record_slots,
};

/* ---- Batch ---- */

static kp_python_records *whole_of(PyObject *self) {
    kp_python_records *records = (kp_python_records *)self;
    return records->whole ? records->whole : records;
}

static kp_python_records *records_new(kp_python_state *state, PyObject *consumer) {
    kp_python_records *records = (kp_python_records *)state->records_type->tp_alloc(state->records_type, 0);
    if (records) {
        Py_INCREF(consumer);
        records->consumer = consumer;
    }
    return records;
}

PyObject *kp_python_records_new(kp_python_state *state, kp_messages *messages, PyObject *consumer) {
    kp_python_records *records = records_new(state, consumer);
    if (!records) {
        kp_messages_free(messages);
        return NULL;
    }
    records->messages = messages;
    records->count = messages->count;
    return (PyObject *)records;
}

kp_python_records *kp_python_records_of(kp_python_state *state, PyObject *object) {
    if (Py_TYPE(object) != state->records_type) {
        PyErr_SetString(PyExc_TypeError, "expected a Batch");
        return NULL;
    }
    return (kp_python_records *)object;
}

static Py_ssize_t batch_length(PyObject *self) {
    return (Py_ssize_t)((kp_python_records *)self)->count;
}

static PyObject *batch_item(PyObject *self, Py_ssize_t i) {
    kp_python_records *records = (kp_python_records *)self;
    if (i < 0 || (size_t)i >= records->count) {
        PyErr_SetString(PyExc_IndexError, "batch index out of range");
        return NULL;
    }
    return record_new(kp_python_state_of_type(Py_TYPE(self)), whole_of(self),
                      records->messages->messages[records->first + (size_t)i]);
}

static PyObject *slice_of(PyObject *self, PyObject *slice) {
    Py_ssize_t start, stop, step;
    kp_python_records *records = (kp_python_records *)self;
    if (PySlice_Unpack(slice, &start, &stop, &step) < 0) {
        return NULL;
    }
    if (step != 1) {
        PyErr_SetString(PyExc_ValueError, "a slice of a batch has no step: make a list of it first");
        return NULL;
    }
    Py_ssize_t count = PySlice_AdjustIndices((Py_ssize_t)records->count, &start, &stop, step);
    kp_python_records *part = records_new(kp_python_state_of_type(Py_TYPE(self)), records->consumer);
    if (part) {
        part->whole = whole_of(self);
        Py_INCREF(part->whole);
        part->messages = records->messages;
        part->first = records->first + (size_t)start;
        part->count = (size_t)count;
    }
    return (PyObject *)part;
}

static PyObject *batch_subscript(PyObject *self, PyObject *key) {
    if (PySlice_Check(key)) {
        return slice_of(self, key);
    }
    Py_ssize_t i = PyNumber_AsSsize_t(key, PyExc_IndexError);
    if (i == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return batch_item(self, i < 0 ? i + batch_length(self) : i);
}

static PyObject *batch_repr(PyObject *self) {
    return PyUnicode_FromFormat("<Batch of %zd records>", batch_length(self));
}

static PyObject *batch_html(PyObject *self, PyObject *unused) {
    (void)unused;
    return kp_python_html("batch", self);
}

/* The kafkapipe.Consumer that handed this out; new reference, NULL with an exception. */
static PyObject *consumer_of(PyObject *self) {
    PyObject *consumer = PyObject_CallNoArgs(((kp_python_records *)self)->consumer);
    if (consumer == Py_None) {
        kp_error err;
        kp_error_set(&err, KP_CLOSED, "CLOSED", "the consumer of this batch is gone");
        Py_DECREF(consumer);
        return kp_python_raise(kp_python_state_of_type(Py_TYPE(self)), &err, "commit");
    }
    return consumer;
}

static PyObject *get_consumer(PyObject *self, void *unused) {
    (void)unused;
    return consumer_of(self);
}

static PyObject *call_consumer(PyObject *self, const char *method, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"timeout", NULL};
    double timeout = 10.0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|d:commit", names, &timeout)) {
        return NULL;
    }
    PyObject *consumer = consumer_of(self);
    PyObject *answer = consumer ? PyObject_CallMethod(consumer, method, "Od", self, timeout) : NULL;
    Py_XDECREF(consumer);
    return answer;
}

static PyObject *batch_commit(PyObject *self, PyObject *args, PyObject *kwargs) {
    return call_consumer(self, "_commit", args, kwargs);
}

static PyObject *batch_commit_sync(PyObject *self, PyObject *args, PyObject *kwargs) {
    return call_consumer(self, "_commit_sync", args, kwargs);
}

static void batch_dealloc(PyObject *self) {
    kp_python_records *records = (kp_python_records *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (!records->whole) {
        kp_messages_free(records->messages);
    }
    Py_XDECREF(records->whole);
    Py_XDECREF(records->consumer);
    Py_XDECREF(records->topic);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef batch_methods[] = {
    {"commit", KP_METHOD(batch_commit), METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR(
         "commit($self, /, timeout=10.0)\n--\n\n"
         "Awaitable: moves the group to the end of this batch, in each of its partitions.\n\n"
         "RejectedError when a partition was taken away meanwhile, the others are committed then; RetryableError\n"
         "when the group is in a rebalance; DeadlineError when no broker answered for so many seconds.")},
    {"commit_sync", KP_METHOD(batch_commit_sync), METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("commit_sync($self, /, timeout=10.0)\n--\n\n"
               "The same, waiting here, for at most so many seconds. The event loop waits, too.")},
    {"_repr_html_", batch_html, METH_NOARGS, PyDoc_STR("_repr_html_($self, /)\n--\n\nA table, for notebooks.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef batch_getset[] = {
    {"consumer", get_consumer, NULL, PyDoc_STR("The Consumer that handed it out; ClosedError when that is gone."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot batch_slots[] = {
    {Py_tp_doc, KP_SLOT(PyDoc_STR("Records that came together: a sequence, in order within each partition.\n\n"
                                  "A slice is a batch too, over the same memory; commit() of it goes to its end."))},
    {Py_tp_dealloc, KP_SLOT(batch_dealloc)},
    {Py_tp_repr, KP_SLOT(batch_repr)},
    {Py_tp_iter, KP_SLOT(PySeqIter_New)},
    {Py_sq_length, KP_SLOT(batch_length)},
    {Py_sq_item, KP_SLOT(batch_item)},
    {Py_mp_length, KP_SLOT(batch_length)},
    {Py_mp_subscript, KP_SLOT(batch_subscript)},
    {Py_tp_methods, batch_methods},
    {Py_tp_getset, batch_getset},
    {0, NULL},
};

static PyType_Spec batch_spec = {
    .name = "kafkapipe._core.Batch",
    .basicsize = sizeof(kp_python_records),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_SEQUENCE | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = batch_slots,
};

int kp_python_add_records(PyObject *module) {
    kp_python_state *state = kp_python_state_of(module);
    if (kp_python_add_type(module, &record_spec, &state->record_type) < 0) {
        return -1;
    }
    return kp_python_add_type(module, &batch_spec, &state->records_type);
}
