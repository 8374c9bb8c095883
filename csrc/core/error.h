/* Status and error: every function that can fail returns a kp_status and fills the caller's kp_error.
 *
 * The status is the disposition: what the caller may do about it. The message is set once, where the failure is seen,
 * with facts: "hdfs rename: HTTP 403 for /data/x: AccessControlException". Any thread; no shared state.
 */
#ifndef KP_CORE_ERROR_H
#define KP_CORE_ERROR_H

#include <stdarg.h>

#if defined(__GNUC__)
#define KP_MUST_CHECK __attribute__((warn_unused_result))
#define KP_PRINTF(format_at, args_at) __attribute__((format(printf, format_at, args_at)))
#else
#define KP_MUST_CHECK
#define KP_PRINTF(format_at, args_at)
#endif

typedef enum {
    KP_OK = 0,
    KP_RETRY,   /* trying again can help */
    KP_REJECT,  /* this request or record will never be accepted */
    KP_FATAL,   /* the object cannot go on */
    KP_CLOSED,  /* the object was closed */
    KP_TIMEOUT, /* not done in time; it may still happen */
    KP_NOMEM,   /* out of memory */
} kp_status;

enum { KP_ERROR_MESSAGE_MAX = 1024, KP_ERROR_CODE_MAX = 64 };

typedef struct {
    kp_status status;
    char code[KP_ERROR_CODE_MAX];       /* the server's or library's own name, "" when there is none */
    char message[KP_ERROR_MESSAGE_MAX]; /* one line, UTF-8 */
} kp_error;

void kp_error_init(kp_error *err);

/* Sets all three and returns status, so that a failing function can end with `return kp_error_set(...)`. err may be
 * NULL. */
kp_status kp_error_set(kp_error *err, kp_status status, const char *code, const char *format, ...) KP_PRINTF(4, 5);
kp_status kp_error_nomem(kp_error *err);

/* Puts "<prefix>: " before the message that is there. */
void kp_error_prefix(kp_error *err, const char *format, ...) KP_PRINTF(2, 3);

const char *kp_status_name(kp_status status);

/* Jumps to `done` when the call fails; needs a local `kp_status st` and a label `done`. */
#define KP_TRY(call)                                                                                                   \
    do {                                                                                                               \
        st = (call);                                                                                                   \
        if (st != KP_OK) {                                                                                             \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

#endif
