/* The registry: a new sink is one C file, one pydantic class, and one line here; and what sinks over HTTP share. */
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

void kp_sink_tls_options(const kp_json *config, kp_http_options *options) {
    options->ca_file = kp_json_text(kp_json_get(config, "ca_file"), NULL);
    options->cert_file = kp_json_text(kp_json_get(config, "cert_file"), NULL);
    options->key_file = kp_json_text(kp_json_get(config, "key_file"), NULL);
    options->key_password = kp_json_text(kp_json_get(config, "key_password"), NULL);
}
