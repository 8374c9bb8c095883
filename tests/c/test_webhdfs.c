/* The WebHDFS store against scripted NameNodes and DataNodes: what it asks, in which order, and what it makes of
 * answers that are wrong, late, cut short or missing.
 */
#include "http_script.h"
#include "kp_spin.h"
#include "kp_test.h"

#include "stores/store.h"

#include <stdio.h>
#include <stdlib.h>

#define LOCATION "{\"Location\":\"http://127.0.0.1:{port}/dn/t?op=CREATE&user.name=kim&overwrite=true\"}"
#define FILE_OF(length) "{\"FileStatus\":{\"length\":" #length ",\"pathSuffix\":\"\",\"type\":\"FILE\"}}"
#define FOLDER "{\"FileStatus\":{\"length\":0,\"pathSuffix\":\"\",\"type\":\"DIRECTORY\"}}"
#define REMOTE(name, message) "{\"RemoteException\":{\"exception\":\"" name "\",\"message\":\"" message "\"}}"
#define NOT_FOUND .status = "404 Not Found", .body = REMOTE("FileNotFoundException", "File does not exist: /x")
#define STANDBY                                                                                                        \
    .status = "403 Forbidden", .body = REMOTE("StandbyException", "Operation category READ is not supported")
#define SAFE_MODE                                                                                                      \
    .status = "403 Forbidden", .body = REMOTE("SafeModeException", "Name node is in safe mode.\\nIt was turned on")
/* As DataNodes do: a new connection for what follows, which libcurl does not try twice on its own. */
#define CLOSING .head = "Connection: close\r\n", .close = true
#define OK_BODY(text) .status = "200 OK", .body = text
#define STEPS(script) script, sizeof script / sizeof *script

typedef struct {
    size_t done;
    kp_store_outcome outcome;
    kp_error err;
    int64_t length;
    bool is_folder;
    char text[4096]; /* content, or the names with a '|' behind each */
} seen;

typedef struct {
    http_script *script;
    kp_http *http;
    kp_store *store;
} bench;

static void on_done(void *ctx, const kp_store_result *result) {
    seen *out = ctx;
    out->done++;
    out->outcome = result->outcome;
    out->err = result->err;
    out->length = result->length;
    out->is_folder = result->is_folder;
    size_t used = 0;
    for (size_t i = 0; i < result->name_count; i++) {
        used += (size_t)snprintf(out->text + used, sizeof out->text - used, "%s|", result->names[i]);
    }
    if (result->content.data) {
        snprintf(out->text, sizeof out->text, "%.*s", (int)result->content.length, result->content.data);
    }
}

static kp_status open_store(kp_store **store, kp_http *http, const char *config, kp_error *err) {
    const kp_json *root;
    kp_status st = kp_json_parse(&root, kp_bytes_of(config), "configuration", err);
    if (st == KP_OK) {
        st = kp_store_find("hdfs")->open(store, root, http, err);
        kp_json_free(root);
    }
    return st;
}

/* A store whose NameNodes are the ports given; 0: the script's own. */
static bench start(const http_step *steps, size_t count, int first, int second) {
    bench b = {.script = http_script_new(steps, count, HTTP_IN_ORDER)};
    char config[256];
    kp_http_options options = {.timeout_ms = 10000, .user = "login", .password = "geheim"};
    int own = http_script_port(b.script);
    snprintf(config, sizeof config,
             "{\"urls\":[\"http://127.0.0.1:%d/\",\"http://127.0.0.1:%d\"],\"user\":\"kim lee\"}", first ? first : own,
             second ? second : own);
    assert_int_equal(kp_http_new(&b.http, &options, NULL), KP_OK);
    assert_int_equal(open_store(&b.store, b.http, config, NULL), KP_OK);
    return b;
}

static void finish(bench *b) {
    b->store->ops->close(b->store);
    kp_http_free(b->http);
    const char *problem = http_script_problem(b->script);
    if (problem) {
        fail_msg("%s", problem);
    }
    http_script_free(b->script);
}

static seen wait_for(bench *b, kp_status started, seen *out) {
    assert_int_equal(started, KP_OK);
    assert_int_equal(out->done, 0);
    kp_spin(b->http, &out->done, 1);
    assert_int_equal(out->done, 1);
    assert_int_equal(kp_http_active(b->http), 0);
    return *out;
}

static seen put(bench *b, const char *path, const char *text) {
    seen out = {0};
    return wait_for(b, b->store->ops->put(b->store, path, kp_bytes_of(text), on_done, &out, NULL), &out);
}

static seen move(bench *b, const char *from, const char *to) {
    seen out = {0};
    return wait_for(b, b->store->ops->rename(b->store, from, to, on_done, &out, NULL), &out);
}

