/* The admin client's calls about access rules, whose enumerations are known by the library's own names: see admin.h. */
#include "flow/admin_parts.h"

#include <string.h>

typedef struct {
    rd_kafka_ResourceType_t resource;
    rd_kafka_ResourcePatternType_t pattern;
    rd_kafka_AclOperation_t operation;
    rd_kafka_AclPermissionType_t permission;
} kinds;

static const char *resource_name(int i) {
    return rd_kafka_ResourceType_name((rd_kafka_ResourceType_t)i);
}

static const char *pattern_name(int i) {
    return rd_kafka_ResourcePatternType_name((rd_kafka_ResourcePatternType_t)i);
}

static const char *operation_name(int i) {
    return rd_kafka_AclOperation_name((rd_kafka_AclOperation_t)i);
}

static const char *permission_name(int i) {
    return rd_kafka_AclPermissionType_name((rd_kafka_AclPermissionType_t)i);
}

/* Each enumeration starts with 0, which means unknown: nobody asks for that. */
static kp_status find(const char *what, const char *text, const char *(*name_of)(int), int count, int *out,
                      kp_error *err) {
    *out = 0;
    for (int i = 1; i < count; i++) {
        if (strcmp(text, name_of(i)) == 0) {
            *out = i;
            return KP_OK;
        }
    }
    return kp_error_set(err, KP_REJECT, "_INVALID_ARG", "acl: librdkafka %s knows no %s \"%s\"", rd_kafka_version_str(),
                        what, text);
}

static kp_status kinds_of(const kp_admin_acl *acl, kinds *out, kp_error *err) {
    kp_status st;
    int resource;
    int pattern;
    int operation;
    int permission;
    KP_TRY(find("resource", acl->resource, resource_name, RD_KAFKA_RESOURCE__CNT, &resource, err));
    KP_TRY(find("pattern", acl->pattern, pattern_name, RD_KAFKA_RESOURCE_PATTERN_TYPE__CNT, &pattern, err));
    KP_TRY(find("operation", acl->operation, operation_name, RD_KAFKA_ACL_OPERATION__CNT, &operation, err));
    KP_TRY(find("permission", acl->permission, permission_name, RD_KAFKA_ACL_PERMISSION_TYPE__CNT, &permission, err));
    *out = (kinds){(rd_kafka_ResourceType_t)resource, (rd_kafka_ResourcePatternType_t)pattern,
                   (rd_kafka_AclOperation_t)operation, (rd_kafka_AclPermissionType_t)permission};
done:
    return st;
}

kp_status kp_admin_create_acl(kp_admin *self, const kp_admin_acl *acl, int timeout_ms, void *ticket, kp_error *err) {
    static const char op[] = "create acl";
    kinds kind;
    char reason[256];
    kp_status st = kinds_of(acl, &kind, err);
    if (st != KP_OK) {
        return st;
    }
    rd_kafka_AclBinding_t *rule =
        rd_kafka_AclBinding_new(kind.resource, acl->name, kind.pattern, acl->principal, acl->host, kind.operation,
                                kind.permission, reason, sizeof reason);
    if (!rule) {
        return kp_error_set(err, KP_REJECT, "_INVALID_ARG", "%s: %s", op, reason);
    }
    rd_kafka_AdminOptions_t *options =
        kp_admin_call_open(self, RD_KAFKA_ADMIN_OP_CREATEACLS, op, acl->principal, timeout_ms, ticket, err);
    if (options) {
        rd_kafka_CreateAcls(self->client, &rule, 1, options, self->answers);
        rd_kafka_AdminOptions_destroy(options);
    }
    rd_kafka_AclBinding_destroy(rule);
    return options ? KP_OK : err->status;
}

static kp_status filter_of(const kp_admin_acl *filter, const char *op, rd_kafka_AclBindingFilter_t **out,
                           kp_error *err) {
    kinds kind;
    char reason[256];
    kp_status st = kinds_of(filter, &kind, err);
    if (st != KP_OK) {
        return st;
    }
    *out = rd_kafka_AclBindingFilter_new(kind.resource, filter->name, kind.pattern, filter->principal, filter->host,
                                         kind.operation, kind.permission, reason, sizeof reason);
    return *out ? KP_OK : kp_error_set(err, KP_REJECT, "_INVALID_ARG", "%s: %s", op, reason);
}

kp_status kp_admin_describe_acls(kp_admin *self, const kp_admin_acl *filter, int timeout_ms, void *ticket,
                                 kp_error *err) {
    static const char op[] = "describe acls";
    rd_kafka_AclBindingFilter_t *which;
    kp_status st = filter_of(filter, op, &which, err);
    if (st != KP_OK) {
        return st;
    }
    rd_kafka_AdminOptions_t *options =
        kp_admin_call_open(self, RD_KAFKA_ADMIN_OP_DESCRIBEACLS, op, "", timeout_ms, ticket, err);
    if (options) {
        rd_kafka_DescribeAcls(self->client, which, options, self->answers);
        rd_kafka_AdminOptions_destroy(options);
    }
    rd_kafka_AclBinding_destroy(which);
    return options ? KP_OK : err->status;
}

kp_status kp_admin_delete_acls(kp_admin *self, const kp_admin_acl *filter, int timeout_ms, void *ticket,
                               kp_error *err) {
    static const char op[] = "delete acls";
    rd_kafka_AclBindingFilter_t *which;
    kp_status st = filter_of(filter, op, &which, err);
    if (st != KP_OK) {
        return st;
    }
    rd_kafka_AdminOptions_t *options =
        kp_admin_call_open(self, RD_KAFKA_ADMIN_OP_DELETEACLS, op, "", timeout_ms, ticket, err);
    if (options) {
        rd_kafka_DeleteAcls(self->client, &which, 1, options, self->answers);
        rd_kafka_AdminOptions_destroy(options);
    }
    rd_kafka_AclBinding_destroy(which);
    return options ? KP_OK : err->status;
}
