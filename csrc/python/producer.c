/* _core.Producer: the producer of flow/producer.h for kafkapipe/producer.py, which knows the event loop. */
#include "python/producer.h"

#include "python/batch.h"
#include "python/convert.h"

enum { EVENTS_A_TURN = 64 }; /* then the event loop has its turn; an event carries up to thousands of results */

static PyObject *producer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *pairs;
    int round_robin = 0;
    kp_error err;
    kp_status st;
    kp_python_state *state = kp_python_state_of_type(type);
    if (kwargs && PyDict_GET_SIZE(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Producer takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O|p:Producer", &pairs, &round_robin)) {
        return NULL;
    }
    rd_kafka_conf_t *conf = kp_python_conf_new(state, pairs);
    kp_python_producer *self = conf ? (kp_python_producer *)type->tp_alloc(type, 0) : NULL;
    if (!self || !(self->open = PySet_New(NULL))) {
        if (conf) {
            rd_kafka_conf_destroy(conf);
        }
        Py_XDECREF(self);
        return NULL;
    }

    Py_BEGIN_ALLOW_THREADS;
    st = kp_producer_new(&self->producer, conf, round_robin == 1, &err);
    Py_END_ALLOW_THREADS;

    if (st != KP_OK) {
        Py_DECREF(self);
        return kp_python_raise_config(state, &err, "start producer");
    }
    return (PyObject *)self;
}

kp_producer *kp_python_producer_usable(kp_python_producer *self) {
    if (!self->producer) {
        kp_error err;
        kp_error_set(&err, KP_CLOSED, "CLOSED", "producer: it is closed: make a new one");
        kp_python_raise(kp_python_state_of_type(Py_TYPE(self)), &err, "produce");
    }
    return self->producer;
}

/* ---- sending ---- */

static PyObject *prepare(kp_python_producer *self, PyObject *const *args, Py_ssize_t count, bool single) {
    kp_producer *producer = kp_python_producer_usable(self);
    if (!producer) {
        return NULL;
    }
    if (count != 7) {
        return PyErr_Format(PyExc_TypeError, "expected 7 arguments, got %zd", count);
    }
    kp_python_batch_args batch = {args[0], args[1], args[2], args[3], args[4], args[5], args[6], single};
    return (PyObject *)kp_python_batch_new(kp_python_state_of_type(Py_TYPE(self)), producer, &batch);
}

static PyObject *producer_prepare(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    return prepare((kp_python_producer *)self, args, count, true);
}

static PyObject *producer_prepare_many(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    return prepare((kp_python_producer *)self, args, count, false);
}

static kp_python_batch *batch_of(kp_python_producer *self, PyObject *object) {
    kp_python_state *state = kp_python_state_of_type(Py_TYPE(self));
    if (Py_TYPE(object) != state->batch_type) {
        PyErr_SetString(PyExc_TypeError, "expected a BatchResult");
        return NULL;
    }
    return (kp_python_batch *)object;
}

static PyObject *producer_enqueue(PyObject *object, PyObject *argument) {
    kp_python_producer *self = (kp_python_producer *)object;
    kp_python_batch *batch = batch_of(self, argument);
    kp_producer *producer = batch ? kp_python_producer_usable(self) : NULL;
    if (!producer || PySet_Add(self->open, argument) < 0) {
        return NULL;
    }

    self->calls++;
    int all = kp_python_batch_hand_in(kp_python_state_of_type(Py_TYPE(self)), batch, producer);
    self->calls--;

    if (all < 0) {
        if (kp_send_handed_in(batch->send) == 0) {
            PyObject *type, *value, *traceback;
            PyErr_Fetch(&type, &value, &traceback);
            PySet_Discard(self->open, argument);
            PyErr_Restore(type, value, traceback);
        }
        return NULL;
    }
    return PyBool_FromLong(all);
}

int kp_python_producer_has_room(kp_python_producer *self, const char *topic, size_t count, size_t bytes) {
    bool fits_ever;
    bool room = kp_producer_has_room(self->producer, count, bytes, &fits_ever);
    if (!fits_ever) {
        kp_error err;
        kp_error_set(&err, KP_REJECT, "BATCH_TOO_LARGE",
                     "produce to %s: %zu messages of %zu bytes never fit into the queue: send fewer at once, or raise "
                     "queue.buffering.max.messages and queue.buffering.max.kbytes",
                     topic, count, bytes);
        kp_python_raise(kp_python_state_of_type(Py_TYPE(self)), &err, "produce");
        return -1;
    }
    return room;
}