static seen put_piece(bench *b, const char *path, int64_t from, const char *text) {
    seen out = {0};
    return wait_for(b, b->store->ops->put_piece(b->store, path, from, kp_bytes_of(text), on_done, &out, NULL), &out);
}

static seen join(bench *b, const char *path) {
    static const int64_t starts[] = {0, 3, 6};
    seen out = {0};
    return wait_for(b, b->store->ops->join(b->store, path, starts, 3, 9, on_done, &out, NULL), &out);
}

static seen look(bench *b, const char *path) {
    seen out = {0};
    return wait_for(b, b->store->ops->status(b->store, path, on_done, &out, NULL), &out);
}

static seen list(bench *b, const char *path) {
    seen out = {0};
    return wait_for(b, b->store->ops->list(b->store, path, on_done, &out, NULL), &out);
}

static seen drop(bench *b, const char *path) {
    seen out = {0};
    return wait_for(b, b->store->ops->remove(b->store, path, on_done, &out, NULL), &out);
}

static seen get(bench *b, const char *path) {
    seen out = {0};
    return wait_for(b, b->store->ops->read(b->store, path, on_done, &out, NULL), &out);
}

static void assert_failed(seen out, const char *words) {
    assert_int_equal(out.outcome, KP_STORE_FAILED);
    assert_int_equal(out.err.status, KP_RETRY);
    if (!strstr(out.err.message, words)) {
        fail_msg("\"%s\" does not say \"%s\"", out.err.message, words);
    }
}

static void test_put_asks_sends_and_measures(void **state) {
    (void)state;
    const http_step steps[] = {
        {.expect = "PUT /webhdfs/v1/data/_tmp/%ED%99%8D%20%22x%22%0A%25?"
                   "op=CREATE&noredirect=true&overwrite=true&user.name=kim%20lee HTTP/1.1",
         OK_BODY(LOCATION)},
        {.expect = "PUT /dn/t?op=CREATE&user.name=kim&overwrite=true HTTP/1.1", .status = "201 Created", .close = true},
        {.expect = "GET /webhdfs/v1/data/_tmp/%ED%99%8D%20%22x%22%0A%25?op=GETFILESTATUS&user.name=kim%20lee",
         OK_BODY(FILE_OF(7))},
    };
    bench b = start(STEPS(steps), 0, 0);
    seen out = put(&b, "/data/_tmp/홍 \"x\"\n%", "한줄\n");
    assert_int_equal(out.outcome, KP_STORE_DONE);
    assert_int_equal(out.length, 7);
    assert_non_null(strstr(http_script_request(b.script, 0), "Authorization: Basic"));
    const char *sent = http_script_request(b.script, 1);
    assert_null(strstr(sent, "Authorization")); /* a DataNode gets no credentials */
    assert_non_null(strstr(sent, "\r\nContent-Type: application/octet-stream\r\n"));
    assert_string_equal(strstr(sent, "\r\n\r\n"), "\r\n\r\n한줄\n");
    finish(&b);
}

static void test_put_through_httpfs(void **state) {
    (void)state;
    const http_step steps[] = {
        {.status = "307 Temporary Redirect", .head = "Location: http://127.0.0.1:{port}/webhdfs/v1/t?data=true\r\n"},
        {.expect = "PUT /webhdfs/v1/t?data=true ", .status = "201 Created", .body = "{\"Location\":\"hdfs:\\/\\/x\"}"},
        {OK_BODY(FILE_OF(0))},
    };
    bench b = start(STEPS(steps), 0, 0);
    assert_int_equal(put(&b, "/t", "").outcome, KP_STORE_DONE);
    finish(&b);
}

static void test_put_that_arrived_in_part_is_not_done(void **state) {
    (void)state;
    const http_step steps[] = {
        {OK_BODY(LOCATION)},
        {.status = "201 Created"},
        {OK_BODY(FILE_OF(2))},
        {OK_BODY(LOCATION)},
        {.status = "201 Created"},
        {NOT_FOUND},
        {OK_BODY(LOCATION)},
        {.status = "201 Created"},
        {.status = "200 OK", .body = FILE_OF(3), .cut = 50},
        {OK_BODY(LOCATION)},
        {.status = "200 OK"}, /* a proxy that swallows the body */
        {OK_BODY("{}")},
        {OK_BODY("")},
    };
    bench b = start(STEPS(steps), 0, 0);
    assert_failed(put(&b, "/t", "abc"), "hdfs put /t: 2 of 3 bytes arrived");
    assert_failed(put(&b, "/t", "abc"), "hdfs put /t: FileNotFoundException: File does not exist: /x (HTTP 404)");
    assert_failed(put(&b, "/t", "abc"), "connection lost before the whole answer came");
    assert_failed(put(&b, "/t", "abc"), "does not fit");
    assert_failed(put(&b, "/t", "abc"), "no Location");
    assert_failed(put(&b, "/t", "abc"), "does not fit");
    finish(&b);
}

