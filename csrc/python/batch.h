/* BatchResult: one batch on its way and, once it is done, the result of each of its messages. */
#ifndef KP_PYTHON_BATCH_H
#define KP_PYTHON_BATCH_H

#include "flow/producer.h"
#include "python/module.h"
#include "python/strings.h"

typedef struct {
    PyObject_HEAD kp_send *send; /* owned; NULL until the batch was made whole */
    PyObject *topic;             /* str, owned */
    PyObject *values;            /* tuple, owned; NULL when all messages are handed in */
    PyObject *keys;              /* the same; NULL too when none was given */
    kp_strings *value_column;    /* owned; in place of values when they are an Arrow column */
    kp_strings *key_column;      /* the same */
    PyObject *headers;
    PyObject *timestamps;
    PyObject *partitions;
    PyObject *future;  /* owned; NULL when there is none any more */
    PyObject *refused; /* dict of index to exception, owned; NULL: none */
    bool single;       /* made by send: its result is the one message's */
} kp_python_batch;

/* The arguments of a batch, borrowed; keys and the others may be None. */
typedef struct {
    PyObject *topic;
    PyObject *values;
    PyObject *keys;
    PyObject *headers;
    PyObject *timestamps;
    PyObject *partitions;
    PyObject *future;
    bool single;
} kp_python_batch_args;

/* A batch of sequences, one item a message. NULL with an exception. */
kp_python_batch *kp_python_batch_new(kp_python_state *state, kp_producer *producer, const kp_python_batch_args *args);

/* A batch around a send (moved, also on failure) whose messages the caller hands in. future: NULL when nobody waits. */
kp_python_batch *kp_python_batch_around(kp_python_state *state, kp_send *send, PyObject *future);

/* Hands in what is not handed in yet. 1: all of it, 0: the queue is full, -1: exception. */
int kp_python_batch_hand_in(kp_python_state *state, kp_python_batch *batch, kp_producer *producer);

/* Sum of the sizes of the values; -1 with an exception. Unfit values count nothing. */
Py_ssize_t kp_python_batch_bytes(const kp_python_batch *batch);

/* What the future of a batch that is done resolves to: the batch itself, or of a single message its RecordMetadata or
 * the exception. New reference. */
PyObject *kp_python_batch_outcome(kp_python_state *state, kp_python_batch *batch);

void kp_python_batch_forget(kp_python_batch *batch); /* drops the arguments: the memory need not wait for the results */

#endif
