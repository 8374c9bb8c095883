/* What the files of _core.Admin share: admin.c is its life, admin_calls.c its methods that are answered later. */
#ifndef KP_PYTHON_ADMIN_H
#define KP_PYTHON_ADMIN_H

#include "flow/admin.h"
#include "python/module.h"

typedef struct {
    PyObject_HEAD kp_admin *admin; /* owned; NULL: closed */
    PyObject *open;                /* set of the futures without an answer, owned: they are the calls' tickets */
    size_t calls;                  /* that use the admin client without the GIL now */
} kp_python_admin;

/* NULL with an exception when it is closed. */
kp_admin *kp_python_admin_usable(PyObject *object);

/* A list of (topic, partition, offset) as an array whose texts are borrowed from it: kp_free. -1 with an exception. */
int kp_python_admin_read_offsets(PyObject *list, kp_admin_offset **out, size_t *count);

/* Each sends a call whose ticket is the future among its arguments. */
PyObject *kp_python_admin_create_topic(PyObject *object, PyObject *args);
PyObject *kp_python_admin_delete_topic(PyObject *object, PyObject *args);
PyObject *kp_python_admin_create_partitions(PyObject *object, PyObject *args);
PyObject *kp_python_admin_describe_config(PyObject *object, PyObject *args);
PyObject *kp_python_admin_alter_config(PyObject *object, PyObject *args);
PyObject *kp_python_admin_delete_records(PyObject *object, PyObject *args);
PyObject *kp_python_admin_list_groups(PyObject *object, PyObject *args);
PyObject *kp_python_admin_describe_group(PyObject *object, PyObject *args);
PyObject *kp_python_admin_delete_group(PyObject *object, PyObject *args);
PyObject *kp_python_admin_committed(PyObject *object, PyObject *args);
PyObject *kp_python_admin_commit(PyObject *object, PyObject *args);
PyObject *kp_python_admin_create_acl(PyObject *object, PyObject *args);
PyObject *kp_python_admin_describe_acls(PyObject *object, PyObject *args);
PyObject *kp_python_admin_delete_acls(PyObject *object, PyObject *args);

#endif
