/* BatchResult: see batch.h. Messages are converted in portions, each handed in without the GIL; what was converted and
 * found no room is converted again later, so that no buffer of the user's is held while we wait.
 */
#include "python/batch.h"

#include "core/mem.h"
#include "python/convert.h"

enum {
    PORTION = 4096,
    GIL_WORTH = 16, /* messages from which giving the GIL away costs less than it gives */
};

static const char OP[] = "produce";

/* ---- making one ---- */

static PyObject *sequence_of(PyObject *object, Py_ssize_t count, const char *what) {
    if (PyUnicode_Check(object) || PyBytes_Check(object) || PyByteArray_Check(object) || PyDict_Check(object)) {
        return PyErr_Format(PyExc_TypeError, "%s must be a sequence with an item for each message, not %.100s", what,
                            Py_TYPE(object)->tp_name);
    }
    PyObject *items = PySequence_Tuple(object);
    if (items && count >= 0 && PyTuple_GET_SIZE(items) != count) {
        PyErr_Format(PyExc_ValueError, "%s has %zd items for %zd messages", what, PyTuple_GET_SIZE(items), count);
        Py_CLEAR(items);
    }
    return items;
}

/* -1 with an exception. None leaves *out NULL. */
static int take_sequence(PyObject **out, PyObject *object, Py_ssize_t count, const char *what, bool single) {
    if (object == Py_None && count >= 0) {
        return 0;
    }
    *out = single ? PyTuple_Pack(1, object) : sequence_of(object, count, what);
    return *out ? 0 : -1;
}

static int take_texts(PyObject **items, kp_strings **column, PyObject *object, Py_ssize_t count, const char *what,
                      bool single) {
    int taken = single ? 0 : kp_python_strings_take(column, object, what);
    if (taken == 0) {
        return take_sequence(items, object, count, what, single);
    }
    if (taken == 1 && count >= 0 && kp_strings_count(*column) != (size_t)count) {
        PyErr_Format(PyExc_ValueError, "%s has %zu items for %zd messages", what, kp_strings_count(*column), count);
        return -1;
    }
    return taken < 0 ? -1 : 0;
}

static Py_ssize_t count_of(const kp_python_batch *batch) {
    return batch->value_column ? (Py_ssize_t)kp_strings_count(batch->value_column) : PyTuple_GET_SIZE(batch->values);
}

static int take_arguments(kp_python_batch *batch, const kp_python_batch_args *args) {
    batch->single = args->single;
    batch->topic = Py_NewRef(args->topic);
    batch->future = Py_NewRef(args->future);
    if (take_texts(&batch->values, &batch->value_column, args->values, -1, "values", args->single) < 0) {
        return -1;
    }
    Py_ssize_t count = count_of(batch);
    if (take_texts(&batch->keys, &batch->key_column, args->keys, count, "keys", args->single) < 0 ||
        take_sequence(&batch->headers, args->headers, count, "headers", args->single) < 0 ||
        take_sequence(&batch->timestamps, args->timestamps, count, "timestamps", args->single) < 0 ||
        take_sequence(&batch->partitions, args->partitions, count, "partitions", args->single) < 0) {
        return -1;
    }
    return 0;
}

kp_python_batch *kp_python_batch_new(kp_python_state *state, kp_producer *producer, const kp_python_batch_args *args) {
    kp_bytes topic;
    kp_error err;
    if (kp_python_read_text(args->topic, "topic", &topic) < 0) {
        return NULL;
    }
    kp_python_batch *batch = PyObject_GC_New(kp_python_batch, state->batch_type);
    if (!batch) {
        return NULL;
    }
    memset((char *)batch + sizeof(PyObject), 0, sizeof *batch - sizeof(PyObject));
    if (take_arguments(batch, args) < 0) {
        Py_DECREF(batch);
        return NULL;
    }
    size_t count = (size_t)count_of(batch);
    if (kp_send_new(&batch->send, producer, topic, count, &err) != KP_OK) {
        kp_python_raise(state, &err, OP);
        Py_DECREF(batch);
        return NULL;
    }
    kp_send_set_owner(batch->send, batch);
    PyObject_GC_Track(batch); /* whole: anybody may find it now */
    return batch;
}

