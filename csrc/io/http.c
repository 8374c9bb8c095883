/* HTTP over libcurl's multi interface: see http.h.
 *
 * A transfer is one easy handle with its request and reply; finished ones wait in a pool, so that their handles (and,
 * through the multi handle, their connections) are used again. The request body goes out as POSTFIELDS whatever the
 * method: libcurl then sends it from the caller's memory and can rewind it by itself.
 */
#include "io/http.h"

#include "core/mem.h"
#include "io/url.h"

#include <arpa/inet.h>
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
    KP_HTTP_CONNECT_TIMEOUT_MS = 5000,
    KP_HTTP_MAX_REPLY = 64 << 20,
    KP_HTTP_KEPT_REPLY = 1 << 20, /* a pooled transfer keeps no larger reply buffer than this */
    KP_HTTP_LEAST_RATE = 16,      /* bytes a millisecond that a request's body is given time for */
    KP_HTTP_UPLOAD_BUFFER = 512 << 10,
    KP_HTTP_LABEL_MAX = 400,
};

typedef struct transfer transfer;

struct transfer {
    kp_http *http;
    CURL *easy;                 /* owned */
    struct curl_slist *headers; /* owned, of the request under way */
    kp_buf reply;
    kp_http_on_done on_done;
    void *ctx;
    size_t body_length;
    int attempts;                    /* how often libcurl began to send: more than once after a stale connection */
    char tried_ip[INET6_ADDRSTRLEN]; /* of the last connection that was begun */
    bool head_is_whole;              /* libcurl takes a connection that closes within the head for the end of it */
    bool reply_too_long;
    bool no_memory;                /* the reply could not be kept */
    char label[KP_HTTP_LABEL_MAX]; /* "PUT http://host/path", for messages */
    char detail[CURL_ERROR_SIZE];  /* libcurl's own words */
    transfer *next;
    transfer *previous; /* of the active list only */
};

struct kp_http {
    CURLM *multi; /* owned */
    char *user;   /* owned, as the texts after it; NULL: no authentication */
    char *password;
    char *authorization; /* the header, with its name */
    char *ca_file;
    char *cert_file;
    char *key_file;
    char *key_password;
    long timeout_ms;
    long connect_timeout_ms;
    size_t max_reply_bytes;
    transfer *active; /* owned, as those in pool are */
    transfer *pool;
    size_t active_count;
    bool closing;
};

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void curl_start(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static long clamp_ms(int64_t ms) {
    return ms > INT_MAX ? INT_MAX : ms < 0 ? 0 : (long)ms;
}

static void transfer_free(transfer *t) {
    if (t->easy) {
        curl_easy_cleanup(t->easy);
    }
    curl_slist_free_all(t->headers);
    kp_buf_deinit(&t->reply);
    kp_free(t);
}

static size_t on_body(char *data, size_t size, size_t count, void *arg) {
    transfer *t = arg;
    size_t length = size * count;
    if (length > t->http->max_reply_bytes - t->reply.length) {
        t->reply_too_long = true;
        return 0;
    }
    if (kp_buf_append(&t->reply, data, length, NULL) != KP_OK) {
        t->no_memory = true;
        return 0;
    }
    return length;
}

static size_t on_head_line(char *line, size_t size, size_t count, void *arg) {
    transfer *t = arg;
    size_t length = size * count;
    bool begins = length >= 5 && memcmp(line, "HTTP/", 5) == 0; /* once more after a 100 Continue */
    t->head_is_whole = !begins && (t->head_is_whole || length <= 2);
    return length;
}

static int on_attempt(void *arg, char *remote_ip, char *local_ip, int remote_port, int local_port) {
    (void)remote_ip, (void)local_ip, (void)remote_port, (void)local_port;
    ((transfer *)arg)->attempts++;
    return CURL_PREREQFUNC_OK;
}

/* libcurl does not tell the address of a connection that failed. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address) {
    transfer *t = arg;
    (void)purpose;
    const void *ip = address->family == AF_INET6 ? (const void *)&((struct sockaddr_in6 *)&address->addr)->sin6_addr
                                                 : (const void *)&((struct sockaddr_in *)&address->addr)->sin_addr;
    inet_ntop(address->family, ip, t->tried_ip, sizeof t->tried_ip);
    int fd = socket(address->family, address->socktype, address->protocol);
    if (fd >= 0) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    return fd; /* -1 is CURL_SOCKET_BAD */
}

