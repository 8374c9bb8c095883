/* What every C test includes: cmocka, and a check after each test that the core holds no memory any more. */
#ifndef KP_TEST_H
#define KP_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mem.h"

/* KP_TEST=test_put* runs those alone. */
static inline void kp_test_choose(void) {
    cmocka_set_test_filter(getenv("KP_TEST"));
}

static inline int kp_test_setup(void **state) {
    (void)state;
    kp_mem_fail_at(0);
    return 0;
}

static inline int kp_test_teardown(void **state) {
    (void)state;
    kp_mem_fail_at(0);
    assert_int_equal(kp_mem_live(), 0);
    return 0;
}

#define KP_TEST(test) cmocka_unit_test_setup_teardown(test, kp_test_setup, kp_test_teardown)
#define kp_test_run(tests) (kp_test_choose(), cmocka_run_group_tests(tests, NULL, NULL))

#endif
