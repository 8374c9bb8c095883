/* Checkpoints: against a plain table of offsets, for random deliveries and settlements. */
#include "kp_test.h"

#include "core/checkpoint.h"

#include <stdlib.h>

static void test_gaps_belong_to_the_run(void **state) {
    (void)state;
    kp_checkpoint cp;
    kp_checkpoint_init(&cp, 5);
    assert_int_equal(kp_checkpoint_deliver(&cp, 8, 8, NULL), KP_OK);
    assert_int_equal(kp_checkpoint_deliver(&cp, 12, 20, NULL), KP_OK);
    assert_int_equal(kp_checkpoint_position(&cp), 5);
    assert_int_equal(kp_checkpoint_settle(&cp, 8, 8, NULL), KP_OK);
    assert_int_equal(kp_checkpoint_position(&cp), 9);
    assert_int_equal(kp_checkpoint_settle(&cp, 15, 20, NULL), KP_OK);
    assert_int_equal(kp_checkpoint_position(&cp), 9);
    assert_false(kp_checkpoint_clear(&cp));
    assert_int_equal(kp_checkpoint_settle(&cp, 12, 14, NULL), KP_OK);
    assert_int_equal(kp_checkpoint_position(&cp), 21);
    assert_true(kp_checkpoint_clear(&cp));
    kp_checkpoint_deinit(&cp);
}

static void test_in_order_work_costs_one_entry(void **state) {
    (void)state;
    kp_checkpoint cp;
    kp_checkpoint_init(&cp, 0);
    for (int64_t at = 0; at < 1000000; at += 10) {
        assert_int_equal(kp_checkpoint_deliver(&cp, at, at + 9, NULL), KP_OK);
        assert_true(cp.count <= 2);
        assert_int_equal(kp_checkpoint_settle(&cp, at - 5, at + 4, NULL), KP_OK);
    }
    assert_int_equal(kp_checkpoint_settle(&cp, 0, 999999, NULL), KP_OK);
    assert_int_equal(kp_checkpoint_position(&cp), 1000000);
    kp_checkpoint_deinit(&cp);
}

enum { SPAN = 400 };

static int64_t expected_position(const char *table, int64_t start) {
    int64_t position = start;
    for (int64_t i = 0; i < SPAN; i++) {
        if (table[i] == 'd') {
            return position;
        }
        if (table[i] == 's') {
            position = i + 1;
        }
    }
    return position;
}

static void test_random_against_a_table(void **state) {
    (void)state;
    for (unsigned seed = 1; seed <= 300; seed++) {
        char table[SPAN] = {0};
        kp_checkpoint cp;
        srand(seed);
        kp_checkpoint_init(&cp, 0);
        int64_t next = 0;
        for (int step = 0; step < 300; step++) {
            if (rand() % 2 && next + 8 < SPAN) {
                int64_t first = next + rand() % 3;
                int64_t last = first + rand() % 4;
                for (int64_t i = first; i <= last; i++) {
                    table[i] = 'd';
                }
                assert_int_equal(kp_checkpoint_deliver(&cp, first, last, NULL), KP_OK);
                next = last + 1;
            } else if (next > 0) {
                int64_t first = rand() % next;
                int64_t last = first + rand() % 12;
                last = last < next ? last : next - 1;
                for (int64_t i = first; i <= last; i++) {
                    table[i] = table[i] == 'd' ? 's' : table[i];
                }
                assert_int_equal(kp_checkpoint_settle(&cp, first, last, NULL), KP_OK);
            }
            assert_int_equal(kp_checkpoint_position(&cp), expected_position(table, 0));
        }
        kp_checkpoint_deinit(&cp);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_gaps_belong_to_the_run),
        KP_TEST(test_in_order_work_costs_one_entry),
        KP_TEST(test_random_against_a_table),
    };
    return kp_test_run(tests);
}
