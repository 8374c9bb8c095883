/* The nodes of a search cluster: see elasticsearch_nodes.h. */
#include "sinks/elasticsearch_nodes.h"

#include "core/mem.h"

#include <string.h>

kp_status elastic_nodes_add(elastic_nodes *self, const char *url, kp_error *err) {
    if (self->count == ELASTIC_NODES_MAX) {
        return KP_OK;
    }
    char *copy = kp_strdup(url);
    if (!copy) {
        return kp_error_nomem(err);
    }
    self->nodes[self->count++] = (elastic_node){.url = copy};
    return KP_OK;
}

void elastic_nodes_deinit(elastic_nodes *self) {
    for (size_t i = 0; i < self->count; i++) {
        kp_free(self->nodes[i].url);
    }
    memset(self, 0, sizeof *self);
}

static int64_t rest_ms(int failures) {
    int64_t rest = ELASTIC_REST_MIN_MS;
    for (int i = 1; i < failures && rest < ELASTIC_REST_MAX_MS; i++) {
        rest *= 2;
    }
    return rest < ELASTIC_REST_MAX_MS ? rest : ELASTIC_REST_MAX_MS;
}

size_t elastic_nodes_pick(elastic_nodes *self, int64_t now_ms) {
    size_t best = self->next % self->count;
    for (size_t i = 0; i < self->count; i++) {
        size_t at = (self->next + i) % self->count;
        if (self->nodes[at].rest_until_ms <= now_ms) {
            best = at;
            break;
        }
        if (self->nodes[at].rest_until_ms < self->nodes[best].rest_until_ms) {
            best = at;
        }
    }
    elastic_node *node = &self->nodes[best];
    if (node->failures > 0) {
        node->on_trial = true;
        node->rest_until_ms = now_ms + rest_ms(node->failures);
    }
    self->next = (best + 1) % self->count;
    return best;
}

/* Several requests may fail at one node at once: that is one failure of it. */
void elastic_nodes_failed(elastic_nodes *self, size_t node, int64_t now_ms) {
    elastic_node *failed = &self->nodes[node];
    if (failed->failures == 0 || failed->on_trial) {
        failed->failures++;
        failed->on_trial = false;
    }
    failed->rest_until_ms = now_ms + rest_ms(failed->failures);
}

void elastic_nodes_answered(elastic_nodes *self, size_t node) {
    self->nodes[node].failures = 0;
    self->nodes[node].on_trial = false;
    self->nodes[node].rest_until_ms = 0;
}
