/* _core.Consumer: the consumer of flow/consumer.h for kafkapipe/consumer.py, which knows the event loop. */
#include "python/consumer.h"

#include "python/partitions.h"
#include "python/records.h"

kp_python_state *kp_python_consumer_state(kp_python_consumer *self) {
    return kp_python_state_of_type(Py_TYPE(self));
}

static PyObject *consumer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *pairs;
    kp_error err;
    kp_status st;
    kp_python_state *state = kp_python_state_of_type(type);
    if (kwargs && PyDict_GET_SIZE(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Consumer takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O:Consumer", &pairs)) {
        return NULL;
    }
    rd_kafka_conf_t *conf = kp_python_conf_new(state, pairs);
    kp_python_consumer *self = conf ? (kp_python_consumer *)type->tp_alloc(type, 0) : NULL;
    if (!self || !(self->open = PySet_New(NULL))) {
        if (conf) {
            rd_kafka_conf_destroy(conf);
        }
        Py_XDECREF(self);
        return NULL;
    }

    Py_BEGIN_ALLOW_THREADS;
    st = kp_consumer_new(&self->consumer, conf, &err);
    Py_END_ALLOW_THREADS;

    if (st != KP_OK) {
        Py_DECREF(self);
        return kp_python_raise_config(state, &err, "start consumer");
    }
    return (PyObject *)self;
}

kp_consumer *kp_python_consumer_usable(kp_python_consumer *self) {
    kp_error err;
    if (!self->consumer) {
        kp_error_set(&err, KP_CLOSED, "CLOSED", "consumer: it is closed: make a new one");
        return (kp_consumer *)kp_python_raise(kp_python_consumer_state(self), &err, "consume");
    }
    if (kp_consumer_check(self->consumer, &err) != KP_OK) {
        return (kp_consumer *)kp_python_raise(kp_python_consumer_state(self), &err, "consume");
    }
    return self->consumer;
}

/* ---- calls that take a list of partitions and a time ---- */

typedef kp_status list_call(kp_consumer *consumer, rd_kafka_topic_partition_list_t *list, int timeout_ms,
                            kp_error *err);

static kp_status assign_list(kp_consumer *consumer, rd_kafka_topic_partition_list_t *list, int unused, kp_error *err) {
    (void)unused;
    return kp_consumer_assign(consumer, list, err);
}

static kp_status subscribe_list(kp_consumer *consumer, rd_kafka_topic_partition_list_t *list, int unused,
                                kp_error *err) {
    (void)unused;
    return kp_consumer_subscribe(consumer, list, err);
}

static kp_status answer_list(kp_consumer *consumer, rd_kafka_topic_partition_list_t *list, int unused, kp_error *err) {
    (void)unused;
    return kp_consumer_answer(consumer, list, err);
}

static kp_status pause_list(kp_consumer *consumer, rd_kafka_topic_partition_list_t *list, int unused, kp_error *err) {
    (void)unused;
    return kp_consumer_pause(consumer, list, true, err);
}

static kp_status resume_list(kp_consumer *consumer, rd_kafka_topic_partition_list_t *list, int unused, kp_error *err) {
    (void)unused;
    return kp_consumer_pause(consumer, list, false, err);
}

/* list is moved, NULL is an exception. The list as the call left it, or NULL with an exception. */
static PyObject *run(kp_python_consumer *self, list_call *call, rd_kafka_topic_partition_list_t *list, int timeout_ms,
                     const char *op) {
    kp_error err;
    kp_status st;
    kp_consumer *consumer = list ? kp_python_consumer_usable(self) : NULL;
    if (!consumer) {
        if (list) {
            rd_kafka_topic_partition_list_destroy(list);
        }
        return NULL;
    }

    self->calls++;
    Py_BEGIN_ALLOW_THREADS;
    st = call(consumer, list, timeout_ms, &err);
    Py_END_ALLOW_THREADS;
    self->calls--;

    if (st != KP_OK) {
        rd_kafka_topic_partition_list_destroy(list);
        return kp_python_raise(kp_python_consumer_state(self), &err, op);
    }
    return kp_python_partitions_take(list);
}