kp_python_batch *kp_python_batch_around(kp_python_state *state, kp_send *send, PyObject *future) {
    kp_python_batch *batch = PyObject_GC_New(kp_python_batch, state->batch_type);
    if (!batch) {
        kp_send_release(send);
        return NULL;
    }
    memset((char *)batch + sizeof(PyObject), 0, sizeof *batch - sizeof(PyObject));
    batch->send = send;
    batch->future = Py_XNewRef(future);
    batch->topic = PyUnicode_FromString(kp_send_topic(send));
    if (!batch->topic) {
        Py_DECREF(batch);
        return NULL;
    }
    kp_send_set_owner(send, batch);
    PyObject_GC_Track(batch);
    return batch;
}

/* ---- handing it in ---- */

static PyObject *item(PyObject *tuple, size_t i) {
    return tuple ? PyTuple_GET_ITEM(tuple, (Py_ssize_t)i) : Py_None;
}

/* As the functions of convert.h; the message of a failed one has no headers. */
static int read_message(kp_python_batch *batch, size_t i, kp_message *message, kp_python_buffers *held, kp_error *err) {
    *message = (kp_message){.partition = RD_KAFKA_PARTITION_UA};
    int fit = 1;
    if (batch->value_column) {
        message->value = kp_strings_at(batch->value_column, i);
    } else {
        fit = kp_python_read_bytes(held, item(batch->values, i), "value", &message->value, err);
    }
    if (batch->key_column) {
        message->key = kp_strings_at(batch->key_column, i);
    } else if (fit == 1 && batch->keys) {
        fit = kp_python_read_bytes(held, item(batch->keys, i), "key", &message->key, err);
    }
    if (fit == 1 && batch->timestamps) {
        fit = kp_python_read_timestamp(item(batch->timestamps, i), &message->timestamp_ms, err);
    }
    if (fit == 1 && batch->partitions) {
        fit = kp_python_read_partition(item(batch->partitions, i), &message->partition, err);
    }
    if (fit == 1 && batch->headers) {
        fit = kp_python_read_headers(held, item(batch->headers, i), &message->headers, err);
    }
    return fit;
}

static PyObject *refusal(kp_python_state *state, const kp_python_batch *batch, size_t i, kp_error *err) {
    const char *topic = PyUnicode_AsUTF8(batch->topic);
    if (!topic) {
        return NULL;
    }
    if (batch->single) {
        kp_error_prefix(err, "produce to %s", topic);
    } else {
        kp_error_prefix(err, "produce to %s: message %zu", topic, i);
    }
    return kp_python_error_new(state, err, OP);
}

/* Keeps why message i is refused; a single message is refused by raising it. -1 with an exception. */
static int refuse(kp_python_state *state, kp_python_batch *batch, size_t i, kp_message *message, kp_error *err) {
    PyObject *error = refusal(state, batch, i, err);
    PyObject *index = error ? PyLong_FromSize_t(i) : NULL;
    int failed = -1;
    if (index && batch->single) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    } else if (index && (batch->refused || (batch->refused = PyDict_New()))) {
        failed = PyDict_SetItem(batch->refused, index, error);
        message->refused = true;
    }
    Py_XDECREF(error);
    Py_XDECREF(index);
    return failed;
}

static void free_headers(kp_message *messages, size_t from, size_t to) {
    for (; from < to; from++) {
        if (messages[from].headers) {
            rd_kafka_headers_destroy(messages[from].headers);
        }
    }
}

static int read_portion(kp_python_state *state, kp_python_batch *batch, kp_message *messages, size_t count,
                        kp_python_buffers *held) {
    size_t first = kp_send_handed_in(batch->send);
    for (size_t n = 0; n < count; n++) {
        kp_error err;
        int fit = read_message(batch, first + n, &messages[n], held, &err);
        if (fit == 0) {
            fit = refuse(state, batch, first + n, &messages[n], &err);
        }
        if (fit < 0) {
            free_headers(messages, 0, n);
            return -1;
        }
    }
    return 0;
}

