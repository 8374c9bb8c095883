/* The HTTP client against a scripted server: what goes out, what comes back, and every way in which it breaks off. */
#include "http_script.h"
#include "kp_spin.h"
#include "kp_test.h"

#include "io/http.h"
#include "io/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
    size_t done;
    kp_http_reply last;
    char body[256];
    char location[256];
    kp_http *again; /* send another request from within on_done */
    const char *again_url;
} outcome;

static void on_done(void *ctx, const kp_http_reply *reply) {
    outcome *seen = ctx;
    seen->done++;
    seen->last = *reply;
    snprintf(seen->body, sizeof seen->body, "%.*s", (int)reply->body.length, reply->body.data ? reply->body.data : "");
    snprintf(seen->location, sizeof seen->location, "%s", reply->location ? reply->location : "");
    if (seen->again) {
        kp_http_request request = {.method = "GET", .url = seen->again_url};
        kp_http *http = seen->again;
        seen->again = NULL;
        assert_int_equal(kp_http_send(http, &request, on_done, seen, NULL), KP_OK);
    }
}

static kp_http *client(const kp_http_options *options) {
    kp_http *http;
    kp_http_options defaults = {.timeout_ms = 10000};
    assert_int_equal(kp_http_new(&http, options ? options : &defaults, NULL), KP_OK);
    return http;
}

static outcome fetch(kp_http *http, const kp_http_request *request) {
    outcome seen = {0};
    assert_int_equal(kp_http_send(http, request, on_done, &seen, NULL), KP_OK);
    kp_spin(http, &seen.done, 1);
    assert_int_equal(seen.done, 1);
    assert_int_equal(kp_http_active(http), 0);
    return seen;
}

static outcome get(kp_http *http, const char *url) {
    return fetch(http, &(kp_http_request){.method = "GET", .url = url});
}

static void finish(http_script *script, kp_http *http) {
    kp_http_free(http);
    const char *problem = http_script_problem(script);
    if (problem) {
        fail_msg("%s", problem);
    }
    http_script_free(script);
}

static void test_answer_with_its_headers(void **state) {
    (void)state;
    const http_step steps[] = {
        {.expect = "GET /%EA%B8%B8?a=1 HTTP/1.1", .status = "200 OK", .body = "홍길동"},
        {.status = "307 Temporary", .head = "lOCATION: http://10.0.0.1:9864/x?y=z\r\n"},
        {.raw = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                "3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n"},
        {.status = "503 Busy", .head = "Retry-After: 7\r\n", .body = "later"},
    };
    http_script *script = http_script_new(steps, 4, HTTP_IN_ORDER);
    kp_http *http = client(NULL);
    outcome seen = get(http, http_script_url(script, "/%EA%B8%B8?a=1"));
    assert_int_equal(seen.last.transport, KP_OK);
    assert_true(seen.last.sent);
    assert_int_equal(seen.last.status, 200);
    assert_string_equal(seen.body, "홍길동");
    assert_int_equal(seen.last.retry_after_ms, -1);
    assert_null(seen.last.location);
    seen = get(http, http_script_url(script, "/"));
    assert_int_equal(seen.last.status, 307); /* not followed */
    assert_string_equal(seen.location, "http://10.0.0.1:9864/x?y=z");
    seen = get(http, http_script_url(script, "/"));
    assert_int_equal(seen.last.transport, KP_OK);
    assert_string_equal(seen.body, "abc");
    seen = get(http, http_script_url(script, "/"));
    assert_int_equal(seen.last.status, 503);
    assert_int_equal(seen.last.retry_after_ms, 7000);
    assert_int_equal(http_script_connections(script), 1); /* kept alive */
    finish(script, http);
}

