/* The bounded reader against the library's mock brokers, without Python. */
#include "kp_test.h"

#include "flow/mock.h"
#include "flow/reader.h"

#include <stdio.h>
#include <time.h>

enum { PARTITIONS = 3, RECORDS = 50, WAIT_MS = 20000 };

static const kp_read_column COLUMNS[] = {
    {.source = KP_READ_TOPIC},   {.source = KP_READ_PARTITION},
    {.source = KP_READ_OFFSET},  {.source = KP_READ_VALUE},
    {.source = KP_READ_HEADERS}, {.source = KP_READ_JSON, .kind = KP_COLUMN_INT64, .name = "n"},
};

static kp_mock *mock;
static int64_t of_mock; /* blocks that are alive with nothing but the mock cluster */

/* {"n":2^53+1+i,"이름":"..."} to each partition, with a header. */
static int fill(void **state) {
    (void)state;
    kp_error err;
    rd_kafka_t *producer;
    rd_kafka_conf_t *conf;
    assert_int_equal(kp_mock_new(&mock, 1, &err), KP_OK);
    assert_int_equal(kp_mock_create_topic(mock, "t", PARTITIONS, 1, &err), KP_OK);
    kp_kafka_property server = {"bootstrap.servers", kp_mock_bootstrap(mock)};
    assert_int_equal(kp_kafka_conf_new(&conf, &server, 1, &err), KP_OK);
    assert_int_equal(kp_kafka_client_new(&producer, RD_KAFKA_PRODUCER, conf, &err), KP_OK);
    for (int i = 0; i < PARTITIONS * RECORDS; i++) {
        char value[128];
        int length =
            snprintf(value, sizeof value, "{\"n\":%lld,\"이름\":\"홍 \\\"길\\\" 동\\n\"}", 9007199254740993LL + i);
        assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC("t"), RD_KAFKA_V_PARTITION(i % PARTITIONS),
                                           RD_KAFKA_V_VALUE(value, (size_t)length), RD_KAFKA_V_HEADER("h", "v", 1),
                                           RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                         0);
    }
    assert_int_equal(rd_kafka_flush(producer, WAIT_MS), 0);
    rd_kafka_destroy(producer);
    of_mock = kp_mem_live();
    return 0;
}

static int leave(void **state) {
    (void)state;
    kp_mock_free(mock);
    return 0;
}

static kp_status open_reader(kp_reader **reader, const char *servers, int64_t limit, int timeout_ms, kp_error *err) {
    kp_kafka_property properties[] = {{"bootstrap.servers", servers},
                                      {"enable.partition.eof", "true"},
                                      {"auto.offset.reset", "error"},
                                      {"fetch.wait.max.ms", "10"}};
    kp_read_config config = {.topic = "t",
                             .start = {KP_BOUND_EARLIEST, 0},
                             .end = {KP_BOUND_LATEST, 0},
                             .limit = limit,
                             .columns = COLUMNS,
                             .column_count = sizeof COLUMNS / sizeof *COLUMNS,
                             .timeout_ms = timeout_ms};
    rd_kafka_conf_t *conf;
    kp_status st;
    *reader = NULL;
    KP_TRY(kp_kafka_conf_new(&conf, properties, sizeof properties / sizeof *properties, err));
    st = kp_reader_new(reader, &config, conf, err);
done:
    return st;
}

static kp_status finish(kp_reader *reader, kp_error *err) {
    kp_status st = KP_OK;
    assert_true(kp_reader_wait(reader, WAIT_MS, &st, err));
    return st;
}

static kp_status read_all(kp_reader *reader, kp_error *err) {
    kp_status st;
    KP_TRY(kp_reader_ask(reader, err));
    KP_TRY(finish(reader, err));
    KP_TRY(kp_reader_read(reader, err));
    st = finish(reader, err);
done:
    return st;
}

static void check_table(const kp_table *table, int64_t rows) {
    int64_t seen = 0;
    assert_int_equal(table->length, rows);
    for (size_t i = 0; i < table->batch_count; i++) {
        const kp_column *columns = table->batches[i]->columns;
        for (int64_t row = 0; row < table->batches[i]->length; row++, seen++) {
            int64_t partition = seen / RECORDS;
            int64_t offset = seen % RECORDS;
            assert_int_equal(kp_column_int(&columns[1], row), partition);
            assert_int_equal(kp_column_int(&columns[2], row), offset);
            assert_int_equal(kp_column_int(&columns[5], row), 9007199254740993 + offset * PARTITIONS + partition);
            assert_int_equal(kp_column_list_end(&columns[4], row), row + 1);
        }
    }
    assert_int_equal(seen, rows);
}

