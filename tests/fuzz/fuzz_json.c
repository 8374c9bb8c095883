/* The scanner against the reference parser, and its code for processors without SSE2 against both. What it finds lies
 * in the input, is JSON itself, and unescapes.
 */
#include "json_reference.h"

#include "core/mem.h"

#define kp_json_scan portable_scan
#define kp_json_scan_value portable_scan_value
#define KP_JSON_PORTABLE
#include "../../csrc/core/json_scan.c"
#undef kp_json_scan
#undef kp_json_scan_value

kp_status kp_json_scan(kp_bytes text, const kp_json_path *paths, size_t path_count, kp_json_span *found,
                       kp_json_kind *kind_out, kp_error *err);
kp_status kp_json_scan_value(kp_bytes text, size_t *at, kp_json_span *value, kp_error *err);

enum { PATHS = 5 };

static void check_span(kp_bytes text, kp_json_span span, kp_json_span other) {
    if (span.kind != other.kind || span.raw.data != other.raw.data || span.raw.length != other.raw.length ||
        span.escaped != other.escaped) {
        abort();
    }
    if (span.kind == KP_JSON_NONE) {
        return;
    }
    if (span.raw.data < text.data || span.raw.data + span.raw.length > text.data + text.length ||
        !reference_valid((const unsigned char *)span.raw.data, span.raw.length)) {
        abort();
    }
    if (span.kind == KP_JSON_STRING) {
        kp_buf out = {0};
        if (kp_json_unescape(span, &out, NULL) != KP_OK ||
            (!span.escaped && !kp_json_text_equals((kp_bytes){span.raw.data + 1, span.raw.length - 2},
                                                   (kp_bytes){out.data, out.length}))) {
            abort();
        }
        kp_buf_deinit(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const dotted[PATHS] = {"a", "a.b", "a.a.a.a.a.a.a.a", "\xED\x99\x8D", "b"};
    kp_bytes text = {(const char *)data, size};
    kp_json_path paths[PATHS];
    kp_json_span found[PATHS];
    kp_json_span portable[PATHS];
    kp_error err;
    for (size_t i = 0; i < PATHS; i++) {
        if (kp_json_path_init(&paths[i], kp_bytes_of(dotted[i]), NULL) != KP_OK) {
            abort();
        }
    }
    bool valid = kp_json_scan(text, paths, PATHS, found, NULL, &err) == KP_OK;
    if (valid != reference_valid(data, size) ||
        valid != (portable_scan(text, paths, PATHS, portable, NULL, NULL) == KP_OK)) {
        abort();
    }
    for (size_t i = 0; valid && i < PATHS; i++) {
        check_span(text, found[i], portable[i]);
    }
    kp_json_span value;
    size_t at = 0;
    bool begins = kp_json_scan_value(text, &at, &value, NULL) == KP_OK;
    if ((valid && !begins) || (begins && !reference_valid(data, at)) || kp_mem_live() != 0) {
        abort();
    }
    return 0;
}
