/* The producer against the library's mock brokers, without Python. */
#include "kp_test.h"

#include "core/mem.h"
#include "flow/mock.h"
#include "flow/producer.h"

#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static const kp_bytes TOPIC = {"색", sizeof "색" - 1};

typedef struct {
    kp_mock *mock;
    kp_producer *producer;
} bench;

static kp_producer *producer_of(const char *bootstrap, const char *name, const char *value) {
    kp_kafka_property properties[] = {
        {"bootstrap.servers", bootstrap}, {"enable.idempotence", "true"}, {"linger.ms", "1"}, {name, value}};
    rd_kafka_conf_t *conf;
    kp_producer *producer;
    kp_error err;
    assert_int_equal(kp_kafka_conf_new(&conf, properties, name ? 4 : 3, &err), KP_OK);
    assert_int_equal(kp_producer_new(&producer, conf, false, &err), KP_OK);
    return producer;
}

static bench bench_open(const char *name, const char *value) {
    bench b;
    kp_error err;
    assert_int_equal(kp_mock_new(&b.mock, 1, &err), KP_OK);
    b.producer = producer_of(kp_mock_bootstrap(b.mock), name, value);
    return b;
}

static void bench_close(bench *b) {
    kp_producer_free(b->producer, NULL);
    kp_mock_free(b->mock);
}

static kp_message message_of(const char *value, size_t length) {
    return (kp_message){.value = {value, length}, .partition = RD_KAFKA_PARTITION_UA};
}

static kp_send *await_done(kp_producer *producer) {
    kp_send *done = NULL;
    kp_error err;
    struct pollfd fd = {.fd = kp_producer_fd(producer), .events = POLLIN};
    while (!done) {
        assert_int_equal(poll(&fd, 1, 20000), 1);
        assert_int_equal(kp_producer_drain(producer, 4, &done, &err), KP_OK);
    }
    return done;
}

static void test_every_message_has_a_result(void **state) {
    (void)state;
    enum { COUNT = 500 };
    bench b = bench_open(NULL, NULL);
    kp_message messages[COUNT];
    kp_send *send;
    size_t taken;
    kp_error err;

    for (size_t i = 0; i < COUNT; i++) {
        messages[i] = message_of("빨강\0\n\"", sizeof "빨강\0\n\"" - 1);
    }
    messages[1].value.data = NULL;
    messages[2].refused = true;
    messages[3].headers = rd_kafka_headers_new(1);
    rd_kafka_header_add(messages[3].headers, "k", -1, "v", 1);
    messages[4].timestamp_ms = 1700000000123;

    assert_int_equal(kp_send_new(&send, b.producer, TOPIC, COUNT, &err), KP_OK);
    assert_int_equal(kp_producer_enqueue(b.producer, send, messages, COUNT, &taken, &err), KP_OK);
    assert_int_equal(taken, COUNT);
    assert_int_equal(kp_producer_outstanding(b.producer), COUNT - 1);
    assert_ptr_equal(await_done(b.producer), send);
    assert_null(kp_send_next(send));
    assert_int_equal(kp_producer_outstanding(b.producer), 0);
    assert_int_equal(kp_send_failed(send), 1);
    assert_int_equal(kp_send_error(send, 2, &err), KP_REJECT);
    assert_int_equal(kp_send_error(send, 0, &err), KP_OK);
    assert_int_equal(kp_send_delivery(send, 4)->timestamp_ms, 1234); /* what the mock brokers always answer */
    assert_true(kp_send_delivery(send, 0)->offset >= 0);

    kp_send_release(send); /* the list's */
    kp_send_release(send); /* ours */
    bench_close(&b);
}

