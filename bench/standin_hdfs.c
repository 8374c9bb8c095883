/* A NameNode and its DataNode, as far as WebHDFS shows them: CREATE in two steps, CONCAT, GETFILESTATUS, LISTSTATUS,
 * MKDIRS, RENAME, DELETE. A file is its length and its proof; the bytes are not kept. Refusals are those of a real
 * NameNode.
 */
#include "standin.h"

#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 1024 };

typedef struct entry entry;

struct entry {
    entry *next;
    char *path;
    bool is_folder;
    uint64_t length;
    proof proof;
};

static entry *entries;
static int own_port;

void hdfs_init(int port) {
    own_port = port;
}

/* ---- the tree ---- */

static entry **find(const char *path) {
    entry **at = &entries;
    while (*at && strcmp((*at)->path, path) != 0) {
        at = &(*at)->next;
    }
    return at;
}

static entry *add(const char *path, bool is_folder) {
    entry **at = find(path);
    if (!*at) {
        *at = kp_calloc(1, sizeof **at);
        char *copy = kp_strdup(path);
        if (!*at || !copy) {
            abort();
        }
        (*at)->path = copy;
    }
    (*at)->is_folder = is_folder;
    return *at;
}

static void drop(entry **at) {
    entry *gone = *at;
    *at = gone->next;
    kp_free(gone->path);
    kp_free(gone);
}

static bool parent_is_there(const char *path) {
    char folder[PATH_BYTES];
    size_t length = (size_t)(strrchr(path, '/') - path);
    memcpy(folder, path, length);
    folder[length] = '\0';
    return length == 0 || (*find(folder) && (*find(folder))->is_folder);
}

static void make_folders(const char *path) {
    char folder[PATH_BYTES];
    for (size_t i = 1; path[i]; i++) {
        if (path[i] == '/') {
            memcpy(folder, path, i);
            folder[i] = '\0';
            add(folder, true);
        }
    }
}

proof hdfs_proof(uint64_t *files) {
    proof all = {0};
    *files = 0;
    for (const entry *one = entries; one; one = one->next) {
        if (!one->is_folder && !strstr(one->path, "/_tmp/")) {
            proof_add(&all, &one->proof);
            ++*files;
        }
    }
    return all;
}

/* ---- what was asked ---- */

static int hex(char c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
}

static bool decode(kp_bytes text, char out[PATH_BYTES]) {
    size_t length = 0;
    for (size_t i = 0; i < text.length && length < PATH_BYTES - 1; i++) {
        bool escaped = text.data[i] == '%' && i + 2 < text.length && hex(text.data[i + 1]) >= 0;
        out[length++] = escaped ? (char)(16 * hex(text.data[i + 1]) + hex(text.data[i + 2])) : text.data[i];
        i += escaped ? 2 : 0;
    }
    out[length] = '\0';
    return length > 0 && out[0] == '/';
}

static bool has_prefix(kp_bytes text, const char *prefix) {
    return text.length >= strlen(prefix) && memcmp(text.data, prefix, strlen(prefix)) == 0;
}

static kp_bytes query_of(const request *req) {
    const char *mark = memchr(req->target.data, '?', req->target.length);
    const char *end = req->target.data + req->target.length;
    return mark ? (kp_bytes){mark + 1, (size_t)(end - mark - 1)} : (kp_bytes){end, 0};
}

/* The value of a query's field; data NULL: it is not there. */
static kp_bytes field(const request *req, const char *name) {
    kp_bytes rest = query_of(req);
    while (rest.length) {
        const char *amp = memchr(rest.data, '&', rest.length);
        kp_bytes one = {rest.data, amp ? (size_t)(amp - rest.data) : rest.length};
        size_t length = strlen(name);
        if (has_prefix(one, name) && one.length > length && one.data[length] == '=') {
            return (kp_bytes){one.data + length + 1, one.length - length - 1};
        }
        rest.data += one.length + (amp != NULL);
        rest.length -= one.length + (amp != NULL);
    }
    return (kp_bytes){NULL, 0};
}

