/* What became of an admin call: each kind of answer keeps its error in another place. */
#include "flow/admin_parts.h"

static const kp_admin_verdict fine = {RD_KAFKA_RESP_ERR_NO_ERROR, NULL};
static const kp_admin_verdict malformed = {RD_KAFKA_RESP_ERR__BAD_MSG, NULL};

static kp_admin_verdict of_error(const rd_kafka_error_t *error) {
    return error ? (kp_admin_verdict){rd_kafka_error_code(error), rd_kafka_error_string(error)} : fine;
}

static kp_admin_verdict of_topics(rd_kafka_event_t *event) {
    size_t count = 0;
    const rd_kafka_topic_result_t **topics = NULL;
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_CREATETOPICS_RESULT:
        topics = rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &count);
        break;
    case RD_KAFKA_EVENT_DELETETOPICS_RESULT:
        topics = rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event), &count);
        break;
    default:
        topics = rd_kafka_CreatePartitions_result_topics(rd_kafka_event_CreatePartitions_result(event), &count);
    }
    if (count != 1) {
        return malformed;
    }
    return (kp_admin_verdict){rd_kafka_topic_result_error(topics[0]), rd_kafka_topic_result_error_string(topics[0])};
}

const rd_kafka_ConfigResource_t *kp_admin_resource_of(rd_kafka_event_t *event) {
    size_t count = 0;
    const rd_kafka_ConfigResource_t **resources = NULL;
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT:
        resources = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &count);
        break;
    case RD_KAFKA_EVENT_ALTERCONFIGS_RESULT:
        resources = rd_kafka_AlterConfigs_result_resources(rd_kafka_event_AlterConfigs_result(event), &count);
        break;
#if KP_KAFKA_HAS_INCREMENTAL_ALTER_CONFIGS
    case RD_KAFKA_EVENT_INCREMENTALALTERCONFIGS_RESULT:
        resources = rd_kafka_IncrementalAlterConfigs_result_resources(
            rd_kafka_event_IncrementalAlterConfigs_result(event), &count);
        break;
#endif
    default:
        break;
    }
    return count == 1 ? resources[0] : NULL;
}

static kp_admin_verdict of_resource(rd_kafka_event_t *event) {
    const rd_kafka_ConfigResource_t *resource = kp_admin_resource_of(event);
    if (!resource) {
        return malformed;
    }
    return (kp_admin_verdict){rd_kafka_ConfigResource_error(resource), rd_kafka_ConfigResource_error_string(resource)};
}

/* ---- groups and offsets ---- */

static const rd_kafka_group_result_t *group_of(rd_kafka_event_t *event) {
    size_t count = 0;
    const rd_kafka_group_result_t **groups = NULL;
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_DELETEGROUPS_RESULT:
        groups = rd_kafka_DeleteGroups_result_groups(rd_kafka_event_DeleteGroups_result(event), &count);
        break;
    case RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT:
        groups = rd_kafka_ListConsumerGroupOffsets_result_groups(rd_kafka_event_ListConsumerGroupOffsets_result(event),
                                                                 &count);
        break;
    case RD_KAFKA_EVENT_ALTERCONSUMERGROUPOFFSETS_RESULT:
        groups = rd_kafka_AlterConsumerGroupOffsets_result_groups(
            rd_kafka_event_AlterConsumerGroupOffsets_result(event), &count);
        break;
    default:
        break;
    }
    return count == 1 ? groups[0] : NULL;
}

const rd_kafka_topic_partition_list_t *kp_admin_partitions_of(rd_kafka_event_t *event) {
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DELETERECORDS_RESULT) {
        return rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event));
    }
    const rd_kafka_group_result_t *group = group_of(event);
    return group ? rd_kafka_group_result_partitions(group) : NULL;
}

/* One that failed is enough: the caller asked for all of them. */
static kp_admin_verdict of_partitions(const rd_kafka_topic_partition_list_t *list) {
    for (int i = 0; list && i < list->cnt; i++) {
        if (list->elems[i].err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            return (kp_admin_verdict){list->elems[i].err, NULL};
        }
    }
    return fine;
}

