/* A server that stands in for Elasticsearch and HDFS, so that a benchmark measures its client: it answers _bulk and
 * WebHDFS correctly, as cheaply as it can, and keeps the proof of what arrived. One thread, epoll, loopback.
 *
 *   standin                    prints its port; ends when its input ends, so with its parent
 *   standin --sum lines|bulk   prints the proof of its input, as the server would count that body
 *
 * POST or PUT .../_bulk, /webhdfs/v1/..., GET /stats. Any other GET is answered as the root of Elasticsearch is.
 */
#include "standin.h"
#include "core/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN_BYTES = 256 << 10, TARGET_BYTES = 4096, EVENTS_MAX = 64, STATUS_BYTES = 256 };

typedef enum { REQUEST_LINE, HEADERS, BODY, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILERS } phase;

typedef struct {
    int fd;
    phase phase;
    size_t in_start;
    size_t in_end;
    uint64_t left; /* of the body or the chunk */
    bool chunked;
    char method[16];
    char target[TARGET_BYTES];
    body body;
    kp_buf out; /* owned: the answer, from out_at on still to be written */
    size_t out_at;
    char in[IN_BYTES];
} connection;

static int poller;
static uint64_t bulk_requests;
static proof documents;

static void die(const char *what) {
    fprintf(stderr, "standin: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void must(kp_status st, const kp_error *err) {
    if (st != KP_OK) {
        fprintf(stderr, "standin: %s\n", err->message);
        exit(1);
    }
}

/* ---- answers ---- */

static kp_status say_items(const body *body, answer *out, kp_error *err) {
    static const char item[] = "{\"create\":{\"status\":201}},";
    kp_status st;
    KP_TRY(kp_buf_append_text(out->body, "{\"errors\":false,\"items\":[", err));
    KP_TRY(kp_buf_reserve(out->body, body->proof.records * (sizeof item - 1) + 2, err));
    for (uint64_t i = 0; i < body->proof.records; i++) {
        KP_TRY(kp_buf_append(out->body, item, sizeof item - 1 - (i + 1 == body->proof.records), err));
    }
    KP_TRY(kp_buf_append_text(out->body, "]}", err));
done:
    return st;
}

static kp_status answer_bulk(const body *body, answer *out, kp_error *err) {
    if (body->malformed || body->proof.records == 0) {
        out->status = 400;
        return kp_buf_append_text(out->body,
                                  "{\"error\":{\"type\":\"illegal_argument_exception\",\"reason\":\"the body is not "
                                  "pairs of action and source lines\"},\"status\":400}",
                                  err);
    }
    bulk_requests++;
    proof_add(&documents, &body->proof);
    return say_items(body, out, err);
}

static kp_status append_proof(kp_buf *json, const proof *what, kp_error *err) {
    return kp_buf_printf(json, err, "\"records\":%llu,\"bytes\":%llu,\"checksum\":\"%016llx\"",
                         (unsigned long long)what->records, (unsigned long long)what->bytes,
                         (unsigned long long)what->checksum);
}

static kp_status answer_stats(answer *out, kp_error *err) {
    kp_status st;
    uint64_t files;
    proof lines = hdfs_proof(&files);
    KP_TRY(kp_buf_printf(out->body, err, "{\"bulk\":{\"requests\":%llu,", (unsigned long long)bulk_requests));
    KP_TRY(append_proof(out->body, &documents, err));
    KP_TRY(kp_buf_printf(out->body, err, "},\"hdfs\":{\"files\":%llu,", (unsigned long long)files));
    KP_TRY(append_proof(out->body, &lines, err));
    KP_TRY(kp_buf_append_text(out->body, "}}", err));
done:
    return st;
}

static bool is_bulk(const connection *self) {
    size_t length = strcspn(self->target, "?");
    bool sends = strcmp(self->method, "POST") == 0 || strcmp(self->method, "PUT") == 0;
    return sends && length >= 6 && memcmp(self->target + length - 6, "/_bulk", 6) == 0;
}

static request request_of(const connection *self) {
    return (request){kp_bytes_of(self->method), kp_bytes_of(self->target)};
}

static kp_status choose_answer(connection *self, answer *out, kp_error *err) {
    request req = request_of(self);
    if (is_bulk(self)) {
        return answer_bulk(&self->body, out, err);
    }
    if (hdfs_is_upload(&req) || strncmp(self->target, "/webhdfs/v1/", 12) == 0) {
        return hdfs_answer(&req, &self->body, out, err);
    }
    if (strcmp(self->target, "/stats") == 0) {
        return answer_stats(out, err);
    }
    return kp_buf_append_text(
        out->body, "{\"cluster_name\":\"standin\",\"version\":{\"number\":\"9.0.0\"},\"tagline\":\"stand-in\"}", err);
}

static const char *words(int status) {
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 307:
        return "Temporary Redirect";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    default:
        return "Not Found";
    }
}

