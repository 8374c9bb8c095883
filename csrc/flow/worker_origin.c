/* Dead letters that are sent through their pipeline again: each is delivered as the record that it was, with the topic,
 * partition and offset that its headers name, so that ids and names are those of the first time. What is committed are
 * the letters' own offsets.
 */
#include "flow/worker.h"

#include "core/mem.h"

#include <stdlib.h>
#include <string.h>

enum { NUMBER_MAX = 20 };

struct kp_origin_topic { /* one for each name, as long as the session: records borrow it */
    kp_origin_topic *next;
    char name[];
};

static const char *keep_topic(kp_worker *self, const char *name, size_t length) {
    kp_origin_topic *one = self->origin_topics;
    while (one && (strlen(one->name) != length || memcmp(one->name, name, length) != 0)) {
        one = one->next;
    }
    if (!one) {
        one = kp_calloc(1, sizeof *one + length + 1);
        if (!one) {
            return NULL;
        }
        memcpy(one->name, name, length);
        one->next = self->origin_topics;
        self->origin_topics = one;
    }
    return one->name;
}

void kp_origins_free(kp_worker *self) {
    while (self->origin_topics) {
        kp_origin_topic *one = self->origin_topics;
        self->origin_topics = one->next;
        kp_free(one);
    }
}

/* The last header of a name counts. */
static bool read_text(const rd_kafka_headers_t *headers, const char *name, kp_bytes *out) {
    const void *value;
    size_t length;
    if (rd_kafka_header_get_last(headers, name, &value, &length) || !value || length == 0) {
        return false;
    }
    *out = (kp_bytes){value, length};
    return true;
}

static bool read_number(const rd_kafka_headers_t *headers, const char *name, int64_t most, int64_t *out) {
    kp_bytes text;
    char copy[NUMBER_MAX + 1] = {0};
    char *end;
    if (!read_text(headers, name, &text) || text.length > NUMBER_MAX || text.data[0] < '0' || text.data[0] > '9') {
        return false;
    }
    memcpy(copy, text.data, text.length);
    long long number = strtoll(copy, &end, 10);
    *out = number;
    return *end == '\0' && number <= most;
}

kp_status kp_origin_read(kp_worker *self, const rd_kafka_message_t *message, kp_record *rec, kp_error *err) {
    rd_kafka_headers_t *headers = NULL;
    kp_bytes topic;
    int64_t partition;
    int64_t offset;
    if (!self->config->redrive) {
        return KP_OK;
    }
    if (rd_kafka_message_headers(message, &headers) || !read_text(headers, "__connect.errors.topic", &topic) ||
        !read_number(headers, "__connect.errors.partition", INT32_MAX, &partition) ||
        !read_number(headers, "__connect.errors.offset", INT64_MAX, &offset)) {
        return kp_error_set(err, KP_FATAL, "EORIGIN",
                            "%s [%d] offset %lld is no dead letter: no headers tell of a record", rec->topic,
                            rec->partition, (long long)rec->offset);
    }
    rec->topic = keep_topic(self, topic.data, topic.length);
    rec->has_position = true;
    rec->position = rec->offset;
    rec->partition = (int32_t)partition;
    rec->offset = offset;
    return rec->topic ? KP_OK : kp_error_nomem(err);
}

void kp_origin_note_existing(kp_worker *self, const kp_batch *batch, size_t index) {
    const kp_record *rec = &batch->records[index];
    if (!self->config->redrive || batch->verdicts[index].reason == 0) {
        return;
    }
    pthread_mutex_lock(&self->shared.lock); /* out of memory: it counts as delivered, which is as true */
    kp_buf *list = &self->shared.existing;
    (void)!kp_buf_printf(list, NULL, "%s[%d,%lld]", list->length ? "," : "", self->parts[rec->slot]->partition,
                         (long long)kp_record_position(rec));
    pthread_mutex_unlock(&self->shared.lock);
}