static bool is_op(const request *req, const char *method, const char *op) {
    kp_bytes asked = field(req, "op");
    return req->method.length == strlen(method) && has_prefix(req->method, method) && asked.length == strlen(op) &&
           has_prefix(asked, op);
}

static bool path_of(const request *req, const char *prefix, char out[PATH_BYTES]) {
    size_t skip = strlen(prefix);
    kp_bytes path = {req->target.data + skip, (size_t)(query_of(req).data - req->target.data) - skip};
    path.length -= query_of(req).length || path.data[path.length - 1] == '?';
    return decode(path, out);
}

/* ---- answers ---- */

static kp_status say(answer *out, int status, const char *json, kp_error *err) {
    out->status = status;
    return kp_buf_append_text(out->body, json, err);
}

static kp_status say_boolean(answer *out, bool yes, kp_error *err) {
    return say(out, 200, yes ? "{\"boolean\":true}" : "{\"boolean\":false}", err);
}

static kp_status refuse(answer *out, int status, const char *exception, const char *path, kp_error *err) {
    kp_status st;
    out->status = status;
    KP_TRY(kp_buf_printf(out->body, err, "{\"RemoteException\":{\"exception\":\"%s\",\"message\":", exception));
    KP_TRY(kp_buf_append_json_string(out->body, kp_bytes_of(path), err));
    KP_TRY(kp_buf_append_text(out->body, "}}", err));
done:
    return st;
}

static kp_status create(const request *req, const char *path, answer *out, kp_error *err) {
    kp_status st;
    kp_bytes direct = field(req, "noredirect");
    kp_buf *to = direct.length == 4 ? out->body : out->location;
    out->status = direct.length == 4 ? 200 : 307;
    if (*find(path) && (*find(path))->is_folder) {
        return refuse(out, 403, "FileAlreadyExistsException", path, err);
    }
    make_folders(path);
    KP_TRY(kp_buf_append_text(to, to == out->body ? "{\"Location\":\"" : "", err));
    KP_TRY(kp_buf_printf(to, err, "http://127.0.0.1:%d/datanode", own_port));
    KP_TRY(kp_buf_append_url(to, kp_bytes_of(path), "/", err));
    KP_TRY(kp_buf_append_text(to, "?op=CREATE", err));
    KP_TRY(kp_buf_append_text(to, to == out->body ? "\"}" : "", err));
done:
    return st;
}

static kp_status append_status(const entry *one, const char *suffix, kp_buf *json, kp_error *err) {
    kp_status st;
    KP_TRY(kp_buf_append_text(json, "{\"pathSuffix\":", err));
    KP_TRY(kp_buf_append_json_string(json, kp_bytes_of(suffix), err));
    KP_TRY(kp_buf_printf(json, err, ",\"type\":\"%s\",\"length\":%llu}", one->is_folder ? "DIRECTORY" : "FILE",
                         (unsigned long long)one->length));
done:
    return st;
}

static kp_status status(const char *path, answer *out, kp_error *err) {
    kp_status st;
    const entry *one = *find(path);
    if (!one) {
        return refuse(out, 404, "FileNotFoundException", path, err);
    }
    KP_TRY(say(out, 200, "{\"FileStatus\":", err));
    KP_TRY(append_status(one, "", out->body, err));
    KP_TRY(kp_buf_append_text(out->body, "}", err));
done:
    return st;
}

static kp_status list(const char *path, answer *out, kp_error *err) {
    kp_status st;
    size_t length = strlen(path);
    const char *comma = "";
    if (!*find(path)) {
        return refuse(out, 404, "FileNotFoundException", path, err);
    }
    KP_TRY(say(out, 200, "{\"FileStatuses\":{\"FileStatus\":[", err));
    for (const entry *one = entries; one; one = one->next) {
        bool below = strncmp(one->path, path, length) == 0 && one->path[length] == '/';
        if (below && !strchr(one->path + length + 1, '/')) {
            KP_TRY(kp_buf_append_text(out->body, comma, err));
            KP_TRY(append_status(one, one->path + length + 1, out->body, err));
            comma = ",";
        }
    }
    KP_TRY(kp_buf_append_text(out->body, "]}}", err));
done:
    return st;
}