static void test_request_says_what_it_carries_and_no_more(void **state) {
    (void)state;
    const http_step steps[] = {{.expect = "PUT /a", .status = "201 Created"},
                               {.expect = "PUT /b", .status = "200 OK"},
                               {.expect = "GET /c", .status = "200 OK"},
                               {.expect = "DELETE /d", .status = "200 OK"}};
    http_script *script = http_script_new(steps, 4, HTTP_IN_ORDER);
    kp_http *http = client(NULL);
    static char big[2 << 20];
    memset(big, 'k', sizeof big);
    kp_http_request request = {.method = "PUT",
                               .url = http_script_url(script, "/a"),
                               .content_type = "application/x-ndjson",
                               .gzip_body = true,
                               .body = {big, sizeof big}};
    assert_int_equal(fetch(http, &request).last.status, 201);
    const char *sent = http_script_request(script, 0);
    assert_non_null(strstr(sent, "\r\nContent-Length: 2097152\r\n"));
    assert_non_null(strstr(sent, "\r\nContent-Type: application/x-ndjson\r\n"));
    assert_non_null(strstr(sent, "\r\nContent-Encoding: gzip\r\n"));
    assert_null(strstr(sent, "Expect"));
    assert_null(strstr(sent, "Authorization"));
    assert_memory_equal(strstr(sent, "\r\n\r\n") + 4, big, sizeof big);

    fetch(http, &(kp_http_request){.method = "PUT", .url = http_script_url(script, "/b")});
    sent = http_script_request(script, 1);
    assert_non_null(strstr(sent, "\r\nContent-Length: 0\r\n"));
    assert_null(strstr(sent, "Content-Type"));
    assert_null(strstr(sent, "Content-Encoding"));

    get(http, http_script_url(script, "/c"));
    assert_null(strstr(http_script_request(script, 2), "Content-"));
    fetch(http, &(kp_http_request){.method = "DELETE", .url = http_script_url(script, "/d")});
    assert_null(strstr(http_script_request(script, 3), "Content-"));
    finish(script, http);
}

static void assert_broken(const outcome *seen, bool sent, const char *code, const char *words) {
    assert_int_equal(seen->last.transport, KP_RETRY);
    assert_int_equal(seen->last.sent, sent);
    assert_int_equal(seen->last.status, 0);
    assert_string_equal(seen->last.err.code, code);
    if (!strstr(seen->last.err.message, words)) {
        fail_msg("\"%s\" does not say \"%s\"", seen->last.err.message, words);
    }
}

static void test_refused_connection_is_certain_not_to_be_sent(void **state) {
    (void)state;
    char url[128];
    kp_http *http = client(NULL);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/webhdfs/v1/x?op=CREATE&delegation=geheim", http_closed_port());
    outcome seen = get(http, url);
    assert_broken(&seen, false, "ECONNREFUSED", "/webhdfs/v1/x: connection refused");
    assert_null(strstr(seen.last.err.message, "geheim"));
    kp_http_free(http);
}

static void test_connection_lost_while_sending_and_after(void **state) {
    (void)state;
    const http_step steps[] = {{.stop_at = 100000}, {.reset = true}, {.raw = "", .close = true}};
    http_script *script = http_script_new(steps, 3, HTTP_IN_ORDER);
    kp_http *http = client(NULL);
    char *big = calloc(1, 64 << 20); /* more than the kernel takes on trust */
    kp_http_request request = {.method = "PUT", .url = http_script_url(script, "/x"), .body = {big, 64 << 20}};
    outcome seen = fetch(http, &request);
    assert_broken(&seen, false, "ECONNRESET", "connection");
    request.body.length = 10;
    seen = fetch(http, &request);
    assert_broken(&seen, true, "ECONNRESET", "connection");
    seen = fetch(http, &request);
    assert_broken(&seen, true, "ECONNRESET", "connection");
    free(big);
    finish(script, http);
}

/* libcurl sends again by itself when a kept connection turns out dead; the first copy may have been acted on. */
static void test_second_attempt_on_a_stale_connection_counts_as_sent(void **state) {
    (void)state;
    static char big[8 << 20];
    const http_step steps[] = {{.status = "200 OK"}, {.reset = true}, {.stop_at = 1000}};
    http_script *script = http_script_new(steps, 3, HTTP_IN_ORDER);
    kp_http *http = client(NULL);
    get(http, http_script_url(script, "/"));
    kp_http_request request = {.method = "PUT", .url = http_script_url(script, "/x"), .body = {big, sizeof big}};
    outcome seen = fetch(http, &request);
    assert_int_equal(seen.last.transport, KP_RETRY);
    assert_true(seen.last.sent);
    finish(script, http);
}

