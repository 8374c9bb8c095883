/* Memory: see mem.h. The counters are relaxed atomics: they are read by tests and status pages, never waited on. */
#include "core/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static atomic_int_fast64_t live;
static atomic_int_fast64_t fail_countdown;

static int must_fail(void) {
    if (atomic_load_explicit(&fail_countdown, memory_order_relaxed) == 0) {
        return 0;
    }
    return atomic_fetch_sub_explicit(&fail_countdown, 1, memory_order_relaxed) == 1;
}

static void *counted(void *memory) {
    if (memory) {
        atomic_fetch_add_explicit(&live, 1, memory_order_relaxed);
    }
    return memory;
}

void *kp_alloc(size_t size) {
    return must_fail() ? NULL : counted(malloc(size ? size : 1));
}

void *kp_calloc(size_t count, size_t size) {
    return must_fail() ? NULL : counted(calloc(count ? count : 1, size ? size : 1));
}

void *kp_realloc(void *memory, size_t size) {
    if (!memory) {
        return kp_alloc(size);
    }
    return must_fail() ? NULL : realloc(memory, size ? size : 1);
}

char *kp_strndup(const char *text, size_t length) {
    char *copy = length == SIZE_MAX ? NULL : kp_alloc(length + 1);
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

char *kp_strdup(const char *text) {
    return kp_strndup(text, strlen(text));
}

void kp_free(void *memory) {
    if (memory) {
        atomic_fetch_sub_explicit(&live, 1, memory_order_relaxed);
        free(memory);
    }
}

void kp_mem_trim(void) {
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}

int64_t kp_mem_live(void) {
    return atomic_load_explicit(&live, memory_order_relaxed);
}

void kp_mem_fail_at(int64_t n) {
    atomic_store_explicit(&fail_countdown, n, memory_order_relaxed);
}
