/* What answers of NameNodes, DataNodes and HttpFS mean, on bodies as the real servers (3.4.3) sent them. */
#include "kp_test.h"

#include "stores/webhdfs_reply.h"

#define REMOTE(name, message)                                                                                          \
    "{\"RemoteException\":{\"exception\":\"" name "\",\"javaClassName\":\"org.apache.hadoop." name                     \
    "\",\"message\":\"" message "\"}}"

static const struct {
    int status;
    const char *body;
    webhdfs_meaning meaning;
    kp_status disposition; /* of a failure */
    const char *message;
} answers[] = {
    {201, "", WEBHDFS_DONE, KP_OK, ""},
    {201, "{\"Location\":\"http:\\/\\/x\"}", WEBHDFS_DONE, KP_OK, ""}, /* HttpFS */
    {200, "", WEBHDFS_DONE, KP_OK, ""},
    {200, "{\"boolean\":true}", WEBHDFS_DONE, KP_OK, ""},
    {200, "{\"boolean\":false}", WEBHDFS_FALSE, KP_OK, ""},
    {200, "{\"boolean\":\"true\"}", WEBHDFS_FALSE, KP_OK, ""}, /* nobody sends that; it must not pass for done */
    {200, "{\"FileStatus\":{}}", WEBHDFS_ANSWER, KP_OK, ""},
    {307, "", WEBHDFS_REDIRECT, KP_OK, ""},
    {200, "{\"boolean\":tr", WEBHDFS_FAILED, KP_RETRY, "HTTP 200: the answer is not WebHDFS's"},
    {200, "<html>Login</html>", WEBHDFS_FAILED, KP_RETRY, "HTTP 200: the answer is not WebHDFS's"},
    {200, "[]", WEBHDFS_FAILED, KP_RETRY, "HTTP 200: the answer is not WebHDFS's"},
    {302, "", WEBHDFS_FAILED, KP_RETRY, "HTTP 302: not an answer of WebHDFS"},
    {400, "", WEBHDFS_FAILED, KP_RETRY, "HTTP 400: not an answer of WebHDFS"},
    {401, "<html>Authentication required</html>", WEBHDFS_FAILED, KP_RETRY, "HTTP 401: the server wants a login"},
    {404, "<html>Error 404 Not Found</html>", WEBHDFS_FAILED, KP_RETRY,
     "HTTP 404: no WebHDFS there: is the url right, and is dfs.webhdfs.enabled on?"},
    {502, "Bad Gateway", WEBHDFS_FAILED, KP_RETRY, "HTTP 502: the server has trouble"},
    {404, REMOTE("FileNotFoundException", "File does not exist: /data/홍"), WEBHDFS_MISSING, KP_RETRY,
     "FileNotFoundException: File does not exist: /data/홍 (HTTP 404)"},
    {404, REMOTE("FileNotFoundException", "rename destination parent \\/data\\/no\\/y not found."), WEBHDFS_MISSING,
     KP_RETRY, "FileNotFoundException: rename destination parent /data/no/y not found. (HTTP 404)"},
    {403, REMOTE("FileAlreadyExistsException", "rename destination /data/a already exists"), WEBHDFS_EXISTS, KP_RETRY,
     "FileAlreadyExistsException: rename destination /data/a already exists (HTTP 403)"},
    {403,
     REMOTE("FileAlreadyExistsException",
            "/data/x for client 127.0.0.1 already exists\\n\\tat org.apache.hadoop.FSDirWriteFileOp.startFile(x:388)"),
     WEBHDFS_EXISTS, KP_RETRY,
     "FileAlreadyExistsException: /data/x for client 127.0.0.1 already exists (HTTP 403)"}, /* no stack trace */
    {403, REMOTE("StandbyException", "Operation category READ is not supported in state standby"), WEBHDFS_STANDBY,
     KP_RETRY, "StandbyException: Operation category READ is not supported in state standby (HTTP 403)"},
    {403, REMOTE("RemoteException", "Operation category WRITE is not supported in state standby"), WEBHDFS_STANDBY,
     KP_RETRY, "RemoteException: Operation category WRITE is not supported in state standby (HTTP 403)"},
    {403,
     REMOTE("SafeModeException",
            "Cannot delete /x. Name node is in safe mode.\\nIt was turned on manually. Use \\\"hdfs"),
     WEBHDFS_FAILED, KP_RETRY, "SafeModeException: Cannot delete /x. Name node is in safe mode. (HTTP 403)"},
    {503, REMOTE("RetriableException", "NameNode still not started"), WEBHDFS_FAILED, KP_RETRY,
     "RetriableException: NameNode still not started (HTTP 503)"},
    {403, REMOTE("AccessControlException", "Permission denied: user=hadoop, access=WRITE, inode=\\\"/\\\":hdfs"),
     WEBHDFS_FAILED, KP_RETRY,
     "AccessControlException: Permission denied: user=hadoop, access=WRITE, inode=\"/\":hdfs (HTTP 403)"},
    {403, REMOTE("IOException", "Failed to find datanode, suggest to check cluster health. excludeDatanodes=10.0.0.1"),
     WEBHDFS_NO_DATANODE, KP_RETRY,
     "IOException: Failed to find datanode, suggest to check cluster health. excludeDatanodes=10.0.0.1 (HTTP 403)"},
    {403, REMOTE("IOException", "No active nodes contain this block"), WEBHDFS_NO_DATANODE, KP_RETRY,
     "IOException: No active nodes contain this block (HTTP 403)"},
    {403, REMOTE("IOException", "Source /a and destination /b must both be directories"), WEBHDFS_FAILED, KP_RETRY,
     "IOException: Source /a and destination /b must both be directories (HTTP 403)"},
    {400, REMOTE("InvalidPathException", "Invalid path name /data/a:b"), WEBHDFS_FAILED, KP_REJECT,
     "InvalidPathException: Invalid path name /data/a:b (HTTP 400)"},
    {400, REMOTE("IllegalArgumentException", "Pathname \\/a:b from \\/a:b is not a valid DFS filename."),
     WEBHDFS_FAILED, KP_REJECT,
     "IllegalArgumentException: Pathname /a:b from /a:b is not a valid DFS filename. (HTTP 400)"},
    {400, REMOTE("IllegalArgumentException", "Invalid value for webhdfs parameter \\\"user.name\\\""), WEBHDFS_FAILED,
     KP_RETRY, "IllegalArgumentException: Invalid value for webhdfs parameter \"user.name\" (HTTP 400)"},
    {403, REMOTE("RemoteException", "The maximum path component name limit of nn in directory /d is exceeded"),
     WEBHDFS_FAILED, KP_REJECT,
     "RemoteException: The maximum path component name limit of nn in directory /d is exceeded (HTTP 403)"},
    {403, REMOTE("PathComponentTooLongException", "x"), WEBHDFS_FAILED, KP_REJECT,
     "PathComponentTooLongException: x (HTTP 403)"},
    {403, "{\"RemoteException\":{\"exception\":\"NSQuotaExceededException\"}}", WEBHDFS_FAILED, KP_RETRY,
     "NSQuotaExceededException (HTTP 403)"},
    {403, "{\"RemoteException\":{\"exception\":7,\"message\":[]}}", WEBHDFS_FAILED, KP_RETRY,
     "HTTP 403: refused, without a reason of WebHDFS"},
    {403, "{\"RemoteException\":\"FileAlreadyExistsException\"}", WEBHDFS_FAILED, KP_RETRY,
     "HTTP 403: refused, without a reason of WebHDFS"},
};