static PyObject *producer_has_room(PyObject *object, PyObject *argument) {
    kp_python_producer *self = (kp_python_producer *)object;
    kp_python_batch *batch = batch_of(self, argument);
    kp_producer *producer = batch ? kp_python_producer_usable(self) : NULL;
    Py_ssize_t bytes = producer ? kp_python_batch_bytes(batch) : -1;
    if (bytes < 0) {
        return NULL;
    }
    size_t count = kp_send_count(batch->send);
    int room = kp_python_producer_has_room(self, kp_send_topic(batch->send), count, (size_t)bytes);
    return room < 0 ? NULL : PyBool_FromLong(room);
}

static PyObject *producer_abandon(PyObject *object, PyObject *argument) {
    kp_python_producer *self = (kp_python_producer *)object;
    kp_python_batch *batch = batch_of(self, argument);
    if (!batch) {
        return NULL;
    }
    if (self->producer) {
        kp_producer_abandon(self->producer, batch->send, RD_KAFKA_RESP_ERR__QUEUE_FULL);
    }
    kp_python_batch_forget(batch);
    Py_RETURN_NONE;
}

/* ---- results ---- */

static int append_outcome(kp_python_state *state, kp_python_batch *batch, PyObject *outcomes) {
    PyObject *future = batch->future;
    batch->future = NULL; /* the batch is its result: they must not hold each other */
    PyObject *outcome = kp_python_batch_outcome(state, batch);
    PyObject *pair = outcome ? PyTuple_Pack(2, future, outcome) : NULL;
    int failed = pair ? PyList_Append(outcomes, pair) : -1;
    Py_XDECREF(future);
    Py_XDECREF(outcome);
    Py_XDECREF(pair);
    return failed;
}

/* A send without an owner is a post's: there is something to tell when it failed. send is moved. */
static int append_unwatched(kp_python_state *state, kp_send *send, PyObject *outcomes) {
    if (kp_send_failed(send) == 0) {
        kp_send_release(send);
        return 0;
    }
    kp_python_batch *batch = kp_python_batch_around(state, send, NULL);
    PyObject *pair = batch ? Py_BuildValue("(OO)", Py_None, batch) : NULL;
    int failed = pair ? PyList_Append(outcomes, pair) : -1;
    Py_XDECREF(batch);
    Py_XDECREF(pair);
    return failed;
}

/* List of (future, outcome) for the batches of this list, which is moved. */
static PyObject *outcomes_of(kp_python_producer *self, kp_send *done) {
    kp_python_state *state = kp_python_state_of_type(Py_TYPE(self));
    PyObject *outcomes = PyList_New(0);
    for (kp_send *next; done; done = next) {
        next = kp_send_next(done);
        kp_python_batch *batch = kp_send_owner(done);
        if (batch) {
            Py_INCREF(batch);
            if (outcomes && append_outcome(state, batch, outcomes) < 0) {
                Py_CLEAR(outcomes);
            }
            PySet_Discard(self->open, (PyObject *)batch);
            Py_DECREF(batch);
            kp_send_release(done);
        } else if (!outcomes) {
            kp_send_release(done);
        } else if (append_unwatched(state, done, outcomes) < 0) {
            Py_CLEAR(outcomes);
        }
    }
    return outcomes;
}

static PyObject *producer_drain(PyObject *object, PyObject *unused) {
    kp_python_producer *self = (kp_python_producer *)object;
    kp_producer *producer = kp_python_producer_usable(self);
    kp_send *done;
    kp_error err;
    kp_status st;
    (void)unused;
    if (!producer) {
        return NULL;
    }

    self->calls++;
    Py_BEGIN_ALLOW_THREADS;
    st = kp_producer_drain(producer, EVENTS_A_TURN, &done, &err);
    Py_END_ALLOW_THREADS;
    self->calls--;

    (void)st; /* a fatal error is raised by the next enqueue */
    return outcomes_of(self, done);
}

/* ---- what waits ---- */

static PyObject *producer_flush(PyObject *object, PyObject *argument) {
    kp_python_producer *self = (kp_python_producer *)object;
    kp_producer *producer = kp_python_producer_usable(self);
    int timeout_ms = producer ? (int)PyLong_AsLong(argument) : 0;
    kp_error err;
    kp_status st;
    if (!producer || PyErr_Occurred()) {
        return NULL;
    }

    self->calls++;
    Py_BEGIN_ALLOW_THREADS;
    st = kp_producer_flush(producer, timeout_ms, &err);
    Py_END_ALLOW_THREADS;
    self->calls--;

    if (st != KP_OK && st != KP_TIMEOUT) {
        return kp_python_raise(kp_python_state_of_type(Py_TYPE(self)), &err, "flush");
    }
    return PyBool_FromLong(st == KP_OK);
}

