/* Checkpoint of one partition: which offsets were delivered to the pipeline, which are settled, and the end of the
 * unbroken settled run, which is what may be committed.
 *
 * Offsets come in rising order and may have gaps (compaction, transaction markers): nobody waits for an offset that was
 * not delivered. Runs are kept, not offsets, so a million records in order cost one entry. One owner, one thread.
 */
#ifndef KP_CORE_CHECKPOINT_H
#define KP_CORE_CHECKPOINT_H

#include "core/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t first;
    int64_t last; /* inclusive */
    bool settled;
} kp_run;

typedef struct {
    kp_run *runs; /* owned, rising, not overlapping; settled neighbours are one run */
    size_t count;
    size_t capacity;
    int64_t position; /* where everything before is settled; -1: nothing is known yet */
} kp_checkpoint;

void kp_checkpoint_init(kp_checkpoint *cp, int64_t position);
void kp_checkpoint_deinit(kp_checkpoint *cp);

/* Offsets first to last were delivered, in this order; first must be above everything delivered before. */
kp_status kp_checkpoint_deliver(kp_checkpoint *cp, int64_t first, int64_t last, kp_error *err) KP_MUST_CHECK;
/* Every delivered offset from first to last is settled. Settling twice does nothing. */
kp_status kp_checkpoint_settle(kp_checkpoint *cp, int64_t first, int64_t last, kp_error *err) KP_MUST_CHECK;

int64_t kp_checkpoint_position(const kp_checkpoint *cp);  /* what may be committed; -1: nothing */
int64_t kp_checkpoint_delivered(const kp_checkpoint *cp); /* one past the last delivered offset; -1: nothing */
bool kp_checkpoint_clear(const kp_checkpoint *cp);        /* everything that was delivered is settled */

#endif