static void test_put_says_why_it_was_refused(void **state) {
    (void)state;
    const http_step steps[] = {
        {OK_BODY(LOCATION)},
        {.status = "403 Forbidden",
         .body = REMOTE("AccessControlException", "Permission denied: user=kim, access=WRITE\\n\\tat org.apache")},
        {OK_BODY(LOCATION)},
        {SAFE_MODE},
        {.status = "400 Bad", .body = REMOTE("InvalidPathException", "Invalid path name /a:b")},
        {.status = "503 Down", .body = "<html>"},
    };
    bench b = start(STEPS(steps), 0, 0);
    seen out = put(&b, "/t", "abc");
    assert_failed(out, "Permission denied: user=kim, access=WRITE (HTTP 403)");
    assert_string_equal(out.err.code, "AccessControlException");
    assert_failed(put(&b, "/t", "abc"), "SafeModeException: Name node is in safe mode. (HTTP 403)");
    out = put(&b, "/a:b", "abc");
    assert_int_equal(out.err.status, KP_REJECT);
    assert_failed(put(&b, "/t", "abc"), "HTTP 503: the server has trouble");
    finish(&b);
}

static void test_dead_datanode_is_not_asked_for_again(void **state) {
    (void)state;
    char dead[128];
    snprintf(dead, sizeof dead, "{\"Location\":\"http://127.0.0.1:%d/dn?delegation=geheim\"}", http_closed_port());
    const http_step steps[] = {
        {.expect = "overwrite=true&user", OK_BODY(dead)},
        {.expect = "overwrite=true&excludedatanodes=127.0.0.1&user", OK_BODY(LOCATION), CLOSING},
        {.stop_at = 1000},
        {.expect = "&excludedatanodes=127.0.0.1&", OK_BODY(LOCATION), CLOSING},
        {.reset = true}, /* the whole body came, the answer is lost */
        {.expect = "op=OPEN&noredirect=true&excludedatanodes=127.0.0.1&",
         .status = "403 F",
         .body = REMOTE("IOException", "No active nodes contain this block")},
        {.expect = "op=OPEN&noredirect=true&user", OK_BODY(LOCATION), CLOSING},
        {.expect = "GET /dn/t", OK_BODY("manifest")},
        {.expect = "overwrite=true&user", OK_BODY(LOCATION), CLOSING},
        {.reset = true},
        {.expect = "&excludedatanodes=127.0.0.1&",
         .status = "403 F",
         .body = REMOTE("IOException", "Failed to find datanode, suggest to check")},
        {.expect = "overwrite=true&user", OK_BODY(LOCATION), CLOSING}, /* the only one there is: it may be back */
        {.status = "201 Created"},
        {OK_BODY(FILE_OF(3))},
    };
    bench b = start(STEPS(steps), 0, 0);
    seen out = put(&b, "/t", "abc");
    assert_failed(out, "/dn: connection refused");
    assert_null(strstr(out.err.message, "geheim"));
    char *big = calloc(1, 8 << 20);
    memset(big, 'x', (8 << 20) - 1);
    assert_failed(put(&b, "/t", big), "connection lost");
    free(big);
    assert_failed(put(&b, "/t", "abc"), "connection lost");
    assert_string_equal(get(&b, "/manifest").text, "manifest");
    assert_failed(put(&b, "/t", "abc"), "connection lost");
    assert_int_equal(put(&b, "/t", "abc").outcome, KP_STORE_DONE);
    finish(&b);
}

static void test_pieces_are_files_of_their_own(void **state) {
    (void)state;
    const http_step steps[] = {
        {.expect = "PUT /webhdfs/v1/t?op=CREATE", OK_BODY(LOCATION)},
        {.status = "201 Created"},
        {.expect = "GET /webhdfs/v1/t?op=GETFILESTATUS", OK_BODY(FILE_OF(3))},
        {.expect = "PUT /webhdfs/v1/t.3?op=CREATE", OK_BODY(LOCATION)},
        {.status = "201 Created"},
        {.expect = "GET /webhdfs/v1/t.3?op=GETFILESTATUS", OK_BODY(FILE_OF(2))},
    };
    bench b = start(STEPS(steps), 0, 0);
    assert_int_equal(put_piece(&b, "/t", 0, "abc").outcome, KP_STORE_DONE);
    assert_failed(put_piece(&b, "/t", 3, "def"), "hdfs put /t.3: 2 of 3 bytes arrived");
    kp_buf path = {0};
    assert_int_equal(b.store->ops->piece_path("/t", 3, &path, NULL), KP_OK);
    assert_string_equal(path.data, "/t.3");
    kp_buf_deinit(&path);
    finish(&b);
}

