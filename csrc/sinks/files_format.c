/* A record as it stands in a file of the files sink: as a line, with or without an envelope, compressed or not.
 *
 * A line is a record: the value's own bytes, whose raw newlines (which valid JSON has only between its tokens) become
 * spaces. Raw lines may hold any bytes, JSON lines are checked. The envelope is a JSON object whose last member is the
 * value's own bytes.
 */
#include "sinks/files.h"

#include "core/json_scan.h"
#include "core/utf8.h"

#include <string.h>

enum { GZIP_LEVEL = 6, ZSTD_LEVEL = 3 };

kp_status files_format_check(const files_sink *self, const kp_record *rec, kp_error *err) {
    if (self->raw) {
        return KP_OK;
    }
    if (!rec->value.data) {
        return self->envelope ? KP_OK
                              : kp_error_set(err, KP_REJECT, "ENOVALUE",
                                             "the record has no value (a tombstone): `format: raw` or an envelope "
                                             "keeps it");
    }
    return kp_json_scan(rec->value, NULL, 0, NULL, NULL, err);
}

/* ---- the envelope ---- */

static bool is_utf8(kp_bytes text) {
    const unsigned char *at = (const unsigned char *)text.data;
    size_t left = text.length;
    while (left > 0) {
        size_t length = *at < 0x80 ? 1 : kp_utf8_length(at, left);
        if (length == 0) {
            return false;
        }
        at += length;
        left -= length;
    }
    return true;
}

static kp_status append_base64(kp_buf *out, kp_bytes in, kp_error *err) {
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    kp_status st = KP_OK;
    for (size_t i = 0; i < in.length && st == KP_OK; i += 3) {
        size_t left = in.length - i < 3 ? in.length - i : 3;
        unsigned group = 0;
        for (size_t k = 0; k < 3; k++) {
            group = group << 8 | (k < left ? (unsigned char)in.data[i + k] : 0u);
        }
        char four[4] = {letters[group >> 18], letters[group >> 12 & 63], letters[group >> 6 & 63], letters[group & 63]};
        memset(four + left + 1, '=', 3 - left);
        st = kp_buf_append(out, four, sizeof four, err);
    }
    return st;
}

/* "name":"text", or "name_base64":"..." for what is no text, or "name":null. */
static kp_status append_member(kp_buf *out, const char *before, const char *name, kp_bytes value, kp_error *err) {
    kp_status st;
    bool text = !value.data || is_utf8(value);
    KP_TRY(kp_buf_printf(out, err, "%s\"%s%s\":", before, name, text ? "" : "_base64"));
    if (!value.data) {
        st = kp_buf_append_text(out, "null", err);
    } else if (text) {
        st = kp_buf_append_json_string(out, value, err);
    } else {
        KP_TRY(kp_buf_append_text(out, "\"", err));
        KP_TRY(append_base64(out, value, err));
        st = kp_buf_append_text(out, "\"", err);
    }
done:
    return st;
}

static kp_status append_headers(const files_sink *self, const kp_record *rec, kp_buf *out, kp_error *err) {
    kp_status st;
    kp_bytes name;
    kp_bytes value;
    KP_TRY(kp_buf_append_text(out, ",\"headers\":[", err));
    for (size_t i = 0; self->env.header && self->env.header(self->env.ctx, rec, i, &name, &value); i++) {
        KP_TRY(append_member(out, i ? ",{" : "{", "name", name, err));
        KP_TRY(append_member(out, ",", "value", value, err));
        KP_TRY(kp_buf_append_text(out, "}", err));
    }
    st = kp_buf_append_text(out, "]", err);
done:
    return st;
}

static kp_status append_envelope(const files_sink *self, const kp_record *rec, kp_buf *out, kp_error *err) {
    kp_status st;
    KP_TRY(append_member(out, "{", "topic", kp_bytes_of(rec->topic), err));
    KP_TRY(kp_buf_printf(out, err, ",\"partition\":%d,\"offset\":%lld,\"timestamp\":", rec->partition,
                         (long long)rec->offset));
    if (rec->timestamp_ms >= 0) {
        KP_TRY(kp_buf_append_int(out, rec->timestamp_ms, err));
    } else {
        KP_TRY(kp_buf_append_text(out, "null", err));
    }
    KP_TRY(append_member(out, ",", "key", rec->key, err));
    KP_TRY(append_headers(self, rec, out, err));
    st = kp_buf_append_text(out, ",\"value\":", err);
done:
    return st;
}

/* ---- the line ---- */

static kp_status append_value(const files_sink *self, const kp_record *rec, kp_buf *out, kp_error *err) {
    kp_status st;
    kp_bytes value = rec->value.data || !self->envelope ? rec->value : KP_BYTES_LITERAL("null");
    size_t start = out->length;
    KP_TRY(kp_buf_reserve(out, value.length + 2, err));
    KP_TRY(kp_buf_append(out, value.data, value.length, err));
    char *end = out->data + out->length;
    for (char *at = out->data + start; at < end && (at = memchr(at, '\n', (size_t)(end - at))); at++) {
        *at = ' ';
    }
    st = kp_buf_append(out, "}\n" + !self->envelope, 1u + self->envelope, err);
done:
    return st;
}

/* out is as before when it fails. */
static kp_status append_line(const files_sink *self, const kp_record *rec, kp_buf *out, kp_error *err) {
    size_t before = out->length;
    kp_status st = self->envelope ? append_envelope(self, rec, out, err) : KP_OK;
    st = st == KP_OK ? append_value(self, rec, out, err) : st;
    out->length = st == KP_OK ? out->length : before;
    return st;
}

/* ---- compression ---- */

static kp_status open_stream(const files_sink *self, files_file *file, kp_error *err) {
    if (self->compression == FILES_GZIP && !file->gzip) {
        return kp_gzip_stream_new(&file->gzip, GZIP_LEVEL, err);
    }
    return self->compression == FILES_ZSTD && !file->zstd ? kp_zstd_stream_new(&file->zstd, ZSTD_LEVEL, err) : KP_OK;
}

kp_status files_format_add(files_sink *self, files_file *file, const kp_record *rec, kp_error *err) {
    kp_status st;
    if (self->compression == FILES_PLAIN) {
        return append_line(self, rec, &file->body, err);
    }
    kp_buf_reset(&self->line);
    KP_TRY(append_line(self, rec, &self->line, err));
    KP_TRY(open_stream(self, file, err));
    kp_bytes line = {self->line.data, self->line.length};
    st = self->compression == FILES_GZIP ? kp_gzip_stream_add(file->gzip, line, &file->body, err)
                                         : kp_zstd_stream_add(file->zstd, line, &file->body, err);
done:
    return st;
}

kp_status files_format_end(files_file *file, kp_error *err) {
    kp_status st = KP_OK;
    if (file->gzip) {
        st = kp_gzip_stream_end(file->gzip, &file->body, err);
    } else if (file->zstd) {
        st = kp_zstd_stream_end(file->zstd, &file->body, err);
    }
    if (st == KP_OK) {
        files_format_free(file);
    }
    return st;
}

void files_format_free(files_file *file) {
    kp_gzip_stream_free(file->gzip);
    kp_zstd_stream_free(file->zstd);
    file->gzip = NULL;
    file->zstd = NULL;
}
