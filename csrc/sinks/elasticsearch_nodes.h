/* Which node of a search cluster the next request goes to. Belongs to one loop thread. */
#ifndef KP_SINKS_ELASTICSEARCH_NODES_H
#define KP_SINKS_ELASTICSEARCH_NODES_H

#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ELASTIC_NODES_MAX = 16, ELASTIC_REST_MIN_MS = 1000, ELASTIC_REST_MAX_MS = 60000 };

typedef struct {
    char *url; /* owned */
    int failures;
    bool on_trial;         /* it failed, and one request was sent there since */
    int64_t rest_until_ms; /* nothing is sent there before */
} elastic_node;

typedef struct {
    elastic_node nodes[ELASTIC_NODES_MAX];
    size_t count;
    size_t next;
} elastic_nodes;

/* Copies url; beyond ELASTIC_NODES_MAX it is left out. */
kp_status elastic_nodes_add(elastic_nodes *self, const char *url, kp_error *err) KP_MUST_CHECK;
void elastic_nodes_deinit(elastic_nodes *self);

/* The nodes take turns. One that failed rests, twice as long each time; then it gets one request, and the others only
 * when that one is answered. When all rest, the one whose rest is over first. There must be a node. */
size_t elastic_nodes_pick(elastic_nodes *self, int64_t now_ms);
void elastic_nodes_failed(elastic_nodes *self, size_t node, int64_t now_ms);
void elastic_nodes_answered(elastic_nodes *self, size_t node);

#endif
