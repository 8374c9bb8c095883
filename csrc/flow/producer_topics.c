/* Topic handles by name: see producer_parts.h. A handle is what makes a message cheap to send: the library looks names
 * up in a list.
 */
#include "flow/producer_parts.h"

#include "core/mem.h"

#include <string.h>

enum { CAPACITY_MIN = 16 };

static void topic_free(kp_topic *topic) {
    if (topic && topic->handle) {
        rd_kafka_topic_destroy(topic->handle);
    }
    if (topic && topic->single) {
        rd_kafka_topic_destroy(topic->single);
    }
    kp_free(topic);
}

void kp_topic_table_deinit(kp_topic_table *table) {
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->entries[i].name) {
            topic_free(table->entries[i].topic);
            kp_free(table->entries[i].name);
        }
    }
    kp_free(table->entries);
    memset(table, 0, sizeof *table);
}

/* FNV-1a */
static size_t hash(kp_bytes name) {
    uint64_t sum = 14695981039346656037U;
    for (size_t i = 0; i < name.length; i++) {
        sum = (sum ^ (unsigned char)name.data[i]) * 1099511628211U;
    }
    return (size_t)(sum ^ (sum >> 32));
}

/* The place of this name, or the free one where it belongs. */
static kp_topic_entry *place(kp_topic_entry *entries, size_t capacity, kp_bytes name) {
    size_t at = hash(name) & (capacity - 1);
    while (entries[at].name &&
           (entries[at].length != name.length || memcmp(entries[at].name, name.data, name.length) != 0)) {
        at = (at + 1) & (capacity - 1);
    }
    return &entries[at];
}

static kp_status grow(kp_topic_table *table, kp_error *err) {
    size_t capacity = table->capacity ? table->capacity * 2 : CAPACITY_MIN;
    kp_topic_entry *entries = kp_calloc(capacity, sizeof *entries);
    if (!entries) {
        return kp_error_nomem(err);
    }
    for (size_t i = 0; i < table->capacity; i++) {
        kp_topic_entry *old = &table->entries[i];
        if (old->name) {
            *place(entries, capacity, (kp_bytes){old->name, old->length}) = *old;
        }
    }
    kp_free(table->entries);
    table->entries = entries;
    table->capacity = capacity;
    return KP_OK;
}

rd_kafka_topic_t *kp_topic_handle_new(kp_topic_table *table, rd_kafka_t *client, const char *name) {
    rd_kafka_topic_conf_t *conf = table->round_robin ? kp_partitioner_round_robin(client, &table->turns) : NULL;
    return table->round_robin && !conf ? NULL : rd_kafka_topic_new(client, name, conf);
}

static kp_status topic_new(kp_topic **out, kp_topic_table *table, rd_kafka_t *client, const char *name, kp_error *err) {
    *out = kp_calloc(1, sizeof **out);
    if (!*out) {
        return kp_error_nomem(err);
    }
    (*out)->handle = kp_topic_handle_new(table, client, name);
    return (*out)->handle ? KP_OK : kp_kafka_error_set(err, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, NULL, "topic %s", name);
}

static kp_status add(kp_topic_table *table, rd_kafka_t *client, kp_bytes name, kp_error *err) {
    kp_topic_entry entry = {.name = kp_strndup(name.data, name.length), .length = name.length};
    kp_status st;
    if (!entry.name) {
        return kp_error_nomem(err);
    }
    if (strlen(entry.name) == name.length) { /* the library takes a C string: no NUL in it */
        st = topic_new(&entry.topic, table, client, entry.name, err);
    } else {
        st = kp_kafka_error_set(err, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, NULL, "topic %s", entry.name);
    }
    if (st != KP_OK) {
        topic_free(entry.topic);
        kp_free(entry.name);
        return st;
    }
    *place(table->entries, table->capacity, name) = entry;
    table->count++;
    return KP_OK;
}

kp_status kp_topic_table_get(kp_topic_table *table, rd_kafka_t *client, kp_bytes name, kp_topic **out, kp_error *err) {
    kp_status st = KP_OK;
    if (table->capacity == 0 || !place(table->entries, table->capacity, name)->name) {
        if (table->count * 2 >= table->capacity) {
            KP_TRY(grow(table, err));
        }
        KP_TRY(add(table, client, name, err));
    }
    *out = place(table->entries, table->capacity, name)->topic;
done:
    return st;
}
