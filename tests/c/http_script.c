/* A scripted HTTP server: see http_script.h. One thread, one poll loop, a pipe to end it. */
#include "http_script.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS = 16, CHUNK = 1 << 20 };

typedef struct {
    int fd; /* -1: free */
    char *data;
    size_t length;
    size_t capacity;
    size_t head;           /* length of the request head with its empty line; 0: not all there */
    size_t body;           /* Content-Length */
    const http_step *step; /* what answers the request that is being read */
    bool stalled;
    long long due_ms; /* when the answer goes out; 0: the request is not whole */
} connection;

struct http_script {
    const http_step *steps;
    size_t step_count;
    http_script_kind kind;
    size_t next_step;
    int listener;
    int port;
    int stop[2];
    pthread_t thread;
    pthread_mutex_t lock; /* around the members below */
    char **requests;
    size_t request_count;
    size_t accepted;
    char problem[512];
    char url[512];
    connection connections[CONNECTIONS];
};

static const http_step unexpected = {.status = "500 Unexpected", .body = "the script expects another request"};

static long long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void must(bool ok, const char *what) {
    if (!ok) {
        perror(what);
        abort();
    }
}

static int listen_on_loopback(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    must(fd >= 0 && bind(fd, (struct sockaddr *)&address, length) == 0, "bind");
    must(getsockname(fd, (struct sockaddr *)&address, &length) == 0, "getsockname");
    *port = ntohs(address.sin_port);
    return fd;
}

int http_closed_port(void) {
    int port;
    close(listen_on_loopback(&port));
    return port;
}

static bool line_has(const connection *c, const char *text) {
    const char *end = memchr(c->data, '\r', c->head);
    size_t length = strlen(text);
    for (const char *at = c->data; end && at + length <= end; at++) {
        if (memcmp(at, text, length) == 0) {
            return true;
        }
    }
    return false;
}

static void complain(http_script *self, const connection *c, const char *expected) {
    if (!self->problem[0]) {
        snprintf(self->problem, sizeof self->problem, "request %zu is \"%.200s\", expected \"%s\"", self->request_count,
                 c->data, expected);
        self->problem[strcspn(self->problem, "\r")] = '\0';
    }
}

static const http_step *choose_step(http_script *self, const connection *c) {
    if (self->kind == HTTP_IN_ORDER) {
        if (self->next_step == self->step_count) {
            complain(self, c, "no more requests");
            return &unexpected;
        }
        const http_step *step = &self->steps[self->next_step++];
        if (!step->expect || line_has(c, step->expect)) {
            return step;
        }
        complain(self, c, step->expect);
        return &unexpected;
    }
    for (size_t i = 0; i < self->step_count; i++) {
        if (!self->steps[i].expect || line_has(c, self->steps[i].expect)) {
            return &self->steps[i];
        }
    }
    complain(self, c, "one of the rules");
    return &unexpected;
}

static size_t content_length(const char *head) {
    for (const char *line = head; line; line = strstr(line + 1, "\r\n")) {
        if (strncasecmp(line, "\r\nContent-Length:", 17) == 0) {
            return strtoul(line + 17, NULL, 10);
        }
    }
    return 0;
}

