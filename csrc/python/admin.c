/* _core.Admin: the admin client of flow/admin.h for kafkapipe/admin.py, which knows the event loop. */
#include "python/admin.h"

#include "core/mem.h"

static PyObject *admin_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *pairs;
    kp_error err;
    kp_status st;
    kp_python_state *state = kp_python_state_of_type(type);
    if (kwargs && PyDict_GET_SIZE(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "Admin takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O:Admin", &pairs)) {
        return NULL;
    }
    rd_kafka_conf_t *conf = kp_python_conf_new(state, pairs);
    kp_python_admin *self = conf ? (kp_python_admin *)type->tp_alloc(type, 0) : NULL;
    if (!self || !(self->open = PySet_New(NULL))) {
        if (conf) {
            rd_kafka_conf_destroy(conf);
        }
        Py_XDECREF(self);
        return NULL;
    }

    Py_BEGIN_ALLOW_THREADS;
    st = kp_admin_new(&self->admin, conf, &err);
    Py_END_ALLOW_THREADS;

    if (st != KP_OK) {
        Py_DECREF(self);
        return kp_python_raise_config(state, &err, "start admin");
    }
    return (PyObject *)self;
}

kp_admin *kp_python_admin_usable(PyObject *object) {
    kp_admin *admin = ((kp_python_admin *)object)->admin;
    if (!admin) {
        kp_error err;
        kp_error_set(&err, KP_CLOSED, "CLOSED", "admin: it is closed: make a new one");
        kp_python_raise(kp_python_state_of_type(Py_TYPE(object)), &err, "admin");
    }
    return admin;
}

/* ---- answers ---- */

static PyObject *json_of(const kp_buf *text) {
    return PyUnicode_DecodeUTF8(text->data, (Py_ssize_t)text->length, "replace");
}

/* JSON of what it says, or the exception. */
static PyObject *outcome_of(kp_python_state *state, const kp_admin_answer *answer) {
    kp_buf text = {0};
    kp_error err;
    if (answer->status != KP_OK) {
        return kp_python_error_new(state, &answer->err, answer->op);
    }
    kp_status st = kp_admin_answer_json(answer, &text, &err);
    PyObject *outcome = st == KP_OK ? json_of(&text) : kp_python_error_new(state, &err, answer->op);
    kp_buf_deinit(&text);
    return outcome;
}

static int append_answer(kp_python_state *state, const kp_admin_answer *answer, PyObject *answers) {
    PyObject *outcome = outcome_of(state, answer);
    PyObject *pair = outcome ? PyTuple_Pack(2, (PyObject *)answer->ticket, outcome) : NULL;
    int failed = pair ? PyList_Append(answers, pair) : -1;
    Py_XDECREF(outcome);
    Py_XDECREF(pair);
    return failed;
}

static PyObject *admin_drain(PyObject *object, PyObject *unused) {
    kp_admin *admin = kp_python_admin_usable(object);
    kp_admin_answer answer;
    PyObject *answers = admin ? PyList_New(0) : NULL;
    (void)unused;
    while (answers && kp_admin_next(admin, &answer)) {
        if (append_answer(kp_python_state_of_type(Py_TYPE(object)), &answer, answers) < 0) {
            Py_CLEAR(answers);
        }
        PySet_Discard(((kp_python_admin *)object)->open, answer.ticket);
        kp_admin_answer_deinit(&answer);
    }
    return answers;
}

/* ---- metadata ---- */

static PyObject *numbers(const int32_t *ids, int count) {
    PyObject *tuple = PyTuple_New(count);
    for (int i = 0; tuple && i < count; i++) {
        PyObject *number = PyLong_FromLong(ids[i]);
        if (!number) {
            Py_CLEAR(tuple);
            break;
        }
        PyTuple_SET_ITEM(tuple, i, number);
    }
    return tuple;
}

