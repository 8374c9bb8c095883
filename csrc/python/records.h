/* Batch and Record: what a consumer handed out, over the memory that the library read it into. */
#ifndef KP_PYTHON_RECORDS_H
#define KP_PYTHON_RECORDS_H

#include "flow/consumer.h"
#include "python/module.h"

typedef struct kp_python_records {
    PyObject_HEAD struct kp_python_records *whole; /* owned; NULL: this is no slice */
    kp_messages *messages;                         /* owned by the whole */
    size_t first;
    size_t count;
    PyObject *consumer;                   /* weak reference to the kafkapipe.Consumer, owned */
    PyObject *topic;                      /* str of topic_handle, owned: most batches are of one topic */
    const rd_kafka_topic_t *topic_handle; /* borrowed */
} kp_python_records;

/* messages is moved, also on failure. */
PyObject *kp_python_records_new(kp_python_state *state, kp_messages *messages, PyObject *consumer);

/* NULL with an exception when object is none. */
kp_python_records *kp_python_records_of(kp_python_state *state, PyObject *object);

#endif
