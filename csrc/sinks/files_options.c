/* The configuration of the files sink: see files.h. A plan is what may differ from topic to topic. */
#include "sinks/files.h"

#include "core/mem.h"

#include <stdio.h>
#include <string.h>

static kp_status token_init(char token[17], kp_error *err) {
    unsigned char random[8];
    FILE *source = fopen("/dev/urandom", "rb");
    size_t got = source ? fread(random, 1, sizeof random, source) : 0;
    if (source) {
        fclose(source);
    }
    if (got != sizeof random) {
        return kp_error_set(err, KP_FATAL, "EIO", "/dev/urandom gives no random bytes");
    }
    for (size_t i = 0; i < sizeof random; i++) {
        snprintf(token + 2 * i, 3, "%02x", random[i]);
    }
    return KP_OK;
}

static void plan_free(files_plan *plan) {
    kp_template_free(plan->path);
    kp_buf_deinit(&plan->temp_folder);
    kp_free(plan->topic);
    kp_free(plan);
}

static kp_status plan_read(files_plan *plan, const kp_json *config, kp_error *err) {
    kp_status st;
    const char *path;
    KP_TRY(kp_json_need_text(config, "path", &path, err));
    KP_TRY(kp_json_need_int(config, "rotate_records", &plan->records, err));
    KP_TRY(kp_json_need_int(config, "rotate_bytes", &plan->bytes, err));
    KP_TRY(kp_json_need_int(config, "rotate_age_ms", &plan->age_ms, err));
    KP_TRY(kp_template_new(&plan->path, path, KP_TEMPLATE_PATH, err));
    kp_bytes base = kp_template_base(plan->path);
    KP_TRY(kp_buf_append(&plan->temp_folder, base.data, base.length, err));
    KP_TRY(kp_buf_append_text(&plan->temp_folder, "_tmp/", err));
    st = kp_buf_text(&plan->temp_folder) ? KP_OK : kp_error_nomem(err);
done:
    return st;
}

/* topic NULL: the one for all others. */
static kp_status plan_add(files_sink *self, const char *topic, const kp_json *config, kp_error *err) {
    kp_status st;
    files_plan *plan = kp_calloc(1, sizeof *plan);
    if (!plan) {
        return kp_error_nomem(err);
    }
    plan->topic = topic ? kp_strdup(topic) : NULL;
    if (topic && !plan->topic) {
        KP_TRY(kp_error_nomem(err));
    }
    KP_TRY(plan_read(plan, config, err));
    plan->next = self->plans;
    self->plans = plan;
done:
    if (st != KP_OK) {
        plan_free(plan);
    }
    return st;
}

const files_plan *files_plan_for(const files_sink *self, const char *topic) {
    const files_plan *plan = self->plans;
    while (plan->topic && strcmp(plan->topic, topic) != 0) { /* the last one is for all */
        plan = plan->next;
    }
    return plan;
}

static kp_status read_format(files_sink *self, const kp_json *config, kp_error *err) {
    kp_status st;
    const char *format;
    const char *compression;
    KP_TRY(kp_json_need_text(config, "format", &format, err));
    KP_TRY(kp_json_need_text(config, "compression", &compression, err));
    KP_TRY(kp_json_need_bool(config, "envelope", &self->envelope, err));
    self->raw = strcmp(format, "raw") == 0;
    self->compression = strcmp(compression, "gzip") == 0   ? FILES_GZIP
                        : strcmp(compression, "zstd") == 0 ? FILES_ZSTD
                                                           : FILES_PLAIN;
done:
    return st;
}

kp_status files_options_read(files_sink *self, const kp_json *config, kp_error *err) {
    kp_status st;
    const kp_json *overrides;
    KP_TRY(kp_json_need_int(config, "buffer_bytes", &self->buffer_bytes, err));
    KP_TRY(kp_json_need_int(config, "stream_bytes", &self->stream_bytes, err));
    KP_TRY(kp_json_need_int(config, "open_files", &self->open_max, err));
    KP_TRY(read_format(self, config, err));
    KP_TRY(token_init(self->token, err));
    KP_TRY(plan_add(self, NULL, config, err));
    KP_TRY(kp_json_need(config, "overrides", &overrides, err));
    for (const kp_json *one = kp_json_first(overrides); one; one = kp_json_next(one)) {
        KP_TRY(plan_add(self, kp_json_key(one), one, err));
    }
done:
    return st;
}

void files_options_free(files_sink *self) {
    while (self->plans) {
        files_plan *plan = self->plans;
        self->plans = plan->next;
        plan_free(plan);
    }
}
