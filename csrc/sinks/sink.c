/* The registry: a new sink is one C file, one pydantic class, and one line here. */
#include "sinks/sink.h"

#include <string.h>

static const kp_sink_ops *const sinks[] = {&kp_sink_hdfs, &kp_sink_file, &kp_sink_elasticsearch, &kp_sink_null};

const kp_sink_ops *kp_sink_find(const char *type) {
    for (size_t i = 0; i < sizeof sinks / sizeof *sinks; i++) {
        if (strcmp(sinks[i]->name, type) == 0) {
            return sinks[i];
        }
    }
    return NULL;
}