static void test_too_large_fails_alone_and_its_headers_are_freed(void **state) {
    (void)state;
    bench b = bench_open("message.max.bytes", "1000");
    char large[2000] = {0};
    kp_message messages[3] = {message_of("a", 1), message_of(large, sizeof large), message_of("c", 1)};
    kp_send *send;
    size_t taken;
    kp_error err;

    messages[1].headers = rd_kafka_headers_new(1);
    assert_int_equal(kp_send_new(&send, b.producer, TOPIC, 3, &err), KP_OK);
    assert_int_equal(kp_producer_enqueue(b.producer, send, messages, 3, &taken, &err), KP_OK);
    assert_int_equal(taken, 3);
    kp_send_release(await_done(b.producer));
    assert_int_equal(kp_send_failed(send), 1);
    assert_int_equal(kp_send_error(send, 1, &err), KP_REJECT);
    assert_string_equal(err.code, "MSG_SIZE_TOO_LARGE");
    kp_send_release(send);
    bench_close(&b);
}

/* The set is refused as a whole: the broker says so of the one that has three in it, and of the one that is too large
 * for itself. */
static void test_set_that_is_too_large_is_sent_message_by_message(void **state) {
    (void)state;
    static const rd_kafka_resp_err_t errors[] = {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                                                 RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE};
    bench b = bench_open("linger.ms", "50");
    kp_message messages[3];
    kp_send *send;
    size_t taken;
    kp_error err;

    assert_int_equal(kp_mock_create_topic(b.mock, TOPIC.data, 1, 1, &err), KP_OK);
    for (size_t i = 0; i < 3; i++) {
        messages[i] = message_of("빨강", 6);
        messages[i].headers = rd_kafka_headers_new(1);
        rd_kafka_header_add(messages[i].headers, "순서", -1, "1", 1);
    }
    kp_mock_push_errors(b.mock, 0, errors, 2);
    assert_int_equal(kp_send_new(&send, b.producer, TOPIC, 3, &err), KP_OK);
    assert_int_equal(kp_producer_enqueue(b.producer, send, messages, 3, &taken, &err), KP_OK);
    kp_send_release(await_done(b.producer));
    assert_int_equal(kp_send_failed(send), 1);
    assert_int_equal(kp_send_error(send, 0, &err), KP_REJECT);
    assert_int_equal(kp_send_delivery(send, 1)->offset, 0);
    assert_int_equal(kp_send_delivery(send, 2)->offset, 1);
    assert_int_equal(kp_producer_outstanding(b.producer), 0);
    assert_int_equal(kp_producer_flush(b.producer, 5000, &err), KP_OK);
    assert_int_equal(kp_producer_purge(b.producer, false, &err), KP_OK);
    kp_send_release(send);
    bench_close(&b);
}

static void test_full_queue_stops_and_goes_on(void **state) {
    (void)state;
    enum { COUNT = 25 };
    bench b = bench_open("queue.buffering.max.messages", "10");
    kp_message messages[COUNT];
    kp_send *send;
    kp_send *done = NULL;
    size_t at = 0;
    size_t stops = 0;
    bool ever;
    kp_error err;
    struct pollfd fd = {.fd = kp_producer_fd(b.producer), .events = POLLIN};

    for (size_t i = 0; i < COUNT; i++) {
        messages[i] = message_of("x", 1);
    }
    assert_false(kp_producer_has_room(b.producer, 11, 11, &ever));
    assert_false(ever);
    assert_true(kp_producer_has_room(b.producer, 10, 10, &ever));
    assert_int_equal(kp_send_new(&send, b.producer, TOPIC, COUNT, &err), KP_OK);
    while (!done) {
        size_t taken;
        assert_int_equal(kp_producer_enqueue(b.producer, send, messages + at, COUNT - at, &taken, &err), KP_OK);
        assert_true(kp_producer_outstanding(b.producer) <= 10);
        at += taken;
        stops += at < COUNT;
        assert_int_equal(poll(&fd, 1, 20000), 1);
        assert_int_equal(kp_producer_drain(b.producer, 100, &done, &err), KP_OK);
    }
    assert_true(stops >= 2);
    assert_int_equal(at, COUNT);
    assert_int_equal(kp_send_failed(send), 0);
    kp_send_release(done);
    kp_send_release(send);
    bench_close(&b);
}

