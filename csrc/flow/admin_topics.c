/* The admin client's calls about topics, their settings and their records: see admin.h. */
#include "flow/admin_parts.h"

static kp_status topic_of(const kp_admin_topic *topic, rd_kafka_NewTopic_t **out, kp_error *err) {
    char reason[256];
    *out = rd_kafka_NewTopic_new(topic->name, topic->partitions, topic->replication_factor, reason, sizeof reason);
    if (!*out) {
        return kp_error_set(err, KP_REJECT, "_INVALID_ARG", "create topic %s: %s", topic->name, reason);
    }
    for (size_t i = 0; i < topic->config_count; i++) {
        rd_kafka_resp_err_t code = rd_kafka_NewTopic_set_config(*out, topic->config[i].name, topic->config[i].value);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_NewTopic_destroy(*out);
            *out = NULL;
            return kp_kafka_error_set(err, code, NULL, "create topic %s", topic->name);
        }
    }
    return KP_OK;
}

kp_status kp_admin_create_topic(kp_admin *self, const kp_admin_topic *topic, int timeout_ms, void *ticket,
                                kp_error *err) {
    rd_kafka_NewTopic_t *made;
    kp_status st = topic_of(topic, &made, err);
    if (st != KP_OK) {
        return st;
    }
    rd_kafka_AdminOptions_t *options =
        kp_admin_call_open(self, RD_KAFKA_ADMIN_OP_CREATETOPICS, "create topic", topic->name, timeout_ms, ticket, err);
    if (options) {
        rd_kafka_CreateTopics(self->client, &made, 1, options, self->answers);
        rd_kafka_AdminOptions_destroy(options);
    }
    rd_kafka_NewTopic_destroy(made);
    return options ? KP_OK : err->status;
}

kp_status kp_admin_delete_topic(kp_admin *self, const char *name, int timeout_ms, void *ticket, kp_error *err) {
    rd_kafka_AdminOptions_t *options =
        kp_admin_call_open(self, RD_KAFKA_ADMIN_OP_DELETETOPICS, "delete topic", name, timeout_ms, ticket, err);
    if (!options) {
        return err->status;
    }
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
    rd_kafka_DeleteTopics(self->client, &topic, 1, options, self->answers);
    rd_kafka_DeleteTopic_destroy(topic);
    rd_kafka_AdminOptions_destroy(options);
    return KP_OK;
}

kp_status kp_admin_create_partitions(kp_admin *self, const char *name, size_t total, int timeout_ms, void *ticket,
                                     kp_error *err) {
    static const char op[] = "add partitions to topic";
    char reason[256];
    rd_kafka_NewPartitions_t *wanted = rd_kafka_NewPartitions_new(name, total, reason, sizeof reason);
    if (!wanted) {
        return kp_error_set(err, KP_REJECT, "_INVALID_ARG", "%s %s: %s", op, name, reason);
    }
    rd_kafka_AdminOptions_t *options =
        kp_admin_call_open(self, RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, op, name, timeout_ms, ticket, err);
    if (options) {
        rd_kafka_CreatePartitions(self->client, &wanted, 1, options, self->answers);
        rd_kafka_AdminOptions_destroy(options);
    }
    rd_kafka_NewPartitions_destroy(wanted);
    return options ? KP_OK : err->status;
}

/* ---- settings ---- */

kp_status kp_admin_describe_config(kp_admin *self, const char *name, int timeout_ms, void *ticket, kp_error *err) {
    rd_kafka_AdminOptions_t *options =
        kp_admin_call_open(self, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, "describe topic", name, timeout_ms, ticket, err);
    if (!options) {
        return err->status;
    }
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
    rd_kafka_DescribeConfigs(self->client, &resource, 1, options, self->answers);
    rd_kafka_ConfigResource_destroy(resource);
    rd_kafka_AdminOptions_destroy(options);
    return KP_OK;
}

bool kp_admin_alters_singly(void) {
    return KP_KAFKA_HAS_INCREMENTAL_ALTER_CONFIGS;
}

static const char alter_op[] = "change settings of topic";

#if KP_KAFKA_HAS_INCREMENTAL_ALTER_CONFIGS

static const rd_kafka_admin_op_t alter_api = RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS;

static kp_status add_setting(rd_kafka_ConfigResource_t *resource, const char *topic, const kp_kafka_property *setting,
                             kp_error *err) {
    rd_kafka_AlterConfigOpType_t change =
        setting->value ? RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET : RD_KAFKA_ALTER_CONFIG_OP_TYPE_DELETE;
    rd_kafka_error_t *error =
        rd_kafka_ConfigResource_add_incremental_config(resource, setting->name, change, setting->value);
    return kp_kafka_error_take(err, error, "%s %s: %s", alter_op, topic, setting->name);
}

static void alter(kp_admin *self, rd_kafka_ConfigResource_t *resource, const rd_kafka_AdminOptions_t *options) {
    rd_kafka_IncrementalAlterConfigs(self->client, &resource, 1, options, self->answers);
}

#else

static const rd_kafka_admin_op_t alter_api = RD_KAFKA_ADMIN_OP_ALTERCONFIGS;

static kp_status add_setting(rd_kafka_ConfigResource_t *resource, const char *topic, const kp_kafka_property *setting,
                             kp_error *err) {
    rd_kafka_resp_err_t code = rd_kafka_ConfigResource_set_config(resource, setting->name, setting->value);
    return kp_kafka_error_set(err, code, NULL, "%s %s: %s", alter_op, topic, setting->name);
}

static void alter(kp_admin *self, rd_kafka_ConfigResource_t *resource, const rd_kafka_AdminOptions_t *options) {
    rd_kafka_AlterConfigs(self->client, &resource, 1, options, self->answers);
}

#endif

kp_status kp_admin_alter_config(kp_admin *self, const char *name, const kp_kafka_property *config, size_t count,
                                int timeout_ms, void *ticket, kp_error *err) {
    kp_status st = KP_OK;
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name);
    for (size_t i = 0; i < count; i++) {
        KP_TRY(add_setting(resource, name, &config[i], err));
    }
    rd_kafka_AdminOptions_t *options = kp_admin_call_open(self, alter_api, alter_op, name, timeout_ms, ticket, err);
    if (options) {
        alter(self, resource, options);
        rd_kafka_AdminOptions_destroy(options);
    } else {
        st = err->status;
    }
done:
    rd_kafka_ConfigResource_destroy(resource);
    return st;
}

/* ---- records ---- */

kp_status kp_admin_delete_records(kp_admin *self, const kp_admin_offset *before, size_t count, int timeout_ms,
                                  void *ticket, kp_error *err) {
    rd_kafka_AdminOptions_t *options = kp_admin_call_open(
        self, RD_KAFKA_ADMIN_OP_DELETERECORDS, "delete records of topic", before[0].topic, timeout_ms, ticket, err);
    if (!options) {
        return err->status;
    }
    rd_kafka_topic_partition_list_t *offsets = kp_admin_partitions_new(before, count);
    rd_kafka_DeleteRecords_t *records = rd_kafka_DeleteRecords_new(offsets);
    rd_kafka_DeleteRecords(self->client, &records, 1, options, self->answers);
    rd_kafka_DeleteRecords_destroy(records);
    rd_kafka_topic_partition_list_destroy(offsets);
    rd_kafka_AdminOptions_destroy(options);
    return KP_OK;
}
