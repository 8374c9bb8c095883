/* A record and a batch of records, as the pipeline hands them to a sink. Plain data: the memory behind key and value
 * belongs to whoever made the batch, and is given back record by record through the batch's release function.
 */
#ifndef KP_CORE_RECORD_H
#define KP_CORE_RECORD_H

#include "core/buf.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    const char *topic; /* borrowed: lives as long as the pipeline */
    int32_t partition;
    int32_t slot; /* the pipeline's number of this assigned partition, for its own use */
    int64_t offset;
    int64_t timestamp_ms; /* -1: none */
    kp_bytes key;         /* data NULL: no key */
    kp_bytes value;       /* data NULL: tombstone */
    void *handle;         /* what release takes: the library's message. NULL: nothing to give back */
    bool has_position;    /* a dead letter that is sent again: topic, partition, offset are the record's that it was */
    int64_t position;     /* and this is its own offset in the partition that is read */
} kp_record;

/* Where it lies in the partition that is read: what is settled and committed. Nearly always its offset. */
static inline int64_t kp_record_position(const kp_record *rec) {
    return rec->has_position ? rec->position : rec->offset;
}

/* Bytes that a record counts for: key, value and a share for what is kept beside them. */
static inline size_t kp_record_bytes(const kp_record *rec) {
    return rec->key.length + rec->value.length + sizeof *rec;
}

/* What became of one record. Unmarked means not delivered. */
typedef enum {
    KP_PENDING = 0, /* nobody reported on it */
    KP_DELIVERED,
    KP_AGAIN,    /* can be tried again */
    KP_REJECTED, /* will never be accepted: dead letter */
} kp_outcome;

typedef struct {
    kp_outcome outcome;
    uint32_t reason; /* 1 + index into the batch's reasons; 0: none, UINT32_MAX: not kept */
} kp_verdict;

typedef struct kp_batch kp_batch;

struct kp_batch {
    kp_record *records;   /* owned */
    kp_verdict *verdicts; /* owned, one a record */
    size_t count;
    size_t capacity;
    size_t bytes;      /* of all keys and values */
    kp_error *reasons; /* owned; distinct reasons of this batch */
    uint32_t reason_count;
    void (*release)(void *handle); /* gives one record's memory back */
    kp_batch *next;                /* for the owner's list */
};

kp_batch *kp_batch_new(size_t capacity, void (*release)(void *handle)); /* owned; NULL when out of memory */
void kp_batch_free(kp_batch *batch); /* releases every record that still has a handle */
bool kp_batch_full(const kp_batch *batch);
void kp_batch_add(kp_batch *batch, const kp_record *rec); /* moved: the batch owns rec->handle now; must not be full */
void kp_batch_release(kp_batch *batch, size_t index);     /* gives the record's memory back now */
void kp_batch_judge(kp_batch *batch, size_t index, kp_outcome outcome, const kp_error *reason);
void kp_batch_judge_all(kp_batch *batch, kp_outcome outcome, const kp_error *reason); /* every record still pending */
const kp_error *kp_batch_reason(const kp_batch *batch, size_t index);                 /* borrowed; never NULL */

#endif