static void test_larger_than_the_queue_is_refused_not_waited_for(void **state) {
    (void)state;
    bench b = bench_open("queue.buffering.max.kbytes", "1");
    char large[1500] = {0};
    kp_message message = message_of(large, sizeof large);
    kp_send *send;
    size_t taken;
    kp_error err;

    assert_int_equal(kp_send_new(&send, b.producer, TOPIC, 1, &err), KP_OK);
    assert_int_equal(kp_producer_enqueue(b.producer, send, &message, 1, &taken, &err), KP_OK);
    assert_int_equal(taken, 1);
    kp_send_release(await_done(b.producer)); /* woken although nothing was sent */
    assert_int_equal(kp_send_error(send, 0, &err), KP_REJECT);
    kp_send_release(send);
    bench_close(&b);
}

static void test_abandoned_rest_fails_and_the_sent_part_keeps_its_results(void **state) {
    (void)state;
    bench b = bench_open("queue.buffering.max.messages", "2");
    kp_message messages[3] = {message_of("a", 1), message_of("b", 1), message_of("c", 1)};
    kp_send *send;
    size_t taken;
    kp_error err;

    assert_int_equal(kp_send_new(&send, b.producer, TOPIC, 3, &err), KP_OK);
    assert_int_equal(kp_producer_enqueue(b.producer, send, messages, 3, &taken, &err), KP_OK);
    assert_int_equal(taken, 2);
    kp_producer_abandon(b.producer, send, RD_KAFKA_RESP_ERR__QUEUE_FULL);
    kp_send_release(await_done(b.producer));
    assert_int_equal(kp_send_failed(send), 1);
    assert_int_equal(kp_send_error(send, 1, &err), KP_OK);
    assert_int_equal(kp_send_error(send, 2, &err), KP_RETRY);
    kp_send_release(send);
    bench_close(&b);
}

static void test_unreachable_broker_is_a_timeout_that_names_it(void **state) {
    (void)state;
    kp_producer *producer = producer_of("127.0.0.1:1", "delivery.timeout.ms", "300");
    kp_message message = message_of("a", 1);
    kp_send *send;
    size_t taken;
    kp_error err;

    assert_int_equal(kp_send_new(&send, producer, TOPIC, 1, &err), KP_OK);
    assert_int_equal(kp_producer_enqueue(producer, send, &message, 1, &taken, &err), KP_OK);
    kp_send_release(await_done(producer));
    assert_int_equal(kp_send_error(send, 0, &err), KP_TIMEOUT);
    assert_string_equal(err.code, "_MSG_TIMED_OUT");
    assert_non_null(strstr(err.message, "127.0.0.1:1"));
    kp_send_release(send);
    kp_producer_free(producer, NULL);
}

static void test_free_with_messages_outstanding_settles_them(void **state) {
    (void)state;
    kp_producer *producer = producer_of("127.0.0.1:1", NULL, NULL);
    kp_message messages[2] = {message_of("a", 1), message_of("b", 1)};
    kp_send *send;
    kp_send *unfinished;
    size_t taken;
    kp_error err;

    assert_int_equal(kp_send_new(&send, producer, TOPIC, 3, &err), KP_OK); /* the third is never handed in */
    assert_int_equal(kp_producer_enqueue(producer, send, messages, 2, &taken, &err), KP_OK);
    kp_producer_free(producer, &unfinished);
    assert_ptr_equal(unfinished, send);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(kp_send_error(send, i, &err), KP_CLOSED);
    }
    kp_send_release(unfinished);
    kp_send_release(send);
}

static void test_purge_gives_every_message_a_result(void **state) {
    (void)state;
    kp_producer *producer = producer_of("127.0.0.1:1", NULL, NULL);
    kp_message message = message_of("a", 1);
    kp_send *send;
    size_t taken;
    kp_error err;

    assert_int_equal(kp_send_new(&send, producer, TOPIC, 1, &err), KP_OK);
    assert_int_equal(kp_producer_enqueue(producer, send, &message, 1, &taken, &err), KP_OK);
    assert_int_equal(kp_producer_flush(producer, 10, &err), KP_TIMEOUT);
    assert_int_equal(kp_producer_purge(producer, false, &err), KP_OK);
    kp_send_release(await_done(producer));
    assert_int_equal(kp_send_error(send, 0, &err), KP_RETRY);
    assert_string_equal(err.code, "_PURGE_QUEUE");
    kp_send_release(send);
    kp_producer_free(producer, NULL);
}