static PyObject *partitions_of(const struct rd_kafka_metadata_topic *topic) {
    PyObject *partitions = PyList_New(topic->partition_cnt);
    for (int i = 0; partitions && i < topic->partition_cnt; i++) {
        const struct rd_kafka_metadata_partition *each = &topic->partitions[i];
        PyObject *partition =
            Py_BuildValue("(iiNN)", each->id, each->leader, numbers(each->replicas, each->replica_cnt),
                          numbers(each->isrs, each->isr_cnt));
        if (!partition) {
            Py_CLEAR(partitions);
            break;
        }
        PyList_SET_ITEM(partitions, i, partition);
    }
    return partitions;
}

/* List of (name, list of (partition, leader, replicas, in-sync replicas)). */
static PyObject *topics_of(const struct rd_kafka_metadata *metadata) {
    PyObject *topics = PyList_New(metadata->topic_cnt);
    for (int i = 0; topics && i < metadata->topic_cnt; i++) {
        PyObject *topic = Py_BuildValue("(sN)", metadata->topics[i].topic, partitions_of(&metadata->topics[i]));
        if (!topic) {
            Py_CLEAR(topics);
            break;
        }
        PyList_SET_ITEM(topics, i, topic);
    }
    return topics;
}

static PyObject *admin_metadata(PyObject *object, PyObject *args) {
    kp_python_admin *self = (kp_python_admin *)object;
    const char *topic;
    int timeout_ms;
    const struct rd_kafka_metadata *metadata;
    kp_error err;
    kp_status st;
    kp_admin *admin = kp_python_admin_usable(object);
    if (!admin || !PyArg_ParseTuple(args, "zi:metadata", &topic, &timeout_ms)) {
        return NULL;
    }

    self->calls++;
    Py_BEGIN_ALLOW_THREADS;
    st = kp_admin_metadata(admin, topic, timeout_ms, &metadata, &err);
    Py_END_ALLOW_THREADS;
    self->calls--;

    if (st != KP_OK) {
        return kp_python_raise(kp_python_state_of_type(Py_TYPE(object)), &err, "read metadata");
    }
    PyObject *topics = topics_of(metadata);
    rd_kafka_metadata_destroy(metadata);
    return topics;
}

/* ---- cluster and offsets ---- */

static PyObject *admin_cluster(PyObject *object, PyObject *args) {
    kp_python_admin *self = (kp_python_admin *)object;
    int timeout_ms;
    kp_buf text = {0};
    kp_error err;
    kp_status st;
    kp_admin *admin = kp_python_admin_usable(object);
    if (!admin || !PyArg_ParseTuple(args, "i:cluster", &timeout_ms)) {
        return NULL;
    }

    self->calls++;
    Py_BEGIN_ALLOW_THREADS;
    st = kp_admin_cluster(admin, timeout_ms, &text, &err);
    Py_END_ALLOW_THREADS;
    self->calls--;

    PyObject *cluster = st == KP_OK
                            ? json_of(&text)
                            : kp_python_raise(kp_python_state_of_type(Py_TYPE(object)), &err, "describe cluster");
    kp_buf_deinit(&text);
    return cluster;
}

static PyObject *offsets_found(const kp_admin_offset *offsets, size_t count) {
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *offset = PyLong_FromLongLong(offsets[i].offset);
        if (!offset) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, offset);
    }
    return list;
}

static PyObject *admin_find_offsets(PyObject *object, PyObject *args) {
    kp_python_admin *self = (kp_python_admin *)object;
    PyObject *list;
    int timeout_ms;
    kp_admin_offset *offsets;
    size_t count;
    kp_error err;
    kp_status st;
    kp_admin *admin = kp_python_admin_usable(object);
    if (!admin || !PyArg_ParseTuple(args, "O!i:find_offsets", &PyList_Type, &list, &timeout_ms) ||
        kp_python_admin_read_offsets(list, &offsets, &count) < 0) {
        return NULL;
    }

    self->calls++;
    Py_BEGIN_ALLOW_THREADS;
    st = kp_admin_find_offsets(admin, offsets, count, timeout_ms, &err);
    Py_END_ALLOW_THREADS;
    self->calls--;

    PyObject *found = st == KP_OK ? offsets_found(offsets, count)
                                  : kp_python_raise(kp_python_state_of_type(Py_TYPE(object)), &err, "find offsets");
    kp_free(offsets);
    return found;
}