static void finish_request(connection *self) {
    kp_error err;
    kp_buf json = {0};
    kp_buf location = {0};
    answer out = {.status = 200, .body = &json, .location = &location};
    body_end(&self->body);
    must(choose_answer(self, &out, &err), &err);
    must(kp_buf_printf(&self->out, &err,
                       "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nX-elastic-product: Elasticsearch\r\n"
                       "Content-Length: %zu\r\n%s%.*s%s\r\n",
                       out.status, words(out.status), json.length, location.length ? "Location: " : "",
                       (int)location.length, location.length ? location.data : "", location.length ? "\r\n" : ""),
         &err);
    must(kp_buf_append(&self->out, json.data, json.length, &err), &err);
    kp_buf_deinit(&json);
    kp_buf_deinit(&location);
    self->phase = REQUEST_LINE;
}

/* ---- requests ---- */

static bool take_line(connection *self, kp_bytes *line) {
    const char *start = self->in + self->in_start;
    const char *newline = memchr(start, '\n', self->in_end - self->in_start);
    if (!newline) {
        return false;
    }
    size_t length = (size_t)(newline - start);
    self->in_start += length + 1;
    *line = (kp_bytes){start, length && start[length - 1] == '\r' ? length - 1 : length};
    return true;
}

/* False: not a request. */
static bool on_request_line(connection *self, kp_bytes line) {
    const char *space = memchr(line.data, ' ', line.length);
    const char *target = space ? space + 1 : NULL;
    const char *end = target ? memchr(target, ' ', (size_t)(line.data + line.length - target)) : NULL;
    if (!end || (size_t)(space - line.data) >= sizeof self->method || (size_t)(end - target) >= sizeof self->target) {
        return false;
    }
    snprintf(self->method, sizeof self->method, "%.*s", (int)(space - line.data), line.data);
    snprintf(self->target, sizeof self->target, "%.*s", (int)(end - target), target);
    self->left = 0;
    self->chunked = false;
    self->phase = HEADERS;
    return true;
}

static bool value_of(kp_bytes line, const char *name, char value[64]) {
    size_t length = strlen(name);
    if (line.length <= length || line.data[length] != ':' || strncasecmp(line.data, name, length) != 0) {
        return false;
    }
    snprintf(value, 64, "%.*s", (int)(line.length - length - 1), line.data + length + 1);
    return true;
}

static void on_header(connection *self, kp_bytes line) {
    kp_error err;
    char value[64];
    if (value_of(line, "content-length", value)) {
        self->left = strtoull(value, NULL, 10);
    } else if (value_of(line, "transfer-encoding", value)) {
        self->chunked = strstr(value, "chunked") != NULL;
    } else if (value_of(line, "expect", value)) {
        must(kp_buf_append_text(&self->out, "HTTP/1.1 100 Continue\r\n\r\n", &err), &err);
    }
}

static void begin_body(connection *self) {
    request req = request_of(self);
    body_begin(&self->body, is_bulk(self) ? BODY_BULK : hdfs_is_upload(&req) ? BODY_LINES : BODY_IGNORED);
    self->phase = self->chunked ? CHUNK_SIZE : BODY;
    if (self->phase == BODY && self->left == 0) {
        finish_request(self);
    }
}

static bool on_line(connection *self, kp_bytes line) {
    switch (self->phase) {
    case REQUEST_LINE:
        return line.length == 0 || on_request_line(self, line);
    case HEADERS:
        line.length ? on_header(self, line) : begin_body(self);
        return true;
    case CHUNK_SIZE:
        self->left = strtoull(line.data, NULL, 16);
        self->phase = self->left ? CHUNK : TRAILERS;
        return true;
    case CHUNK_END:
        self->phase = CHUNK_SIZE;
        return line.length == 0;
    default: /* TRAILERS */
        if (line.length == 0) {
            finish_request(self);
        }
        return true;
    }
}