static void test_join_goes_on_where_it_is(void **state) {
    (void)state;
    const http_step steps[] = {
        {.expect = "GET /webhdfs/v1/d/%ED%99%8D?op=GETFILESTATUS", OK_BODY(FILE_OF(3))},
        {.expect = "POST /webhdfs/v1/d/%ED%99%8D?op=CONCAT&sources=/d/%ED%99%8D.3,/d/%ED%99%8D.6&user",
         CLOSING,
         OK_BODY("")},
        {OK_BODY(FILE_OF(9))},
        /* an answer that is lost; the next try finds half of it done */
        {OK_BODY(FILE_OF(3)), CLOSING},
        {.reset = true},
        {OK_BODY(FILE_OF(6))},
        {.expect = "op=CONCAT&sources=/d/%ED%99%8D.6&user", OK_BODY("")},
        {OK_BODY(FILE_OF(9))},
        /* two tries at once: the sources are gone because the first one took them */
        {OK_BODY(FILE_OF(3))},
        {.expect = "op=CONCAT", NOT_FOUND},
        {OK_BODY(FILE_OF(9))},
    };
    bench b = start(STEPS(steps), 0, 0);
    seen out = join(&b, "/d/홍");
    assert_int_equal(out.outcome, KP_STORE_DONE);
    assert_int_equal(out.length, 9);
    assert_failed(join(&b, "/d/홍"), "connection lost");
    assert_int_equal(join(&b, "/d/홍").outcome, KP_STORE_DONE);
    assert_int_equal(join(&b, "/d/홍").outcome, KP_STORE_DONE);
    finish(&b);
}

static void test_join_without_its_pieces(void **state) {
    (void)state;
    const http_step steps[] = {
        {OK_BODY(FILE_OF(3))},
        {.expect = "op=CONCAT", NOT_FOUND},
        {OK_BODY(FILE_OF(3))}, /* one is gone */
        {OK_BODY(FILE_OF(4))}, /* not what was put */
        {NOT_FOUND},
        {OK_BODY(FILE_OF(3))},
        {.status = "403 F", .body = REMOTE("IOException", "concat in an encryption zone")},
        {OK_BODY(FILE_OF(3))},
        {SAFE_MODE},
    };
    bench b = start(STEPS(steps), 0, 0);
    assert_int_equal(join(&b, "/t").outcome, KP_STORE_MISSING);
    assert_int_equal(join(&b, "/t").outcome, KP_STORE_MISSING);
    assert_int_equal(join(&b, "/t").outcome, KP_STORE_MISSING);
    assert_failed(join(&b, "/t"), "`stream: 0` makes none): IOException: concat in an encryption zone");
    assert_failed(join(&b, "/t"), "hdfs join /t: SafeModeException");
    finish(&b);
}

static void test_redirect_to_nowhere_good_is_not_followed(void **state) {
    (void)state;
    const http_step steps[] = {
        {OK_BODY("{\"Location\":\"http://kim@127.0.0.1:{port}/dn\"}")},
        {OK_BODY("{\"Location\":\"file:///etc/passwd\"}")},
        {.status = "307 T", .head = "Location: //127.0.0.1:{port}/dn\r\n"},
        {.status = "307 T"},
        {OK_BODY(LOCATION)},
        {.status = "307 T", .head = "Location: http://127.0.0.1:{port}/further\r\n"}, /* one hop only */
    };
    bench b = start(STEPS(steps), 0, 0);
    assert_failed(put(&b, "/t", "abc"), "the server's redirect is not followed");
    assert_failed(put(&b, "/t", "abc"), "the server's redirect is not followed");
    assert_failed(get(&b, "/t"), "the server's redirect is not followed");
    assert_failed(put(&b, "/t", "abc"), "no Location");
    assert_failed(put(&b, "/t", "abc"), "does not fit");
    finish(&b);
}

/* A script with a store of other options; {port} in them is the script's. */
static bench start_with(const http_step *steps, size_t count, const char *options) {
    bench b = {.script = http_script_new(steps, count, HTTP_IN_ORDER)};
    char config[512];
    int port = http_script_port(b.script);
    snprintf(config, sizeof config, "{\"urls\":[\"http://127.0.0.1:%d/webhdfs/v1/\"],%s}", port, options);
    assert_int_equal(kp_http_new(&b.http, &(kp_http_options){.timeout_ms = 10000}, NULL), KP_OK);
    assert_int_equal(open_store(&b.store, b.http, config, NULL), KP_OK);
    return b;
}

static void test_a_delegation_token_in_place_of_a_user(void **state) {
    (void)state;
    const http_step steps[] = {
        {.expect = "GET /webhdfs/v1/a?op=GETFILESTATUS&delegation=HAAEc%2Bt%3D HTTP", OK_BODY(FILE_OF(1)), CLOSING},
        {.status = "403 F", .body = REMOTE("InvalidToken", "token (token for kim) is expired"), CLOSING},
        {.reset = true},
    };
    bench b = start_with(STEPS(steps), "\"user\":\"kim\",\"delegation\":\"HAAEc+t=\"");
    assert_int_equal(look(&b, "/a").length, 1);
    seen out = look(&b, "/a");
    assert_failed(out, "InvalidToken: token (token for kim) is expired");
    out = look(&b, "/a");
    assert_failed(out, "/webhdfs/v1/a");
    assert_null(strstr(out.err.message, "HAAE")); /* a token is a secret */
    finish(&b);
}