static kp_send *send_one(kp_producer *producer, const char *value, size_t length) {
    kp_message message = message_of(value, length);
    kp_send *send;
    size_t taken;
    kp_error err;
    assert_int_equal(kp_send_new(&send, producer, TOPIC, 1, &err), KP_OK);
    assert_int_equal(kp_producer_enqueue(producer, send, &message, 1, &taken, &err), KP_OK);
    kp_send_release(await_done(producer));
    return send;
}

static void test_transaction_commits_aborts_and_knows_of_failed_messages(void **state) {
    (void)state;
    enum { WAIT_MS = 20000, TOO_LARGE = 2000000 };
    bench b = bench_open("transactional.id", "색");
    char *large = kp_calloc(1, TOO_LARGE);
    bool must_abort;
    kp_error err;

    kp_send *outside = send_one(b.producer, "a", 1);
    assert_int_equal(kp_send_error(outside, 0, &err), KP_REJECT);
    assert_string_equal(err.code, "_STATE");
    kp_send_release(outside);

    assert_int_equal(kp_producer_begin(b.producer, WAIT_MS, &err), KP_OK);
    kp_send *inside = send_one(b.producer, "a", 1);
    assert_int_equal(kp_send_failed(inside), 0);
    kp_send_release(inside);
    assert_int_equal(kp_producer_commit(b.producer, WAIT_MS, &must_abort, &err), KP_OK);

    assert_int_equal(kp_producer_begin(b.producer, WAIT_MS, &err), KP_OK);
    kp_send_release(send_one(b.producer, large, TOO_LARGE));
    assert_int_equal(kp_producer_commit(b.producer, WAIT_MS, &must_abort, &err), KP_REJECT);
    assert_true(must_abort);
    assert_string_equal(err.code, "MSG_SIZE_TOO_LARGE");
    assert_int_equal(kp_producer_abort(b.producer, WAIT_MS, &err), KP_OK);

    assert_int_equal(kp_producer_begin(b.producer, WAIT_MS, &err), KP_OK);
    assert_int_equal(kp_producer_commit(b.producer, WAIT_MS, &must_abort, &err), KP_OK);
    kp_free(large);
    bench_close(&b);
}

static void test_warm_tells_of_a_topic_or_of_an_unreachable_broker(void **state) {
    (void)state;
    bench b = bench_open(NULL, NULL);
    kp_producer *lost = producer_of("127.0.0.1:1", NULL, NULL);
    int partitions = 0;
    kp_error err;

    assert_int_equal(kp_mock_create_topic(b.mock, "t", 3, 1, &err), KP_OK);
    assert_int_equal(kp_producer_warm(b.producer, KP_BYTES_LITERAL("t"), 20000, &partitions, &err), KP_OK);
    assert_int_equal(partitions, 3);
    assert_int_equal(kp_producer_warm(b.producer, KP_BYTES_LITERAL("a\0b"), 20000, &partitions, &err), KP_REJECT);
    assert_int_equal(kp_producer_warm(lost, KP_BYTES_LITERAL("t"), 300, &partitions, &err), KP_RETRY);
    assert_non_null(strstr(err.message, "127.0.0.1:1"));
    kp_producer_free(lost, NULL);
    bench_close(&b);
}

static void test_many_topics_have_their_own_handles(void **state) {
    (void)state;
    enum { TOPICS = 100 };
    bench b = bench_open(NULL, NULL);
    kp_error err;
    char name[32];

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < TOPICS; i++) {
            kp_message message = message_of("x", 1);
            kp_send *send;
            size_t taken;
            snprintf(name, sizeof name, "topic-%d", i);
            assert_int_equal(kp_send_new(&send, b.producer, kp_bytes_of(name), 1, &err), KP_OK);
            assert_int_equal(kp_producer_enqueue(b.producer, send, &message, 1, &taken, &err), KP_OK);
            kp_send_release(send);
        }
    }
    size_t done = 0;
    while (done < 2 * TOPICS) {
        for (kp_send *send = await_done(b.producer), *next; send; send = next) {
            next = kp_send_next(send);
            assert_int_equal(kp_send_failed(send), 0);
            kp_send_release(send);
            done++;
        }
    }
    bench_close(&b);
}