static void test_every_answer_has_its_meaning(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        webhdfs_verdict verdict;
        classify_webhdfs(answers[i].status, kp_bytes_of(answers[i].body), &verdict);
        if (verdict.meaning != answers[i].meaning || verdict.err.status != answers[i].disposition) {
            fail_msg("HTTP %d %s: meaning %d, %s", answers[i].status, answers[i].body, (int)verdict.meaning,
                     kp_status_name(verdict.err.status));
        }
        assert_string_equal(verdict.err.message, answers[i].message);
    }
}

static kp_status locate(int status, const char *body, const char *header, bool https, kp_buf *out) {
    return webhdfs_location(status, kp_bytes_of(body), header, https, out, NULL);
}

static void test_location_is_taken_from_body_or_header(void **state) {
    (void)state;
    kp_buf out = {0};
    assert_int_equal(locate(200,
                            "{\"Location\":\"http://127.0.0.1:25085/webhdfs/v1/data/홍%20%22q%22%0A%25+x?op=CREATE"
                            "&user.name=hadoop&namenoderpcaddress=127.0.0.1:24069&createflag=&overwrite=true\"}",
                            "http://other/", false, &out),
                     KP_OK);
    assert_string_equal(out.data, "http://127.0.0.1:25085/webhdfs/v1/data/%ED%99%8D%20%22q%22%0A%25+x?op=CREATE"
                                  "&user.name=hadoop&namenoderpcaddress=127.0.0.1:24069&createflag=&overwrite=true");
    assert_int_equal(locate(307, "", "http://httpfs:14000/webhdfs/v1/x?op=CREATE&data=true", false, &out), KP_OK);
    assert_string_equal(out.data, "http://httpfs:14000/webhdfs/v1/x?op=CREATE&data=true");
    assert_int_equal(locate(307, "", "https://dn/x", true, &out), KP_OK);
    kp_buf_deinit(&out);
}

