/* What librdkafka's errors mean for us: a status (what the caller may do) and a hint (what a person may do). Pure. */
#include "io/kafka.h"

#include <stdio.h>
#include <string.h>

/* An error that is not listed is the request's own fault: KP_REJECT. */
kp_status kp_kafka_status(rd_kafka_resp_err_t code) {
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return KP_OK;

    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
        return KP_TIMEOUT;

    case RD_KAFKA_RESP_ERR__DESTROY:
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
        return KP_CLOSED;

    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER:
        return KP_FATAL;

    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__WAIT_CACHE:
    case RD_KAFKA_RESP_ERR__IN_PROGRESS:
    case RD_KAFKA_RESP_ERR__RETRY:
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR_NOT_CONTROLLER:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS:
    case RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED:
        return KP_RETRY;

    default:
        return KP_REJECT;
    }
}

enum { SCRAM_FIXED = 0x020601ff }; /* older ones repeat their nonce, which Kafka 4 takes for an attack */

/* "" when the words of the error say it all. */
static const char *hint(rd_kafka_resp_err_t code) {
    switch (code) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        return ": make it smaller, or raise message.max.bytes here and max.message.bytes of the topic";
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        return ": check its name, or create it first";
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        return ": the topic has no partition of this number";
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
        return ": choose another name, or use the topic that is there";
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        return ": this user needs an ACL for it";
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
        return rd_kafka_version() < SCRAM_FIXED ? ": check sasl.mechanism, sasl.username and sasl.password; for SCRAM, "
                                                  "Kafka 4 needs librdkafka 2.6.1"
                                                : ": check sasl.mechanism, sasl.username and sasl.password";
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
        return ": another producer with the same transactional.id was started, and only the newest may write";
    case RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP:
        return ": stop its consumers first";
    case RD_KAFKA_RESP_ERR_SECURITY_DISABLED:
        return ": the brokers know no ACLs until authorizer.class.name is set there";
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
        return ": is the broker running, and its address right?";
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
        return ": the broker did not acknowledge it within delivery.timeout.ms";
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
        return ": fewer replicas are in sync than min.insync.replicas asks for";
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
        return ": it was not sent";
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
        return ": it was sent, but not acknowledged; it may be in the topic";
    default:
        return "";
    }
}

static void set_text(kp_error *err, kp_status status, rd_kafka_resp_err_t code, const char *reason, const char *what,
                     va_list args) {
    char place[KP_ERROR_MESSAGE_MAX / 2];
    vsnprintf(place, sizeof place, what, args);
    reason = reason ? reason : rd_kafka_err2str(code);
    size_t length = strlen(reason);
    length -= length > 0 && reason[length - 1] == '.';
    kp_error_set(err, status, rd_kafka_err2name(code), "%s: %.*s%s", place, (int)length, reason, hint(code));
}

kp_status kp_kafka_error_set(kp_error *err, rd_kafka_resp_err_t code, const char *reason, const char *what, ...) {
    kp_status status = kp_kafka_status(code);
    if (err && status != KP_OK) {
        va_list args;
        va_start(args, what);
        set_text(err, status, code, reason, what, args);
        va_end(args);
    }
    return status;
}

static kp_status object_status(const rd_kafka_error_t *error) {
    kp_status status = kp_kafka_status(rd_kafka_error_code(error));
    if (rd_kafka_error_is_fatal(error)) {
        return KP_FATAL;
    }
    return rd_kafka_error_is_retriable(error) && status == KP_REJECT ? KP_RETRY : status;
}

kp_status kp_kafka_error_take(kp_error *err, rd_kafka_error_t *error, const char *what, ...) {
    if (!error) {
        return KP_OK;
    }
    kp_status status = object_status(error);
    if (err) {
        va_list args;
        va_start(args, what);
        set_text(err, status, rd_kafka_error_code(error), rd_kafka_error_string(error), what, args);
        va_end(args);
    }
    rd_kafka_error_destroy(error);
    return status;
}