static kp_admin_verdict of_group(rd_kafka_event_t *event) {
    const rd_kafka_group_result_t *group = group_of(event);
    if (!group) {
        return malformed;
    }
    const rd_kafka_error_t *error = rd_kafka_group_result_error(group);
    kp_admin_verdict verdict = error ? of_error(error) : of_partitions(rd_kafka_group_result_partitions(group));
    /* Kafka takes the offsets for a member's commit, and us for a member it does not know. */
    if (verdict.code == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID) {
        return (kp_admin_verdict){RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP, NULL};
    }
    return verdict;
}

static kp_admin_verdict of_group_list(rd_kafka_event_t *event) {
    size_t count = 0;
    const rd_kafka_ListConsumerGroups_result_t *result = rd_kafka_event_ListConsumerGroups_result(event);
    const rd_kafka_error_t **errors = rd_kafka_ListConsumerGroups_result_errors(result, &count);
    return count > 0 ? of_error(errors[0]) : fine;
}

static kp_admin_verdict of_group_description(rd_kafka_event_t *event) {
    size_t count = 0;
    const rd_kafka_ConsumerGroupDescription_t **groups =
        rd_kafka_DescribeConsumerGroups_result_groups(rd_kafka_event_DescribeConsumerGroups_result(event), &count);
    return count == 1 ? of_error(rd_kafka_ConsumerGroupDescription_error(groups[0])) : malformed;
}

/* ---- access rules ---- */

static kp_admin_verdict of_created_acl(rd_kafka_event_t *event) {
    size_t count = 0;
    const rd_kafka_acl_result_t **results =
        rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(event), &count);
    return count == 1 ? of_error(rd_kafka_acl_result_error(results[0])) : malformed;
}

static kp_admin_verdict of_deleted_acls(rd_kafka_event_t *event) {
    size_t count = 0;
    size_t rules = 0;
    const rd_kafka_DeleteAcls_result_response_t **responses =
        rd_kafka_DeleteAcls_result_responses(rd_kafka_event_DeleteAcls_result(event), &count);
    if (count != 1) {
        return malformed;
    }
    kp_admin_verdict verdict = of_error(rd_kafka_DeleteAcls_result_response_error(responses[0]));
    const rd_kafka_AclBinding_t **deleted = rd_kafka_DeleteAcls_result_response_matching_acls(responses[0], &rules);
    for (size_t i = 0; i < rules && verdict.code == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        verdict = of_error(rd_kafka_AclBinding_error(deleted[i]));
    }
    return verdict;
}

kp_admin_verdict kp_admin_verdict_of(rd_kafka_event_t *event) {
    if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        return (kp_admin_verdict){rd_kafka_event_error(event), rd_kafka_event_error_string(event)};
    }
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_CREATETOPICS_RESULT:
    case RD_KAFKA_EVENT_DELETETOPICS_RESULT:
    case RD_KAFKA_EVENT_CREATEPARTITIONS_RESULT:
        return of_topics(event);
    case RD_KAFKA_EVENT_DELETERECORDS_RESULT:
        return of_partitions(kp_admin_partitions_of(event));
    case RD_KAFKA_EVENT_LISTCONSUMERGROUPS_RESULT:
        return of_group_list(event);
    case RD_KAFKA_EVENT_DESCRIBECONSUMERGROUPS_RESULT:
        return of_group_description(event);
    case RD_KAFKA_EVENT_DELETEGROUPS_RESULT:
    case RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT:
    case RD_KAFKA_EVENT_ALTERCONSUMERGROUPOFFSETS_RESULT:
        return of_group(event);
    case RD_KAFKA_EVENT_CREATEACLS_RESULT:
        return of_created_acl(event);
    case RD_KAFKA_EVENT_DESCRIBEACLS_RESULT:
        return fine; /* its only error is the event's own */
    case RD_KAFKA_EVENT_DELETEACLS_RESULT:
        return of_deleted_acls(event);
    default:
        return of_resource(event);
    }
}
