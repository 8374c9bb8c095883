/* What an answer of WebHDFS or HttpFS means: see webhdfs_reply.h.
 *
 * A NameNode and a DataNode report failures as {"RemoteException":{"exception":NAME,"message":TEXT}} with a status that
 * says little (nearly always 403), and TEXT may carry a whole stack trace: the name decides, the first line is told.
 */
#include "stores/webhdfs_reply.h"

#include "io/json.h"
#include "io/url.h"

#include <string.h>

/* The first row that fits: NULL fits any name or message. A DataNode passes some on as a bare RemoteException. */
static const struct {
    const char *exception;
    const char *message; /* its beginning */
    webhdfs_meaning meaning;
    kp_status status;
} rows[] = {
    {"FileAlreadyExistsException", NULL, WEBHDFS_EXISTS, KP_RETRY},
    {"FileNotFoundException", NULL, WEBHDFS_MISSING, KP_RETRY},
    {"StandbyException", NULL, WEBHDFS_STANDBY, KP_RETRY},
    {"RemoteException", "Operation category ", WEBHDFS_STANDBY, KP_RETRY},
    {"IOException", "Failed to find datanode", WEBHDFS_NO_DATANODE, KP_RETRY},
    {"IOException", "No active nodes contain this block", WEBHDFS_NO_DATANODE, KP_RETRY},
    {"InvalidPathException", NULL, WEBHDFS_FAILED, KP_REJECT},
    {"IllegalArgumentException", "Pathname ", WEBHDFS_FAILED, KP_REJECT}, /* HttpFS */
    {"PathComponentTooLongException", NULL, WEBHDFS_FAILED, KP_REJECT},
    {"RemoteException", "The maximum path component name limit", WEBHDFS_FAILED, KP_REJECT},
    {NULL, NULL, WEBHDFS_FAILED, KP_RETRY},
};

static void fail(webhdfs_verdict *out, int status, const char *why) {
    out->meaning = WEBHDFS_FAILED;
    kp_error_set(&out->err, KP_RETRY, "", "HTTP %d: %s", status, why);
}

static bool row_fits(size_t row, const char *name, const char *message) {
    const char *wanted = rows[row].exception;
    const char *begins = rows[row].message;
    return (!wanted || strcmp(wanted, name) == 0) && (!begins || strncmp(begins, message, strlen(begins)) == 0);
}

static void judge_exception(webhdfs_verdict *out, int status, const char *name, const char *message) {
    size_t row = 0;
    while (!row_fits(row, name, message)) {
        row++;
    }
    out->meaning = rows[row].meaning;
    int line = (int)strcspn(message, "\r\n"); /* a stack trace may follow */
    const char *colon = line ? ": " : "";
    kp_error_set(&out->err, rows[row].status, name, "%s%s%.*s (HTTP %d)", name, colon, line, message, status);
}

static const char *words_for(int status) {
    switch (status) {
    case 401:
        return "the server wants a login";
    case 403:
        return "refused, without a reason of WebHDFS";
    case 404:
        return "no WebHDFS there: is the url right, and is dfs.webhdfs.enabled on?";
    default:
        return status >= 500 ? "the server has trouble" : "not an answer of WebHDFS";
    }
}

static void judge_failure(webhdfs_verdict *out, int status, const kp_json *root) {
    const kp_json *remote = kp_json_get(root, "RemoteException");
    const char *name = kp_json_text(kp_json_get(remote, "exception"), NULL);
    if (name) {
        judge_exception(out, status, name, kp_json_text(kp_json_get(remote, "message"), ""));
    } else {
        fail(out, status, words_for(status));
    }
}

static void judge_success(webhdfs_verdict *out, const kp_json *root) {
    const kp_json *boolean = kp_json_get(root, "boolean");
    if (!kp_json_is_object(root)) {
        fail(out, 200, "the answer is not WebHDFS's");
    } else if (boolean) {
        bool yes = kp_json_bool(boolean, false);
        out->meaning = yes ? WEBHDFS_DONE : WEBHDFS_FALSE;
    } else {
        out->meaning = WEBHDFS_ANSWER;
    }
}