static void test_redirects_only_to_hosts_that_are_allowed(void **state) {
    (void)state;
    const http_step steps[] = {
        {OK_BODY(LOCATION)},
        {.status = "201 C"},
        {OK_BODY(FILE_OF(3))},
        {OK_BODY("{\"Location\":\"http://localhost:{port}/dn/t\"}")},
        {OK_BODY("{\"Location\":\"http://127.0.0.1.evil.example:{port}/dn/t\"}")},
        {OK_BODY("{\"Location\":\"http://127.0.0.1@evil.example:{port}/dn/t\"}")},
    };
    bench b = start_with(STEPS(steps), "\"user\":\"kim\",\"redirect_hosts\":[\"dn.example\",\"127.0.0.1\"]");
    assert_int_equal(put(&b, "/t", "abc").outcome, KP_STORE_DONE);
    assert_failed(put(&b, "/t", "abc"), "localhost is not among redirect_hosts");
    assert_failed(put(&b, "/t", "abc"), "127.0.0.1.evil.example is not among redirect_hosts");
    assert_failed(put(&b, "/t", "abc"), "the server's redirect is not followed");
    finish(&b);
}

static void test_standby_and_dead_namenodes(void **state) {
    (void)state;
    const http_step dead_first[] = {{.expect = "/a?", OK_BODY(FILE_OF(1))}, {.expect = "/b?", NOT_FOUND}};
    bench b = start(STEPS(dead_first), http_closed_port(), 0);
    assert_int_equal(look(&b, "/a").length, 1);
    assert_int_equal(look(&b, "/b").outcome, KP_STORE_MISSING);
    finish(&b);

    const http_step standby_first[] = {{STANDBY},          {OK_BODY(FILE_OF(1))}, {STANDBY},
                                       {STANDBY, CLOSING}, {.reset = true},       {OK_BODY(FILE_OF(1))}};
    b = start(STEPS(standby_first), 0, 0);
    assert_int_equal(look(&b, "/a").length, 1);
    assert_failed(look(&b, "/a"), "hdfs status /a: StandbyException: Operation category READ is not supported");
    assert_failed(look(&b, "/a"), "connection lost"); /* it may have been acted on: the caller asks again */
    assert_int_equal(look(&b, "/a").length, 1);
    finish(&b);

    b = start(NULL, 0, http_closed_port(), http_closed_port());
    assert_failed(look(&b, "/a"), "/webhdfs/v1/a: connection refused");
    assert_failed(look(&b, "/a"), "/webhdfs/v1/a: connection refused");
    finish(&b);
}

static void test_put_begins_again_when_the_datanode_meets_a_standby(void **state) {
    (void)state;
    const http_step steps[] = {
        {OK_BODY(LOCATION)},
        {STANDBY},
        {.expect = "op=CREATE", OK_BODY(LOCATION)},
        {.status = "201 C"},
        {OK_BODY(FILE_OF(3))},
        {OK_BODY(LOCATION)},
        {STANDBY},
        {OK_BODY(LOCATION)},
        {STANDBY},
    };
    bench b = start(STEPS(steps), 0, 0);
    assert_int_equal(put(&b, "/t", "abc").outcome, KP_STORE_DONE);
    assert_failed(put(&b, "/t", "abc"), "StandbyException");
    finish(&b);
}

static void test_rename_on_a_namenode(void **state) {
    (void)state;
    const http_step steps[] = {
        /* done */
        {.expect = "GET /webhdfs/v1/data/%EA%B8%B8/f?op=GETFILESTATUS", NOT_FOUND},
        {.expect = "PUT /webhdfs/v1/data/_tmp/t?op=RENAME&renameoptions=NONE&destination=/data/%EA%B8%B8/f&user.name=",
         OK_BODY("")},
        /* a file is there, a folder is there, a file came meanwhile */
        {OK_BODY(FILE_OF(3))},
        {OK_BODY(FOLDER)},
        {NOT_FOUND},
        {.status = "403 F", .body = REMOTE("FileAlreadyExistsException", "rename destination /f already exists")},
        /* the source is missing */
        {NOT_FOUND},
        {.expect = "op=RENAME", NOT_FOUND},
        {.expect = "GET /webhdfs/v1/t?op=GETFILESTATUS", NOT_FOUND},
        /* the folder is missing */
        {NOT_FOUND},
        {.expect = "op=RENAME", NOT_FOUND},
        {.expect = "GET /webhdfs/v1/t?op=GETFILESTATUS", OK_BODY(FILE_OF(3))},
        {.expect = "PUT /webhdfs/v1/data/2026?op=MKDIRS&user.name=", OK_BODY("{\"boolean\":true}")},
        {.expect = "op=RENAME", OK_BODY("")},
    };
    bench b = start(STEPS(steps), 0, 0);
    assert_int_equal(move(&b, "/data/_tmp/t", "/data/길/f").outcome, KP_STORE_DONE);
    assert_int_equal(move(&b, "/t", "/f").outcome, KP_STORE_EXISTS);
    assert_int_equal(move(&b, "/t", "/folder").outcome, KP_STORE_EXISTS);
    assert_int_equal(move(&b, "/t", "/f").outcome, KP_STORE_EXISTS);
    assert_int_equal(move(&b, "/t", "/f").outcome, KP_STORE_MISSING);
    assert_int_equal(move(&b, "/t", "/data/2026/f").outcome, KP_STORE_DONE);
    finish(&b);
}

