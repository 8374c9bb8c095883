/* What the answers to admin calls say, as JSON: see kp_admin_answer_json. */
#include "flow/admin_parts.h"

static kp_status append_text(kp_buf *out, const char *text, kp_error *err) {
    if (!text) {
        return kp_buf_append_text(out, "null", err);
    }
    return kp_buf_append_json_string(out, kp_bytes_of(text), err);
}

/* [a,b,c] */
static kp_status append_texts(kp_buf *out, const char *const *texts, size_t count, kp_error *err) {
    kp_status st;
    for (size_t i = 0; i < count; i++) {
        KP_TRY(kp_buf_append_text(out, i > 0 ? "," : "[", err));
        KP_TRY(append_text(out, texts[i], err));
    }
    KP_TRY(kp_buf_append_text(out, "]", err));
done:
    return st;
}

static kp_status append_separator(kp_buf *out, size_t i, kp_error *err) {
    return i > 0 ? kp_buf_append_text(out, ",", err) : KP_OK;
}

static kp_status append_config(kp_buf *out, rd_kafka_event_t *event, kp_error *err) {
    kp_status st;
    size_t count = 0;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(kp_admin_resource_of(event), &count);
    KP_TRY(kp_buf_append_text(out, "[", err));
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_ConfigEntry_t *entry = entries[i];
        bool own = rd_kafka_ConfigEntry_source(entry) == RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG;
        bool secret = rd_kafka_ConfigEntry_is_sensitive(entry);
        KP_TRY(kp_buf_append_text(out, i > 0 ? ",[" : "[", err));
        KP_TRY(append_text(out, rd_kafka_ConfigEntry_name(entry), err));
        KP_TRY(kp_buf_append_text(out, ",", err));
        KP_TRY(append_text(out, secret ? NULL : rd_kafka_ConfigEntry_value(entry), err));
        KP_TRY(kp_buf_append_text(out, own ? ",true]" : ",false]", err));
    }
    KP_TRY(kp_buf_append_text(out, "]", err));
done:
    return st;
}

static kp_status append_partitions(kp_buf *out, const rd_kafka_topic_partition_list_t *list, bool offsets,
                                   kp_error *err) {
    kp_status st;
    KP_TRY(kp_buf_append_text(out, "[", err));
    for (int i = 0; list && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *each = &list->elems[i];
        KP_TRY(kp_buf_append_text(out, i > 0 ? ",[" : "[", err));
        KP_TRY(append_text(out, each->topic, err));
        KP_TRY(kp_buf_printf(out, err, ",%d", (int)each->partition));
        if (offsets) {
            KP_TRY(kp_buf_append_text(out, ",", err));
            KP_TRY(kp_buf_append_int(out, each->offset, err));
        }
        if (offsets && each->metadata_size) { /* the library does not end it with NUL */
            KP_TRY(kp_buf_append_text(out, ",", err));
            KP_TRY(kp_buf_append_json_string(out, (kp_bytes){each->metadata, each->metadata_size}, err));
        }
        KP_TRY(kp_buf_append_text(out, "]", err));
    }
    KP_TRY(kp_buf_append_text(out, "]", err));
done:
    return st;
}

/* ---- groups ---- */

static kp_status append_groups(kp_buf *out, rd_kafka_event_t *event, kp_error *err) {
    kp_status st;
    size_t count = 0;
    const rd_kafka_ConsumerGroupListing_t **groups =
        rd_kafka_ListConsumerGroups_result_valid(rd_kafka_event_ListConsumerGroups_result(event), &count);
    KP_TRY(kp_buf_append_text(out, "[", err));
    for (size_t i = 0; i < count; i++) {
        const char *const texts[] = {
            rd_kafka_ConsumerGroupListing_group_id(groups[i]),
            rd_kafka_consumer_group_state_name(rd_kafka_ConsumerGroupListing_state(groups[i])),
        };
        KP_TRY(append_separator(out, i, err));
        KP_TRY(append_texts(out, texts, sizeof texts / sizeof *texts, err));
    }
    KP_TRY(kp_buf_append_text(out, "]", err));
done:
    return st;
}

static kp_status append_member(kp_buf *out, const rd_kafka_MemberDescription_t *member, kp_error *err) {
    kp_status st;
    const rd_kafka_MemberAssignment_t *assignment = rd_kafka_MemberDescription_assignment(member);
    const char *const texts[] = {
        rd_kafka_MemberDescription_consumer_id(member),
        rd_kafka_MemberDescription_group_instance_id(member),
        rd_kafka_MemberDescription_client_id(member),
        rd_kafka_MemberDescription_host(member),
    };
    KP_TRY(append_texts(out, texts, sizeof texts / sizeof *texts, err));
    out->length--; /* its bracket: the partitions are one element more */
    KP_TRY(kp_buf_append_text(out, ",", err));
    KP_TRY(append_partitions(out, assignment ? rd_kafka_MemberAssignment_partitions(assignment) : NULL, false, err));
    KP_TRY(kp_buf_append_text(out, "]", err));
done:
    return st;
}

