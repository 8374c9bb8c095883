/* Python values into messages. Bytes are borrowed from the objects: they stay valid while the objects and the buffers
 * held here do, which is until the messages were handed in.
 */
#ifndef KP_PYTHON_CONVERT_H
#define KP_PYTHON_CONVERT_H

#include "flow/producer.h"
#include "python/module.h"

/* Buffers that are exported for now: a growing array. */
typedef struct {
    Py_buffer *buffers; /* owned */
    size_t count;
    size_t capacity;
} kp_python_buffers;

void kp_python_buffers_deinit(kp_python_buffers *held); /* releases them */

/* All return 1, 0 when the object is unfit (err says why, nothing is raised), or -1 with an exception. `what` names the
 * object in err: "value", "key". None is what is missing: no bytes, no headers, now, any partition. */
int kp_python_read_bytes(kp_python_buffers *held, PyObject *object, const char *what, kp_bytes *out, kp_error *err);
int kp_python_read_headers(kp_python_buffers *held, PyObject *object, rd_kafka_headers_t **out, kp_error *err);
int kp_python_read_timestamp(PyObject *object, int64_t *out, kp_error *err);
int kp_python_read_partition(PyObject *object, int32_t *out, kp_error *err);

/* A str as UTF-8, borrowed from it; -1 with an exception. */
int kp_python_read_text(PyObject *object, const char *what, kp_bytes *out);

#endif
