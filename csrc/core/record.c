/* Batches of records: see record.h. A thousand documents rejected for the same cause share one error. */
#include "core/record.h"

#include "core/mem.h"

#include <string.h>

/* Reasons often name their record, so that each differs: only the last few are compared, and not every one is kept. */
enum { REASONS_MAX = 1000, REASONS_COMPARED = 8 };

static const uint32_t NOT_KEPT = UINT32_MAX;

static const kp_error no_reason = {KP_RETRY, "", "nobody reported on this record"};
static const kp_error reason_not_kept = {KP_REJECT, "", "one of many reasons in this batch, not kept"};

kp_batch *kp_batch_new(size_t capacity, void (*release)(void *handle)) {
    kp_batch *batch = kp_calloc(1, sizeof *batch);
    if (!batch) {
        return NULL;
    }
    batch->records = kp_calloc(capacity, sizeof *batch->records);
    batch->verdicts = kp_calloc(capacity, sizeof *batch->verdicts);
    batch->capacity = capacity;
    batch->release = release;
    if (!batch->records || !batch->verdicts) {
        kp_batch_free(batch);
        return NULL;
    }
    return batch;
}

void kp_batch_free(kp_batch *batch) {
    if (!batch) {
        return;
    }
    for (size_t i = 0; i < batch->count; i++) {
        kp_batch_release(batch, i);
    }
    kp_free(batch->records);
    kp_free(batch->verdicts);
    kp_free(batch->reasons);
    kp_free(batch);
}

bool kp_batch_full(const kp_batch *batch) {
    return batch->count == batch->capacity;
}

void kp_batch_add(kp_batch *batch, const kp_record *rec) {
    batch->verdicts[batch->count] = (kp_verdict){KP_PENDING, 0};
    batch->records[batch->count++] = *rec;
    batch->bytes += kp_record_bytes(rec);
}

void kp_batch_release(kp_batch *batch, size_t index) {
    kp_record *rec = &batch->records[index];
    if (rec->handle && batch->release) {
        batch->release(rec->handle);
    }
    rec->handle = NULL;
}

static uint32_t keep_reason(kp_batch *batch, const kp_error *reason) {
    uint32_t oldest = batch->reason_count > REASONS_COMPARED ? batch->reason_count - REASONS_COMPARED : 0;
    for (uint32_t i = batch->reason_count; i-- > oldest;) {
        if (strcmp(batch->reasons[i].message, reason->message) == 0) {
            return i + 1;
        }
    }
    if (batch->reason_count == REASONS_MAX) {
        return NOT_KEPT;
    }
    kp_error *reasons = kp_realloc(batch->reasons, (batch->reason_count + 1) * sizeof *reasons);
    if (!reasons) {
        return NOT_KEPT;
    }
    batch->reasons = reasons;
    reasons[batch->reason_count++] = *reason;
    return batch->reason_count;
}

void kp_batch_judge(kp_batch *batch, size_t index, kp_outcome outcome, const kp_error *reason) {
    batch->verdicts[index] = (kp_verdict){outcome, reason ? keep_reason(batch, reason) : 0};
}

void kp_batch_judge_all(kp_batch *batch, kp_outcome outcome, const kp_error *reason) {
    uint32_t kept = reason ? keep_reason(batch, reason) : 0;
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->verdicts[i].outcome == KP_PENDING) {
            batch->verdicts[i] = (kp_verdict){outcome, kept};
        }
    }
}

const kp_error *kp_batch_reason(const kp_batch *batch, size_t index) {
    uint32_t at = batch->verdicts[index].reason;
    if (at == NOT_KEPT) {
        return &reason_not_kept;
    }
    return at ? &batch->reasons[at - 1] : &no_reason;
}
