/* What an answer to a _bulk request means, as pure functions. Any thread; no state. */
#ifndef KP_SINKS_ELASTICSEARCH_REPLY_H
#define KP_SINKS_ELASTICSEARCH_REPLY_H

#include "core/record.h"

typedef enum {
    BULK_DELIVERED,
    BULK_AGAIN,
    BULK_REJECTED,
    BULK_STOP, /* nobody's record is at fault: credentials, a missing index, an ingest pipeline that is not there */
} bulk_meaning;

typedef struct {
    const char *action; /* create, index, update or delete; "" when the answer does not say */
    int status;
    const char *type; /* of its error; "" when there is none, as reason */
    const char *reason;
} bulk_item;

/* Knows Elasticsearch's and OpenSearch's names. */
bulk_meaning classify_bulk_item(const bulk_item *item);

/* Of the whole request, when it was not answered with 200. BULK_REJECTED: one of its records is at fault, or all
 * together are too large: send fewer at once. */
bulk_meaning classify_bulk_request(int status, const char *type);

/* Judges every record of the batch that is still pending, matching items by position. KP_OK; KP_RETRY when the answer
 * is cut short or counts other items (every pending record is KP_AGAIN then: ids make a second try safe); KP_FATAL when
 * an item says stop (its kin are judged, the rest are KP_AGAIN). */
kp_status classify_bulk(int status, kp_bytes body, kp_batch *batch, kp_error *err) KP_MUST_CHECK;

#endif
