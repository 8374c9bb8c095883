/* Checkpoint: see checkpoint.h. The runs at the front that are settled fold into `position`. */
#include "core/checkpoint.h"

#include "core/mem.h"

#include <string.h>

void kp_checkpoint_init(kp_checkpoint *cp, int64_t position) {
    memset(cp, 0, sizeof *cp);
    cp->position = position;
}

void kp_checkpoint_deinit(kp_checkpoint *cp) {
    kp_free(cp->runs);
    memset(cp, 0, sizeof *cp);
}

static kp_status reserve(kp_checkpoint *cp, size_t more, kp_error *err) {
    if (cp->count + more <= cp->capacity) {
        return KP_OK;
    }
    size_t capacity = cp->capacity ? 2 * cp->capacity : 8;
    kp_run *runs = kp_realloc(cp->runs, capacity * sizeof *runs);
    if (!runs) {
        return kp_error_nomem(err);
    }
    cp->runs = runs;
    cp->capacity = capacity;
    return KP_OK;
}

kp_status kp_checkpoint_deliver(kp_checkpoint *cp, int64_t first, int64_t last, kp_error *err) {
    kp_run *tail = cp->count ? &cp->runs[cp->count - 1] : NULL;
    if (tail && !tail->settled && tail->last + 1 == first) {
        tail->last = last;
        return KP_OK;
    }
    kp_status st = reserve(cp, 1, err);
    if (st == KP_OK) {
        cp->runs[cp->count++] = (kp_run){first, last, false};
    }
    return st;
}

static void remove_runs(kp_checkpoint *cp, size_t at, size_t count) {
    memmove(&cp->runs[at], &cp->runs[at + count], (cp->count - at - count) * sizeof *cp->runs);
    cp->count -= count;
}

static void insert_run(kp_checkpoint *cp, size_t at, kp_run run) {
    memmove(&cp->runs[at + 1], &cp->runs[at], (cp->count - at) * sizeof *cp->runs);
    cp->runs[at] = run;
    cp->count++;
}

/* First run that ends at or behind offset. */
static size_t find(const kp_checkpoint *cp, int64_t offset) {
    size_t low = 0;
    size_t high = cp->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (cp->runs[middle].last < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Cuts the run at `at` so that a run begins at offset; gives the index of that run. */
static size_t split_at(kp_checkpoint *cp, size_t at, int64_t offset) {
    kp_run run = cp->runs[at];
    if (offset <= run.first) {
        return at;
    }
    cp->runs[at].last = offset - 1;
    insert_run(cp, at + 1, (kp_run){offset, run.last, run.settled});
    return at + 1;
}

static void merge_around(kp_checkpoint *cp, size_t at) {
    if (at + 1 < cp->count && cp->runs[at + 1].settled == cp->runs[at].settled) {
        cp->runs[at].last = cp->runs[at + 1].last;
        remove_runs(cp, at + 1, 1);
    }
    if (at > 0 && cp->runs[at - 1].settled == cp->runs[at].settled) {
        cp->runs[at - 1].last = cp->runs[at].last;
        remove_runs(cp, at, 1);
    }
}

static void fold_front(kp_checkpoint *cp) {
    if (cp->count && cp->runs[0].settled) {
        cp->position = cp->runs[0].last + 1;
        remove_runs(cp, 0, 1);
    }
}

kp_status kp_checkpoint_settle(kp_checkpoint *cp, int64_t first, int64_t last, kp_error *err) {
    kp_status st = reserve(cp, 2, err);
    if (st != KP_OK) {
        return st;
    }
    for (size_t at = find(cp, first); at < cp->count && cp->runs[at].first <= last; at = find(cp, first)) {
        kp_run run = cp->runs[at];
        int64_t end = run.last < last ? run.last : last;
        if (!run.settled) {
            at = split_at(cp, at, first);
            if (cp->runs[at].last > last) {
                split_at(cp, at, last + 1);
            }
            cp->runs[at].settled = true;
            merge_around(cp, at);
        }
        if (end >= last) {
            break;
        }
        first = end + 1;
        st = reserve(cp, 2, err);
        if (st != KP_OK) {
            break;
        }
    }
    fold_front(cp);
    return st;
}

int64_t kp_checkpoint_position(const kp_checkpoint *cp) {
    return cp->position;
}

int64_t kp_checkpoint_delivered(const kp_checkpoint *cp) {
    return cp->count ? cp->runs[cp->count - 1].last + 1 : cp->position;
}

bool kp_checkpoint_clear(const kp_checkpoint *cp) {
    return cp->count == 0;
}