/* Verification of the server stays on, as it is by default. */
static void transfer_set_tls(transfer *t) {
    const kp_http *self = t->http;
    if (self->ca_file) {
        curl_easy_setopt(t->easy, CURLOPT_CAINFO, self->ca_file);
    }
    if (self->cert_file) {
        curl_easy_setopt(t->easy, CURLOPT_SSLCERT, self->cert_file);
        curl_easy_setopt(t->easy, CURLOPT_SSLKEY, self->key_file ? self->key_file : self->cert_file);
        curl_easy_setopt(t->easy, CURLOPT_KEYPASSWD, self->key_password);
    }
}

/* What never changes from request to request. */
static void transfer_set_constants(transfer *t) {
    kp_http *self = t->http;
    CURL *easy = t->easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)KP_HTTP_UPLOAD_BUFFER);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "kafkapipe");
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->detail);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head_line);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_attempt);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, t);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, t);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, self->connect_timeout_ms);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (self->timeout_ms + 999) / 1000);
    transfer_set_tls(t);
}

static transfer *transfer_new(kp_http *self) {
    transfer *t = kp_calloc(1, sizeof *t);
    if (!t) {
        return NULL;
    }
    t->http = self;
    t->easy = curl_easy_init();
    if (!t->easy) {
        transfer_free(t);
        return NULL;
    }
    transfer_set_constants(t);
    return t;
}

static transfer *transfer_take(kp_http *self) {
    transfer *t = self->pool;
    if (!t) {
        return transfer_new(self);
    }
    self->pool = t->next;
    return t;
}

/* Back into the pool, with nothing of the old request left. */
static void transfer_give_back(transfer *t) {
    kp_http *self = t->http;
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, NULL);
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, NULL);
    curl_slist_free_all(t->headers);
    t->headers = NULL;
    if (t->reply.capacity > KP_HTTP_KEPT_REPLY) {
        kp_buf_deinit(&t->reply);
    }
    kp_buf_reset(&t->reply);
    t->next = self->pool;
    self->pool = t;
}

static void active_add(transfer *t) {
    kp_http *self = t->http;
    t->previous = NULL;
    t->next = self->active;
    if (self->active) {
        self->active->previous = t;
    }
    self->active = t;
    self->active_count++;
}

static void active_remove(transfer *t) {
    kp_http *self = t->http;
    if (t->previous) {
        t->previous->next = t->next;
    } else {
        self->active = t->next;
    }
    if (t->next) {
        t->next->previous = t->previous;
    }
    self->active_count--;
}

static bool add_header(transfer *t, const char *line) {
    struct curl_slist *longer = curl_slist_append(t->headers, line);
    if (longer) {
        t->headers = longer;
    }
    return longer != NULL;
}

static bool set_headers(transfer *t, const kp_http_request *request) {
    char type[160];
    bool none = !request->content_type; /* else libcurl claims that the body is a web form */
    snprintf(type, sizeof type, "Content-Type:%s%s", none ? "" : " ", none ? "" : request->content_type);
    bool authorize = t->http->authorization && !request->no_credentials;
    return add_header(t, "Expect:") && add_header(t, type) && (!authorize || add_header(t, t->http->authorization)) &&
           (!request->gzip_body || add_header(t, "Content-Encoding: gzip")) &&
           curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers) == CURLE_OK;
}

static bool set_method(transfer *t, const kp_http_request *request) {
    CURL *easy = t->easy;
    bool bodyless = strcmp(request->method, "GET") == 0 || strcmp(request->method, "DELETE") == 0;
    if (bodyless && !request->body.data) {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    } else { /* an empty body too: the server is told Content-Length: 0 */
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body.length ? request->body.data : "");
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.length);
    }
    return curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK;
}

static bool set_credentials(transfer *t, const kp_http_request *request) {
    const kp_http *self = t->http;
    bool with = self->user && !request->no_credentials;
    const char *password = with ? (self->password ? self->password : "") : NULL;
    return curl_easy_setopt(t->easy, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_USERNAME, with ? self->user : NULL) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_PASSWORD, password) == CURLE_OK;
}

static bool transfer_prepare(transfer *t, const kp_http_request *request) {
    t->body_length = request->body.length;
    t->attempts = 0;
    t->head_is_whole = t->reply_too_long = t->no_memory = false;
    t->detail[0] = t->tried_ip[0] = '\0';
    int method = snprintf(t->label, sizeof t->label, "%.16s ", request->method);
    kp_url_show(request->url, t->label + method, sizeof t->label - (size_t)method);
    int64_t most = t->http->timeout_ms + (int64_t)(t->body_length / KP_HTTP_LEAST_RATE);
    long timeout = t->http->timeout_ms ? clamp_ms(most) : 0;
    return curl_easy_setopt(t->easy, CURLOPT_URL, request->url) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, timeout) == CURLE_OK && set_method(t, request) &&
           set_headers(t, request) && set_credentials(t, request);
}

