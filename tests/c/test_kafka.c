/* librdkafka's configuration, errors and wake-ups. */
#include "kp_test.h"

#include "io/kafka.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_wrong_property_is_named(void **state) {
    (void)state;
    kp_kafka_property wrong_name = {"bootstrap.server", "x"};
    kp_kafka_property wrong_value = {"acks", "한번"};
    rd_kafka_conf_t *conf;
    kp_error err;

    assert_int_equal(kp_kafka_conf_new(&conf, &wrong_name, 1, &err), KP_REJECT);
    assert_string_equal(err.code, "bootstrap.server");
    assert_non_null(strstr(err.message, "bootstrap.server"));
    assert_null(conf);
    assert_int_equal(kp_kafka_conf_new(&conf, &wrong_value, 1, &err), KP_REJECT);
    assert_string_equal(err.code, "acks");
}

static void test_numbers_are_read_back(void **state) {
    (void)state;
    kp_kafka_property property = {"queue.buffering.max.messages", "123"};
    rd_kafka_conf_t *conf;
    kp_error err;

    assert_int_equal(kp_kafka_conf_new(&conf, &property, 1, &err), KP_OK);
    assert_int_equal(kp_kafka_conf_int(conf, "queue.buffering.max.messages", -1), 123);
    assert_int_equal(kp_kafka_conf_int(conf, "compression.codec", -1), -1);
    assert_int_equal(kp_kafka_conf_int(conf, "no.such", -7), -7);
    rd_kafka_conf_destroy(conf);
}

static void test_settings_that_contradict_are_refused(void **state) {
    (void)state;
    kp_kafka_property properties[] = {{"enable.idempotence", "true"}, {"acks", "1"}};
    rd_kafka_conf_t *conf;
    rd_kafka_t *client;
    kp_error err;

    assert_int_equal(kp_kafka_conf_new(&conf, properties, 2, &err), KP_OK);
    assert_int_equal(kp_kafka_client_new(&client, RD_KAFKA_PRODUCER, conf, &err), KP_REJECT);
    assert_non_null(strstr(err.message, "acks"));
}

static void test_properties_are_listed(void **state) {
    (void)state;
    kp_buf names = {0};
    assert_int_equal(kp_kafka_properties(&names, NULL), KP_OK);
    const char *text = kp_buf_text(&names);
    assert_non_null(strstr(text, "\nbootstrap.servers\n"));
    assert_non_null(strstr(text, "\nsasl.password\n"));
    assert_non_null(strstr(text, "\ndelivery.timeout.ms\n"));
    assert_null(strstr(text, "Property"));
    assert_null(strstr(text, " "));
    kp_buf_deinit(&names);
}

static void test_every_error_has_a_disposition(void **state) {
    (void)state;
    static const struct {
        rd_kafka_resp_err_t code;
        kp_status status;
    } cases[] = {
        {RD_KAFKA_RESP_ERR_NO_ERROR, KP_OK},
        {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, KP_TIMEOUT},
        {RD_KAFKA_RESP_ERR__TRANSPORT, KP_RETRY},
        {RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, KP_RETRY},
        {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, KP_REJECT},
        {RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS, KP_REJECT},
        {RD_KAFKA_RESP_ERR__FENCED, KP_FATAL},
        {RD_KAFKA_RESP_ERR__PURGE_INFLIGHT, KP_CLOSED},
        {RD_KAFKA_RESP_ERR__INVALID_ARG, KP_REJECT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(kp_kafka_status(cases[i].code), cases[i].status);
    }
}

static void test_error_says_what_where_and_what_to_do(void **state) {
    (void)state;
    kp_error err;
    kp_status st = kp_kafka_error_set(&err, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, NULL, "produce to %s", "색");
    assert_int_equal(st, KP_REJECT);
    assert_int_equal(err.status, KP_REJECT);
    assert_string_equal(err.code, "MSG_SIZE_TOO_LARGE");
    assert_non_null(strstr(err.message, "produce to 색: Broker: Message size too large: make it smaller"));

    rd_kafka_conf_t *conf;
    rd_kafka_t *client;
    assert_int_equal(kp_kafka_conf_new(&conf, NULL, 0, &err), KP_OK);
    assert_int_equal(kp_kafka_client_new(&client, RD_KAFKA_PRODUCER, conf, &err), KP_OK);
    rd_kafka_error_t *error = rd_kafka_init_transactions(client, 1);
    st = kp_kafka_error_take(&err, error, "begin");
    assert_int_equal(st, KP_REJECT);
    assert_string_equal(err.code, "_NOT_CONFIGURED");
    assert_int_equal(kp_kafka_error_take(&err, NULL, "begin"), KP_OK);
    rd_kafka_destroy(client);
}

static bool readable(const kp_kafka_signal *signal, int timeout_ms) {
    struct pollfd fd = {.fd = signal->read_fd, .events = POLLIN};
    return poll(&fd, 1, timeout_ms) == 1;
}

static void test_signal_tells_of_each_new_event_once_it_was_served(void **state) {
    (void)state;
    kp_kafka_property property = {"bootstrap.servers", "127.0.0.1:1"};
    kp_kafka_signal signal;
    kp_kafka_log log;
    rd_kafka_conf_t *conf;
    rd_kafka_t *client;
    kp_error err;
    char last[KP_KAFKA_LOG_TEXT_MAX];

    kp_kafka_log_init(&log);
    assert_int_equal(kp_kafka_signal_init(&signal, &err), KP_OK);
    assert_false(readable(&signal, 0));
    kp_kafka_signal_raise(&signal);
    assert_true(readable(&signal, 0));
    kp_kafka_signal_clear(&signal);
    assert_false(readable(&signal, 0));

    assert_int_equal(kp_kafka_conf_new(&conf, &property, 1, &err), KP_OK);
    kp_kafka_log_attach(&log, conf);
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR);
    assert_int_equal(kp_kafka_client_new(&client, RD_KAFKA_PRODUCER, conf, &err), KP_OK);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_main(client);
    kp_kafka_signal_attach(&signal, queue);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(client, "t", NULL); /* makes it connect, in vain */
    for (int seen = 0; seen < 2;) {
        assert_true(readable(&signal, 10000));
        kp_kafka_signal_clear(&signal);
        for (rd_kafka_event_t *event; (event = rd_kafka_queue_poll(queue, 0)); seen++) {
            assert_int_equal(rd_kafka_event_type(event), RD_KAFKA_EVENT_ERROR);
            rd_kafka_event_destroy(event);
        }
    }
    kp_kafka_log_last(&log, last);
    assert_non_null(strstr(last, "127.0.0.1:1"));
    assert_null(strstr(last, "[thrd:"));
    assert_null(strstr(last, "(after"));

    rd_kafka_topic_destroy(topic);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(client);
    kp_kafka_signal_deinit(&signal);
    kp_kafka_log_deinit(&log);
}

static void test_child_process_is_another_process(void **state) {
    (void)state;
    unsigned before = kp_kafka_process();
    pid_t child = fork();
    if (child == 0) {
        _exit(kp_kafka_process() == before ? 1 : 0);
    }
    int result;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    assert_int_equal(kp_kafka_process(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_wrong_property_is_named),
        KP_TEST(test_numbers_are_read_back),
        KP_TEST(test_settings_that_contradict_are_refused),
        KP_TEST(test_properties_are_listed),
        KP_TEST(test_every_error_has_a_disposition),
        KP_TEST(test_error_says_what_where_and_what_to_do),
        KP_TEST(test_signal_tells_of_each_new_event_once_it_was_served),
        KP_TEST(test_child_process_is_another_process),
    };
    return kp_test_run(tests);
}
