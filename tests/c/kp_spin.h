/* Runs an HTTP handle until something happened, as a loop thread does. */
#ifndef KP_SPIN_H
#define KP_SPIN_H

#include "kp_test.h"

#include "io/http.h"

#include <time.h>

static inline int64_t kp_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Fails the test when *count does not reach wanted within 20 seconds. */
static inline void kp_spin(kp_http *http, const size_t *count, size_t wanted) {
    int64_t limit = kp_now_ms() + 20000;
    while (*count < wanted) {
        assert_int_equal(kp_http_pump(http, NULL), KP_OK);
        if (*count < wanted) {
            assert_int_equal(kp_http_wait(http, NULL, NULL, 0, 100, NULL), KP_OK);
            assert_true(kp_now_ms() < limit);
        }
    }
}

#endif