static void test_rename_reads_the_boolean_of_httpfs(void **state) {
    (void)state;
    const http_step steps[] = {
        /* true */
        {NOT_FOUND},
        {OK_BODY("{\"boolean\":true}")},
        /* false: the source is missing */
        {NOT_FOUND},
        {OK_BODY("{\"boolean\":false}")},
        {.expect = "/webhdfs/v1/t?op=GETFILESTATUS", NOT_FOUND},
        /* false: the folder is missing */
        {NOT_FOUND},
        {OK_BODY("{\"boolean\":false}")},
        {OK_BODY(FILE_OF(3))},
        {.expect = "PUT /webhdfs/v1/?op=MKDIRS", OK_BODY("{\"boolean\":true}")},
        {OK_BODY("{\"boolean\":true}")},
        /* false: a file came meanwhile */
        {NOT_FOUND},
        {OK_BODY("{\"boolean\":false}")},
        {OK_BODY(FILE_OF(3))},
        {OK_BODY("{\"boolean\":true}")},
        {OK_BODY("{\"boolean\":false}")},
        {OK_BODY(FILE_OF(3))},
        {.expect = "/webhdfs/v1/f?op=GETFILESTATUS", OK_BODY(FILE_OF(9))},
        /* false, and nothing says why */
        {NOT_FOUND},
        {OK_BODY("{\"boolean\":false}")},
        {OK_BODY(FILE_OF(3))},
        {OK_BODY("{\"boolean\":true}")},
        {OK_BODY("{\"boolean\":false}")},
        {OK_BODY(FILE_OF(3))},
        {NOT_FOUND},
    };
    bench b = start(STEPS(steps), 0, 0);
    assert_int_equal(move(&b, "/t", "/f").outcome, KP_STORE_DONE);
    assert_int_equal(move(&b, "/t", "/f").outcome, KP_STORE_MISSING);
    assert_int_equal(move(&b, "/t", "/f").outcome, KP_STORE_DONE);
    assert_int_equal(move(&b, "/t", "/f").outcome, KP_STORE_EXISTS);
    assert_failed(move(&b, "/t", "/f"), "hdfs rename /f: the server did not rename it");
    finish(&b);
}

static void test_rename_is_not_done_on_any_other_answer(void **state) {
    (void)state;
    const http_step steps[] = {
        {SAFE_MODE},
        {NOT_FOUND},
        {SAFE_MODE},
        {NOT_FOUND, CLOSING},
        {.reset = true},
        {NOT_FOUND},
        {OK_BODY("<html>login</html>")},
        {NOT_FOUND},
        {OK_BODY("{\"renamed\":1}")},
        {NOT_FOUND},
        {OK_BODY("{\"boolean\":true"), .cut = 30},
        {NOT_FOUND},
        {NOT_FOUND},
        {OK_BODY(FILE_OF(1))},
        {SAFE_MODE},
        {NOT_FOUND},
        {NOT_FOUND},
        {OK_BODY(FILE_OF(1))},
        {OK_BODY("{\"boolean\":false}")},
        {NOT_FOUND},
        {NOT_FOUND},
        {SAFE_MODE},
    };
    bench b = start(STEPS(steps), 0, 0);
    assert_failed(move(&b, "/t", "/f"), "safe mode");
    assert_failed(move(&b, "/t", "/f"), "safe mode");
    assert_failed(move(&b, "/t", "/f"), "connection lost");
    assert_failed(move(&b, "/t", "/f"), "not WebHDFS's");
    assert_failed(move(&b, "/t", "/f"), "does not fit");
    assert_failed(move(&b, "/t", "/f"), "connection lost");
    assert_failed(move(&b, "/t", "/f"), "safe mode");
    assert_failed(move(&b, "/t", "/f"), "does not fit");
    assert_failed(move(&b, "/t", "/f"), "safe mode");
    finish(&b);
}

