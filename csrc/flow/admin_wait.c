/* The admin client's calls that the library has only as waiting ones: see admin.h. */
#include "flow/admin_parts.h"

#include <string.h>

kp_status kp_admin_metadata(kp_admin *self, const char *topic, int timeout_ms, const struct rd_kafka_metadata **out,
                            kp_error *err) {
    rd_kafka_topic_t *handle = NULL;
    const char *op = topic ? "describe topic" : "list topics";
    kp_status st = kp_admin_check_process(self, err);
    *out = NULL;
    if (st != KP_OK) {
        return st;
    }
    if (topic && !(handle = rd_kafka_topic_new(self->client, topic, NULL))) {
        return kp_kafka_error_set(err, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, NULL, "%s %s", op, topic);
    }
    kp_admin_verdict verdict = {rd_kafka_metadata(self->client, topic == NULL, handle, out, timeout_ms), NULL};
    if (handle) {
        rd_kafka_topic_destroy(handle);
    }
    if (verdict.code == RD_KAFKA_RESP_ERR_NO_ERROR && topic) {
        verdict.code = (*out)->topic_cnt == 1 ? (*out)->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    }
    st = kp_admin_error_set(self, verdict, op, topic, err);
    if (st != KP_OK && *out) {
        rd_kafka_metadata_destroy(*out);
        *out = NULL;
    }
    return st;
}

/* ---- cluster ---- */

static kp_status append_brokers(const struct rd_kafka_metadata *metadata, kp_buf *out, kp_error *err) {
    kp_status st;
    KP_TRY(kp_buf_append_text(out, "\"brokers\":[", err));
    for (int i = 0; i < metadata->broker_cnt; i++) {
        const struct rd_kafka_metadata_broker *broker = &metadata->brokers[i];
        KP_TRY(kp_buf_printf(out, err, "%s[%d,", i > 0 ? "," : "", broker->id));
        KP_TRY(kp_buf_append_json_string(out, kp_bytes_of(broker->host), err));
        KP_TRY(kp_buf_printf(out, err, ",%d]", broker->port));
    }
    KP_TRY(kp_buf_append_text(out, "]", err));
done:
    return st;
}

static kp_status append_cluster(kp_admin *self, const struct rd_kafka_metadata *metadata, int timeout_ms, kp_buf *out,
                                kp_error *err) {
    kp_status st;
    char *id = rd_kafka_clusterid(self->client, timeout_ms);
    int32_t controller = rd_kafka_controllerid(self->client, timeout_ms);
    KP_TRY(kp_buf_append_text(out, "{\"id\":", err));
    KP_TRY(id ? kp_buf_append_json_string(out, kp_bytes_of(id), err) : kp_buf_append_text(out, "null", err));
    KP_TRY(kp_buf_append_text(out, ",\"controller\":", err));
    KP_TRY(controller >= 0 ? kp_buf_append_int(out, controller, err) : kp_buf_append_text(out, "null", err));
    KP_TRY(kp_buf_append_text(out, ",", err));
    KP_TRY(append_brokers(metadata, out, err));
    KP_TRY(kp_buf_append_text(out, "}", err));
done:
    if (id) {
        rd_kafka_mem_free(self->client, id);
    }
    return st;
}

kp_status kp_admin_cluster(kp_admin *self, int timeout_ms, kp_buf *out, kp_error *err) {
    const struct rd_kafka_metadata *metadata = NULL;
    kp_status st = kp_admin_check_process(self, err);
    if (st != KP_OK) {
        return st;
    }
    kp_admin_verdict verdict = {rd_kafka_metadata(self->client, 0, NULL, &metadata, timeout_ms), NULL};
    st = kp_admin_error_set(self, verdict, "describe cluster", NULL, err);
    if (st == KP_OK) {
        st = append_cluster(self, metadata, timeout_ms, out, err);
        rd_kafka_metadata_destroy(metadata);
    }
    return st;
}

/* ---- offsets ---- */

rd_kafka_topic_partition_list_t *kp_admin_partitions_new(const kp_admin_offset *offsets, size_t count) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_topic_partition_t *entry =
            rd_kafka_topic_partition_list_add(list, offsets[i].topic, offsets[i].partition);
        entry->offset = offsets[i].offset;
        entry->metadata =
            offsets[i].metadata ? strdup(offsets[i].metadata) : NULL; /* the library frees it with free() */
        entry->metadata_size = entry->metadata ? strlen(entry->metadata) : 0;
    }
    return list;
}

/* The library answers in an order of its own. */
static rd_kafka_resp_err_t take_offsets(rd_kafka_topic_partition_list_t *found, kp_admin_offset *offsets,
                                        size_t count) {
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_topic_partition_t *each =
            rd_kafka_topic_partition_list_find(found, offsets[i].topic, offsets[i].partition);
        if (!each || each->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return each ? each->err : RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION;
        }
        offsets[i].offset = each->offset;
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* The library sends the times as they are, and -1 and -2 mean end and beginning in the protocol too. */
kp_status kp_admin_find_offsets(kp_admin *self, kp_admin_offset *offsets, size_t count, int timeout_ms, kp_error *err) {
    kp_status st = kp_admin_check_process(self, err);
    if (st != KP_OK || count == 0) {
        return st;
    }
    rd_kafka_topic_partition_list_t *list = kp_admin_partitions_new(offsets, count);
    kp_admin_verdict verdict = {rd_kafka_offsets_for_times(self->client, list, timeout_ms), NULL};
    if (verdict.code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        verdict.code = take_offsets(list, offsets, count);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return kp_admin_error_set(self, verdict, "find offsets in topic", offsets[0].topic, err);
}