static void test_half_an_answer_is_no_answer(void **state) {
    (void)state;
    const http_step steps[] = {
        {.status = "200 OK", .body = "{\"boolean\":true}", .cut = 50},
        {.raw = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", .close = true},
        {.raw = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", .close = true},
        {.raw = "HTTP/1.1 200 OK\r\nConte", .close = true},
        {.raw = "HTTP/1.1 200 OK\r\n", .close = true},
        {.raw = "HTTP/1.1 200 OK\r\nA: b\r\n", .close = true},
        {.raw = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", .close = true},
        {.raw = "SSH-2.0-OpenSSH\r\n\r\n", .close = true},
    };
    http_script *script = http_script_new(steps, 8, HTTP_IN_ORDER);
    kp_http *http = client(NULL);
    for (size_t i = 0; i < 7; i++) {
        outcome seen = get(http, http_script_url(script, "/"));
        assert_broken(&seen, true, "ECONNRESET", "");
    }
    outcome seen = get(http, http_script_url(script, "/"));
    assert_broken(&seen, true, "EPROTO", "HTTP/0.9");
    finish(script, http);
}

static void test_too_long_an_answer_fails(void **state) {
    (void)state;
    const http_step steps[] = {{.status = "200 OK", .body = "1234567890"}, {.status = "200 OK", .body = "12345678901"}};
    http_script *script = http_script_new(steps, 2, HTTP_IN_ORDER);
    kp_http *http = client(&(kp_http_options){.timeout_ms = 5000, .max_reply_bytes = 10});
    assert_string_equal(get(http, http_script_url(script, "/")).body, "1234567890");
    outcome seen = get(http, http_script_url(script, "/"));
    assert_broken(&seen, true, "EMSGSIZE", "longer than 10 bytes");
    finish(script, http);
}

static void test_silence_ends_in_time(void **state) {
    (void)state;
    const http_step steps[] = {{.status = "200 OK", .delay_ms = 60000}};
    http_script *script = http_script_new(steps, 1, HTTP_IN_ORDER);
    kp_http *http = client(&(kp_http_options){.timeout_ms = 150});
    int64_t begun = kp_now_ms();
    outcome seen = get(http, http_script_url(script, "/"));
    assert_broken(&seen, true, "ETIMEDOUT", "no answer in time");
    assert_in_range(kp_now_ms() - begun, 140, 10000);
    finish(script, http);
}

/* A large body has hours; a receiver that takes nothing more has not. */
static void test_stalled_upload_ends_in_time(void **state) {
    (void)state;
    const http_step steps[] = {{.stall_at = 1000}};
    http_script *script = http_script_new(steps, 1, HTTP_IN_ORDER);
    kp_http *http = client(&(kp_http_options){.timeout_ms = 1000});
    char *big = calloc(1, 64 << 20);
    kp_http_request request = {.method = "PUT", .url = http_script_url(script, "/"), .body = {big, 64 << 20}};
    outcome seen = fetch(http, &request);
    assert_broken(&seen, false, "ETIMEDOUT", "no answer in time");
    free(big);
    finish(script, http);
}

static void test_environment_does_not_route_requests(void **state) {
    (void)state;
    char proxy[64];
    const http_step steps[] = {{.expect = "GET / ", .status = "200 OK"}};
    http_script *script = http_script_new(steps, 1, HTTP_IN_ORDER);
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", http_closed_port());
    setenv("http_proxy", proxy, 1);
    setenv("ALL_PROXY", proxy, 1);
    kp_http *http = client(NULL);
    assert_int_equal(get(http, http_script_url(script, "/")).last.status, 200);
    unsetenv("http_proxy");
    unsetenv("ALL_PROXY");
    assert_broken(&(outcome){.last = get(http, "file:///etc/passwd").last}, false, "EPROTO", "");
    finish(script, http);
}

static void test_credentials_go_only_where_they_may(void **state) {
    (void)state;
    const http_step steps[] = {
        {.status = "200 OK"}, {.status = "200 OK"}, {.reset = true}, {.reset = true}}; /* libcurl tries a second time */
    http_script *script = http_script_new(steps, 4, HTTP_IN_ORDER);
    kp_http *http = client(&(kp_http_options){.timeout_ms = 5000, .user = "kim", .password = "hunter2"});
    get(http, http_script_url(script, "/"));
    assert_non_null(strstr(http_script_request(script, 0), "Authorization: Basic a2ltOmh1bnRlcjI="));
    kp_http_request request = {.method = "GET", .url = http_script_url(script, "/"), .no_credentials = true};
    fetch(http, &request);
    assert_null(strstr(http_script_request(script, 1), "Authorization"));
    char url[128];
    snprintf(url, sizeof url, "http://lee:geheim@127.0.0.1:%d/p?token=geheim", http_script_port(script));
    outcome seen = get(http, url);
    assert_broken(&seen, true, "ECONNRESET", "GET http://127.0.0.1:");
    assert_null(strstr(seen.last.err.message, "geheim"));
    assert_null(strstr(seen.last.err.message, "hunter2"));
    finish(script, http);
}

static void test_an_authorization_takes_the_place_of_a_user(void **state) {
    (void)state;
    const http_step steps[] = {{.status = "200 OK"}, {.status = "200 OK"}};
    http_script *script = http_script_new(steps, 2, HTTP_IN_ORDER);
    kp_http *http = client(&(kp_http_options){.timeout_ms = 5000, .authorization = "ApiKey a2V5OmdlaGVpbQ=="});
    get(http, http_script_url(script, "/"));
    assert_non_null(strstr(http_script_request(script, 0), "\r\nAuthorization: ApiKey a2V5OmdlaGVpbQ==\r\n"));
    kp_http_request request = {.method = "GET", .url = http_script_url(script, "/"), .no_credentials = true};
    fetch(http, &request);
    assert_null(strstr(http_script_request(script, 1), "Authorization"));
    finish(script, http);
}

static void test_many_at_once_and_one_from_within_another(void **state) {
    (void)state;
    const http_step steps[] = {{.expect = "/slow", .status = "200 OK", .delay_ms = 50}, {.status = "200 OK"}};
    http_script *script = http_script_new(steps, 2, HTTP_RULES);
    kp_http *http = client(NULL);
    char again[128];
    snprintf(again, sizeof again, "%s", http_script_url(script, "/again"));
    outcome seen = {.again = http, .again_url = again};
    for (int i = 0; i < 8; i++) {
        kp_http_request request = {.method = "GET", .url = http_script_url(script, i % 2 ? "/slow" : "/fast")};
        assert_int_equal(kp_http_send(http, &request, on_done, &seen, NULL), KP_OK);
    }
    assert_int_equal(kp_http_active(http), 8);
    assert_int_equal(seen.done, 0);
    kp_spin(http, &seen.done, 9);
    assert_int_equal(kp_http_active(http), 0);
    finish(script, http);
}

static void test_cancel_and_free_end_what_is_under_way(void **state) {
    (void)state;
    const http_step steps[] = {{.status = "200 OK", .delay_ms = 60000}};
    http_script *script = http_script_new(steps, 1, HTTP_RULES);
    kp_http *http = client(NULL);
    outcome first = {0};
    outcome second = {0};
    kp_http_request request = {.method = "GET", .url = http_script_url(script, "/")};
    assert_int_equal(kp_http_send(http, &request, on_done, &first, NULL), KP_OK);
    assert_int_equal(kp_http_send(http, &request, on_done, &first, NULL), KP_OK);
    assert_int_equal(kp_http_send(http, &request, on_done, &second, NULL), KP_OK);
    assert_int_equal(kp_http_pump(http, NULL), KP_OK);
    kp_http_cancel(http, &first);
    assert_int_equal(first.done, 2);
    assert_int_equal(first.last.transport, KP_CLOSED);
    assert_int_equal(second.done, 0);
    kp_http_free(http);
    assert_int_equal(second.done, 1);
    assert_int_equal(second.last.transport, KP_CLOSED);
    http_script_free(script);
}

static void test_wait_watches_descriptors_and_wakes(void **state) {
    (void)state;
    int quiet[2];
    int ready_pipe[2];
    bool ready[2];
    kp_http *http = client(NULL);
    assert_int_equal(pipe(quiet) | pipe(ready_pipe), 0);
    assert_int_equal(write(ready_pipe[1], "x", 1), 1);
    int fds[] = {quiet[0], ready_pipe[0]};
    assert_int_equal(kp_http_wait(http, fds, ready, 2, 10000, NULL), KP_OK);
    assert_false(ready[0]);
    assert_true(ready[1]);
    int64_t begun = kp_now_ms();
    kp_http_wake(http);
    assert_int_equal(kp_http_wait(http, fds, ready, 1, 10000, NULL), KP_OK);
    assert_false(ready[0]);
    assert_true(kp_now_ms() - begun < 5000);
    begun = kp_now_ms();
    assert_int_equal(kp_http_wait(http, fds, ready, 1, 60, NULL), KP_OK);
    assert_in_range(kp_now_ms() - begun, 50, 5000);
    for (int i = 0; i < 2; i++) {
        close(quiet[i]);
        close(ready_pipe[i]);
    }
    kp_http_free(http);
}

/* One whole life of a client in which the n-th allocation fails; false when no allocation was left to fail. */
static bool life_with_failure(const char *url, int64_t n) {
    kp_http_options options = {.timeout_ms = 5000,
                               .user = "u",
                               .password = "p",
                               .authorization = "Bearer x",
                               .ca_file = "/nonexistent",
                               .cert_file = "c",
                               .key_file = "k",
                               .key_password = "s"};
    kp_http_request request = {.method = "PUT", .url = url, .body = KP_BYTES_LITERAL("abc")};
    kp_http *http;
    kp_error err;
    outcome seen = {0};
    kp_mem_fail_at(n);
    kp_status st = kp_http_new(&http, &options, &err);
    if (st == KP_OK) {
        st = kp_http_send(http, &request, on_done, &seen, &err);
        if (st == KP_OK) {
            kp_spin(http, &seen.done, 1);
            st = seen.last.transport;
        }
        kp_http_free(http);
    }
    kp_mem_fail_at(0);
    assert_true(st == KP_OK || st == KP_NOMEM);
    assert_int_equal(kp_mem_live(), 0);
    return st == KP_NOMEM;
}

static void test_every_allocation_may_fail(void **state) {
    (void)state;
    const http_step steps[] = {{.status = "200 OK", .body = "answer"}};
    http_script *script = http_script_new(steps, 1, HTTP_RULES);
    int64_t n = 1;
    while (life_with_failure(http_script_url(script, "/"), n)) {
        n++;
    }
    assert_in_range(n, 6, 50); /* handle, three texts, transfer, reply */
    http_script_free(script);
}

static kp_status parse(const char *text, kp_url *url) {
    return kp_url_parse(url, kp_bytes_of(text), NULL);
}

static void test_addresses_are_taken_apart_strictly(void **state) {
    (void)state;
    kp_url url;
    assert_int_equal(parse("http://dn-1.example:9864/webhdfs/v1/x?op=CREATE", &url), KP_OK);
    assert_false(url.https);
    assert_memory_equal(url.host.data, "dn-1.example", 12);
    assert_int_equal(url.host.length, 12);
    assert_int_equal(url.port, 9864);
    assert_memory_equal(url.path.data, "/webhdfs", 8);
    assert_int_equal(parse("https://[::1]", &url), KP_OK);
    assert_true(url.https);
    assert_int_equal(url.port, 443);
    assert_int_equal(url.host.length, 5);
    assert_int_equal(url.path.length, 0);
    static const char *const refused[] = {
        "",
        "http://",
        "ftp://host/",
        "file:///etc/passwd",
        "HTTP://host/",
        "//host/x",
        "http://user@host/",
        "http://user:pass@host/",
        "http://host@evil/",
        "http://host:80@evil/",
        "http://ho st/",
        "http://host\\@evil/",
        "http://host/a\\b",
        "http://host:0/",
        "http://host:65536/",
        "http://host:123456/",
        "http://host:/",
        "http://host:80x/",
        "http://[::1/",
        "http://[]/",
        "http://[::1]x/",
        "http://host/a\r\nX: y",
        "http://host/a b",
        "http://host/#x",
        "http://호스트/",
        "http://host%2eevil/",
        "http://host,evil/",
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        if (parse(refused[i], &url) != KP_REJECT) {
            fail_msg("%s was taken", refused[i]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_answer_with_its_headers),
        KP_TEST(test_request_says_what_it_carries_and_no_more),
        KP_TEST(test_refused_connection_is_certain_not_to_be_sent),
        KP_TEST(test_connection_lost_while_sending_and_after),
        KP_TEST(test_second_attempt_on_a_stale_connection_counts_as_sent),
        KP_TEST(test_half_an_answer_is_no_answer),
        KP_TEST(test_too_long_an_answer_fails),
        KP_TEST(test_silence_ends_in_time),
        KP_TEST(test_stalled_upload_ends_in_time),
        KP_TEST(test_environment_does_not_route_requests),
        KP_TEST(test_credentials_go_only_where_they_may),
        KP_TEST(test_an_authorization_takes_the_place_of_a_user),
        KP_TEST(test_many_at_once_and_one_from_within_another),
        KP_TEST(test_cancel_and_free_end_what_is_under_way),
        KP_TEST(test_wait_watches_descriptors_and_wakes),
        KP_TEST(test_every_allocation_may_fail),
        KP_TEST(test_addresses_are_taken_apart_strictly),
    };
    return kp_test_run(tests);
}