kp_status kp_http_send(kp_http *self, const kp_http_request *request, kp_http_on_done on_done, void *ctx,
                       kp_error *err) {
    if (self->closing) {
        return kp_error_set(err, KP_CLOSED, "", "the http client is closed");
    }
    transfer *t = transfer_take(self);
    if (!t) {
        return kp_error_nomem(err);
    }
    t->on_done = on_done;
    t->ctx = ctx;
    if (!transfer_prepare(t, request) || curl_multi_add_handle(self->multi, t->easy) != CURLM_OK) {
        transfer_give_back(t);
        return kp_error_nomem(err); /* nothing else makes these calls fail */
    }
    active_add(t);
    return KP_OK;
}

/* A short name for err.code, and the reason in words. */
static const char *describe(transfer *t, CURLcode result, const char **words) {
    long number = 0;
    switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
        *words = "the host name is not known";
        return "ENOTFOUND";
    case CURLE_COULDNT_CONNECT:
        curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &number);
        *words = number == ECONNREFUSED ? "connection refused" : "no connection";
        return number == ECONNREFUSED ? "ECONNREFUSED" : "ENOTCONN";
    case CURLE_OPERATION_TIMEDOUT:
        *words = t->attempts ? "no answer in time" : "no connection in time";
        return "ETIMEDOUT";
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
        *words = "connection lost before the whole answer came";
        return "ECONNRESET";
    case CURLE_SEND_ERROR:
        *words = "connection lost while sending";
        return "ECONNRESET";
    default:
        *words = t->detail[0] ? t->detail : curl_easy_strerror(result);
        return "EPROTO";
    }
}

static void explain(transfer *t, CURLcode result, kp_http_reply *reply) {
    const char *words;
    reply->transport = KP_RETRY;
    if (result == CURLE_OUT_OF_MEMORY || t->no_memory) {
        reply->transport = kp_error_nomem(&reply->err);
    } else if (t->reply_too_long) {
        kp_error_set(&reply->err, KP_RETRY, "EMSGSIZE", "%s: the answer is longer than %zu bytes", t->label,
                     t->http->max_reply_bytes);
    } else {
        const char *code = describe(t, result, &words);
        kp_error_set(&reply->err, KP_RETRY, code, "%s: %s", t->label, words);
    }
}

/* Only one attempt whose body did not go out whole is certain not to have been acted on. */
static bool was_sent(transfer *t) {
    curl_off_t uploaded = 0;
    if (t->attempts == 1 && t->body_length > 0) {
        curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
        return (size_t)uploaded >= t->body_length;
    }
    return t->attempts > 0;
}

static void read_answer(transfer *t, kp_http_reply *reply) {
    long status = 0;
    curl_off_t retry_after = 0;
    struct curl_header *location;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    reply->status = (int)status;
    reply->body = (kp_bytes){t->reply.data ? t->reply.data : "", t->reply.length};
    if (curl_easy_header(t->easy, "Location", 0, CURLH_HEADER, -1, &location) == CURLHE_OK) {
        reply->location = location->value;
    }
    curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry_after);
    if (retry_after > 0) {
        reply->retry_after_ms = retry_after > INT_MAX ? INT_MAX : (int64_t)retry_after * 1000;
    }
}

static const char *remote_ip(transfer *t) {
    char *ip = NULL; /* of the connection that was used, also when it was an old one */
    curl_easy_getinfo(t->easy, CURLINFO_PRIMARY_IP, &ip);
    return ip && *ip ? ip : t->tried_ip;
}

static void transfer_end(transfer *t, CURLcode result, bool closed) {
    kp_http_reply reply = {.retry_after_ms = -1, .remote_ip = remote_ip(t)};
    if (result == CURLE_OK && !t->head_is_whole) {
        result = CURLE_RECV_ERROR;
    }
    if (closed) {
        reply.transport = kp_error_set(&reply.err, KP_CLOSED, "", "%s: closed before the answer came", t->label);
    } else if (result != CURLE_OK) {
        explain(t, result, &reply);
    } else {
        read_answer(t, &reply);
    }
    reply.sent = result == CURLE_OK || was_sent(t);
    curl_multi_remove_handle(t->http->multi, t->easy);
    active_remove(t);
    t->on_done(t->ctx, &reply);
    transfer_give_back(t);
}

static bool keep_text(char **kept, const char *text) {
    *kept = text ? kp_strdup(text) : NULL;
    return *kept || !text;
}

