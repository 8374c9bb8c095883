/* How fast a pipeline reads, on the mock cluster: what holds it up, and what must not. */
#include "pipe_rig.h"

/* Once the queue was full, librdkafka before 2.2 fetches once a second: 40 batches would take 40. */
static void test_a_queue_that_was_full_is_filled_again_at_once(void **state) {
    (void)state;
    enum { BATCHES = 40, RECORDS = 50 };
    pipe_rig_topic("pace", 1);
    for (int i = 0; i < BATCHES; i++) {
        pipe_rig_produce("pace", 1, i * RECORDS, (i + 1) * RECORDS);
    }
    kp_pipeline *pipeline = pipe_rig_start(&(pipe_rules){
        .topic = "pace",
        .kafka = ",\"queued.min.messages\":\"10\",\"fetch.message.max.bytes\":\"1000\"",
    });
    pipe_rig_await(pipeline, "records_out", 1);
    int64_t since_ms = pipe_rig_now_ms();
    pipe_rig_await(pipeline, "records_out", BATCHES * RECORDS);
    assert_in_range(pipe_rig_now_ms() - since_ms, 0, 10000);
    pipe_rig_stop(pipeline, 10000);
    pipe_rig_assert_exactly_once("pace", BATCHES * RECORDS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        PIPE_TEST(test_a_queue_that_was_full_is_filled_again_at_once),
    };
    return pipe_rig_run(tests);
}
