/* HTTP over libcurl's multi interface: requests go out together on one loop thread and end in a callback.
 *
 * A kp_http belongs to one thread. It follows no redirect, takes no proxy from the environment, reads no .netrc, sends
 * no Expect header. Connections are kept alive and reused.
 */
#ifndef KP_IO_HTTP_H
#define KP_IO_HTTP_H

#include "core/buf.h"

#include <stdbool.h>

enum { KP_HTTP_WAIT_MAX = 8 };

typedef struct kp_http kp_http;

typedef struct {
    const char *user;           /* borrowed until kp_http_new returns; NULL: no authentication (basic) */
    const char *password;       /* the same; never in a message */
    const char *authorization;  /* the same; whole value of that header, in place of user and password */
    const char *ca_file;        /* the same; PEM; NULL: the system's */
    const char *cert_file;      /* the same; PEM; NULL: no certificate of ours */
    const char *key_file;       /* the same; PEM; NULL: in cert_file */
    const char *key_password;   /* the same; NULL: none */
    int64_t timeout_ms;         /* without progress; a whole request gets this plus its body's time at 16 KiB/s */
    int64_t connect_timeout_ms; /* 0: 5000 */
    size_t max_reply_bytes;     /* 0: 64 MiB; a longer reply fails the request */
} kp_http_options;

typedef struct {
    const char *method;       /* "GET", "PUT", ...; borrowed until kp_http_send returns */
    const char *url;          /* the same */
    const char *content_type; /* the same; NULL: none */
    bool gzip_body;           /* body is gzip already: says Content-Encoding */
    bool no_credentials;      /* do not send user and password, or authorization, with this one */
    kp_bytes body;            /* borrowed until on_done; data NULL: no body */
} kp_http_request;

typedef struct {
    kp_status transport; /* KP_OK: a whole answer came. KP_RETRY: no or half an answer, err says why */
    kp_error err;
    bool sent;              /* false only when it is certain that the server did not get the whole request */
    int status;             /* HTTP status, 0 without an answer */
    kp_bytes body;          /* borrowed until on_done returns */
    const char *location;   /* borrowed until on_done returns; NULL: no Location header */
    const char *remote_ip;  /* borrowed until on_done returns; "" when no connection was tried */
    int64_t retry_after_ms; /* -1: no Retry-After header */
} kp_http_reply;

typedef void (*kp_http_on_done)(void *ctx, const kp_http_reply *reply);

kp_status kp_http_new(kp_http **out, const kp_http_options *options, kp_error *err) KP_MUST_CHECK;
/* Cancels what is under way: on_done is called for each with transport KP_CLOSED. Not from within on_done. */
void kp_http_free(kp_http *self);

/* on_done is called exactly once, from kp_http_pump, kp_http_cancel or kp_http_free, never from here; only if this
 * returned KP_OK. */
kp_status kp_http_send(kp_http *self, const kp_http_request *request, kp_http_on_done on_done, void *ctx,
                       kp_error *err) KP_MUST_CHECK;

/* Ends every request that was sent with this ctx: on_done is called from here with transport KP_CLOSED, after which
 * neither its body nor ctx is touched again. */
void kp_http_cancel(kp_http *self, const void *ctx);

/* Moves transfers on without waiting and calls on_done for those that ended. on_done may call kp_http_send and
 * kp_http_cancel. */
kp_status kp_http_pump(kp_http *self, kp_error *err) KP_MUST_CHECK;

/* Waits until a socket of this handle is ready, one of fds is readable, or timeout_ms passed: the one place where a
 * loop thread waits. ready[i] is set for fds[i]; fd_count is at most KP_HTTP_WAIT_MAX. */
kp_status kp_http_wait(kp_http *self, const int *fds, bool *ready, size_t fd_count, int64_t timeout_ms,
                       kp_error *err) KP_MUST_CHECK;

/* Makes the wait that is going on, or the next one, return at once. Any thread. */
void kp_http_wake(kp_http *self);

size_t kp_http_active(const kp_http *self); /* requests under way */
const char *kp_http_version(void);          /* of the library, at run time */

#endif