void classify_webhdfs(int status, kp_bytes body, webhdfs_verdict *out) {
    const kp_json *root = NULL;
    kp_error_init(&out->err);
    if (status == 201 || (status == 200 && body.length == 0)) {
        out->meaning = WEBHDFS_DONE;
        return;
    }
    if (status == 307) {
        out->meaning = WEBHDFS_REDIRECT;
        return;
    }
    if (kp_json_parse(&root, body, "the answer", &out->err) == KP_NOMEM) {
        out->meaning = WEBHDFS_FAILED;
        return;
    }
    if (status == 200) {
        judge_success(out, root);
    } else {
        judge_failure(out, status, root);
    }
    kp_json_free(root);
}

static kp_status not_understood(kp_error *err, const char *what) {
    return kp_error_set(err, KP_RETRY, "", "the server's answer has no %s", what);
}

/* A NameNode writes the path of its Location in plain UTF-8; in a request it is percent-encoded. */
static kp_status encode_location(const char *text, kp_buf *out, kp_error *err) {
    kp_status st = KP_OK;
    kp_buf_reset(out);
    for (const char *at = text; st == KP_OK && *at; at++) {
        bool plain = (unsigned char)*at < 0x80;
        st = plain ? kp_buf_append(out, at, 1, err) : kp_buf_append_url(out, (kp_bytes){at, 1}, "", err);
    }
    return st == KP_OK && !kp_buf_text(out) ? kp_error_nomem(err) : st;
}

static kp_status check_location(const kp_buf *location, bool https, kp_error *err) {
    kp_url url;
    kp_status st = kp_url_parse(&url, (kp_bytes){location->data, location->length}, err);
    if (st == KP_OK && https && !url.https) {
        st = kp_error_set(err, KP_REJECT, "", "it leaves https");
    }
    if (st != KP_OK) {
        kp_error_prefix(err, "the server's redirect is not followed");
        err->status = KP_RETRY;
        return KP_RETRY;
    }
    return KP_OK;
}

kp_status webhdfs_location(int status, kp_bytes body, const char *header, bool https, kp_buf *out, kp_error *err) {
    kp_status st;
    const kp_json *root = NULL;
    const char *text = status == 307 ? header : NULL;
    if (status == 200) {
        st = kp_json_parse(&root, body, "the server's answer", err);
        if (st == KP_NOMEM) {
            return st;
        }
        text = kp_json_text(kp_json_get(root, "Location"), NULL);
    }
    st = text ? encode_location(text, out, err) : not_understood(err, "Location");
    kp_json_free(root);
    return st == KP_OK ? check_location(out, https, err) : st;
}

kp_status webhdfs_file_status(kp_bytes body, int64_t *length, bool *is_folder, kp_error *err) {
    const kp_json *root;
    kp_status st = kp_json_parse(&root, body, "the server's answer", err);
    if (st == KP_NOMEM) {
        return st;
    }
    const kp_json *status = kp_json_get(root, "FileStatus");
    const char *type = kp_json_text(kp_json_get(status, "type"), "");
    *length = kp_json_int(kp_json_get(status, "length"), -1);
    *is_folder = strcmp(type, "DIRECTORY") == 0;
    st = *length >= 0 && *type ? KP_OK : not_understood(err, "FileStatus");
    kp_json_free(root);
    return st;
}

static kp_status collect_names(const kp_json *list, kp_buf *names, size_t *count, bool *is_folder, kp_error *err) {
    kp_status st = KP_OK;
    for (const kp_json *entry = kp_json_first(list); entry && st == KP_OK; entry = kp_json_next(entry)) {
        const char *name = kp_json_text(kp_json_get(entry, "pathSuffix"), NULL);
        if (!name) {
            return not_understood(err, "pathSuffix");
        }
        if (!*name) { /* the path itself: it is a file */
            *is_folder = false;
            continue;
        }
        st = kp_buf_append(names, name, strlen(name) + 1, err);
        ++*count;
    }
    return st;
}

kp_status webhdfs_names(kp_bytes body, kp_buf *names, size_t *count, bool *is_folder, kp_error *err) {
    const kp_json *root;
    *count = 0;
    *is_folder = true;
    kp_status st = kp_json_parse(&root, body, "the server's answer", err);
    if (st == KP_NOMEM) {
        return st;
    }
    const kp_json *list = kp_json_get(kp_json_get(root, "FileStatuses"), "FileStatus");
    st = kp_json_is_array(list) ? collect_names(list, names, count, is_folder, err)
                                : not_understood(err, "FileStatuses");
    kp_json_free(root);
    return st;
}