static void test_status_list_remove_read(void **state) {
    (void)state;
    const http_step steps[] = {
        {OK_BODY(FOLDER)},
        {.expect = "GET /webhdfs/v1/data/_tmp?op=LISTSTATUS&user.name=kim%20lee",
         OK_BODY("{\"FileStatuses\":{\"FileStatus\":[{\"pathSuffix\":\"홍\\n\"},{\"pathSuffix\":\"b\"}]}}")},
        {NOT_FOUND},
        {OK_BODY("{\"FileStatuses\":{\"FileStatus\":[{\"pathSuffix\":\"\"}]}}")},
        {SAFE_MODE},
        {.expect = "DELETE /webhdfs/v1/t?op=DELETE&user.name=kim%20lee", OK_BODY("{\"boolean\":true}")},
        {OK_BODY("{\"boolean\":false}")},
        {.status = "403 F", .body = REMOTE("PathIsNotEmptyDirectoryException", "`/t is non empty'")},
        {NOT_FOUND},
        {OK_BODY(LOCATION)},
        {NOT_FOUND},
        {OK_BODY(LOCATION)},
        {SAFE_MODE},
    };
    bench b = start(STEPS(steps), 0, 0);
    assert_true(look(&b, "/data").is_folder);
    seen out = list(&b, "/data/_tmp/");
    assert_int_equal(out.outcome, KP_STORE_DONE);
    assert_string_equal(out.text, "홍\n|b|");
    assert_int_equal(list(&b, "/data/_tmp").outcome, KP_STORE_MISSING);
    assert_int_equal(list(&b, "/data/file").outcome, KP_STORE_MISSING);
    assert_failed(list(&b, "/data"), "hdfs list /data: SafeModeException");
    assert_int_equal(drop(&b, "/t").outcome, KP_STORE_DONE);
    assert_int_equal(drop(&b, "/t").outcome, KP_STORE_MISSING);
    assert_failed(drop(&b, "/t"), "non empty");
    assert_int_equal(get(&b, "/t").outcome, KP_STORE_MISSING);
    assert_int_equal(get(&b, "/t").outcome, KP_STORE_MISSING);
    assert_failed(get(&b, "/t"), "safe mode");
    finish(&b);
}

static void test_close_ends_what_is_under_way(void **state) {
    (void)state;
    const http_step steps[] = {{.status = "200 OK", .delay_ms = 60000}};
    bench b = start(STEPS(steps), 0, 0);
    seen out[3] = {{0}};
    kp_error err;
    assert_int_equal(b.store->ops->put(b.store, "/t", kp_bytes_of("x"), on_done, &out[0], NULL), KP_OK);
    assert_int_equal(b.store->ops->rename(b.store, "/t", "/f", on_done, &out[1], NULL), KP_OK);
    assert_int_equal(b.store->ops->put(b.store, "relative", kp_bytes_of("x"), on_done, &out[2], &err), KP_REJECT);
    assert_int_equal(b.store->ops->rename(b.store, "/a", "/../etc", on_done, &out[2], &err), KP_REJECT);
    assert_int_equal(kp_http_pump(b.http, NULL), KP_OK);
    b.store->ops->close(b.store);
    kp_store_webhdfs.close(NULL);
    assert_int_equal(out[0].done, 1);
    assert_int_equal(out[1].done, 1);
    assert_int_equal(out[2].done, 0);
    assert_int_equal(out[0].err.status, KP_CLOSED);
    kp_http_free(b.http);
    http_script_free(b.script);
}

