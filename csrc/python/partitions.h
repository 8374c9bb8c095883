/* Lists of partitions between Python and librdkafka: (topic, partition, offset). */
#ifndef KP_PYTHON_PARTITIONS_H
#define KP_PYTHON_PARTITIONS_H

#include "io/kafka.h"
#include "python/module.h"

/* From a sequence of tuples (topic, partition, offset); owned by the caller. NULL with an exception. */
rd_kafka_topic_partition_list_t *kp_python_partitions_read(PyObject *sequence);
/* From a sequence of names or patterns. */
rd_kafka_topic_partition_list_t *kp_python_topics_read(PyObject *sequence);
/* List of tuples (topic, partition, offset); destroys list, NULL is an empty one. NULL with an exception. */
PyObject *kp_python_partitions_take(rd_kafka_topic_partition_list_t *list);

#endif
