/* Where a pipeline's topics end and where its group stands, asked of the brokers by a client of its own that joins
 * nothing. What a worker knows of the ends is as old as its last fetch; this is exact.
 */
#include "flow/worker.h"

enum { PROPERTIES_MAX = 128 };

static kp_status open_client(const kp_pipeline_config *config, kp_kafka_log *log, rd_kafka_t **out, kp_error *err) {
    kp_kafka_property all[PROPERTIES_MAX + 1];
    rd_kafka_conf_t *conf;
    size_t count = 0;
    for (const kp_json *one = kp_json_first(config->kafka); one && count < PROPERTIES_MAX; one = kp_json_next(one)) {
        all[count++] = (kp_kafka_property){kp_json_key(one), kp_json_text(one, "")};
    }
    all[count++] = (kp_kafka_property){"group.id", config->group};
    kp_status st = kp_kafka_conf_new(&conf, all, count, err);
    if (st == KP_OK) {
        kp_kafka_log_attach(log, conf);
        st = kp_kafka_client_new(out, RD_KAFKA_CONSUMER, conf, err);
    }
    return st;
}

static kp_status add_topic(rd_kafka_t *rk, const char *topic, int timeout_ms, rd_kafka_topic_partition_list_t *list,
                           kp_error *err) {
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
    rd_kafka_resp_err_t code = handle ? rd_kafka_metadata(rk, 0, handle, &metadata, timeout_ms) : rd_kafka_last_error();
    if (!code && metadata->topic_cnt == 1) {
        code = metadata->topics[0].err;
    }
    for (int i = 0; !code && i < metadata->topics[0].partition_cnt; i++) {
        rd_kafka_topic_partition_list_add(list, topic, metadata->topics[0].partitions[i].id);
    }
    if (metadata) {
        rd_kafka_metadata_destroy(metadata);
    }
    if (handle) {
        rd_kafka_topic_destroy(handle);
    }
    return code ? kp_kafka_error_set(err, code, NULL, "partitions of %s", topic) : KP_OK;
}

/* A pattern's topics are those that are assigned: the library alone knows what matches. */
static kp_status add_assigned(kp_worker *worker, rd_kafka_topic_partition_list_t *list, kp_error *err) {
    const kp_json *assignment = NULL;
    pthread_mutex_lock(&worker->shared.lock);
    kp_bytes text = {worker->shared.assignment.data, worker->shared.assignment.length};
    kp_status st = text.length ? kp_json_parse(&assignment, text, "the assignment", err) : KP_OK;
    pthread_mutex_unlock(&worker->shared.lock);
    for (const kp_json *one = kp_json_first(assignment); one; one = kp_json_next(one)) {
        const kp_json *topic = kp_json_first(one);
        int32_t partition = (int32_t)kp_json_int(kp_json_next(topic), 0);
        if (!rd_kafka_topic_partition_list_find(list, kp_json_text(topic, ""), partition)) {
            rd_kafka_topic_partition_list_add(list, kp_json_text(topic, ""), partition);
        }
    }
    kp_json_free(assignment);
    return st;
}

static kp_status append_end(rd_kafka_t *rk, const rd_kafka_topic_partition_t *entry, int timeout_ms, kp_buf *json,
                            kp_error *err) {
    kp_status st;
    int64_t low;
    int64_t high;
    rd_kafka_resp_err_t code =
        rd_kafka_query_watermark_offsets(rk, entry->topic, entry->partition, &low, &high, timeout_ms);
    if (code) {
        return kp_kafka_error_set(err, code, NULL, "end of %s [%d]", entry->topic, entry->partition);
    }
    KP_TRY(kp_buf_append_text(json, json->length > 1 ? ",[" : "[", err));
    KP_TRY(kp_buf_append_json_string(json, kp_bytes_of(entry->topic), err));
    KP_TRY(kp_buf_printf(json, err, ",%d,%lld,%lld,%lld]", entry->partition, (long long)low, (long long)high,
                         (long long)(entry->offset < 0 ? -1 : entry->offset)));
done:
    return st;
}

static kp_status ask(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int timeout_ms, const char *group,
                     kp_buf *json, kp_error *err) {
    kp_status st;
    rd_kafka_resp_err_t code = list->cnt ? rd_kafka_committed(rk, list, timeout_ms) : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (code) {
        return kp_kafka_error_set(err, code, NULL, "committed offsets of group %s", group);
    }
    KP_TRY(kp_buf_append(json, "[", 1, err));
    for (int i = 0; i < list->cnt; i++) {
        KP_TRY(append_end(rk, &list->elems[i], timeout_ms, json, err));
    }
    KP_TRY(kp_buf_append(json, "]", 1, err));
done:
    return st;
}

kp_status kp_pipeline_ends_ask(const kp_pipeline_config *config, kp_worker *workers, int timeout_ms, kp_buf *json,
                               kp_error *err) {
    kp_status st;
    kp_kafka_log log;
    rd_kafka_t *rk = NULL;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    kp_kafka_log_init(&log);
    KP_TRY(open_client(config, &log, &rk, err));
    for (const kp_json *topic = kp_json_first(config->topics); topic; topic = kp_json_next(topic)) {
        if (*kp_json_text(topic, "^") != '^') {
            KP_TRY(add_topic(rk, kp_json_text(topic, ""), timeout_ms, list, err));
            continue;
        }
        for (int64_t i = 0; i < config->workers; i++) {
            KP_TRY(add_assigned(&workers[i], list, err));
        }
    }
    KP_TRY(ask(rk, list, timeout_ms, config->group, json, err));
done:
    rd_kafka_topic_partition_list_destroy(list);
    if (rk) {
        rd_kafka_destroy(rk);
    }
    kp_kafka_log_deinit(&log);
    return st;
}