static void take_body(connection *self) {
    size_t there = self->in_end - self->in_start;
    size_t length = self->left < there ? (size_t)self->left : there;
    body_feed(&self->body, (kp_bytes){self->in + self->in_start, length});
    self->in_start += length;
    self->left -= length;
    if (self->left == 0 && self->phase == CHUNK) {
        self->phase = CHUNK_END;
    } else if (self->left == 0) {
        finish_request(self);
    }
}

/* Reads all that is there; false: it is no request. */
static bool take_input(connection *self) {
    kp_bytes line;
    while (self->in_start < self->in_end) {
        if (self->phase == BODY || self->phase == CHUNK) {
            take_body(self);
        } else if (!take_line(self, &line)) {
            return self->in_end - self->in_start < TARGET_BYTES;
        } else if (!on_line(self, line)) {
            return false;
        }
    }
    return true;
}

/* ---- connections ---- */

static void watch(connection *self, int op, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = self};
    if (epoll_ctl(poller, op, self->fd, &event) < 0) {
        die("epoll");
    }
}

static void connection_free(connection *self) {
    close(self->fd);
    kp_buf_deinit(&self->out);
    kp_buf_deinit(&self->body.carry);
    kp_free(self);
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        connection *self = kp_calloc(1, sizeof *self);
        if (!self || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
            die("connection");
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        self->fd = fd;
        watch(self, EPOLL_CTL_ADD, EPOLLIN);
    }
}

/* False: the connection is over. */
static bool write_out(connection *self) {
    while (self->out_at < self->out.length) {
        ssize_t sent = send(self->fd, self->out.data + self->out_at, self->out.length - self->out_at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            watch(self, EPOLL_CTL_MOD, EPOLLOUT); /* nothing is read until the answer is out */
            return true;
        }
        if (sent < 0) {
            return false;
        }
        self->out_at += (size_t)sent;
    }
    kp_buf_reset(&self->out);
    self->out_at = 0;
    return true;
}

static bool read_in(connection *self) {
    memmove(self->in, self->in + self->in_start, self->in_end - self->in_start);
    self->in_end -= self->in_start;
    self->in_start = 0;
    ssize_t got = recv(self->fd, self->in + self->in_end, sizeof self->in - self->in_end, 0);
    if (got < 0) {
        return errno == EAGAIN;
    }
    self->in_end += (size_t)got;
    return got > 0 && take_input(self) && write_out(self);
}

static void on_event(connection *self, uint32_t events) {
    bool alive;
    if (events & EPOLLOUT) {
        alive = write_out(self);
        if (alive && self->out.length == 0) {
            watch(self, EPOLL_CTL_MOD, EPOLLIN);
        }
    } else {
        alive = read_in(self);
    }
    if (!alive) {
        connection_free(self);
    }
}

static int listen_somewhere(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 128) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
        die("listen");
    }
    *port = ntohs(address.sin_port);
    return fd;
}

static int serve(void) {
    static char at_input; /* its address tells the input's events from a connection's */
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = &at_input};
    int port;
    int listener = listen_somewhere(&port);
    struct epoll_event accepts = {.events = EPOLLIN};
    struct epoll_event events[EVENTS_MAX];
    poller = epoll_create1(EPOLL_CLOEXEC);
    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, listener, &accepts) < 0 ||
        epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &input) < 0) {
        die("the input must be a pipe");
    }
    hdfs_init(port);
    printf("%d\n", port);
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(poller, events, EVENTS_MAX, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &at_input) {
                return 0;
            }
            events[i].data.ptr ? on_event(events[i].data.ptr, events[i].events) : accept_all(listener);
        }
    }
}

static int sum_input(body_kind kind) {
    static char piece[IN_BYTES];
    static body all;
    kp_error err;
    kp_buf json = {0};
    size_t got;
    body_begin(&all, kind);
    while ((got = fread(piece, 1, sizeof piece, stdin)) > 0) {
        body_feed(&all, (kp_bytes){piece, got});
    }
    body_end(&all);
    must(append_proof(&json, &all.proof, &err), &err);
    printf("{%.*s}\n", (int)json.length, json.data);
    kp_buf_deinit(&json);
    kp_buf_deinit(&all.carry);
    return all.malformed;
}

int main(int argc, char **argv) {
    if (argc == 1) {
        return serve();
    }
    if (argc == 3 && strcmp(argv[1], "--sum") == 0) {
        return sum_input(strcmp(argv[2], "bulk") == 0 ? BODY_BULK : BODY_LINES);
    }
    fprintf(stderr, "usage: standin [--sum lines|bulk]\n");
    return 2;
}
