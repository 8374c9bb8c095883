/* The methods of _core.Admin that send a call and return at once; drain tells what became of it. */
#include "python/admin.h"

#include "core/mem.h"

/* Until the call is answered its future is kept alive. -1 with an exception. */
static int keep(PyObject *object, PyObject *future) {
    return PySet_Add(((kp_python_admin *)object)->open, future);
}

/* The outcome of sending a call whose ticket is this future. */
static PyObject *sent(PyObject *object, PyObject *future, kp_status st, const kp_error *err) {
    if (st != KP_OK) {
        PySet_Discard(((kp_python_admin *)object)->open, future);
        return kp_python_raise(kp_python_state_of_type(Py_TYPE(object)), err, "admin");
    }
    Py_RETURN_NONE;
}

/* ---- calls that need a name only ---- */

typedef kp_status (*named_call)(kp_admin *admin, const char *name, int timeout_ms, void *ticket, kp_error *err);

static PyObject *call_by_name(PyObject *object, PyObject *args, named_call call) {
    const char *name;
    int timeout_ms;
    PyObject *future;
    kp_error err;
    kp_admin *admin = kp_python_admin_usable(object);
    if (!admin || !PyArg_ParseTuple(args, "siO", &name, &timeout_ms, &future) || keep(object, future) < 0) {
        return NULL;
    }
    return sent(object, future, call(admin, name, timeout_ms, future, &err), &err);
}

PyObject *kp_python_admin_delete_topic(PyObject *object, PyObject *args) {
    return call_by_name(object, args, kp_admin_delete_topic);
}

PyObject *kp_python_admin_describe_config(PyObject *object, PyObject *args) {
    return call_by_name(object, args, kp_admin_describe_config);
}

PyObject *kp_python_admin_describe_group(PyObject *object, PyObject *args) {
    return call_by_name(object, args, kp_admin_describe_group);
}

PyObject *kp_python_admin_delete_group(PyObject *object, PyObject *args) {
    return call_by_name(object, args, kp_admin_delete_group);
}

PyObject *kp_python_admin_list_groups(PyObject *object, PyObject *args) {
    int timeout_ms;
    PyObject *future;
    kp_error err;
    kp_admin *admin = kp_python_admin_usable(object);
    if (!admin || !PyArg_ParseTuple(args, "iO:list_groups", &timeout_ms, &future) || keep(object, future) < 0) {
        return NULL;
    }
    return sent(object, future, kp_admin_list_groups(admin, timeout_ms, future, &err), &err);
}

PyObject *kp_python_admin_create_partitions(PyObject *object, PyObject *args) {
    const char *name;
    unsigned total;
    int timeout_ms;
    PyObject *future;
    kp_error err;
    kp_admin *admin = kp_python_admin_usable(object);
    if (!admin || !PyArg_ParseTuple(args, "sIiO:create_partitions", &name, &total, &timeout_ms, &future) ||
        keep(object, future) < 0) {
        return NULL;
    }
    return sent(object, future, kp_admin_create_partitions(admin, name, total, timeout_ms, future, &err), &err);
}

/* ---- settings of topics ---- */

static int read_setting(PyObject *name, PyObject *value, kp_kafka_property *out) {
    if (!PyUnicode_Check(name) || (value != Py_None && !PyUnicode_Check(value))) {
        PyErr_SetString(PyExc_TypeError, "settings of a topic are a dict of str to str or None");
        return -1;
    }
    out->name = PyUnicode_AsUTF8(name);
    out->value = value == Py_None ? NULL : PyUnicode_AsUTF8(value);
    return PyErr_Occurred() ? -1 : 0;
}

/* An array that borrows the texts of the dict: kp_free. NULL with an exception. */
static kp_kafka_property *read_settings(PyObject *dict) {
    PyObject *name;
    PyObject *value;
    Py_ssize_t at = 0;
    kp_kafka_property *settings = kp_calloc((size_t)PyDict_GET_SIZE(dict) + 1, sizeof *settings);
    if (!settings) {
        PyErr_NoMemory();
        return NULL;
    }
    for (size_t i = 0; PyDict_Next(dict, &at, &name, &value); i++) {
        if (read_setting(name, value, &settings[i]) < 0) {
            kp_free(settings);
            return NULL;
        }
    }
    return settings;
}

PyObject *kp_python_admin_create_topic(PyObject *object, PyObject *args) {
    kp_admin_topic topic = {0};
    PyObject *config;
    PyObject *future;
    int timeout_ms;
    kp_error err;
    kp_admin *admin = kp_python_admin_usable(object);
    if (!admin || !PyArg_ParseTuple(args, "siiO!iO:create_topic", &topic.name, &topic.partitions,
                                    &topic.replication_factor, &PyDict_Type, &config, &timeout_ms, &future)) {
        return NULL;
    }
    kp_kafka_property *settings = read_settings(config);
    if (!settings || keep(object, future) < 0) {
        kp_free(settings);
        return NULL;
    }
    topic.config = settings;
    topic.config_count = (size_t)PyDict_GET_SIZE(config);
    kp_status st = kp_admin_create_topic(admin, &topic, timeout_ms, future, &err);
    kp_free(settings);
    return sent(object, future, st, &err);
}