static PyObject *none_of(PyObject *answer) {
    if (!answer) {
        return NULL;
    }
    Py_DECREF(answer);
    Py_RETURN_NONE;
}

static PyObject *run_timed(PyObject *self, PyObject *args, list_call *call, const char *op) {
    PyObject *sequence;
    int timeout_ms;
    if (!PyArg_ParseTuple(args, "Oi", &sequence, &timeout_ms)) {
        return NULL;
    }
    return run((kp_python_consumer *)self, call, kp_python_partitions_read(sequence), timeout_ms, op);
}

static PyObject *run_now(PyObject *self, PyObject *sequence, list_call *call, const char *op) {
    return none_of(run((kp_python_consumer *)self, call, kp_python_partitions_read(sequence), 0, op));
}

static PyObject *consumer_assign(PyObject *self, PyObject *list) {
    return run_now(self, list, assign_list, "assign");
}

static PyObject *consumer_answer(PyObject *self, PyObject *starts) {
    return run_now(self, starts, answer_list, "assign");
}

static PyObject *consumer_pause(PyObject *self, PyObject *list) {
    return run_now(self, list, pause_list, "pause");
}

static PyObject *consumer_resume(PyObject *self, PyObject *list) {
    return run_now(self, list, resume_list, "resume");
}

static PyObject *consumer_subscribe(PyObject *self, PyObject *topics) {
    return none_of(run((kp_python_consumer *)self, subscribe_list, kp_python_topics_read(topics), 0, "subscribe"));
}

static PyObject *consumer_seek(PyObject *self, PyObject *args) {
    return none_of(run_timed(self, args, kp_consumer_seek, "seek"));
}

static PyObject *consumer_committed(PyObject *self, PyObject *args) {
    return run_timed(self, args, kp_consumer_committed, "committed");
}

static PyObject *consumer_at_time(PyObject *self, PyObject *args) {
    return run_timed(self, args, kp_consumer_at_time, "offsets by time");
}

/* ---- reading ---- */

static PyObject *consumer_read(PyObject *object, PyObject *args) {
    kp_python_consumer *self = (kp_python_consumer *)object;
    Py_ssize_t max;
    PyObject *owner;
    kp_messages *messages;
    kp_error err;
    kp_status st;
    kp_consumer *consumer = kp_python_consumer_usable(self);
    if (!consumer || !PyArg_ParseTuple(args, "nO:read", &max, &owner)) {
        return NULL;
    }
    if (self->reading) {
        PyErr_SetString(PyExc_RuntimeError, "the consumer is being read in another thread");
        return NULL;
    }

    self->reading = true;
    self->calls++;
    Py_BEGIN_ALLOW_THREADS;
    st = kp_consumer_read(consumer, (size_t)max, &messages, &err);
    Py_END_ALLOW_THREADS;
    self->calls--;
    self->reading = false;

    if (st != KP_OK) {
        return kp_python_raise(kp_python_consumer_state(self), &err, "consume");
    }
    if (!messages) {
        Py_RETURN_NONE;
    }
    return kp_python_records_new(kp_python_consumer_state(self), messages, owner);
}

static PyObject *consumer_rebalance(PyObject *object, PyObject *unused) {
    static const char *const kinds[] = {"", "assign", "revoke", "lost"};
    kp_python_consumer *self = (kp_python_consumer *)object;
    rd_kafka_topic_partition_list_t *list;
    kp_consumer *consumer = kp_python_consumer_usable(self);
    (void)unused;
    if (!consumer) {
        return NULL;
    }
    kp_rebalance kind = kp_consumer_rebalance(consumer, &list);
    if (kind == KP_REBALANCE_NONE) {
        Py_RETURN_NONE;
    }
    return Py_BuildValue("(sN)", kinds[kind], kp_python_partitions_take(list));
}

static PyObject *consumer_assignment(PyObject *object, PyObject *unused) {
    kp_consumer *consumer = kp_python_consumer_usable((kp_python_consumer *)object);
    (void)unused;
    return consumer ? kp_python_partitions_take(kp_consumer_assignment(consumer)) : NULL;
}