static void hang_up(connection *c, bool reset) {
    if (reset) {
        struct linger now = {.l_onoff = 1};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    close(c->fd);
    free(c->data);
    *c = (connection){.fd = -1};
}

/* Not strndup: a body may have NUL bytes in it. */
static char *copy_of(const char *data, size_t length) {
    char *copy = malloc(length + 1);
    must(copy, "malloc");
    memcpy(copy, data, length);
    copy[length] = '\0';
    return copy;
}

/* Looks at what came: a whole head chooses the step, a whole body makes the answer due. */
static void advance(http_script *self, connection *c) {
    if (!c->head) {
        const char *end = c->data ? strstr(c->data, "\r\n\r\n") : NULL;
        if (!end) {
            return;
        }
        c->head = (size_t)(end - c->data) + 4;
        c->body = content_length(c->data);
        c->step = choose_step(self, c);
    }
    if (c->step->stop_at && c->length >= c->head + c->step->stop_at) {
        hang_up(c, true);
    } else if (c->step->stall_at && c->length >= c->head + c->step->stall_at) {
        c->stalled = true;
    } else if (!c->due_ms && c->length >= c->head + c->body) {
        c->due_ms = now_ms() + c->step->delay_ms;
        self->requests = realloc(self->requests, (self->request_count + 1) * sizeof *self->requests);
        must(self->requests, "realloc");
        self->requests[self->request_count++] = copy_of(c->data, c->head + c->body);
    }
}

static void receive(http_script *self, connection *c) {
    if (c->capacity - c->length < CHUNK) {
        c->capacity = 2 * c->capacity + CHUNK + 1;
        c->data = realloc(c->data, c->capacity);
        must(c->data, "realloc");
    }
    ssize_t got = read(c->fd, c->data + c->length, c->capacity - c->length - 1);
    if (got <= 0) {
        hang_up(c, false);
        return;
    }
    c->length += (size_t)got;
    c->data[c->length] = '\0';
    advance(self, c);
}

static void append(char **text, size_t *length, const char *more, size_t count) {
    *text = realloc(*text, *length + count + 1);
    must(*text, "realloc");
    memcpy(*text + *length, more, count);
    *length += count;
    (*text)[*length] = '\0';
}

/* Appends text with each "{port}" replaced. */
static void append_filled(const http_script *self, char **text, size_t *length, const char *more) {
    char port[16];
    const char *mark;
    snprintf(port, sizeof port, "%d", self->port);
    for (; more && (mark = strstr(more, "{port}")); more = mark + 6) {
        append(text, length, more, (size_t)(mark - more));
        append(text, length, port, strlen(port));
    }
    append(text, length, more ? more : "", more ? strlen(more) : 0);
}

static char *compose(const http_script *self, const http_step *step, size_t *length) {
    char *text = NULL;
    char *body = NULL;
    char line[128];
    size_t body_length = 0;
    *length = 0;
    if (step->raw) {
        append_filled(self, &text, length, step->raw);
        return text;
    }
    append_filled(self, &body, &body_length, step->body);
    snprintf(line, sizeof line, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n", step->status, body_length);
    append(&text, length, line, strlen(line));
    append_filled(self, &text, length, step->head);
    append(&text, length, "\r\n", 2);
    append(&text, length, body, body_length);
    free(body);
    return text;
}

static void answer(http_script *self, connection *c) {
    const http_step *step = c->step;
    if (step->reset) {
        hang_up(c, true);
        return;
    }
    size_t length;
    char *text = compose(self, step, &length);
    size_t wanted = step->cut ? step->cut : length;
    size_t sent = 0;
    while (sent < wanted) {
        ssize_t count = send(c->fd, text + sent, wanted - sent, MSG_NOSIGNAL);
        if (count <= 0) {
            break;
        }
        sent += (size_t)count;
    }
    free(text);
    if (sent < wanted || step->cut || step->close) {
        hang_up(c, false);
        return;
    }
    size_t used = c->head + c->body;
    memmove(c->data, c->data + used, c->length - used + 1);
    c->length -= used;
    c->head = c->body = 0;
    c->due_ms = 0;
    advance(self, c);
}

static void accept_one(http_script *self) {
    int fd = accept(self->listener, NULL, NULL);
    self->accepted++;
    for (size_t i = 0; fd >= 0 && i < CONNECTIONS; i++) {
        if (self->connections[i].fd < 0) {
            self->connections[i] = (connection){.fd = fd};
            return;
        }
    }
    must(false, "too many connections");
}

static int soonest(const http_script *self) {
    long long least = 60000;
    long long now = now_ms();
    for (size_t i = 0; i < CONNECTIONS; i++) {
        const connection *c = &self->connections[i];
        if (c->fd >= 0 && c->due_ms) {
            long long left = c->due_ms > now ? c->due_ms - now : 0;
            least = left < least ? left : least;
        }
    }
    return (int)least;
}

static void *serve(void *arg) {
    http_script *self = arg;
    for (;;) {
        struct pollfd fds[CONNECTIONS + 2] = {{.fd = self->listener, .events = POLLIN},
                                              {.fd = self->stop[0], .events = POLLIN}};
        for (size_t i = 0; i < CONNECTIONS; i++) {
            const connection *c = &self->connections[i];
            fds[i + 2] = (struct pollfd){.fd = c->due_ms || c->stalled ? -1 : c->fd, .events = POLLIN};
        }
        poll(fds, CONNECTIONS + 2, soonest(self));
        if (fds[1].revents) {
            return NULL;
        }
        pthread_mutex_lock(&self->lock);
        for (size_t i = 0; i < CONNECTIONS; i++) {
            connection *c = &self->connections[i];
            if (fds[i + 2].revents) {
                receive(self, c);
            }
            if (c->fd >= 0 && c->due_ms && now_ms() >= c->due_ms) {
                answer(self, c);
            }
        }
        if (fds[0].revents) {
            accept_one(self);
        }
        pthread_mutex_unlock(&self->lock);
    }
}

http_script *http_script_new(const http_step *steps, size_t count, http_script_kind kind) {
    http_script *self = calloc(1, sizeof *self);
    must(self, "calloc");
    self->steps = steps;
    self->step_count = count;
    self->kind = kind;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        self->connections[i].fd = -1;
    }
    pthread_mutex_init(&self->lock, NULL);
    self->listener = listen_on_loopback(&self->port);
    must(listen(self->listener, 64) == 0, "listen");
    must(pipe(self->stop) == 0, "pipe");
    must(pthread_create(&self->thread, NULL, serve, self) == 0, "pthread_create");
    return self;
}

void http_script_free(http_script *self) {
    must(write(self->stop[1], "x", 1) == 1, "write");
    pthread_join(self->thread, NULL);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        if (self->connections[i].fd >= 0) {
            hang_up(&self->connections[i], false);
        }
    }
    for (size_t i = 0; i < self->request_count; i++) {
        free(self->requests[i]);
    }
    free(self->requests);
    close(self->listener);
    close(self->stop[0]);
    close(self->stop[1]);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

int http_script_port(const http_script *self) {
    return self->port;
}

const char *http_script_url(http_script *self, const char *path) {
    snprintf(self->url, sizeof self->url, "http://127.0.0.1:%d%s", self->port, path);
    return self->url;
}

size_t http_script_count(http_script *self) {
    pthread_mutex_lock(&self->lock);
    size_t count = self->request_count;
    pthread_mutex_unlock(&self->lock);
    return count;
}

const char *http_script_request(http_script *self, size_t index) {
    pthread_mutex_lock(&self->lock);
    const char *text = index < self->request_count ? self->requests[index] : NULL;
    pthread_mutex_unlock(&self->lock);
    return text;
}

size_t http_script_connections(http_script *self) {
    pthread_mutex_lock(&self->lock);
    size_t count = self->accepted;
    pthread_mutex_unlock(&self->lock);
    return count;
}

const char *http_script_problem(http_script *self) {
    pthread_mutex_lock(&self->lock);
    if (!self->problem[0] && self->kind == HTTP_IN_ORDER && self->next_step < self->step_count) {
        snprintf(self->problem, sizeof self->problem, "only %zu of %zu requests came", self->next_step,
                 self->step_count);
    }
    const char *problem = self->problem[0] ? self->problem : NULL;
    pthread_mutex_unlock(&self->lock);
    return problem;
}