/* ---- its life ---- */

static PyObject *admin_close(PyObject *object, PyObject *unused) {
    kp_python_admin *self = (kp_python_admin *)object;
    kp_admin *admin = self->admin;
    (void)unused;
    if (self->calls > 0) {
        PyErr_SetString(PyExc_RuntimeError, "the admin client is in use in another thread");
        return NULL;
    }
    self->admin = NULL;

    Py_BEGIN_ALLOW_THREADS;
    kp_admin_free(admin);
    Py_END_ALLOW_THREADS;

    PyObject *left = PySequence_List(self->open);
    PySet_Clear(self->open);
    return left;
}

static PyObject *admin_fileno(PyObject *object, PyObject *unused) {
    kp_admin *admin = kp_python_admin_usable(object);
    (void)unused;
    return admin ? PyLong_FromLong(kp_admin_fd(admin)) : NULL;
}

static void admin_finalize(PyObject *object) {
    kp_admin *admin = ((kp_python_admin *)object)->admin;
    if (admin && !kp_admin_is_foreign(admin)) {
        kp_python_warn_unclosed(object, "unclosed admin client: use `async with`, or close()");
    }
}

static int admin_traverse(PyObject *object, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(((kp_python_admin *)object)->open);
    return 0;
}

static int admin_clear(PyObject *object) {
    Py_CLEAR(((kp_python_admin *)object)->open);
    return 0;
}

static void free_admin(void *admin) {
    kp_admin_free(admin);
}

