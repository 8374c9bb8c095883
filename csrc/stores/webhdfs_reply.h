/* What an answer of WebHDFS or HttpFS means, as pure functions over its status and bytes. Any thread; no state. */
#ifndef KP_STORES_WEBHDFS_REPLY_H
#define KP_STORES_WEBHDFS_REPLY_H

#include "core/buf.h"

#include <stdbool.h>

typedef enum {
    WEBHDFS_FAILED = 0,
    WEBHDFS_DONE,        /* 201, an empty 200, or {"boolean":true} */
    WEBHDFS_FALSE,       /* {"boolean":false}: nothing was done */
    WEBHDFS_ANSWER,      /* 200 with another JSON object, for the caller to read */
    WEBHDFS_REDIRECT,    /* 307, its Location is to be used */
    WEBHDFS_EXISTS,      /* FileAlreadyExistsException */
    WEBHDFS_MISSING,     /* FileNotFoundException: the file, or for a rename its source or the destination's folder */
    WEBHDFS_STANDBY,     /* this NameNode does not serve: ask the other one */
    WEBHDFS_NO_DATANODE, /* there is no DataNode that could be handed out */
} webhdfs_meaning;

typedef struct {
    webhdfs_meaning meaning;
    kp_error err; /* from WEBHDFS_EXISTS on, and of WEBHDFS_FAILED: KP_RETRY, KP_REJECT (a name HDFS never takes) or
                     KP_NOMEM; the exception's name is the code */
} webhdfs_verdict;

void classify_webhdfs(int status, kp_bytes body, webhdfs_verdict *out);

/* The address the second request goes to: from the JSON of a 200, or from the header of a 307 (may be NULL). Replaces
 * what is in out, which is NUL-terminated then. KP_RETRY when there is none or it is not one to follow: only http and
 * https, no user part, never from https down to http. */
kp_status webhdfs_location(int status, kp_bytes body, const char *header, bool https, kp_buf *out,
                           kp_error *err) KP_MUST_CHECK;

/* Of an answer to GETFILESTATUS; KP_RETRY when it is none. */
kp_status webhdfs_file_status(kp_bytes body, int64_t *length, bool *is_folder, kp_error *err) KP_MUST_CHECK;

/* Of an answer to LISTSTATUS: the names in the folder into names, each with its NUL. KP_RETRY when it is none.
 * is_folder is false when the listing is that of a file. */
kp_status webhdfs_names(kp_bytes body, kp_buf *names, size_t *count, bool *is_folder, kp_error *err) KP_MUST_CHECK;

#endif
