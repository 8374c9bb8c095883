/* The border to Python: what every file of this folder shares. The only folder that includes Python.h.
 *
 * One file a type. A type is added by its kp_python_add_<name>(module), named once in module.c; what it must find again
 * (its class, cached names) it keeps in the module's state, never in a static. A binding method has three paragraphs:
 * read the arguments, call the core without the GIL, convert the result.
 */
#ifndef KP_PYTHON_MODULE_H
#define KP_PYTHON_MODULE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "core/buf.h"

#include <stdbool.h>

/* A function in a slot of a type or module: ISO C has no such conversion, POSIX and CPython's API need it. */
#define KP_SLOT(function) (__extension__(void *)(function))
/* A method whose arguments are not those of a PyCFunction. */
#define KP_METHOD(function) ((PyCFunction)(void (*)(void))(function))

typedef struct {
    PyObject *errors[KP_NOMEM + 1]; /* owned: the class of kafkapipe.errors for each kp_status */
    PyObject *config_error;         /* owned, as all of these */
    PyObject *queue_full;
    PyTypeObject *batch_type;
    PyTypeObject *metadata_type; /* RecordMetadata */
    PyTypeObject *record_type;
    PyTypeObject *records_type; /* Batch */
} kp_python_state;

kp_python_state *kp_python_state_of(PyObject *module); /* borrowed */
kp_python_state *kp_python_state_of_type(PyTypeObject *type);

/* A new exception of the class that err's status stands for, with op, code and message; NULL when that failed. */
PyObject *kp_python_error_new(kp_python_state *state, const kp_error *err, const char *op);
/* Raises it and returns NULL. */
PyObject *kp_python_raise(kp_python_state *state, const kp_error *err, const char *op);
/* The same for an error in settings: KP_REJECT becomes ConfigError. */
PyObject *kp_python_raise_config(kp_python_state *state, const kp_error *err, const char *op);

/* Makes a class from spec, adds it to the module and, unless keep is NULL, to the state (owned there). -1 on error. */
int kp_python_add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **keep);

/* One a file; module.c calls them. */
int kp_python_add_admin(PyObject *module);
int kp_python_add_batch(PyObject *module);
int kp_python_add_consumer(PyObject *module);
int kp_python_add_json(PyObject *module);
int kp_python_add_mock(PyObject *module);
int kp_python_add_pipeline(PyObject *module);
int kp_python_add_producer(PyObject *module);
int kp_python_add_reader(PyObject *module);
int kp_python_add_records(PyObject *module);

/* A configuration of librdkafka from a sequence of pairs of str, owned by the caller. NULL with an exception. */
struct rd_kafka_conf_s *kp_python_conf_new(kp_python_state *state, PyObject *pairs);

/* The text that kafkapipe._html's function `maker` makes of an object; new reference, NULL with an exception. */
PyObject *kp_python_html(const char *maker, PyObject *object);

/* For tp_finalize of a client that is still open. */
void kp_python_warn_unclosed(PyObject *object, const char *text);
/* For tp_dealloc: ends a client in a thread of its own, as whoever forgot to close it must not wait for brokers. */
void kp_python_end_in_background(void (*end)(void *client), void *client);

#endif