/* ---- the end ---- */

static PyObject *consumer_leave(PyObject *object, PyObject *argument) {
    kp_python_consumer *self = (kp_python_consumer *)object;
    kp_consumer *consumer = kp_python_consumer_usable(self);
    int timeout_ms = consumer ? (int)PyLong_AsLong(argument) : 0;
    kp_error err;
    kp_status st;
    if (!consumer || PyErr_Occurred()) {
        return NULL;
    }

    self->calls++;
    Py_BEGIN_ALLOW_THREADS;
    st = kp_consumer_leave(consumer, timeout_ms, &err);
    Py_END_ALLOW_THREADS;
    self->calls--;

    if (st != KP_OK && st != KP_TIMEOUT) {
        return kp_python_raise(kp_python_consumer_state(self), &err, "leave group");
    }
    return PyBool_FromLong(st == KP_OK);
}

/* The futures of commits without a result. */
static PyObject *consumer_close(PyObject *object, PyObject *unused) {
    kp_python_consumer *self = (kp_python_consumer *)object;
    kp_consumer *consumer = self->consumer;
    (void)unused;
    if (self->calls > 0) {
        PyErr_SetString(PyExc_RuntimeError, "the consumer is in use in another thread");
        return NULL;
    }
    self->consumer = NULL;

    Py_BEGIN_ALLOW_THREADS;
    kp_consumer_free(consumer);
    Py_END_ALLOW_THREADS;

    PyObject *open = PySequence_List(self->open);
    PySet_Clear(self->open);
    return open;
}

static PyObject *consumer_fileno(PyObject *object, PyObject *unused) {
    kp_consumer *consumer = kp_python_consumer_usable((kp_python_consumer *)object);
    (void)unused;
    return consumer ? PyLong_FromLong(kp_consumer_fd(consumer)) : NULL;
}

static PyObject *consumer_clear_wake(PyObject *object, PyObject *unused) {
    kp_consumer *consumer = kp_python_consumer_usable((kp_python_consumer *)object);
    (void)unused;
    if (!consumer) {
        return NULL;
    }
    kp_consumer_clear(consumer);
    Py_RETURN_NONE;
}

static PyObject *consumer_problem(PyObject *object, PyObject *unused) {
    char problem[KP_KAFKA_LOG_TEXT_MAX];
    kp_consumer *consumer = kp_python_consumer_usable((kp_python_consumer *)object);
    (void)unused;
    if (!consumer) {
        return NULL;
    }
    kp_consumer_problem(consumer, problem);
    return PyUnicode_DecodeUTF8(problem, (Py_ssize_t)strlen(problem), "replace");
}

/* ---- the type ---- */

static void consumer_finalize(PyObject *object) {
    kp_consumer *consumer = ((kp_python_consumer *)object)->consumer;
    if (consumer && !kp_consumer_is_foreign(consumer)) {
        kp_python_warn_unclosed(object, "unclosed consumer: use `async with`, or close()");
    }
}

static void free_consumer(void *consumer) {
    kp_consumer_free(consumer);
}

static int consumer_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((kp_python_consumer *)object)->open);
    return 0;
}

static int consumer_clear(PyObject *object) {
    Py_CLEAR(((kp_python_consumer *)object)->open);
    return 0;
}