static bool keep_authorization(kp_http *self, const char *value) {
    kp_buf line = {0};
    if (value && kp_buf_printf(&line, NULL, "Authorization: %s", value) == KP_OK) {
        self->authorization = kp_strndup(line.data, line.length);
    }
    kp_buf_deinit(&line);
    return self->authorization || !value;
}

static bool keep_options(kp_http *self, const kp_http_options *options) {
    return keep_text(&self->user, options->user) && keep_text(&self->password, options->password) &&
           keep_authorization(self, options->authorization) && keep_text(&self->ca_file, options->ca_file) &&
           keep_text(&self->cert_file, options->cert_file) && keep_text(&self->key_file, options->key_file) &&
           keep_text(&self->key_password, options->key_password);
}

kp_status kp_http_new(kp_http **out, const kp_http_options *options, kp_error *err) {
    pthread_once(&curl_once, curl_start);
    *out = NULL;
    kp_http *self = kp_calloc(1, sizeof *self);
    if (!self) {
        return kp_error_nomem(err);
    }
    self->timeout_ms = clamp_ms(options->timeout_ms);
    self->connect_timeout_ms =
        options->connect_timeout_ms ? clamp_ms(options->connect_timeout_ms) : KP_HTTP_CONNECT_TIMEOUT_MS;
    self->max_reply_bytes = options->max_reply_bytes ? options->max_reply_bytes : KP_HTTP_MAX_REPLY;
    self->multi = curl_multi_init();
    if (!self->multi || !keep_options(self, options)) {
        kp_http_free(self);
        return kp_error_nomem(err);
    }
    *out = self;
    return KP_OK;
}

void kp_http_free(kp_http *self) {
    if (!self) {
        return;
    }
    self->closing = true;
    while (self->active) {
        transfer_end(self->active, CURLE_OK, true);
    }
    while (self->pool) {
        transfer *t = self->pool;
        self->pool = t->next;
        transfer_free(t);
    }
    if (self->multi) {
        curl_multi_cleanup(self->multi);
    }
    kp_free(self->user);
    kp_free(self->password);
    kp_free(self->authorization);
    kp_free(self->ca_file);
    kp_free(self->cert_file);
    kp_free(self->key_file);
    kp_free(self->key_password);
    kp_free(self);
}

static transfer *find_active(kp_http *self, const void *ctx) {
    transfer *t = self->active;
    while (t && t->ctx != ctx) {
        t = t->next;
    }
    return t;
}

void kp_http_cancel(kp_http *self, const void *ctx) {
    transfer *t;
    while ((t = find_active(self, ctx))) {
        transfer_end(t, CURLE_OK, true);
    }
}

kp_status kp_http_pump(kp_http *self, kp_error *err) {
    int running;
    int queued;
    CURLMsg *message;
    CURLMcode result = curl_multi_perform(self->multi, &running);
    if (result != CURLM_OK) {
        return kp_error_set(err, KP_FATAL, "", "libcurl: %s", curl_multi_strerror(result));
    }
    while ((message = curl_multi_info_read(self->multi, &queued))) {
        if (message->msg == CURLMSG_DONE) {
            char *owner = NULL;
            CURLcode code = message->data.result;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
            transfer_end((transfer *)(void *)owner, code, false);
        }
    }
    return KP_OK;
}

kp_status kp_http_wait(kp_http *self, const int *fds, bool *ready, size_t fd_count, int64_t timeout_ms, kp_error *err) {
    struct curl_waitfd extra[KP_HTTP_WAIT_MAX];
    assert(fd_count <= KP_HTTP_WAIT_MAX);
    for (size_t i = 0; i < fd_count; i++) {
        extra[i] = (struct curl_waitfd){.fd = fds[i], .events = CURL_WAIT_POLLIN};
        ready[i] = false;
    }
    CURLMcode result = curl_multi_poll(self->multi, extra, (unsigned)fd_count, (int)clamp_ms(timeout_ms), NULL);
    if (result != CURLM_OK) {
        return kp_error_set(err, KP_FATAL, "", "libcurl: %s", curl_multi_strerror(result));
    }
    for (size_t i = 0; i < fd_count; i++) {
        ready[i] = extra[i].revents != 0;
    }
    return KP_OK;
}

void kp_http_wake(kp_http *self) {
    curl_multi_wakeup(self->multi);
}

size_t kp_http_active(const kp_http *self) {
    return self->active_count;
}

const char *kp_http_version(void) {
    return curl_version_info(CURLVERSION_NOW)->version;
}
