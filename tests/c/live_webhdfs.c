/* Drives the WebHDFS store from outside: one command a line on stdin, one result a line on stdout, both JSON.
 *
 *   live_webhdfs '{"urls":["http://127.0.0.1:9870"],"user":"hadoop"}'
 *   {"op":"put","path":"/data/x","text":"bytes"}  or  {"op":"put","path":"/data/x","length":33554432}
 *   {"op":"piece","path":"/data/x","start":26,"length":26}, {"op":"join","path":"/data/x","starts":[0,26],"length":52}
 *   {"op":"rename","path":"/data/x","to":"/data/y"}, status, list, remove, read
 *
 * tests/live/test_webhdfs_store.py runs it against a real NameNode and DataNode. A body of a given length repeats the
 * alphabet.
 */
#include "core/mem.h"
#include "stores/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    kp_http *http;
    kp_store *store;
    char *body;         /* of the put under way */
    int64_t starts[64]; /* of the join under way */
    bool done;
} driver;

static void must(kp_status st, const kp_error *err) {
    if (st != KP_OK) {
        fprintf(stderr, "%s: %s\n", kp_status_name(st), err->message);
        exit(1);
    }
}

static kp_status write_result(kp_buf *out, const kp_store_result *result, kp_error *err) {
    static const char *const outcomes[] = {"done", "exists", "missing", "failed"};
    kp_status st;
    KP_TRY(kp_buf_printf(out, err, "{\"outcome\":\"%s\",\"status\":\"%s\",\"code\":", outcomes[result->outcome],
                         kp_status_name(result->err.status)));
    KP_TRY(kp_buf_append_json_string(out, kp_bytes_of(result->err.code), err));
    KP_TRY(kp_buf_append_text(out, ",\"message\":", err));
    KP_TRY(kp_buf_append_json_string(out, kp_bytes_of(result->err.message), err));
    KP_TRY(kp_buf_printf(out, err, ",\"length\":%lld,\"folder\":%s,\"names\":[", (long long)result->length,
                         result->is_folder ? "true" : "false"));
    for (size_t i = 0; i < result->name_count; i++) {
        KP_TRY(kp_buf_append_text(out, i ? "," : "", err));
        KP_TRY(kp_buf_append_json_string(out, kp_bytes_of(result->names[i]), err));
    }
    KP_TRY(kp_buf_append_text(out, "],\"content\":", err));
    KP_TRY(kp_buf_append_json_string(out, result->content, err));
    KP_TRY(kp_buf_append_text(out, "}\n", err));
done:
    return st;
}

static void on_done(void *ctx, const kp_store_result *result) {
    driver *self = ctx;
    kp_buf out = {0};
    kp_error err = {0};
    must(write_result(&out, result, &err), &err);
    fwrite(out.data, 1, out.length, stdout);
    fflush(stdout);
    kp_buf_deinit(&out);
    kp_free(self->body);
    self->body = NULL;
    self->done = true;
}

static kp_bytes make_body(driver *self, const kp_json *command) {
    const char *text = kp_json_text(kp_json_get(command, "text"), "");
    int64_t length = kp_json_int(kp_json_get(command, "length"), (int64_t)strlen(text));
    self->body = kp_alloc((size_t)length);
    for (int64_t i = 0; i < length; i++) {
        self->body[i] = (char)(*text ? text[i] : 'a' + i % 26);
    }
    return (kp_bytes){self->body, (size_t)length};
}

static kp_status start(driver *self, const kp_json *command, kp_error *err) {
    const kp_store_ops *ops = self->store->ops;
    const char *op = kp_json_text(kp_json_get(command, "op"), "");
    const char *path = kp_json_text(kp_json_get(command, "path"), "");
    if (strcmp(op, "put") == 0) {
        return ops->put(self->store, path, make_body(self, command), on_done, self, err);
    }
    if (strcmp(op, "piece") == 0) {
        int64_t from = kp_json_int(kp_json_get(command, "start"), 0);
        return ops->put_piece(self->store, path, from, make_body(self, command), on_done, self, err);
    }
    if (strcmp(op, "join") == 0) {
        const kp_json *starts = kp_json_get(command, "starts");
        size_t count = 0;
        for (const kp_json *one = kp_json_first(starts); one && count < 64; one = kp_json_next(one)) {
            self->starts[count++] = kp_json_int(one, 0);
        }
        int64_t length = kp_json_int(kp_json_get(command, "length"), 0);
        return ops->join(self->store, path, self->starts, count, length, on_done, self, err);
    }
    if (strcmp(op, "rename") == 0) {
        const char *to = kp_json_text(kp_json_get(command, "to"), "");
        return ops->rename(self->store, path, to, on_done, self, err);
    }
    kp_status (*one_path)(kp_store *, const char *, kp_store_on_done, void *, kp_error *) = NULL;
    one_path = strcmp(op, "status") == 0 ? ops->status : one_path;
    one_path = strcmp(op, "list") == 0 ? ops->list : one_path;
    one_path = strcmp(op, "remove") == 0 ? ops->remove : one_path;
    one_path = strcmp(op, "read") == 0 ? ops->read : one_path;
    return one_path ? one_path(self->store, path, on_done, self, err)
                    : kp_error_set(err, KP_FATAL, "", "no command: %s", op);
}

static void run(driver *self, kp_bytes line) {
    const kp_json *command;
    kp_error err;
    must(kp_json_parse(&command, line, "command", &err), &err);
    self->done = false;
    kp_status st = start(self, command, &err);
    kp_json_free(command);
    if (st != KP_OK) {
        on_done(self, &(kp_store_result){.outcome = KP_STORE_FAILED, .err = err});
    }
    while (!self->done) {
        must(kp_http_pump(self->http, &err), &err);
        must(self->store->ops->pump(self->store, &err), &err);
        if (!self->done) {
            must(kp_http_wait(self->http, NULL, NULL, 0, 1000, &err), &err);
        }
    }
}

int main(int argc, char **argv) {
    driver self = {0};
    kp_error err;
    const kp_json *config;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    if (argc != 2) {
        fprintf(stderr, "usage: live_webhdfs CONFIG\n");
        return 2;
    }
    must(kp_json_parse(&config, kp_bytes_of(argv[1]), "configuration", &err), &err);
    must(kp_http_new(&self.http, &(kp_http_options){.timeout_ms = 60000}, &err), &err);
    must(kp_store_find("hdfs")->open(&self.store, config, self.http, &err), &err);
    kp_json_free(config);
    while ((length = getline(&line, &capacity, stdin)) > 0) {
        run(&self, (kp_bytes){line, (size_t)length});
    }
    free(line);
    self.store->ops->close(self.store);
    kp_http_free(self.http);
    return kp_mem_live() == 0 ? 0 : 3;
}