static kp_status append_members(kp_buf *out, const rd_kafka_ConsumerGroupDescription_t *group, kp_error *err) {
    kp_status st;
    size_t count = rd_kafka_ConsumerGroupDescription_member_count(group);
    KP_TRY(kp_buf_append_text(out, "[", err));
    for (size_t i = 0; i < count; i++) {
        KP_TRY(append_separator(out, i, err));
        KP_TRY(append_member(out, rd_kafka_ConsumerGroupDescription_member(group, i), err));
    }
    KP_TRY(kp_buf_append_text(out, "]", err));
done:
    return st;
}

static kp_status append_group(kp_buf *out, rd_kafka_event_t *event, kp_error *err) {
    kp_status st;
    size_t count = 0;
    const rd_kafka_ConsumerGroupDescription_t *group =
        rd_kafka_DescribeConsumerGroups_result_groups(rd_kafka_event_DescribeConsumerGroups_result(event), &count)[0];
    const rd_kafka_Node_t *coordinator = rd_kafka_ConsumerGroupDescription_coordinator(group);
    rd_kafka_consumer_group_state_t state = rd_kafka_ConsumerGroupDescription_state(group);
    KP_TRY(kp_buf_append_text(out, "{\"state\":", err));
    KP_TRY(append_text(out, rd_kafka_consumer_group_state_name(state), err));
    KP_TRY(kp_buf_append_text(out, ",\"assignor\":", err));
    KP_TRY(append_text(out, rd_kafka_ConsumerGroupDescription_partition_assignor(group), err));
    KP_TRY(kp_buf_append_text(out, ",\"coordinator\":", err));
    KP_TRY(coordinator ? kp_buf_append_int(out, rd_kafka_Node_id(coordinator), err)
                       : kp_buf_append_text(out, "null", err));
    KP_TRY(kp_buf_append_text(out, ",\"members\":", err));
    KP_TRY(append_members(out, group, err));
    KP_TRY(kp_buf_append_text(out, "}", err));
done:
    return st;
}

/* ---- access rules ---- */

static kp_status append_rules(kp_buf *out, const rd_kafka_AclBinding_t **rules, size_t count, kp_error *err) {
    kp_status st;
    KP_TRY(kp_buf_append_text(out, "[", err));
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_AclBinding_t *rule = rules[i];
        const char *const texts[] = {
            rd_kafka_ResourceType_name(rd_kafka_AclBinding_restype(rule)),
            rd_kafka_AclBinding_name(rule),
            rd_kafka_ResourcePatternType_name(rd_kafka_AclBinding_resource_pattern_type(rule)),
            rd_kafka_AclBinding_principal(rule),
            rd_kafka_AclBinding_host(rule),
            rd_kafka_AclOperation_name(rd_kafka_AclBinding_operation(rule)),
            rd_kafka_AclPermissionType_name(rd_kafka_AclBinding_permission_type(rule)),
        };
        KP_TRY(append_separator(out, i, err));
        KP_TRY(append_texts(out, texts, sizeof texts / sizeof *texts, err));
    }
    KP_TRY(kp_buf_append_text(out, "]", err));
done:
    return st;
}

static kp_status append_described_rules(kp_buf *out, rd_kafka_event_t *event, kp_error *err) {
    size_t count = 0;
    const rd_kafka_AclBinding_t **rules =
        rd_kafka_DescribeAcls_result_acls(rd_kafka_event_DescribeAcls_result(event), &count);
    return append_rules(out, rules, count, err);
}

static kp_status append_deleted_rules(kp_buf *out, rd_kafka_event_t *event, kp_error *err) {
    size_t count = 0;
    const rd_kafka_DeleteAcls_result_response_t *response =
        rd_kafka_DeleteAcls_result_responses(rd_kafka_event_DeleteAcls_result(event), &count)[0];
    const rd_kafka_AclBinding_t **rules = rd_kafka_DeleteAcls_result_response_matching_acls(response, &count);
    return append_rules(out, rules, count, err);
}

kp_status kp_admin_answer_json(const kp_admin_answer *answer, kp_buf *out, kp_error *err) {
    switch (rd_kafka_event_type(answer->event)) {
    case RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT:
        return append_config(out, answer->event, err);
    case RD_KAFKA_EVENT_DELETERECORDS_RESULT:
    case RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT:
    case RD_KAFKA_EVENT_ALTERCONSUMERGROUPOFFSETS_RESULT:
        return append_partitions(out, kp_admin_partitions_of(answer->event), true, err);
    case RD_KAFKA_EVENT_LISTCONSUMERGROUPS_RESULT:
        return append_groups(out, answer->event, err);
    case RD_KAFKA_EVENT_DESCRIBECONSUMERGROUPS_RESULT:
        return append_group(out, answer->event, err);
    case RD_KAFKA_EVENT_DESCRIBEACLS_RESULT:
        return append_described_rules(out, answer->event, err);
    case RD_KAFKA_EVENT_DELETEACLS_RESULT:
        return append_deleted_rules(out, answer->event, err);
    default:
        return kp_buf_append_text(out, "null", err);
    }
}
