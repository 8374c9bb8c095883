/* The admin client's calls about consumer groups: see admin.h. */
#include "flow/admin_parts.h"

kp_status kp_admin_list_groups(kp_admin *self, int timeout_ms, void *ticket, kp_error *err) {
    rd_kafka_AdminOptions_t *options =
        kp_admin_call_open(self, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS, "list groups", "", timeout_ms, ticket, err);
    if (!options) {
        return err->status;
    }
    rd_kafka_ListConsumerGroups(self->client, options, self->answers);
    rd_kafka_AdminOptions_destroy(options);
    return KP_OK;
}

kp_status kp_admin_describe_group(kp_admin *self, const char *name, int timeout_ms, void *ticket, kp_error *err) {
    rd_kafka_AdminOptions_t *options = kp_admin_call_open(self, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS,
                                                          "describe group", name, timeout_ms, ticket, err);
    if (!options) {
        return err->status;
    }
    rd_kafka_DescribeConsumerGroups(self->client, &name, 1, options, self->answers);
    rd_kafka_AdminOptions_destroy(options);
    return KP_OK;
}

kp_status kp_admin_delete_group(kp_admin *self, const char *name, int timeout_ms, void *ticket, kp_error *err) {
    rd_kafka_AdminOptions_t *options =
        kp_admin_call_open(self, RD_KAFKA_ADMIN_OP_DELETEGROUPS, "delete group", name, timeout_ms, ticket, err);
    if (!options) {
        return err->status;
    }
    rd_kafka_DeleteGroup_t *group = rd_kafka_DeleteGroup_new(name);
    rd_kafka_DeleteGroups(self->client, &group, 1, options, self->answers);
    rd_kafka_DeleteGroup_destroy(group);
    rd_kafka_AdminOptions_destroy(options);
    return KP_OK;
}

kp_status kp_admin_committed(kp_admin *self, const char *group, const kp_admin_offset *of, size_t count, int timeout_ms,
                             void *ticket, kp_error *err) {
    rd_kafka_AdminOptions_t *options = kp_admin_call_open(self, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
                                                          "read offsets of group", group, timeout_ms, ticket, err);
    if (!options) {
        return err->status;
    }
    rd_kafka_topic_partition_list_t *partitions = count ? kp_admin_partitions_new(of, count) : NULL;
    rd_kafka_ListConsumerGroupOffsets_t *wish = rd_kafka_ListConsumerGroupOffsets_new(group, partitions);
    rd_kafka_ListConsumerGroupOffsets(self->client, &wish, 1, options, self->answers);
    rd_kafka_ListConsumerGroupOffsets_destroy(wish);
    if (partitions) {
        rd_kafka_topic_partition_list_destroy(partitions);
    }
    rd_kafka_AdminOptions_destroy(options);
    return KP_OK;
}

kp_status kp_admin_commit(kp_admin *self, const char *group, const kp_admin_offset *offsets, size_t count,
                          int timeout_ms, void *ticket, kp_error *err) {
    rd_kafka_AdminOptions_t *options = kp_admin_call_open(self, RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS,
                                                          "reset offsets of group", group, timeout_ms, ticket, err);
    if (!options) {
        return err->status;
    }
    rd_kafka_topic_partition_list_t *partitions = kp_admin_partitions_new(offsets, count);
    rd_kafka_AlterConsumerGroupOffsets_t *change = rd_kafka_AlterConsumerGroupOffsets_new(group, partitions);
    rd_kafka_AlterConsumerGroupOffsets(self->client, &change, 1, options, self->answers);
    rd_kafka_AlterConsumerGroupOffsets_destroy(change);
    rd_kafka_topic_partition_list_destroy(partitions);
    rd_kafka_AdminOptions_destroy(options);
    return KP_OK;
}
