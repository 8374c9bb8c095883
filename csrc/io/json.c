/* Small JSON documents over cJSON: see json.h. The only file that includes cJSON.h.
 *
 * cJSON 1.7.15 reads one byte past a text that ends behind a comma, so the text is copied and terminated first.
 */
#include "io/json.h"

#include "core/mem.h"

#include <cJSON.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

static const double KP_JSON_INT_LIMIT = 9007199254740992.0; /* 2^53: beyond it a double is not every integer */

static pthread_once_t hooks_once = PTHREAD_ONCE_INIT;

static _Thread_local bool no_memory; /* cJSON tells a failed allocation and a syntax error not apart */

static void *json_alloc(size_t size) {
    void *memory = kp_alloc(size);
    no_memory = no_memory || !memory;
    return memory;
}

static void set_hooks(void) {
    cJSON_Hooks hooks = {json_alloc, kp_free};
    cJSON_InitHooks(&hooks);
}

static const cJSON *inner(const kp_json *value) {
    return (const cJSON *)(const void *)value;
}

static const kp_json *outer(const cJSON *value) {
    return (const kp_json *)(const void *)value;
}

static bool only_space(const char *at, const char *end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) {
        at++;
    }
    return at == end;
}

kp_status kp_json_parse(const kp_json **out, kp_bytes text, const char *what, kp_error *err) {
    pthread_once(&hooks_once, set_hooks);
    *out = NULL;
    char *copy = kp_strndup(text.data ? text.data : "", text.length);
    if (!copy) {
        return kp_error_nomem(err);
    }
    const char *end = copy;
    no_memory = false;
    cJSON *root = cJSON_ParseWithLengthOpts(copy, text.length, &end, 0);
    bool whole = root && only_space(end, copy + text.length);
    if (!whole) {
        cJSON_Delete(root);
        root = NULL;
    }
    size_t at = (size_t)(end - copy);
    kp_free(copy);
    if (!root && no_memory) {
        return kp_error_nomem(err);
    }
    if (!root) {
        return kp_error_set(err, KP_REJECT, "", "%s is no valid JSON (%zu bytes, wrong at or before byte %zu)", what,
                            text.length, at);
    }
    *out = outer(root);
    return KP_OK;
}

void kp_json_free(const kp_json *root) {
    cJSON_Delete((cJSON *)(uintptr_t)root);
}

const kp_json *kp_json_get(const kp_json *object, const char *key) {
    return kp_json_is_object(object) ? outer(cJSON_GetObjectItemCaseSensitive(inner(object), key)) : NULL;
}

const kp_json *kp_json_first(const kp_json *array_or_object) {
    return array_or_object ? outer(inner(array_or_object)->child) : NULL;
}

const kp_json *kp_json_next(const kp_json *child) {
    return child ? outer(inner(child)->next) : NULL;
}

size_t kp_json_count(const kp_json *array) {
    size_t count = 0;
    for (const kp_json *child = kp_json_first(array); child; child = kp_json_next(child)) {
        count++;
    }
    return count;
}

const char *kp_json_key(const kp_json *child) {
    return child && inner(child)->string ? inner(child)->string : "";
}

const char *kp_json_text(const kp_json *value, const char *fallback) {
    return value && cJSON_IsString(inner(value)) ? inner(value)->valuestring : fallback;
}

static bool is_int(const kp_json *value) {
    double number = value && cJSON_IsNumber(inner(value)) ? inner(value)->valuedouble : (double)NAN;
    return fabs(number) <= KP_JSON_INT_LIMIT && floor(number) == number;
}

int64_t kp_json_int(const kp_json *value, int64_t fallback) {
    return is_int(value) ? (int64_t)inner(value)->valuedouble : fallback;
}

bool kp_json_bool(const kp_json *value, bool fallback) {
    return value && cJSON_IsBool(inner(value)) ? cJSON_IsTrue(inner(value)) != 0 : fallback;
}

bool kp_json_is_object(const kp_json *value) {
    return value && cJSON_IsObject(inner(value));
}

bool kp_json_is_array(const kp_json *value) {
    return value && cJSON_IsArray(inner(value));
}

kp_status kp_json_need(const kp_json *object, const char *key, const kp_json **out, kp_error *err) {
    *out = kp_json_get(object, key);
    return *out ? KP_OK : kp_error_set(err, KP_FATAL, "", "configuration: \"%s\" is missing", key);
}

static kp_status wrong_type(const char *key, const char *wanted, kp_error *err) {
    return kp_error_set(err, KP_FATAL, "", "configuration: \"%s\" must be %s", key, wanted);
}

kp_status kp_json_need_text(const kp_json *object, const char *key, const char **out, kp_error *err) {
    const kp_json *value;
    kp_status st = kp_json_need(object, key, &value, err);
    if (st == KP_OK) {
        *out = kp_json_text(value, NULL);
        st = *out ? KP_OK : wrong_type(key, "a string", err);
    }
    return st;
}

kp_status kp_json_need_int(const kp_json *object, const char *key, int64_t *out, kp_error *err) {
    const kp_json *value;
    kp_status st = kp_json_need(object, key, &value, err);
    if (st == KP_OK) {
        *out = kp_json_int(value, 0);
        st = is_int(value) ? KP_OK : wrong_type(key, "a whole number below 2^53", err);
    }
    return st;
}

kp_status kp_json_need_bool(const kp_json *object, const char *key, bool *out, kp_error *err) {
    const kp_json *value;
    kp_status st = kp_json_need(object, key, &value, err);
    if (st == KP_OK) {
        *out = kp_json_bool(value, false);
        st = cJSON_IsBool(inner(value)) ? KP_OK : wrong_type(key, "true or false", err);
    }
    return st;
}

const char *kp_json_version(void) {
    return cJSON_Version();
}
