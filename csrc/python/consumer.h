/* _core.Consumer, as the files share it that make its methods. */
#ifndef KP_PYTHON_CONSUMER_H
#define KP_PYTHON_CONSUMER_H

#include "flow/consumer.h"
#include "python/module.h"

typedef struct {
    PyObject_HEAD kp_consumer *consumer; /* owned; NULL: closed */
    PyObject *open;                      /* set of the futures of commits without a result, owned */
    size_t calls;                        /* that use the consumer without the GIL now */
    bool reading;
} kp_python_consumer;

kp_python_state *kp_python_consumer_state(kp_python_consumer *self);
/* NULL with an exception when it is closed, or was made before a fork. */
kp_consumer *kp_python_consumer_usable(kp_python_consumer *self);

/* Methods. */
PyObject *kp_python_consumer_commit(PyObject *self, PyObject *args);
PyObject *kp_python_consumer_commits(PyObject *self, PyObject *unused);
PyObject *kp_python_consumer_commit_sync(PyObject *self, PyObject *args);
PyObject *kp_python_consumer_store(PyObject *self, PyObject *batch);

#endif
