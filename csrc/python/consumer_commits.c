/* Commits of a consumer, of batches it handed out: asked for, waited for, or left to the library. See consumer.h. */
#include "python/consumer.h"

#include "python/partitions.h"
#include "python/records.h"

enum { INTERRUPT_SLICE_MS = 100 }; /* a call that waits looks for Ctrl-C as often */

/* The ends of a batch's partitions, and those that are gone; -1 with an exception. */
static int ends_of(kp_python_consumer *self, PyObject *batch, rd_kafka_topic_partition_list_t **ends,
                   rd_kafka_topic_partition_list_t **gone) {
    kp_error err;
    kp_consumer *consumer = kp_python_consumer_usable(self);
    kp_python_records *records = consumer ? kp_python_records_of(kp_python_consumer_state(self), batch) : NULL;
    if (!records) {
        return -1;
    }
    if (records->messages->consumer != consumer) {
        PyErr_SetString(PyExc_ValueError, "the batch is of another consumer");
        return -1;
    }
    if (kp_messages_ends(records->messages, records->first, records->count, ends, gone, &err) != KP_OK) {
        kp_python_raise(kp_python_consumer_state(self), &err, "commit");
        return -1;
    }
    return 0;
}

PyObject *kp_python_consumer_commit(PyObject *object, PyObject *args) {
    kp_python_consumer *self = (kp_python_consumer *)object;
    PyObject *batch;
    PyObject *future;
    rd_kafka_topic_partition_list_t *ends;
    rd_kafka_topic_partition_list_t *gone;
    kp_error err;
    kp_status st = KP_OK;
    if (!PyArg_ParseTuple(args, "OO:commit", &batch, &future) || ends_of(self, batch, &ends, &gone) < 0) {
        return NULL;
    }
    bool ask = ends->cnt > 0;
    if (ask && PySet_Add(self->open, future) < 0) {
        rd_kafka_topic_partition_list_destroy(ends);
        rd_kafka_topic_partition_list_destroy(gone);
        return NULL;
    }
    if (ask) {
        st = kp_consumer_commit(self->consumer, ends, future, &err);
    }
    rd_kafka_topic_partition_list_destroy(ends);
    if (st != KP_OK) {
        rd_kafka_topic_partition_list_destroy(gone);
        PySet_Discard(self->open, future);
        return kp_python_raise(kp_python_consumer_state(self), &err, "commit");
    }
    return Py_BuildValue("(NN)", PyBool_FromLong(ask), kp_python_partitions_take(gone));
}

static PyObject *wait_for_commit(kp_python_consumer *self, rd_kafka_queue_t *answer, int timeout_ms) {
    kp_error err;
    kp_status st;
    int left_ms = timeout_ms;
    do {
        int slice_ms = left_ms < INTERRUPT_SLICE_MS ? left_ms : INTERRUPT_SLICE_MS;
        self->calls++;
        Py_BEGIN_ALLOW_THREADS;
        st = kp_commit_wait(answer, slice_ms, &err);
        Py_END_ALLOW_THREADS;
        self->calls--;
        left_ms -= slice_ms;
        if (PyErr_CheckSignals() < 0) {
            return NULL;
        }
    } while (st == KP_TIMEOUT && left_ms > 0);
    if (st != KP_OK) {
        return kp_python_raise(kp_python_consumer_state(self), &err, "commit");
    }
    Py_RETURN_NONE;
}

PyObject *kp_python_consumer_commit_sync(PyObject *object, PyObject *args) {
    kp_python_consumer *self = (kp_python_consumer *)object;
    PyObject *batch;
    int timeout_ms;
    rd_kafka_topic_partition_list_t *ends;
    rd_kafka_topic_partition_list_t *gone;
    rd_kafka_queue_t *answer = NULL;
    kp_error err;
    kp_status st = KP_OK;
    if (!PyArg_ParseTuple(args, "Oi:commit_sync", &batch, &timeout_ms) || ends_of(self, batch, &ends, &gone) < 0) {
        return NULL;
    }
    if (ends->cnt > 0) {
        st = kp_consumer_commit_begin(self->consumer, ends, &answer, &err);
    }
    rd_kafka_topic_partition_list_destroy(ends);
    PyObject *list = kp_python_partitions_take(gone);
    if (st != KP_OK) {
        kp_python_raise(kp_python_consumer_state(self), &err, "commit");
        Py_CLEAR(list);
    }
    PyObject *done = answer ? wait_for_commit(self, answer, timeout_ms) : NULL;
    if (answer && !done) {
        Py_CLEAR(list);
    }
    if (answer) {
        rd_kafka_queue_destroy(answer);
    }
    Py_XDECREF(done);
    return list;
}

PyObject *kp_python_consumer_store(PyObject *object, PyObject *batch) {
    kp_python_consumer *self = (kp_python_consumer *)object;
    rd_kafka_topic_partition_list_t *ends;
    rd_kafka_topic_partition_list_t *gone;
    kp_error err;
    if (ends_of(self, batch, &ends, &gone) < 0) {
        return NULL;
    }
    kp_status st = ends->cnt > 0 ? kp_consumer_store(self->consumer, ends, &err) : KP_OK;
    rd_kafka_topic_partition_list_destroy(ends);
    rd_kafka_topic_partition_list_destroy(gone);
    if (st != KP_OK) {
        return kp_python_raise(kp_python_consumer_state(self), &err, "commit");
    }
    Py_RETURN_NONE;
}

static int append_result(kp_python_consumer *self, PyObject *results, PyObject *future, const kp_error *err) {
    PyObject *outcome = Py_None;
    Py_INCREF(outcome);
    if (err->status != KP_OK) {
        Py_SETREF(outcome, kp_python_error_new(kp_python_consumer_state(self), err, "commit"));
    }
    PyObject *pair = outcome ? PyTuple_Pack(2, future, outcome) : NULL;
    int failed = pair ? PyList_Append(results, pair) : -1;
    Py_XDECREF(outcome);
    Py_XDECREF(pair);
    PySet_Discard(self->open, future);
    return failed;
}

PyObject *kp_python_consumer_commits(PyObject *object, PyObject *unused) {
    kp_python_consumer *self = (kp_python_consumer *)object;
    kp_consumer *consumer = kp_python_consumer_usable(self);
    PyObject *results = consumer ? PyList_New(0) : NULL;
    PyObject *future;
    kp_error err;
    (void)unused;
    while (results && (future = kp_consumer_next_commit(consumer, &err))) {
        if (append_result(self, results, future, &err) < 0) {
            Py_CLEAR(results);
        }
    }
    return results;
}
