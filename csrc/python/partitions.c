/* Lists of partitions: see partitions.h. */
#include "python/partitions.h"

static int read_one(PyObject *item, rd_kafka_topic_partition_list_t *list) {
    const char *topic;
    int partition;
    long long offset;
    if (!PyTuple_Check(item)) {
        PyErr_SetString(PyExc_TypeError, "a partition is a tuple of topic, number and offset");
        return -1;
    }
    if (!PyArg_ParseTuple(item, "siL", &topic, &partition, &offset)) {
        return -1;
    }
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
    return 0;
}

static int read_topic(PyObject *item, rd_kafka_topic_partition_list_t *list) {
    Py_ssize_t length;
    const char *topic = PyUnicode_AsUTF8AndSize(item, &length);
    if (!topic) {
        return -1;
    }
    if (strlen(topic) != (size_t)length) {
        PyErr_SetString(PyExc_ValueError, "embedded null character");
        return -1;
    }
    rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA);
    return 0;
}

static rd_kafka_topic_partition_list_t *read_all(PyObject *sequence,
                                                 int (*read)(PyObject *item, rd_kafka_topic_partition_list_t *list)) {
    PyObject *items = PySequence_Tuple(sequence);
    if (!items) {
        return NULL;
    }
    Py_ssize_t count = PyTuple_GET_SIZE(items);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (Py_ssize_t i = 0; i < count; i++) {
        if (read(PyTuple_GET_ITEM(items, i), list) < 0) {
            rd_kafka_topic_partition_list_destroy(list);
            list = NULL;
            break;
        }
    }
    Py_DECREF(items);
    return list;
}

rd_kafka_topic_partition_list_t *kp_python_partitions_read(PyObject *sequence) {
    return read_all(sequence, read_one);
}

rd_kafka_topic_partition_list_t *kp_python_topics_read(PyObject *sequence) {
    return read_all(sequence, read_topic);
}

static PyObject *new_list(const rd_kafka_topic_partition_list_t *list) {
    int count = list ? list->cnt : 0;
    PyObject *items = PyList_New(count);
    for (int i = 0; i < count && items; i++) {
        const rd_kafka_topic_partition_t *entry = &list->elems[i];
        PyObject *item = Py_BuildValue("(siL)", entry->topic, (int)entry->partition, (long long)entry->offset);
        if (item) {
            PyList_SET_ITEM(items, i, item);
        } else {
            Py_CLEAR(items);
        }
    }
    return items;
}

PyObject *kp_python_partitions_take(rd_kafka_topic_partition_list_t *list) {
    PyObject *items = new_list(list);
    if (list) {
        rd_kafka_topic_partition_list_destroy(list);
    }
    return items;
}
