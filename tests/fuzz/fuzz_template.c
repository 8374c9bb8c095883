/* Templates: any text compiles or is refused; what a path template renders from any key and value lies in its base
 * folder, has no "." or ".." segment and no control character in what came from the data; an index name is one that
 * Elasticsearch takes. The input is the template, the key and the value, with NULs between them.
 */
#include "core/json_scan.h"
#include "core/mem.h"
#include "core/template.h"
#include "core/utf8.h"

#include <stdlib.h>
#include <string.h>

static kp_bytes next_part(kp_bytes *rest) {
    const char *nul = memchr(rest->data, '\0', rest->length);
    kp_bytes part = {rest->data, nul ? (size_t)(nul - rest->data) : rest->length};
    size_t used = part.length + (nul != NULL);
    rest->data += used;
    rest->length -= used;
    return part;
}

static size_t count(kp_bytes text, char c) {
    size_t found = 0;
    for (size_t i = 0; i < text.length; i++) {
        found += text.data[i] == c;
    }
    return found;
}

static void check_path(const kp_template *template, kp_bytes text, kp_bytes path) {
    kp_bytes base = kp_template_base(template);
    if (path.length < base.length || memcmp(path.data, base.data, base.length) != 0 ||
        count(path, '/') > count(text, '/')) {
        abort();
    }
    while (path.length > 0) {
        const char *slash = memchr(path.data, '/', path.length);
        size_t length = slash ? (size_t)(slash - path.data) : path.length;
        if ((length == 1 && path.data[0] == '.') || (length == 2 && memcmp(path.data, "..", 2) == 0) || length > 255) {
            abort();
        }
        path.data += length + (slash != NULL);
        path.length -= length + (slash != NULL);
    }
}

/* Literals are the operator's own, so only names without any are looked at as a whole. */
static void check_index(kp_bytes text, kp_bytes name) {
    if (name.length == 0 || name.length > 255 || strchr("-_+", name.data[0])) {
        abort();
    }
    if (text.length == 5 && memcmp(text.data, "{key}", 5) == 0) {
        for (size_t i = 0; i < name.length; i++) {
            unsigned char c = (unsigned char)name.data[i];
            if (c < 0x20 || (c >= 'A' && c <= 'Z') || strchr("\\/*?\"<>| ,#:", (char)c)) {
                abort();
            }
        }
    }
}

static void try_template(const char *text, kp_template_use use, const kp_record *rec) {
    kp_template *template;
    kp_buf out = {0};
    kp_error err;
    kp_status st = kp_template_new(&template, text, use, &err);
    if (st != KP_OK) {
        if (st != KP_FATAL || err.message[0] == '\0') {
            abort();
        }
        return;
    }
    st = kp_template_render(template, rec, 10, 20, &out, &err);
    if (st != KP_OK && (st != KP_REJECT || out.length != 0 || err.message[0] == '\0')) {
        abort();
    }
    if (st == KP_OK && use == KP_TEMPLATE_PATH) {
        check_path(template, kp_bytes_of(text), (kp_bytes){out.data ? out.data : "", out.length});
    } else if (st == KP_OK && use == KP_TEMPLATE_INDEX) {
        check_index(kp_bytes_of(text), (kp_bytes){out.data, out.length});
    }
    kp_buf_deinit(&out);
    kp_template_free(template);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kp_bytes rest = {(const char *)data, size};
    kp_bytes part = next_part(&rest);
    char *text = kp_strndup(part.data, part.length);
    kp_record rec = {.topic = "select-color", .partition = 1, .timestamp_ms = (int64_t)size * 86400123};
    rec.key = next_part(&rest);
    rec.value = rest;
    for (int use = KP_TEMPLATE_PATH; use <= KP_TEMPLATE_RAW; use++) {
        try_template(text, (kp_template_use)use, &rec);
        try_template("/d/{key}/{field:a}x", (kp_template_use)use, &rec);
        try_template("{key}", (kp_template_use)use, &rec);
    }
    kp_free(text);
    if (kp_mem_live() != 0) {
        abort();
    }
    return 0;
}