/* One event a turn, although many wait: the descriptor must stay readable. */
static void test_what_a_turn_leaves_over_is_told_again(void **state) {
    (void)state;
    enum { SENDS = 200 };
    bench b = bench_open(NULL, NULL);
    kp_message message = message_of("x", 1);
    struct pollfd fd = {.fd = kp_producer_fd(b.producer), .events = POLLIN};
    kp_error err;
    size_t taken;
    size_t done = 0;

    while (done < SENDS) {
        kp_send *send;
        kp_send *next;
        if (kp_producer_outstanding(b.producer) <
            20) { /* they go out in small requests, and come back in many events */
            message.partition = (int32_t)(done % 4);
            assert_int_equal(kp_send_new(&send, b.producer, TOPIC, 1, &err), KP_OK);
            assert_int_equal(kp_producer_enqueue(b.producer, send, &message, 1, &taken, &err), KP_OK);
            kp_send_release(send);
            continue;
        }
        assert_int_equal(poll(&fd, 1, 20000), 1);
        assert_int_equal(kp_producer_drain(b.producer, 1, &send, &err), KP_OK);
        for (; send; send = next) {
            next = kp_send_next(send);
            kp_send_release(send);
            done++;
        }
    }
    bench_close(&b);
}

static void test_child_refuses_and_does_not_destroy(void **state) {
    (void)state;
    bench b = bench_open(NULL, NULL);
    pid_t child = fork();
    if (child == 0) {
        kp_send *send;
        kp_error err;
        bool refused = kp_send_new(&send, b.producer, TOPIC, 1, &err) == KP_FATAL;
        kp_producer_free(b.producer, NULL);
        _exit(refused && strcmp(err.code, "FORKED") == 0 ? 0 : 1);
    }
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    bench_close(&b);
}

static void test_failed_allocations_leave_nothing_behind(void **state) {
    (void)state;
    for (int64_t n = 1; n <= 7; n++) {
        kp_kafka_property property = {"bootstrap.servers", "127.0.0.1:1"};
        rd_kafka_conf_t *conf;
        kp_producer *producer;
        kp_send *send = NULL;
        kp_error err;
        assert_int_equal(kp_kafka_conf_new(&conf, &property, 1, &err), KP_OK);
        kp_mem_fail_at(n);
        kp_status st = kp_producer_new(&producer, conf, false, &err);
        if (st == KP_OK) {
            st = kp_send_new(&send, producer, TOPIC, 3, &err);
        }
        kp_mem_fail_at(0);
        assert_int_equal(st, n <= 5 ? KP_NOMEM : KP_OK);
        kp_send_release(send);
        kp_producer_free(producer, NULL);
        assert_int_equal(kp_mem_live(), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_every_message_has_a_result),
        KP_TEST(test_too_large_fails_alone_and_its_headers_are_freed),
        KP_TEST(test_set_that_is_too_large_is_sent_message_by_message),
        KP_TEST(test_full_queue_stops_and_goes_on),
        KP_TEST(test_larger_than_the_queue_is_refused_not_waited_for),
        KP_TEST(test_abandoned_rest_fails_and_the_sent_part_keeps_its_results),
        KP_TEST(test_unreachable_broker_is_a_timeout_that_names_it),
        KP_TEST(test_free_with_messages_outstanding_settles_them),
        KP_TEST(test_purge_gives_every_message_a_result),
        KP_TEST(test_transaction_commits_aborts_and_knows_of_failed_messages),
        KP_TEST(test_warm_tells_of_a_topic_or_of_an_unreachable_broker),
        KP_TEST(test_many_topics_have_their_own_handles),
        KP_TEST(test_what_a_turn_leaves_over_is_told_again),
        KP_TEST(test_child_refuses_and_does_not_destroy),
        KP_TEST(test_failed_allocations_leave_nothing_behind),
    };
    return kp_test_run(tests);
}