static void test_location_that_leads_astray_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        "/relative",
        "ftp://dn/x",
        "file:///etc/passwd",
        "http://user@dn/x",
        "gopher://x",
        "http://dn@evil/x",
        "http://dn:80\\@evil/x",
        "http://dn/x\r\nA: b",
        "//evil/x",
    };
    kp_buf out = {0};
    kp_error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (webhdfs_location(307, KP_BYTES_LITERAL(""), bad[i], false, &out, &err) != KP_RETRY) {
            fail_msg("%s is followed", bad[i]);
        }
        assert_int_equal(err.status, KP_RETRY);
    }
    assert_int_equal(webhdfs_location(307, KP_BYTES_LITERAL(""), "http://dn/x", true, &out, &err), KP_RETRY);
    assert_string_equal(err.message, "the server's redirect is not followed: it leaves https");
    assert_int_equal(webhdfs_location(307, KP_BYTES_LITERAL(""), NULL, false, &out, &err), KP_RETRY);
    assert_string_equal(err.message, "the server's answer has no Location");
    static const char *const bodies[] = {"", "{}", "{\"Location\":7}", "{\"Location\":null}", "[\"http://dn/\"]", "{"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        assert_int_equal(locate(200, bodies[i], "http://dn/", false, &out), KP_RETRY);
    }
    kp_buf_deinit(&out);
}

static void test_file_status(void **state) {
    (void)state;
    int64_t length;
    bool is_folder;
    kp_bytes file = KP_BYTES_LITERAL("{\"FileStatus\":{\"accessTime\":1795263471623,\"length\":9007199254740991,"
                                     "\"pathSuffix\":\"\",\"type\":\"FILE\"}}");
    assert_int_equal(webhdfs_file_status(file, &length, &is_folder, NULL), KP_OK);
    assert_int_equal(length, 9007199254740991);
    assert_false(is_folder);
    kp_bytes folder = KP_BYTES_LITERAL("{\"FileStatus\":{\"length\":0,\"type\":\"DIRECTORY\"}}");
    assert_int_equal(webhdfs_file_status(folder, &length, &is_folder, NULL), KP_OK);
    assert_true(is_folder);
    static const char *const bad[] = {
        "",
        "{}",
        "{\"FileStatus\":[]}",
        "{\"FileStatus\":{\"type\":\"FILE\"}}",
        "{\"FileStatus\":{\"length\":3}}",
        "{\"FileStatus\":{\"length\":\"3\",\"type\":\"FILE\"}}",
        "{\"FileStatus\":{\"length\":-1,\"type\":\"FILE\"}}",
        "{\"FileStatus\":{\"length\":1.5,\"type\":\"FILE\"}}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(webhdfs_file_status(kp_bytes_of(bad[i]), &length, &is_folder, NULL), KP_RETRY);
    }
}

static void test_names_of_a_listing(void **state) {
    (void)state;
    kp_buf names = {0};
    size_t count;
    bool is_folder;
    kp_bytes folder = KP_BYTES_LITERAL("{\"FileStatuses\":{\"FileStatus\":[\n{\"pathSuffix\":\"홍 \\\"q\\\"\\n%\"},"
                                       "{\"pathSuffix\":\"b\"}\n]}}\n");
    assert_int_equal(webhdfs_names(folder, &names, &count, &is_folder, NULL), KP_OK);
    assert_int_equal(count, 2);
    assert_true(is_folder);
    assert_memory_equal(names.data, "홍 \"q\"\n%\0b", 12);
    kp_buf_reset(&names);
    assert_int_equal(
        webhdfs_names(KP_BYTES_LITERAL("{\"FileStatuses\":{\"FileStatus\":[\n\n]}}"), &names, &count, &is_folder, NULL),
        KP_OK);
    assert_int_equal(count, 0);
    assert_true(is_folder);
    kp_bytes file = KP_BYTES_LITERAL("{\"FileStatuses\":{\"FileStatus\":[{\"pathSuffix\":\"\",\"type\":\"FILE\"}]}}");
    assert_int_equal(webhdfs_names(file, &names, &count, &is_folder, NULL), KP_OK);
    assert_int_equal(count, 0);
    assert_false(is_folder);
    static const char *const bad[] = {"", "{}", "{\"FileStatuses\":[]}", "{\"FileStatuses\":{\"FileStatus\":[{}]}}",
                                      "{\"FileStatuses\":{\"FileStatus\":[7]}}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(webhdfs_names(kp_bytes_of(bad[i]), &names, &count, &is_folder, NULL), KP_RETRY);
    }
    kp_buf_deinit(&names);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        KP_TEST(test_every_answer_has_its_meaning),
        KP_TEST(test_location_is_taken_from_body_or_header),
        KP_TEST(test_location_that_leads_astray_is_refused),
        KP_TEST(test_file_status),
        KP_TEST(test_names_of_a_listing),
    };
    return kp_test_run(tests);
}