static void admin_dealloc(PyObject *object) {
    kp_python_admin *self = (kp_python_admin *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (PyObject_CallFinalizerFromDealloc(object) < 0) {
        return;
    }
    PyObject_GC_UnTrack(object);
    if (self->admin && !kp_admin_is_foreign(self->admin)) {
        kp_python_end_in_background(free_admin, self->admin);
    }
    admin_clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

/* What drain gives for each of the calls is JSON of what its text says, or of null. */
static PyMethodDef methods[] = {
    {"create_topic", kp_python_admin_create_topic, METH_VARARGS,
     PyDoc_STR("create_topic($self, name, partitions, replication_factor, config, timeout_ms, future, /)\n--\n\n"
               "Asks for a topic.")},
    {"delete_topic", kp_python_admin_delete_topic, METH_VARARGS,
     PyDoc_STR("delete_topic($self, name, timeout_ms, future, /)\n--\n\n"
               "Asks for a topic's deletion.")},
    {"create_partitions", kp_python_admin_create_partitions, METH_VARARGS,
     PyDoc_STR("create_partitions($self, name, total, timeout_ms, future, /)\n--\n\n"
               "Asks for a topic to have this many partitions.")},
    {"describe_config", kp_python_admin_describe_config, METH_VARARGS,
     PyDoc_STR("describe_config($self, name, timeout_ms, future, /)\n--\n\n"
               "Asks for a topic's settings: [[name, value, is_own], ...].")},
    {"alter_config", kp_python_admin_alter_config, METH_VARARGS,
     PyDoc_STR("alter_config($self, name, config, timeout_ms, future, /)\n--\n\n"
               "Asks for changes of a topic's settings; see alters_singly.")},
    {"delete_records", kp_python_admin_delete_records, METH_VARARGS,
     PyDoc_STR("delete_records($self, before, timeout_ms, future, /)\n--\n\n"
               "Asks for the end of all before these (topic, partition, offset): [[the same], ...].")},
    {"list_groups", kp_python_admin_list_groups, METH_VARARGS,
     PyDoc_STR("list_groups($self, timeout_ms, future, /)\n--\n\n"
               "Asks for the groups: [[name, state], ...].")},
    {"describe_group", kp_python_admin_describe_group, METH_VARARGS,
     PyDoc_STR("describe_group($self, name, timeout_ms, future, /)\n--\n\n"
               "Asks for a group: its state, assignor, coordinator and members.")},
    {"delete_group", kp_python_admin_delete_group, METH_VARARGS,
     PyDoc_STR("delete_group($self, name, timeout_ms, future, /)\n--\n\n"
               "Asks for a group's deletion.")},
    {"committed", kp_python_admin_committed, METH_VARARGS,
     PyDoc_STR("committed($self, group, partitions, timeout_ms, future, /)\n--\n\n"
               "Asks for a group's offsets of these (topic, partition, any number), or of all for none: "
               "[[topic, partition, offset], ...], with the metadata as a fourth value where there is some.")},
    {"commit", kp_python_admin_commit, METH_VARARGS,
     PyDoc_STR("commit($self, group, offsets, timeout_ms, future, /)\n--\n\n"
               "Asks for a group to have these (topic, partition, offset[, metadata]).")},
    {"create_acl", kp_python_admin_create_acl, METH_VARARGS,
     PyDoc_STR("create_acl($self, acl, timeout_ms, future, /)\n--\n\n"
               "Asks for an access rule.")},
    {"describe_acls", kp_python_admin_describe_acls, METH_VARARGS,
     PyDoc_STR("describe_acls($self, filter, timeout_ms, future, /)\n--\n\n"
               "Asks for the access rules that match.")},
    {"delete_acls", kp_python_admin_delete_acls, METH_VARARGS,
     PyDoc_STR("delete_acls($self, filter, timeout_ms, future, /)\n--\n\n"
               "Asks for the deletion of the access rules that match.")},
    {"drain", admin_drain, METH_NOARGS,
     PyDoc_STR("drain($self, /)\n--\n\n"
               "Collects answers: a list of (future, JSON or exception). Call it when fileno() is readable.")},
    {"metadata", admin_metadata, METH_VARARGS,
     PyDoc_STR("metadata($self, topic, timeout_ms, /)\n--\n\n"
               "One topic, or all of them for None: a list of (name, partitions), a partition being\n"
               "(number, leader, replicas, in-sync replicas). Waits.")},
    {"cluster", admin_cluster, METH_VARARGS,
     PyDoc_STR("cluster($self, timeout_ms, /)\n--\n\n"
               "Id, controller and brokers as JSON. Waits.")},
    {"find_offsets", admin_find_offsets, METH_VARARGS,
     PyDoc_STR("find_offsets($self, times, timeout_ms, /)\n--\n\n"
               "The first offset for each (topic, partition, time in ms); -1: none. Waits.")},
    {"close", admin_close, METH_NOARGS,
     PyDoc_STR("close($self, /)\n--\n\n"
               "Ends the client, and returns the futures without an answer.")},
    {"fileno", admin_fileno, METH_NOARGS,
     PyDoc_STR("fileno($self, /)\n--\n\n"
               "The descriptor that is readable when drain has something to do.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, KP_SLOT(PyDoc_STR("Admin(properties, /)\n--\n\n"
                                  "An admin client of librdkafka with these properties, pairs of str."))},
    {Py_tp_new, KP_SLOT(admin_new)},
    {Py_tp_dealloc, KP_SLOT(admin_dealloc)},
    {Py_tp_finalize, KP_SLOT(admin_finalize)},
    {Py_tp_traverse, KP_SLOT(admin_traverse)},
    {Py_tp_clear, KP_SLOT(admin_clear)},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "kafkapipe._core.Admin",
    .basicsize = sizeof(kp_python_admin),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

int kp_python_add_admin(PyObject *module) {
    PyObject *singly = PyBool_FromLong(kp_admin_alters_singly());
    int failed = PyModule_AddObjectRef(module, "alters_singly", singly);
    Py_DECREF(singly);
    return failed ? failed : kp_python_add_type(module, &spec, NULL);
}