static void test_rows_come_by_partition_then_offset(void **state) {
    (void)state;
    static const int64_t limits[] = {-1, 0, 1, RECORDS, RECORDS + 1, 1000};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        int64_t all = (int64_t)PARTITIONS * RECORDS;
        kp_reader *reader;
        kp_error err;
        assert_int_equal(open_reader(&reader, kp_mock_bootstrap(mock), limits[i], WAIT_MS, &err), KP_OK);
        assert_int_equal(read_all(reader, &err), KP_OK);
        check_table(kp_reader_table(reader), limits[i] < 0 || limits[i] > all ? all : limits[i]);
        kp_reader_free(reader);
    }
}

static void test_ranges_are_known_before_reading(void **state) {
    (void)state;
    kp_reader *reader;
    kp_error err;
    kp_read_range ranges[PARTITIONS];
    assert_int_equal(open_reader(&reader, kp_mock_bootstrap(mock), -1, WAIT_MS, &err), KP_OK);
    assert_int_equal(kp_reader_ask(reader, &err), KP_OK);
    assert_int_equal(finish(reader, &err), KP_OK);
    assert_int_equal(kp_reader_ranges(reader, ranges, PARTITIONS), PARTITIONS);
    for (int i = 0; i < PARTITIONS; i++) {
        assert_int_equal(ranges[i].partition, i);
        assert_int_equal(ranges[i].start, 0);
        assert_int_equal(ranges[i].end, RECORDS);
    }
    assert_int_equal(kp_reader_table(reader)->length, 0);
    kp_reader_free(reader);
}

static void test_a_broker_that_is_not_there_is_named_in_time(void **state) {
    (void)state;
    kp_reader *reader;
    kp_error err;
    assert_int_equal(open_reader(&reader, "127.0.0.1:1", -1, 300, &err), KP_OK);
    assert_int_equal(kp_reader_ask(reader, &err), KP_OK);
    assert_int_equal(finish(reader, &err), KP_TIMEOUT);
    assert_non_null(strstr(err.message, "read t: its partitions: nothing came from 127.0.0.1:1 within 0.3 s"));
    kp_reader_free(reader);
}

static int check_memory(void **state) {
    (void)state;
    assert_int_equal(kp_mem_live(), of_mock);
    return 0;
}

static void test_who_gives_up_waits_for_nobody(void **state) {
    (void)state;
    kp_reader *reader;
    kp_error err;
    kp_status st;
    assert_int_equal(open_reader(&reader, "127.0.0.1:1", -1, WAIT_MS, &err), KP_OK);
    assert_int_equal(kp_reader_ask(reader, &err), KP_OK);
    assert_false(kp_reader_wait(reader, 10, &st, &err));
    kp_reader_free(reader);
    for (int64_t start = time(NULL); kp_mem_live() > of_mock && time(NULL) - start < WAIT_MS / 1000;) {
        static const struct timespec pause = {.tv_nsec = 10000000};
        nanosleep(&pause, NULL);
    }
}

static void test_every_allocation_may_fail(void **state) {
    (void)state;
    enum { TRIES = 400 }; /* more than there are allocations */
    int failed = 0;
    kp_status st = KP_NOMEM;
    for (int64_t n = 1; n <= TRIES; n++) {
        kp_reader *reader;
        kp_error err;
        kp_mem_fail_at(n);
        st = open_reader(&reader, kp_mock_bootstrap(mock), -1, WAIT_MS, &err);
        st = st == KP_OK ? read_all(reader, &err) : st;
        kp_mem_fail_at(0);
        assert_true(st == KP_OK || st == KP_NOMEM);
        if (st == KP_OK) {
            check_table(kp_reader_table(reader), (int64_t)PARTITIONS * RECORDS);
        }
        kp_reader_free(reader);
        failed += st == KP_NOMEM;
    }
    assert_int_equal(st, KP_OK);
    assert_in_range(failed, 40, TRIES - 1);
}

#define TEST(test) cmocka_unit_test_teardown(test, check_memory)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_rows_come_by_partition_then_offset),
        TEST(test_ranges_are_known_before_reading),
        TEST(test_a_broker_that_is_not_there_is_named_in_time),
        TEST(test_who_gives_up_waits_for_nobody),
        TEST(test_every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, fill, leave);
}