/* 1: all taken, 0: the queue is full, -1: exception. */
static int hand_in_portion(kp_python_state *state, kp_python_batch *batch, kp_producer *producer, kp_message *messages,
                           size_t count) {
    kp_python_buffers held = {0};
    size_t taken;
    kp_status st;
    kp_error err;
    if (read_portion(state, batch, messages, count, &held) < 0) {
        kp_python_buffers_deinit(&held);
        return -1;
    }

    if (count < GIL_WORTH) {
        st = kp_producer_enqueue(producer, batch->send, messages, count, &taken, &err);
    } else {
        Py_BEGIN_ALLOW_THREADS;
        st = kp_producer_enqueue(producer, batch->send, messages, count, &taken, &err);
        Py_END_ALLOW_THREADS;
    }

    free_headers(messages, taken, count);
    kp_python_buffers_deinit(&held);
    if (st != KP_OK) {
        kp_python_raise(state, &err, OP);
        return -1;
    }
    return taken == count;
}

static int hand_in_all(kp_python_state *state, kp_python_batch *batch, kp_producer *producer, kp_message *messages,
                       size_t capacity) {
    int all;
    size_t left;
    do {
        left = kp_send_count(batch->send) - kp_send_handed_in(batch->send);
        size_t count = left < capacity ? left : capacity;
        all = hand_in_portion(state, batch, producer, messages, count);
        left -= count;
    } while (all == 1 && left > 0 && PyErr_CheckSignals() == 0);
    return PyErr_Occurred() ? -1 : all;
}

int kp_python_batch_hand_in(kp_python_state *state, kp_python_batch *batch, kp_producer *producer) {
    kp_message one;
    if (!batch->values && !batch->value_column) {
        return 1; /* it was handed in, or given up */
    }
    size_t left = kp_send_count(batch->send) - kp_send_handed_in(batch->send);
    size_t capacity = left < PORTION ? left : PORTION;
    kp_message *messages = capacity <= 1 ? &one : kp_alloc(capacity * sizeof *messages);
    if (!messages) {
        PyErr_NoMemory();
        return -1;
    }
    int all = hand_in_all(state, batch, producer, messages, capacity);
    if (all == 1) {
        kp_python_batch_forget(batch);
    }
    if (messages != &one) {
        kp_free(messages);
    }
    return all;
}

Py_ssize_t kp_python_batch_bytes(const kp_python_batch *batch) {
    Py_ssize_t sum = 0;
    for (size_t i = 0; batch->value_column && i < kp_strings_count(batch->value_column); i++) {
        sum += (Py_ssize_t)kp_strings_at(batch->value_column, i).length;
    }
    for (Py_ssize_t i = 0; batch->values && i < PyTuple_GET_SIZE(batch->values); i++) {
        kp_python_buffers held = {0};
        kp_bytes value;
        kp_error err;
        int fit = kp_python_read_bytes(&held, PyTuple_GET_ITEM(batch->values, i), "value", &value, &err);
        kp_python_buffers_deinit(&held);
        if (fit < 0) {
            return -1;
        }
        sum += fit ? (Py_ssize_t)value.length : 0;
    }
    return sum;
}

/* ---- results ---- */

static PyObject *metadata_new(kp_python_state *state, const kp_python_batch *batch, const kp_delivery *delivery) {
    PyObject *metadata = PyStructSequence_New(state->metadata_type);
    if (!metadata) {
        return NULL;
    }
    PyStructSequence_SET_ITEM(metadata, 0, Py_NewRef(batch->topic));
    PyStructSequence_SET_ITEM(metadata, 1, PyLong_FromLong(delivery->partition));
    PyStructSequence_SET_ITEM(metadata, 2, PyLong_FromLongLong(delivery->offset));
    PyStructSequence_SET_ITEM(metadata, 3, PyLong_FromLongLong(delivery->timestamp_ms));
    if (PyErr_Occurred()) {
        Py_CLEAR(metadata);
    }
    return metadata;
}