static PyObject *producer_purge(PyObject *object, PyObject *argument) {
    kp_python_producer *self = (kp_python_producer *)object;
    kp_producer *producer = kp_python_producer_usable(self);
    kp_error err;
    kp_status st;
    int closing = producer ? PyObject_IsTrue(argument) : -1;
    if (closing < 0) {
        return NULL;
    }

    self->calls++;
    Py_BEGIN_ALLOW_THREADS;
    st = kp_producer_purge(producer, closing == 1, &err);
    Py_END_ALLOW_THREADS;
    self->calls--;

    if (st != KP_OK) {
        return kp_python_raise(kp_python_state_of_type(Py_TYPE(self)), &err, "purge");
    }
    Py_RETURN_NONE;
}

static PyObject *producer_warm(PyObject *object, PyObject *args) {
    kp_python_producer *self = (kp_python_producer *)object;
    PyObject *topic;
    int partitions;
    kp_bytes name;
    int timeout_ms;
    kp_error err;
    kp_status st;
    kp_producer *producer = kp_python_producer_usable(self);
    if (!producer || !PyArg_ParseTuple(args, "Ui:warm", &topic, &timeout_ms) ||
        kp_python_read_text(topic, "topic", &name) < 0) {
        return NULL;
    }

    self->calls++;
    Py_BEGIN_ALLOW_THREADS;
    st = kp_producer_warm(producer, name, timeout_ms, &partitions, &err);
    Py_END_ALLOW_THREADS;
    self->calls--;

    if (st != KP_OK) {
        return kp_python_raise(kp_python_state_of_type(Py_TYPE(self)), &err, "read metadata");
    }
    return PyLong_FromLong(partitions);
}

static PyObject *producer_close(PyObject *object, PyObject *unused) {
    kp_python_producer *self = (kp_python_producer *)object;
    kp_producer *producer = self->producer;
    kp_send *unfinished;
    (void)unused;
    if (!producer) {
        return PyList_New(0);
    }
    if (self->calls > 0) {
        PyErr_SetString(PyExc_RuntimeError, "the producer is in use in another thread");
        return NULL;
    }
    self->producer = NULL;

    Py_BEGIN_ALLOW_THREADS;
    kp_producer_free(producer, &unfinished);
    Py_END_ALLOW_THREADS;

    return outcomes_of(self, unfinished);
}

static PyObject *producer_fileno(PyObject *object, PyObject *unused) {
    kp_producer *producer = kp_python_producer_usable((kp_python_producer *)object);
    (void)unused;
    return producer ? PyLong_FromLong(kp_producer_fd(producer)) : NULL;
}

static PyObject *producer_problem(PyObject *object, PyObject *unused) {
    char problem[KP_KAFKA_LOG_TEXT_MAX];
    kp_producer *producer = kp_python_producer_usable((kp_python_producer *)object);
    (void)unused;
    if (!producer) {
        return NULL;
    }
    kp_producer_problem(producer, problem);
    return PyUnicode_DecodeUTF8(problem, (Py_ssize_t)strlen(problem), "replace");
}

static PyObject *get_outstanding(PyObject *object, void *unused) {
    kp_producer *producer = ((kp_python_producer *)object)->producer;
    (void)unused;
    return PyLong_FromSize_t(producer ? kp_producer_outstanding(producer) : 0);
}

/* ---- the type ---- */

static void producer_finalize(PyObject *object) {
    kp_producer *producer = ((kp_python_producer *)object)->producer;
    if (producer && !kp_producer_is_foreign(producer)) {
        kp_python_warn_unclosed(object, "unclosed producer, its messages may be lost: use `async with`, or close()");
    }
}

static void free_producer(void *producer) {
    kp_producer_free(producer, NULL);
}

static int producer_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((kp_python_producer *)object)->open);
    return 0;
}

static int producer_clear(PyObject *object) {
    Py_CLEAR(((kp_python_producer *)object)->open);
    return 0;
}

