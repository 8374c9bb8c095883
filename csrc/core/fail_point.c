/* Fail points: see fail_point.h. SIGKILL and not abort(): no handler, no flush, as when the machine takes the process.
 */
#include "core/fail_point.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#ifdef KAFKAPIPE_FAIL_POINTS
void kp_fail_point(const char *name) {
    static atomic_long passed;
    const char *wish = getenv("KAFKAPIPE_FAIL_POINT");
    size_t length = strlen(name);
    if (!wish || strncmp(wish, name, length) != 0 || wish[length] != ':') {
        return;
    }
    char *end;
    long when = strtol(wish + length + 1, &end, 10);
    if (atomic_fetch_add(&passed, 1) + 1 == when) {
        raise(strcmp(end, ":stop") == 0 ? SIGSTOP : SIGKILL);
    }
}
#endif