static PyObject *error_of(kp_python_state *state, const kp_python_batch *batch, size_t i) {
    kp_error err;
    if (batch->refused) {
        PyObject *index = PyLong_FromSize_t(i);
        PyObject *error = index ? PyDict_GetItemWithError(batch->refused, index) : NULL;
        Py_XDECREF(index);
        if (error || PyErr_Occurred()) {
            return Py_XNewRef(error);
        }
    }
    return kp_send_error(batch->send, i, &err) == KP_OK ? NULL : kp_python_error_new(state, &err, OP);
}

static PyObject *result_of(kp_python_state *state, const kp_python_batch *batch, size_t i) {
    const kp_delivery *delivery = kp_send_delivery(batch->send, i);
    return delivery->code == RD_KAFKA_RESP_ERR_NO_ERROR ? metadata_new(state, batch, delivery)
                                                        : error_of(state, batch, i);
}

PyObject *kp_python_batch_outcome(kp_python_state *state, kp_python_batch *batch) {
    return batch->single ? result_of(state, batch, 0) : Py_NewRef(batch);
}

static PyObject *batch_item(PyObject *self, Py_ssize_t i) {
    kp_python_batch *batch = (kp_python_batch *)self;
    if (i < 0 || (size_t)i >= kp_send_count(batch->send)) {
        PyErr_SetString(PyExc_IndexError, "no message of this number in the batch");
        return NULL;
    }
    return result_of(kp_python_state_of_type(Py_TYPE(self)), batch, (size_t)i);
}

static Py_ssize_t batch_length(PyObject *self) {
    return (Py_ssize_t)kp_send_count(((kp_python_batch *)self)->send);
}

static PyObject *get_delivered(PyObject *self, void *unused) {
    const kp_send *send = ((kp_python_batch *)self)->send;
    (void)unused;
    return PyLong_FromSize_t(kp_send_count(send) - kp_send_failed(send));
}

static int append_failure(kp_python_state *state, kp_python_batch *batch, size_t i, PyObject *failures) {
    PyObject *error = error_of(state, batch, i);
    PyObject *pair = error ? Py_BuildValue("(nO)", (Py_ssize_t)i, error) : NULL;
    int failed = pair ? PyList_Append(failures, pair) : -1;
    Py_XDECREF(error);
    Py_XDECREF(pair);
    return failed;
}

static PyObject *get_failed(PyObject *self, void *unused) {
    kp_python_batch *batch = (kp_python_batch *)self;
    kp_python_state *state = kp_python_state_of_type(Py_TYPE(self));
    PyObject *failures = PyList_New(0);
    size_t count = kp_send_failed(batch->send) ? kp_send_count(batch->send) : 0;
    (void)unused;
    for (size_t i = 0; failures && i < count; i++) {
        if (kp_send_delivery(batch->send, i)->code != RD_KAFKA_RESP_ERR_NO_ERROR &&
            append_failure(state, batch, i, failures) < 0) {
            Py_CLEAR(failures);
        }
    }
    return failures;
}

static PyObject *batch_repr(PyObject *self) {
    kp_python_batch *batch = (kp_python_batch *)self;
    size_t failed = kp_send_failed(batch->send);
    return PyUnicode_FromFormat("<BatchResult topic=%R delivered=%zu failed=%zu>", batch->topic,
                                kp_send_count(batch->send) - failed, failed);
}

static PyObject *batch_html(PyObject *self, PyObject *unused) {
    (void)unused;
    return kp_python_html("result", self);
}

/* ---- the type ---- */

void kp_python_batch_forget(kp_python_batch *batch) {
    Py_CLEAR(batch->values);
    Py_CLEAR(batch->keys);
    kp_strings_free(batch->value_column);
    kp_strings_free(batch->key_column);
    batch->value_column = batch->key_column = NULL;
    Py_CLEAR(batch->headers);
    Py_CLEAR(batch->timestamps);
    Py_CLEAR(batch->partitions);
}

