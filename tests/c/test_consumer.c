/* The consumer against the library's mock brokers, without Python. */
#include "kp_test.h"

#include "core/mem.h"
#include "flow/consumer.h"
#include "flow/mock.h"
#include "flow/producer.h"

#include <poll.h>
#include <unistd.h>

static const kp_bytes TOPIC = {"t", 1};

static rd_kafka_conf_t *conf_of(kp_mock *mock, const char *name, const char *value) {
    kp_kafka_property properties[] = {
        {"bootstrap.servers", kp_mock_bootstrap(mock)}, {"auto.offset.reset", "earliest"}, {name, value}};
    rd_kafka_conf_t *conf;
    kp_error err;
    assert_int_equal(kp_kafka_conf_new(&conf, properties, 3, &err), KP_OK);
    return conf;
}

static void produce(kp_mock *mock, size_t count) {
    kp_producer *producer;
    kp_send *send;
    size_t taken;
    kp_error err;
    kp_message message = {.value = KP_BYTES_LITERAL("빨강"), .partition = 0};
    assert_int_equal(kp_producer_new(&producer, conf_of(mock, "acks", "all"), false, &err), KP_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(kp_send_new(&send, producer, TOPIC, 1, &err), KP_OK);
        assert_int_equal(kp_producer_enqueue(producer, send, &message, 1, &taken, &err), KP_OK);
        kp_send_release(send);
    }
    kp_status st = KP_TIMEOUT;
    for (int tries = 0; tries < 200 && st == KP_TIMEOUT; tries++) {
        kp_send *done;
        st = kp_producer_flush(producer, 100, &err);
        assert_int_equal(kp_producer_drain(producer, 64, &done, &err), KP_OK);
        for (kp_send *next; done; done = next) {
            next = kp_send_next(done);
            kp_send_release(done);
        }
    }
    kp_producer_free(producer, NULL);
}

static kp_mock *mock_of(size_t count) {
    kp_mock *mock;
    kp_error err;
    assert_int_equal(kp_mock_new(&mock, 1, &err), KP_OK);
    assert_int_equal(kp_mock_create_topic(mock, "t", 1, 1, &err), KP_OK);
    produce(mock, count);
    return mock;
}

static rd_kafka_topic_partition_list_t *place(int64_t offset) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, "t", 0)->offset = offset;
    return list;
}

static void await_ready(kp_consumer *consumer) {
    struct pollfd fd = {.fd = kp_consumer_fd(consumer), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 20000), 1);
    kp_consumer_clear(consumer);
}

static kp_messages *await_messages(kp_consumer *consumer, size_t max) {
    kp_messages *messages = NULL;
    kp_error err;
    while (true) {
        assert_int_equal(kp_consumer_read(consumer, max, &messages, &err), KP_OK);
        if (messages) {
            return messages;
        }
        await_ready(consumer);
    }
}

static kp_consumer *assigned(kp_mock *mock, int64_t offset) {
    kp_consumer *consumer;
    kp_error err;
    rd_kafka_topic_partition_list_t *list = place(offset);
    assert_int_equal(kp_consumer_new(&consumer, conf_of(mock, "group.id", "g"), &err), KP_OK);
    assert_int_equal(kp_consumer_assign(consumer, list, &err), KP_OK);
    rd_kafka_topic_partition_list_destroy(list);
    return consumer;
}

static void test_ends_are_of_what_was_read_and_still_ours(void **state) {
    (void)state;
    kp_mock *mock = mock_of(10);
    kp_consumer *consumer = assigned(mock, 4);
    kp_messages *messages = await_messages(consumer, 3);
    rd_kafka_topic_partition_list_t *ends;
    rd_kafka_topic_partition_list_t *gone;
    kp_error err;

    assert_int_equal(messages->messages[0]->offset, 4);
    assert_int_equal(kp_messages_ends(messages, 0, messages->count, &ends, &gone, &err), KP_OK);
    assert_int_equal(ends->cnt, 1);
    assert_int_equal(ends->elems[0].offset, 4 + (int64_t)messages->count);
    assert_int_equal(gone->cnt, 0);
    rd_kafka_topic_partition_list_destroy(ends);
    rd_kafka_topic_partition_list_destroy(gone);

    rd_kafka_topic_partition_list_t *list = place(0); /* the same partition anew is another assignment */
    assert_int_equal(kp_consumer_assign(consumer, list, &err), KP_OK);
    rd_kafka_topic_partition_list_destroy(list);
    assert_int_equal(kp_messages_ends(messages, 0, messages->count, &ends, &gone, &err), KP_OK);
    assert_int_equal(ends->cnt, 0);
    assert_int_equal(gone->cnt, 1);
    rd_kafka_topic_partition_list_destroy(ends);
    rd_kafka_topic_partition_list_destroy(gone);

    kp_messages_free(messages);
    kp_consumer_free(consumer);
    kp_mock_free(mock);
}