static void consumer_dealloc(PyObject *object) {
    kp_python_consumer *self = (kp_python_consumer *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (PyObject_CallFinalizerFromDealloc(object) < 0) {
        return;
    }
    PyObject_GC_UnTrack(object);
    if (self->consumer && !kp_consumer_is_foreign(self->consumer)) {
        kp_python_end_in_background(free_consumer, self->consumer);
    }
    consumer_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"subscribe", consumer_subscribe, METH_O,
     PyDoc_STR("subscribe($self, topics, /)\n--\n\nJoins the group for these names or ^patterns.")},
    {"assign", consumer_assign, METH_O,
     PyDoc_STR("assign($self, partitions, /)\n--\n\nReads exactly these (topic, partition, offset).")},
    {"assignment", consumer_assignment, METH_NOARGS,
     PyDoc_STR("assignment($self, /)\n--\n\nList of (topic, partition, next offset); negative: not known yet.")},
    {"rebalance", consumer_rebalance, METH_NOARGS,
     PyDoc_STR(
         "rebalance($self, /)\n--\n\n"
         "The rebalance that waits for its answer, (kind, partitions), or None; kind is assign, revoke or lost.")},
    {"answer", consumer_answer, METH_O,
     PyDoc_STR("answer($self, starts, /)\n--\n\nAnswers it; starts are offsets where assigned partitions begin.")},
    {"read", consumer_read, METH_VARARGS,
     PyDoc_STR("read($self, max_records, consumer, /)\n--\n\n"
               "What is there, as a Batch whose commits go to the referent of the weak reference consumer, or None.")},
    {"pause", consumer_pause, METH_O, PyDoc_STR("pause($self, partitions, /)\n--\n\nFetches nothing from these.")},
    {"resume", consumer_resume, METH_O, PyDoc_STR("resume($self, partitions, /)\n--\n\nFetches from these again.")},
    {"seek", consumer_seek, METH_VARARGS,
     PyDoc_STR("seek($self, partitions, timeout_ms, /)\n--\n\nGoes on at these offsets.")},
    {"commit", kp_python_consumer_commit, METH_VARARGS,
     PyDoc_STR("commit($self, batch, future, /)\n--\n\n"
               "(asked, gone): whether a result will come from commits, and the partitions that are not ours now.")},
    {"commits", kp_python_consumer_commits, METH_NOARGS,
     PyDoc_STR("commits($self, /)\n--\n\nList of (future, None or exception) for commits that are done.")},
    {"commit_sync", kp_python_consumer_commit_sync, METH_VARARGS,
     PyDoc_STR("commit_sync($self, batch, timeout_ms, /)\n--\n\nCommits and waits; the partitions that are gone.")},
    {"store", kp_python_consumer_store, METH_O,
     PyDoc_STR("store($self, batch, /)\n--\n\nLeaves the end of this batch to the periodic commit.")},
    {"committed", consumer_committed, METH_VARARGS,
     PyDoc_STR("committed($self, partitions, timeout_ms, /)\n--\n\nWhat the group committed; negative: nothing.")},
    {"at_time", consumer_at_time, METH_VARARGS,
     PyDoc_STR("at_time($self, partitions, timeout_ms, /)\n--\n\n"
               "Offsets of the first records at or after the milliseconds given as offsets; negative: none.\n"
               "Instead of a time, -2 is the first offset that is there and -1 the next one.")},
    {"leave", consumer_leave, METH_O,
     PyDoc_STR("leave($self, timeout_ms, /)\n--\n\nLeaves the group. False: not done yet, call again.")},
    {"close", consumer_close, METH_NOARGS,
     PyDoc_STR("close($self, /)\n--\n\nEnds the client. Returns the futures of commits without a result.")},
    {"fileno", consumer_fileno, METH_NOARGS,
     PyDoc_STR("fileno($self, /)\n--\n\nThe descriptor that is readable when read or commits may have something.")},
    {"clear_wake", consumer_clear_wake, METH_NOARGS,
     PyDoc_STR("clear_wake($self, /)\n--\n\nMakes it unreadable; call it before read and commits.")},
    {"problem", consumer_problem, METH_NOARGS,
     PyDoc_STR("problem($self, /)\n--\n\nThe last problem with a broker; empty when there was none.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, KP_SLOT(PyDoc_STR("Consumer(properties, /)\n--\n\n"
                                  "A consumer of librdkafka with these properties, pairs of str."))},
    {Py_tp_new, KP_SLOT(consumer_new)},
    {Py_tp_dealloc, KP_SLOT(consumer_dealloc)},
    {Py_tp_finalize, KP_SLOT(consumer_finalize)},
    {Py_tp_traverse, KP_SLOT(consumer_traverse)},
    {Py_tp_clear, KP_SLOT(consumer_clear)},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "kafkapipe._core.Consumer",
    .basicsize = sizeof(kp_python_consumer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

int kp_python_add_consumer(PyObject *module) {
    return kp_python_add_type(module, &spec, NULL);
}