static void producer_dealloc(PyObject *object) {
    kp_python_producer *self = (kp_python_producer *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (PyObject_CallFinalizerFromDealloc(object) < 0) {
        return;
    }
    PyObject_GC_UnTrack(object);
    if (self->producer && !kp_producer_is_foreign(self->producer)) {
        kp_python_end_in_background(free_producer, self->producer);
    }
    producer_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"prepare", KP_METHOD(producer_prepare), METH_FASTCALL,
     PyDoc_STR("prepare($self, topic, value, key, headers, timestamp, partition, future, /)\n--\n\n"
               "One message, to be handed in by enqueue.")},
    {"prepare_many", KP_METHOD(producer_prepare_many), METH_FASTCALL,
     PyDoc_STR("prepare_many($self, topic, values, keys, headers, timestamps, partitions, future, /)\n--\n\n"
               "A batch of messages, to be handed in by enqueue.")},
    {"post", KP_METHOD(kp_python_producer_post), METH_FASTCALL,
     PyDoc_STR("post($self, topic, body, max_events, future, /)\n--\n\n"
               "Hands in the events of a body (see split_events) if all are fit: how many, 0 when not, -1 when there\n"
               "is no room for all. Without a future only failures are told: drain has them as (None, BatchResult).")},
    {"enqueue", producer_enqueue, METH_O,
     PyDoc_STR("enqueue($self, batch, /)\n--\n\n"
               "Hands in what of this batch is not handed in yet. False: the queue is full, call again later.")},
    {"has_room", producer_has_room, METH_O,
     PyDoc_STR("has_room($self, batch, /)\n--\n\n"
               "Whether the whole batch fits into the queue now. RejectedError: it never will.")},
    {"abandon", producer_abandon, METH_O,
     PyDoc_STR("abandon($self, batch, /)\n--\n\nLets the messages fail that are not handed in yet.")},
    {"drain", producer_drain, METH_NOARGS,
     PyDoc_STR("drain($self, /)\n--\n\n"
               "Collects results: a list of (future, outcome) for what is done. Call it when fileno() is readable.")},
    {"flush", producer_flush, METH_O,
     PyDoc_STR("flush($self, timeout_ms, /)\n--\n\n"
               "Waits until no message is without a result; another thread drains meanwhile. False: not in time.")},
    {"purge", producer_purge, METH_O,
     PyDoc_STR("purge($self, closing, /)\n--\n\nGives up every message without a result; drain tells of them.")},
    {"begin", kp_python_producer_begin, METH_O,
     PyDoc_STR("begin($self, timeout_ms, /)\n--\n\nBegins a transaction. RetryableError: call it again.")},
    {"send_position", kp_python_producer_send_position, METH_VARARGS,
     PyDoc_STR("send_position($self, group, topic, offset, timeout_ms, /)\n--\n\n"
               "The group's offset at partition 0 of the topic with the transaction.")},
    {"send_offsets", kp_python_producer_send_offsets, METH_VARARGS,
     PyDoc_STR("send_offsets($self, batch, timeout_ms, /)\n--\n\n"
               "The end of this Batch becomes the group's offset with the transaction.")},
    {"commit", kp_python_producer_commit, METH_O,
     PyDoc_STR("commit($self, timeout_ms, /)\n--\n\n"
               "Commits the transaction: None, or the error it must be aborted for. RetryableError: call it again.")},
    {"abort", kp_python_producer_abort, METH_O,
     PyDoc_STR("abort($self, timeout_ms, /)\n--\n\nAborts the transaction. RetryableError: call it again.")},
    {"warm", producer_warm, METH_VARARGS,
     PyDoc_STR("warm($self, topic, timeout_ms, /)\n--\n\nLearns a topic's partitions from a broker, and tells their "
               "number.")},
    {"close", producer_close, METH_NOARGS,
     PyDoc_STR("close($self, /)\n--\n\n"
               "Ends the client, which can wait for its threads. Returns what drain returns, for all that is left.")},
    {"fileno", producer_fileno, METH_NOARGS,
     PyDoc_STR("fileno($self, /)\n--\n\nThe descriptor that is readable when drain has something to do.")},
    {"problem", producer_problem, METH_NOARGS,
     PyDoc_STR("problem($self, /)\n--\n\nThe last problem with a broker; empty when there was none.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef getset[] = {
    {"outstanding", get_outstanding, NULL, PyDoc_STR("Number of messages without a result."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, KP_SLOT(PyDoc_STR("Producer(properties, round_robin=False, /)\n--\n\n"
                                  "A producer of librdkafka with these properties, pairs of str."))},
    {Py_tp_new, KP_SLOT(producer_new)},
    {Py_tp_dealloc, KP_SLOT(producer_dealloc)},
    {Py_tp_finalize, KP_SLOT(producer_finalize)},
    {Py_tp_traverse, KP_SLOT(producer_traverse)},
    {Py_tp_clear, KP_SLOT(producer_clear)},
    {Py_tp_methods, methods},
    {Py_tp_getset, getset},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "kafkapipe._core.Producer",
    .basicsize = sizeof(kp_python_producer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

int kp_python_add_producer(PyObject *module) {
    return kp_python_add_type(module, &spec, NULL);
}
