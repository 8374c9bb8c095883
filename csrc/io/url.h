/* http and https addresses: taken apart strictly, and shown without what may be secret. Pure; any thread. */
#ifndef KP_IO_URL_H
#define KP_IO_URL_H

#include "core/buf.h"

#include <stdbool.h>

typedef struct {
    bool https;
    kp_bytes host; /* borrowed from the text; an IPv6 address has its brackets */
    int port;      /* 80 or 443 when the address names none */
    kp_bytes path; /* borrowed; what follows the port, with the query; may be empty */
} kp_url;

/* Takes only http://HOST[:PORT][/...] and https://..., of printable ASCII. A user part, a backslash, a fragment, or any
 * character that another parser might read in another way is KP_REJECT. */
kp_status kp_url_parse(kp_url *out, kp_bytes text, kp_error *err) KP_MUST_CHECK;

/* Writes url for a message: without its user part and its query, at most 300 bytes of it, NUL-terminated. */
void kp_url_show(const char *url, char *out, size_t size);

#endif