static void test_configuration(void **state) {
    (void)state;
    static const struct {
        const char *config;
        const char *message;
    } bad[] = {
        {"{\"user\":\"x\"}", "configuration: \"urls\" is missing"},
        {"{\"urls\":[\"http://h\"]}", "configuration: \"user\" is missing"},
        {"{\"urls\":[],\"user\":\"x\"}", "configuration: \"urls\" is empty"},
        {"{\"urls\":[7],\"user\":\"x\"}", "hdfs: the url \"\" cannot be used: it is neither http:// nor https://"},
        {"{\"urls\":[\"hdfs://h:8020\"],\"user\":\"x\"}",
         "hdfs: the url \"hdfs://h:8020\" cannot be used: it is neither http:// nor https://"},
        {"{\"urls\":[\"http://kim:geheim@h:9870\"],\"user\":\"x\"}",
         "hdfs: the url \"http://h:9870\" cannot be used: the port is no number from 1 to 65535"},
        {"{\"urls\":[\"http://h:9870/data\"],\"user\":\"x\"}",
         "hdfs: the url \"http://h:9870/data\" cannot be used: it has a path that is not /webhdfs/v1"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kp_store *store;
        kp_error err;
        assert_int_equal(open_store(&store, NULL, bad[i].config, &err), KP_FATAL);
        assert_string_equal(err.message, bad[i].message);
    }
    kp_store *store;
    assert_int_equal(open_store(&store, NULL, "{\"urls\":[\"http://h:9870/webhdfs/v1/\"],\"user\":null}", NULL), KP_OK);
    store->ops->close(store);
    assert_null(kp_store_find("s3"));
    assert_ptr_equal(kp_store_find("file"), &kp_store_local);
}

static const http_step sweep_rules[] = {
    {.expect = "op=CREATE&no", OK_BODY(LOCATION)},
    {.expect = "PUT /dn/", .status = "201 Created"},
    {.expect = "/t?op=GETFILESTATUS", OK_BODY(FILE_OF(1))},
    {.expect = "op=GETFILESTATUS", NOT_FOUND},
    {.expect = "op=RENAME", NOT_FOUND},
    {.expect = "op=MKDIRS", OK_BODY("{\"boolean\":true}")},
    {.expect = "op=LISTSTATUS", OK_BODY("{\"FileStatuses\":{\"FileStatus\":[{\"pathSuffix\":\"a\"}]}}")},
    {.expect = "op=OPEN", OK_BODY(LOCATION)},
    {.expect = "GET /dn/", OK_BODY("content")},
    {.expect = "op=DELETE", OK_BODY("{\"boolean\":true}")},
};

/* A store's whole life with the n-th allocation failing; false when none was left to fail. */
static bool life_with_failure(const char *config, int64_t n) {
    kp_http *http = NULL;
    kp_store *store = NULL;
    seen out[6] = {{0}};
    bool failed = true;
    kp_mem_fail_at(n);
    if (kp_http_new(&http, &(kp_http_options){.timeout_ms = 10000}, NULL) == KP_OK &&
        open_store(&store, http, config, NULL) == KP_OK) {
        kp_status st[6] = {store->ops->put(store, "/d/t", kp_bytes_of("x"), on_done, &out[0], NULL),
                           store->ops->rename(store, "/d/t", "/e/f", on_done, &out[1], NULL),
                           store->ops->status(store, "/d/t", on_done, &out[2], NULL),
                           store->ops->list(store, "/d/", on_done, &out[3], NULL),
                           store->ops->read(store, "/d/t", on_done, &out[4], NULL),
                           store->ops->remove(store, "/d/t", on_done, &out[5], NULL)};
        failed = false;
        for (size_t i = 0; i < 6; i++) {
            if (st[i] == KP_OK) {
                kp_spin(http, &out[i].done, 1);
            }
            assert_int_equal(out[i].done, st[i] == KP_OK);
            assert_true(i == 1 || st[i] == KP_NOMEM || out[i].outcome == KP_STORE_DONE ||
                        out[i].outcome == KP_STORE_FAILED);
            failed = failed || st[i] != KP_OK || out[i].err.status == KP_NOMEM;
        }
    }
    kp_mem_fail_at(0);
    kp_store_webhdfs.close(store);
    kp_http_free(http);
    assert_int_equal(kp_mem_live(), 0);
    return failed;
}

static void test_every_allocation_may_fail(void **state) {
    (void)state;
    char config[128];
    http_script *script = http_script_new(STEPS(sweep_rules), HTTP_RULES);
    snprintf(config, sizeof config, "{\"urls\":[\"http://127.0.0.1:%d\"],\"user\":\"kim\"}", http_script_port(script));
    int64_t n = 1;
    while (life_with_failure(config, n)) {
        n++;
    }
    assert_in_range(n, 50, 500);
    http_script_free(script);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_put_asks_sends_and_measures),
        KP_TEST(test_put_through_httpfs),
        KP_TEST(test_put_that_arrived_in_part_is_not_done),
        KP_TEST(test_put_says_why_it_was_refused),
        KP_TEST(test_dead_datanode_is_not_asked_for_again),
        KP_TEST(test_pieces_are_files_of_their_own),
        KP_TEST(test_join_goes_on_where_it_is),
        KP_TEST(test_join_without_its_pieces),
        KP_TEST(test_redirect_to_nowhere_good_is_not_followed),
        KP_TEST(test_a_delegation_token_in_place_of_a_user),
        KP_TEST(test_redirects_only_to_hosts_that_are_allowed),
        KP_TEST(test_standby_and_dead_namenodes),
        KP_TEST(test_put_begins_again_when_the_datanode_meets_a_standby),
        KP_TEST(test_rename_on_a_namenode),
        KP_TEST(test_rename_reads_the_boolean_of_httpfs),
        KP_TEST(test_rename_is_not_done_on_any_other_answer),
        KP_TEST(test_status_list_remove_read),
        KP_TEST(test_close_ends_what_is_under_way),
        KP_TEST(test_configuration),
        KP_TEST(test_every_allocation_may_fail),
    };
    return kp_test_run(tests);
}