static void test_rebalance_waits_for_its_answer(void **state) {
    (void)state;
    kp_mock *mock = mock_of(3);
    kp_consumer *consumer;
    kp_messages *messages;
    rd_kafka_topic_partition_list_t *list;
    kp_error err;
    assert_int_equal(kp_consumer_new(&consumer, conf_of(mock, "group.id", "g"), &err), KP_OK);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, "t", RD_KAFKA_PARTITION_UA);
    assert_int_equal(kp_consumer_subscribe(consumer, topics, &err), KP_OK);
    rd_kafka_topic_partition_list_destroy(topics);

    while (kp_consumer_rebalance(consumer, &list) == KP_REBALANCE_NONE) {
        await_ready(consumer);
        assert_int_equal(kp_consumer_read(consumer, 10, &messages, &err), KP_OK);
        assert_null(messages);
    }
    assert_int_equal(list->cnt, 1);
    rd_kafka_topic_partition_list_destroy(list);
    list = kp_consumer_assignment(consumer);
    assert_int_equal(list->cnt, 0);
    rd_kafka_topic_partition_list_destroy(list);

    rd_kafka_topic_partition_list_t *starts = place(2);
    assert_int_equal(kp_consumer_answer(consumer, starts, &err), KP_OK);
    rd_kafka_topic_partition_list_destroy(starts);
    assert_int_equal(kp_consumer_rebalance(consumer, &list), KP_REBALANCE_NONE);
    messages = await_messages(consumer, 10);
    assert_int_equal(messages->messages[0]->offset, 2);
    kp_messages_free(messages);

    kp_status st = KP_TIMEOUT;
    while (st == KP_TIMEOUT) {
        st = kp_consumer_leave(consumer, 200, &err);
    }
    assert_int_equal(st, KP_OK);
    kp_consumer_free(consumer);
    kp_mock_free(mock);
}

static void test_messages_outlive_the_consumer(void **state) {
    (void)state;
    kp_mock *mock = mock_of(3);
    int64_t before = kp_mem_live();
    kp_consumer *consumer = assigned(mock, 0);
    kp_messages *messages = await_messages(consumer, 10);
    kp_consumer_free(consumer);
    assert_memory_equal(messages->messages[0]->payload, "빨강", sizeof "빨강" - 1);
    kp_messages_free(messages); /* ends the client, in a thread of its own */
    for (int tries = 0; kp_mem_live() > before && tries < 2000; tries++) {
        poll(NULL, 0, 10);
    }
    assert_int_equal(kp_mem_live(), before);
    kp_mock_free(mock);
}

static void test_each_failing_allocation_is_a_clean_error(void **state) {
    (void)state;
    kp_mock *mock = mock_of(1);
    int64_t before = kp_mem_live();
    kp_status st = KP_NOMEM;
    for (int64_t n = 1; st != KP_OK; n++) {
        kp_consumer *consumer;
        kp_error err;
        rd_kafka_conf_t *conf = conf_of(mock, "group.id", "g");
        kp_mem_fail_at(n);
        st = kp_consumer_new(&consumer, conf, &err);
        kp_mem_fail_at(0);
        assert_true(st == KP_OK || st == KP_NOMEM);
        kp_consumer_free(consumer);
        assert_int_equal(kp_mem_live(), before);
    }
    kp_mock_free(mock);
}

static void test_assigning_again_and_again_aborts_nothing(void **state) {
    (void)state;
    kp_mock *mock = mock_of(3);
    for (int round = 0; round < 10; round++) {
        kp_consumer *consumer = assigned(mock, 0);
        kp_messages_free(await_messages(consumer, 10));
        for (int turn = 0; turn < 20; turn++) {
            kp_error err;
            rd_kafka_topic_partition_list_t *list = place(turn % 3);
            assert_int_equal(kp_consumer_assign(consumer, list, &err), KP_OK);
            rd_kafka_topic_partition_list_destroy(list);
        }
        kp_consumer_free(consumer);
    }
    kp_mock_free(mock);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_are_of_what_was_read_and_still_ours),
        cmocka_unit_test(test_rebalance_waits_for_its_answer),
        cmocka_unit_test(test_messages_outlive_the_consumer),
        cmocka_unit_test(test_assigning_again_and_again_aborts_nothing),
        cmocka_unit_test(test_each_failing_allocation_is_a_clean_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
