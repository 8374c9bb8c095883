/* The stores by name, and the rule for paths that both share: see store.h. */
#include "stores/store.h"

#include <string.h>

static const kp_store_ops *const stores[] = {&kp_store_webhdfs, &kp_store_local};

const kp_store_ops *kp_store_find(const char *name) {
    for (size_t i = 0; i < sizeof stores / sizeof *stores; i++) {
        if (strcmp(stores[i]->name, name) == 0) {
            return stores[i];
        }
    }
    return NULL;
}

static bool segment_is_legal(const char *segment, size_t length) {
    bool dots = (length == 1 && segment[0] == '.') || (length == 2 && memcmp(segment, "..", 2) == 0);
    return length > 0 && !dots;
}

static kp_status check(const char *path, size_t length, const char *what, kp_error *err) {
    bool legal = length > 0 && path[0] == '/';
    for (size_t at = 1; legal && at < length;) {
        size_t segment = strcspn(path + at, "/");
        legal = segment_is_legal(path + at, segment) && at + segment + 1 != length;
        at += segment + 1;
    }
    return legal ? KP_OK
                 : kp_error_set(err, KP_REJECT, "EINVAL",
                                "%s \"%s\": a path is absolute and has no empty, \".\" or \"..\" part", what, path);
}

kp_status kp_store_check_path(const char *path, const char *what, kp_error *err) {
    return check(path, strlen(path), what, err);
}

kp_status kp_store_check_folder(const char *path, const char *what, kp_error *err) {
    size_t length = strlen(path);
    bool ends = length > 1 && path[length - 1] == '/';
    return check(path, ends ? length - 1 : length, what, err);
}
