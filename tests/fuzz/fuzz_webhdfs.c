/* Answers of a WebHDFS server. The first byte chooses the status; the rest is the body, or the Location of a redirect.
 *
 * Only what says so is done; a Location that is followed is read by libcurl as it was read here; nothing leaks.
 */
#include "core/mem.h"
#include "io/url.h"
#include "stores/webhdfs_reply.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

static void require(bool ok) {
    if (!ok) {
        abort();
    }
}

static void check_classify(int status, kp_bytes body) {
    webhdfs_verdict verdict;
    classify_webhdfs(status, body, &verdict);
    bool refusal = verdict.meaning == WEBHDFS_FAILED || verdict.meaning >= WEBHDFS_EXISTS;
    require(refusal == (verdict.err.status != KP_OK));
    require(refusal == (verdict.err.message[0] != '\0'));
    require(!strchr(verdict.err.message, '\n'));
    require(status < 300 || refusal || (status == 307 && verdict.meaning == WEBHDFS_REDIRECT));
    require(verdict.meaning != WEBHDFS_DONE || status == 201 || body.length == 0 || body.length >= 16);
}

static void require_part(CURLU *address, CURLUPart part, kp_bytes wanted) {
    char *text = NULL;
    require(curl_url_get(address, part, &text, CURLU_DEFAULT_PORT) == CURLUE_OK);
    require(strlen(text) == wanted.length && memcmp(text, wanted.data, wanted.length) == 0);
    curl_free(text);
}

static void check_against_libcurl(const kp_buf *location, bool https) {
    kp_url url;
    char *user = NULL;
    char port[16];
    require(kp_url_parse(&url, (kp_bytes){location->data, location->length}, NULL) == KP_OK);
    require(!https || url.https);
    CURLU *address = curl_url();
    if (curl_url_set(address, CURLUPART_URL, location->data, 0) == CURLUE_OK) { /* what it refuses goes nowhere */
        snprintf(port, sizeof port, "%d", url.port);
        require_part(address, CURLUPART_SCHEME, url.https ? KP_BYTES_LITERAL("https") : KP_BYTES_LITERAL("http"));
        require_part(address, CURLUPART_PORT, kp_bytes_of(port));
        require(curl_url_get(address, CURLUPART_USER, &user, 0) == CURLUE_NO_USER);
        char *host = NULL;
        require(curl_url_get(address, CURLUPART_HOST, &host, 0) == CURLUE_OK);
        bool literal = host[0] == '[' || (host[0] >= '0' && host[0] <= '9'); /* libcurl writes these in its own way */
        require(literal || (strlen(host) == url.host.length && memcmp(host, url.host.data, url.host.length) == 0));
        curl_free(host);
    }
    curl_url_cleanup(address);
}

static void check_location(int status, kp_bytes body, bool https) {
    kp_buf out = {0};
    kp_error err;
    char *header = kp_strndup(body.data, body.length);
    require(header != NULL);
    if (webhdfs_location(status, body, header, https, &out, &err) == KP_OK) {
        check_against_libcurl(&out, https);
    } else {
        require(err.status == KP_RETRY);
    }
    kp_free(header);
    kp_buf_deinit(&out);
}

static void check_names(kp_bytes body) {
    kp_buf names = {0};
    size_t count;
    bool is_folder;
    if (webhdfs_names(body, &names, &count, &is_folder, NULL) == KP_OK) {
        const char *at = names.data;
        for (size_t i = 0; i < count; i++) {
            require(*at != '\0');
            at += strlen(at) + 1;
        }
        require(count == 0 || at == names.data + names.length);
    }
    kp_buf_deinit(&names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const int statuses[] = {200, 201, 307, 400, 403, 404, 500, 503};
    if (size == 0) {
        return 0;
    }
    int status = statuses[data[0] % 8];
    kp_bytes body = {(const char *)data + 1, size - 1};
    int64_t length;
    bool is_folder;
    check_classify(status, body);
    check_location(status, body, data[0] & 8);
    require(webhdfs_file_status(body, &length, &is_folder, NULL) != KP_OK || length >= 0);
    check_names(body);
    require(kp_mem_live() == 0);
    return 0;
}
