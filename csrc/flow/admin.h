/* Admin: topics, consumer groups and access rules of a cluster read and changed.
 *
 * Calls are sent and answered later: a descriptor becomes readable, kp_admin_next gives the answers. Only the three
 * calls at the end and kp_admin_free wait. Any thread may send and call what waits; one at a time collects. In a forked
 * child every call fails with KP_FATAL, and kp_admin_free does nothing.
 */
#ifndef KP_FLOW_ADMIN_H
#define KP_FLOW_ADMIN_H

#include "io/kafka.h"

typedef struct kp_admin kp_admin;

typedef struct {
    const char *name; /* borrowed, all of it */
    int partitions;
    int replication_factor;
    const kp_kafka_property *config;
    size_t config_count;
} kp_admin_topic;

typedef struct {
    const char *topic; /* borrowed */
    int32_t partition;
    int64_t offset;       /* or a time in ms, where it is said; RD_KAFKA_OFFSET_END and ..._BEGINNING are both */
    const char *metadata; /* of a commit; borrowed. NULL: none */
} kp_admin_offset;

/* An access rule, or a filter for rules: names are the library's ("TOPIC", "LITERAL", "READ", "ALLOW"), in a filter
 * "ANY", and NULL for any name, principal or host. All borrowed. */
typedef struct {
    const char *resource;
    const char *name;
    const char *pattern;
    const char *principal;
    const char *host;
    const char *operation;
    const char *permission;
} kp_admin_acl;

typedef struct {
    void *ticket;   /* the caller's, of the call that this answers */
    const char *op; /* which one that was: "create topic" */
    kp_status status;
    kp_error err;            /* when status is not KP_OK */
    rd_kafka_event_t *event; /* owned: kp_admin_answer_deinit */
} kp_admin_answer;

/* conf is moved, also on failure; it must not have an opaque or a log callback of its own. */
kp_status kp_admin_new(kp_admin **out, rd_kafka_conf_t *conf, kp_error *err) KP_MUST_CHECK;
void kp_admin_free(kp_admin *self); /* forgets calls that have no answer; accepts NULL */

int kp_admin_fd(const kp_admin *self);
bool kp_admin_is_foreign(const kp_admin *self); /* made before a fork, in the parent */

/* ---- calls: each has its answer within timeout_ms, if it returned KP_OK ---- */

kp_status kp_admin_create_topic(kp_admin *self, const kp_admin_topic *topic, int timeout_ms, void *ticket,
                                kp_error *err) KP_MUST_CHECK;
kp_status kp_admin_delete_topic(kp_admin *self, const char *name, int timeout_ms, void *ticket,
                                kp_error *err) KP_MUST_CHECK;
kp_status kp_admin_create_partitions(kp_admin *self, const char *name, size_t total, int timeout_ms, void *ticket,
                                     kp_error *err) KP_MUST_CHECK;
kp_status kp_admin_describe_config(kp_admin *self, const char *name, int timeout_ms, void *ticket,
                                   kp_error *err) KP_MUST_CHECK;

/* Whether kp_admin_alter_config takes changes (a value of NULL: back to the default) and leaves other settings alone.
 * If not, the library knows only how to replace all of the topic's own settings by the given ones. */
bool kp_admin_alters_singly(void);
kp_status kp_admin_alter_config(kp_admin *self, const char *name, const kp_kafka_property *config, size_t count,
                                int timeout_ms, void *ticket, kp_error *err) KP_MUST_CHECK;

/* Deletes what is before these offsets, of at least one partition. */
kp_status kp_admin_delete_records(kp_admin *self, const kp_admin_offset *before, size_t count, int timeout_ms,
                                  void *ticket, kp_error *err) KP_MUST_CHECK;

kp_status kp_admin_list_groups(kp_admin *self, int timeout_ms, void *ticket, kp_error *err) KP_MUST_CHECK;
kp_status kp_admin_describe_group(kp_admin *self, const char *name, int timeout_ms, void *ticket,
                                  kp_error *err) KP_MUST_CHECK;
kp_status kp_admin_delete_group(kp_admin *self, const char *name, int timeout_ms, void *ticket,
                                kp_error *err) KP_MUST_CHECK;
/* Of these partitions, whatever their offsets say; none: of all that the group has committed. */
kp_status kp_admin_committed(kp_admin *self, const char *group, const kp_admin_offset *of, size_t count, int timeout_ms,
                             void *ticket, kp_error *err) KP_MUST_CHECK;
kp_status kp_admin_commit(kp_admin *self, const char *group, const kp_admin_offset *offsets, size_t count,
                          int timeout_ms, void *ticket, kp_error *err) KP_MUST_CHECK;

kp_status kp_admin_create_acl(kp_admin *self, const kp_admin_acl *acl, int timeout_ms, void *ticket,
                              kp_error *err) KP_MUST_CHECK;
kp_status kp_admin_describe_acls(kp_admin *self, const kp_admin_acl *filter, int timeout_ms, void *ticket,
                                 kp_error *err) KP_MUST_CHECK;
kp_status kp_admin_delete_acls(kp_admin *self, const kp_admin_acl *filter, int timeout_ms, void *ticket,
                               kp_error *err) KP_MUST_CHECK;

/* ---- answers ---- */

/* Takes the next answer; false when there is none now. Call it until then whenever the descriptor is readable. */
bool kp_admin_next(kp_admin *self, kp_admin_answer *answer);
void kp_admin_answer_deinit(kp_admin_answer *answer);

/* Appends what an answer of status KP_OK says, as JSON:
 *   describe_config     [[name, value, is_own], ...]; value null: secret, or none; is_own: set for this topic
 *   delete_records, committed, commit     [[topic, partition, offset], ...]; offset -1001: none; a fourth value is the
 *                                         metadata of a commit that has some
 *   list_groups         [[name, state], ...]
 *   describe_group      {"state", "assignor", "coordinator": id or null,
 *                        "members": [[id, instance or null, client, host, [[topic, partition], ...]], ...]}
 *   describe_acls, delete_acls            [[resource, name, pattern, principal, host, operation, permission], ...]
 *   all others          null */
kp_status kp_admin_answer_json(const kp_admin_answer *answer, kp_buf *out, kp_error *err) KP_MUST_CHECK;

/* ---- what waits ---- */

/* Brokers and topics, with the leaders of their partitions; topic NULL: all of them. Makes no topic. Owned:
 * rd_kafka_metadata_destroy. */
kp_status kp_admin_metadata(kp_admin *self, const char *topic, int timeout_ms, const struct rd_kafka_metadata **out,
                            kp_error *err) KP_MUST_CHECK;

/* Appends {"id": text or null, "controller": id or null, "brokers": [[id, host, port], ...]}. */
kp_status kp_admin_cluster(kp_admin *self, int timeout_ms, kp_buf *out, kp_error *err) KP_MUST_CHECK;

/* Puts into each offset, a time, the first offset of that time or later; RD_KAFKA_OFFSET_END when there is none.
 * No partition twice. */
kp_status kp_admin_find_offsets(kp_admin *self, kp_admin_offset *offsets, size_t count, int timeout_ms,
                                kp_error *err) KP_MUST_CHECK;

#endif