PyObject *kp_python_admin_alter_config(PyObject *object, PyObject *args) {
    const char *name;
    PyObject *config;
    int timeout_ms;
    PyObject *future;
    kp_error err;
    kp_admin *admin = kp_python_admin_usable(object);
    if (!admin || !PyArg_ParseTuple(args, "sO!iO:alter_config", &name, &PyDict_Type, &config, &timeout_ms, &future)) {
        return NULL;
    }
    kp_kafka_property *settings = read_settings(config);
    if (!settings || keep(object, future) < 0) {
        kp_free(settings);
        return NULL;
    }
    size_t count = (size_t)PyDict_GET_SIZE(config);
    kp_status st = kp_admin_alter_config(admin, name, settings, count, timeout_ms, future, &err);
    kp_free(settings);
    return sent(object, future, st, &err);
}

/* ---- offsets ---- */

static int read_offset(PyObject *item, kp_admin_offset *out) {
    long long offset;
    if (!PyTuple_Check(item) ||
        !PyArg_ParseTuple(item, "siL|z", &out->topic, &out->partition, &offset, &out->metadata)) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "an offset is a tuple of topic, partition, offset, and maybe metadata");
        }
        return -1;
    }
    out->offset = offset;
    return 0;
}

int kp_python_admin_read_offsets(PyObject *list, kp_admin_offset **out, size_t *count) {
    *count = (size_t)PyList_GET_SIZE(list);
    *out = kp_calloc(*count + 1, sizeof **out);
    if (!*out) {
        PyErr_NoMemory();
        return -1;
    }
    for (size_t i = 0; i < *count; i++) {
        if (read_offset(PyList_GET_ITEM(list, (Py_ssize_t)i), &(*out)[i]) < 0) {
            kp_free(*out);
            return -1;
        }
    }
    return 0;
}

PyObject *kp_python_admin_delete_records(PyObject *object, PyObject *args) {
    PyObject *list;
    int timeout_ms;
    PyObject *future;
    kp_error err;
    kp_admin_offset *before;
    size_t count;
    kp_admin *admin = kp_python_admin_usable(object);
    if (!admin || !PyArg_ParseTuple(args, "O!iO:delete_records", &PyList_Type, &list, &timeout_ms, &future)) {
        return NULL;
    }
    if (PyList_GET_SIZE(list) == 0) {
        PyErr_SetString(PyExc_ValueError, "delete_records needs at least one offset");
        return NULL;
    }
    if (kp_python_admin_read_offsets(list, &before, &count) < 0) {
        return NULL;
    }
    if (keep(object, future) < 0) {
        kp_free(before);
        return NULL;
    }
    kp_status st = kp_admin_delete_records(admin, before, count, timeout_ms, future, &err);
    kp_free(before);
    return sent(object, future, st, &err);
}

typedef kp_status (*offsets_call)(kp_admin *admin, const char *group, const kp_admin_offset *offsets, size_t count,
                                  int timeout_ms, void *ticket, kp_error *err);

static PyObject *call_by_offsets(PyObject *object, PyObject *args, const char *format, offsets_call call) {
    const char *group;
    PyObject *list;
    int timeout_ms;
    PyObject *future;
    kp_error err;
    kp_admin_offset *offsets;
    size_t count;
    kp_admin *admin = kp_python_admin_usable(object);
    if (!admin || !PyArg_ParseTuple(args, format, &group, &PyList_Type, &list, &timeout_ms, &future) ||
        kp_python_admin_read_offsets(list, &offsets, &count) < 0) {
        return NULL;
    }
    if (keep(object, future) < 0) {
        kp_free(offsets);
        return NULL;
    }
    kp_status st = call(admin, group, offsets, count, timeout_ms, future, &err);
    kp_free(offsets);
    return sent(object, future, st, &err);
}

PyObject *kp_python_admin_committed(PyObject *object, PyObject *args) {
    return call_by_offsets(object, args, "sO!iO:committed", kp_admin_committed);
}

PyObject *kp_python_admin_commit(PyObject *object, PyObject *args) {
    return call_by_offsets(object, args, "sO!iO:commit", kp_admin_commit);
}

/* ---- access rules ---- */

typedef kp_status (*acl_call)(kp_admin *admin, const kp_admin_acl *acl, int timeout_ms, void *ticket, kp_error *err);

static PyObject *call_by_acl(PyObject *object, PyObject *args, const char *format, acl_call call) {
    kp_admin_acl acl;
    int timeout_ms;
    PyObject *future;
    kp_error err;
    kp_admin *admin = kp_python_admin_usable(object);
    if (!admin ||
        !PyArg_ParseTuple(args, format, &acl.resource, &acl.name, &acl.pattern, &acl.principal, &acl.host,
                          &acl.operation, &acl.permission, &timeout_ms, &future) ||
        keep(object, future) < 0) {
        return NULL;
    }
    return sent(object, future, call(admin, &acl, timeout_ms, future, &err), &err);
}

PyObject *kp_python_admin_create_acl(PyObject *object, PyObject *args) {
    return call_by_acl(object, args, "(sssssss)iO:create_acl", kp_admin_create_acl);
}

PyObject *kp_python_admin_describe_acls(PyObject *object, PyObject *args) {
    return call_by_acl(object, args, "(szszzss)iO:describe_acls", kp_admin_describe_acls);
}

PyObject *kp_python_admin_delete_acls(PyObject *object, PyObject *args) {
    return call_by_acl(object, args, "(szszzss)iO:delete_acls", kp_admin_delete_acls);
}
