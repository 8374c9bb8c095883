/* What one record becomes in the body of a _bulk request. Belongs to one loop thread; asks nobody. */
#ifndef KP_SINKS_ELASTICSEARCH_DOCUMENT_H
#define KP_SINKS_ELASTICSEARCH_DOCUMENT_H

#include "core/json_scan.h"
#include "core/record.h"
#include "core/template.h"
#include "io/json.h"

#include <stdbool.h>

typedef enum { ELASTIC_CREATE, ELASTIC_INDEX, ELASTIC_UPDATE, ELASTIC_UPSERT } elastic_operation;

/* Of a record without a value. */
typedef enum { ELASTIC_TOMBSTONE_REJECT, ELASTIC_TOMBSTONE_IGNORE, ELASTIC_TOMBSTONE_DELETE } elastic_tombstone;

typedef struct {
    elastic_operation operation;
    elastic_tombstone tombstone;
    kp_template *index;
    kp_buf constant_index; /* its JSON string, when the template names nothing of a record */
    bool coordinates;      /* the id is topic+partition+offset */
    kp_template *id;       /* otherwise; NULL: the server makes one */
    kp_template *routing;  /* NULL: none */
    bool offset_version;   /* external version: the offset */
    bool timestamp;        /* give it an @timestamp if it has none: data streams want one */
    kp_json_path timestamp_path;
    kp_buf scratch;
} elastic_document;

/* Reads operation, tombstone, index, id (coordinates, auto or template), id_template, routing, version_offset and
 * data_stream. elastic_document_deinit in any case. */
kp_status elastic_document_init(elastic_document *self, const kp_json *config, kp_error *err) KP_MUST_CHECK;
void elastic_document_deinit(elastic_document *self);

/* Appends the record's lines, each with its newline; nothing when the record needs none (an ignored tombstone). The
 * value goes out byte for byte but for raw newlines, which would begin another action. KP_REJECT: it can be no
 * document. The body is as before when it fails. */
kp_status elastic_document_append(elastic_document *self, const kp_record *rec, kp_buf *body,
                                  kp_error *err) KP_MUST_CHECK;

#endif