static kp_status rename_entry(const request *req, const char *path, answer *out, kp_error *err) {
    char to[PATH_BYTES];
    bool tells = field(req, "renameoptions").data != NULL;
    entry **from = find(path);
    if (!decode(field(req, "destination"), to)) {
        return refuse(out, 400, "IllegalArgumentException", "destination", err);
    }
    if (*from && !*find(to) && parent_is_there(to)) {
        char *copy = kp_strdup(to);
        if (!copy) {
            return kp_error_nomem(err);
        }
        kp_free((*from)->path);
        (*from)->path = copy;
        return tells ? say(out, 200, "", err) : say_boolean(out, true, err);
    }
    if (!tells) {
        return say_boolean(out, false, err);
    }
    return *from && *find(to) ? refuse(out, 403, "FileAlreadyExistsException", to, err)
                              : refuse(out, 404, "FileNotFoundException", *from ? to : path, err);
}

/* Sources must be there, each once, in the target's folder. */
static kp_status concat(const request *req, const char *path, answer *out, kp_error *err) {
    kp_bytes rest = field(req, "sources");
    entry *target = *find(path);
    while (target && rest.length) {
        char source[PATH_BYTES];
        const char *comma = memchr(rest.data, ',', rest.length);
        kp_bytes one = {rest.data, comma ? (size_t)(comma - rest.data) : rest.length};
        entry **at = decode(one, source) ? find(source) : NULL;
        if (!at || !*at || *at == target) {
            return refuse(out, 404, "FileNotFoundException", source, err);
        }
        target->length += (*at)->length;
        proof_add(&target->proof, &(*at)->proof);
        drop(at);
        rest.data += one.length + (comma != NULL);
        rest.length -= one.length + (comma != NULL);
    }
    return target ? say(out, 200, "", err) : refuse(out, 404, "FileNotFoundException", path, err);
}

static kp_status upload(const char *path, const body *body, answer *out, kp_error *err) {
    entry *file = add(path, false);
    file->length = body->length;
    file->proof = body->proof;
    return say(out, 201, "", err);
}

bool hdfs_is_upload(const request *req) {
    return has_prefix(req->target, "/datanode/");
}

kp_status hdfs_answer(const request *req, const body *body, answer *out, kp_error *err) {
    char path[PATH_BYTES];
    if (!path_of(req, hdfs_is_upload(req) ? "/datanode" : "/webhdfs/v1", path)) {
        return refuse(out, 400, "IllegalArgumentException", "path", err);
    }
    if (hdfs_is_upload(req)) {
        return upload(path, body, out, err);
    }
    if (is_op(req, "PUT", "CREATE")) {
        return create(req, path, out, err);
    }
    if (is_op(req, "PUT", "MKDIRS")) {
        make_folders(path);
        add(path, true);
        return say_boolean(out, true, err);
    }
    if (is_op(req, "PUT", "RENAME")) {
        return rename_entry(req, path, out, err);
    }
    if (is_op(req, "POST", "CONCAT")) {
        return concat(req, path, out, err);
    }
    if (is_op(req, "DELETE", "DELETE")) {
        entry **at = find(path);
        bool there = *at != NULL;
        if (there) {
            drop(at);
        }
        return say_boolean(out, there, err);
    }
    if (is_op(req, "GET", "GETFILESTATUS")) {
        return status(path, out, err);
    }
    return is_op(req, "GET", "LISTSTATUS") ? list(path, out, err)
                                           : refuse(out, 400, "UnsupportedOperationException", path, err);
}
