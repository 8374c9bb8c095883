/* A scripted HTTP server on a thread of its own: it answers literal bytes, and can cut, reset, delay and close.
 *
 * Takes its memory from malloc, not from the core, so that the core's counters see the code under test only.
 */
#ifndef KP_HTTP_SCRIPT_H
#define KP_HTTP_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *expect; /* must occur in the request line; NULL: any request */
    const char *status; /* "200 OK"; sent with head, a Content-Length and body */
    const char *head;   /* more header lines, each with \r\n; "{port}" is this server's port; NULL: none */
    const char *body;   /* the same; NULL: empty */
    const char *raw;    /* instead of these three: the whole answer, byte for byte */
    size_t cut;         /* send only so many bytes of the answer, then close */
    size_t stop_at;     /* reset the connection when so many bytes of the request body came */
    size_t stall_at;    /* read no more when so many bytes of the request body came, and keep the connection */
    bool reset;         /* reset instead of answering */
    bool close;         /* close behind the answer, without saying so before */
    int delay_ms;       /* before the answer */
} http_step;

typedef enum {
    HTTP_IN_ORDER, /* one request for each step, in this order; anything else is a problem and gets 500 */
    HTTP_RULES,    /* the first step that fits answers, any number of times */
} http_script_kind;

typedef struct http_script http_script;

http_script *http_script_new(const http_step *steps, size_t count, http_script_kind kind);
void http_script_free(http_script *self);
int http_script_port(const http_script *self);
/* "http://127.0.0.1:PORT" + path; borrowed until the next call */
const char *http_script_url(http_script *self, const char *path);

/* What was read so far; request texts are head and body, NUL-terminated, and live until http_script_free. */
size_t http_script_count(http_script *self);
const char *http_script_request(http_script *self, size_t index);
size_t http_script_connections(http_script *self); /* accepted so far */
/* NULL when every request was the expected one and, for HTTP_IN_ORDER, every step was asked for. */
const char *http_script_problem(http_script *self);

/* A port of the loopback interface that refuses connections. */
int http_closed_port(void);

#endif
