/* _core.Producer, as the files share it that make its methods. */
#ifndef KP_PYTHON_PRODUCER_H
#define KP_PYTHON_PRODUCER_H

#include "flow/producer.h"
#include "python/module.h"

typedef struct {
    PyObject_HEAD kp_producer *producer; /* owned; NULL: closed */
    PyObject *open;                      /* set of the batches that are not done, owned */
    size_t calls;                        /* that use the producer without the GIL now */
} kp_python_producer;

kp_producer *kp_python_producer_usable(kp_python_producer *self); /* NULL with an exception when it is closed */

/* Methods. */
PyObject *kp_python_producer_begin(PyObject *self, PyObject *timeout_ms);
PyObject *kp_python_producer_send_offsets(PyObject *self, PyObject *args);
PyObject *kp_python_producer_send_position(PyObject *self, PyObject *args);
PyObject *kp_python_producer_commit(PyObject *self, PyObject *timeout_ms);
PyObject *kp_python_producer_abort(PyObject *self, PyObject *timeout_ms);

/* 1: so much fits into the queue now, 0: later, -1: exception, it never will. */
int kp_python_producer_has_room(kp_python_producer *self, const char *topic, size_t count, size_t bytes);

/* The method post: see producer_post.c. */
PyObject *kp_python_producer_post(PyObject *self, PyObject *const *args, Py_ssize_t count);

#endif