static int batch_traverse(PyObject *self, visitproc visit, void *arg) {
    kp_python_batch *batch = (kp_python_batch *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(batch->values);
    Py_VISIT(batch->keys);
    Py_VISIT(batch->headers);
    Py_VISIT(batch->timestamps);
    Py_VISIT(batch->partitions);
    Py_VISIT(batch->future);
    Py_VISIT(batch->refused);
    return 0;
}

static int batch_clear(PyObject *self) {
    kp_python_batch *batch = (kp_python_batch *)self;
    kp_python_batch_forget(batch);
    Py_CLEAR(batch->future);
    Py_CLEAR(batch->refused);
    return 0;
}

static void batch_dealloc(PyObject *self) {
    kp_python_batch *batch = (kp_python_batch *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    batch_clear(self);
    Py_CLEAR(batch->topic);
    if (batch->send) {
        kp_send_set_owner(batch->send, NULL);
        kp_send_release(batch->send);
    }
    type->tp_free(self);
    Py_DECREF(type);
}

static PyGetSetDef getset[] = {
    {"delivered", get_delivered, NULL, PyDoc_STR("Number of messages that the broker acknowledged."), NULL},
    {"failed", get_failed, NULL,
     PyDoc_STR("List of (index, error), one for each message that failed; the errors are KafkaPipeErrors."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef methods[] = {
    {"_repr_html_", batch_html, METH_NOARGS, PyDoc_STR("_repr_html_($self, /)\n--\n\nA table, for notebooks.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, KP_SLOT(PyDoc_STR("What became of each message of one send_many, in its order.\n\n"
                                  "A sequence: item i is the RecordMetadata of message i, or the KafkaPipeError that\n"
                                  "says why it failed and, by its class, whether trying again can help."))},
    {Py_tp_dealloc, KP_SLOT(batch_dealloc)},
    {Py_tp_traverse, KP_SLOT(batch_traverse)},
    {Py_tp_clear, KP_SLOT(batch_clear)},
    {Py_tp_repr, KP_SLOT(batch_repr)},
    {Py_sq_length, KP_SLOT(batch_length)},
    {Py_sq_item, KP_SLOT(batch_item)},
    {Py_tp_getset, getset},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "kafkapipe._core.BatchResult",
    .basicsize = sizeof(kp_python_batch),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_SEQUENCE |
             Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

static PyStructSequence_Field metadata_fields[] = {
    {"topic", "its topic"},
    {"partition", "the partition it is in"},
    {"offset", "its offset there; -1 when the broker was not asked for it (acks=0)"},
    {"timestamp", "milliseconds since 1970, UTC; -1 when there is none"},
    {NULL, NULL},
};

static PyStructSequence_Desc metadata_desc = {
    .name = "kafkapipe._core.RecordMetadata",
    .doc = "Where a message is, as its broker acknowledged it.",
    .fields = metadata_fields,
    .n_in_sequence = 4,
};

static PyObject *metadata_html(PyObject *self, PyObject *unused) {
    (void)unused;
    return kp_python_html("metadata", self);
}

static PyMethodDef metadata_method = {"_repr_html_", metadata_html, METH_NOARGS,
                                      PyDoc_STR("_repr_html_($self, /)\n--\n\nA table, for notebooks.")};

/* The maker of struct sequences takes no methods: it is added to the class. */
static int add_metadata_html(PyTypeObject *type) {
    PyObject *method = PyDescr_NewMethod(type, &metadata_method);
    int failed = method ? PyObject_SetAttrString((PyObject *)type, "_repr_html_", method) : -1;
    Py_XDECREF(method);
    return failed;
}

int kp_python_add_batch(PyObject *module) {
    kp_python_state *state = kp_python_state_of(module);
    state->metadata_type = PyStructSequence_NewType(&metadata_desc);
    if (!state->metadata_type || add_metadata_html(state->metadata_type) < 0 ||
        PyModule_AddType(module, state->metadata_type) < 0) {
        return -1;
    }
    return kp_python_add_type(module, &spec, &state->batch_type);
}
