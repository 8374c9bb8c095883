/* Dead letters: a record that can never be delivered goes to a topic with its key, value, timestamp and headers as they
 * were and the headers Kafka Connect uses. It counts as settled only when that topic's broker has acked it.
 *
 * Belongs to one worker's thread.
 */
#ifndef KP_FLOW_DEAD_LETTER_H
#define KP_FLOW_DEAD_LETTER_H

#include "core/record.h"
#include "io/kafka.h"

typedef struct kp_dead_letters kp_dead_letters;

/* err NULL: acked. Otherwise the letter is kept, and sent again by kp_dead_letters_resume. */
typedef void (*kp_dead_letters_on_done)(void *ctx, int32_t slot, int64_t offset, const kp_error *err);

typedef struct {
    const kp_kafka_property *properties; /* of the cluster; borrowed until new returns */
    size_t property_count;
    const char *topic;     /* borrowed; outlives it */
    const char *connector; /* the pipeline's name; the same */
    kp_kafka_signal *wake; /* raised when an ack came; the same */
    kp_dead_letters_on_done on_done;
    void *ctx;
} kp_dead_letters_options;

kp_status kp_dead_letters_new(kp_dead_letters **out, const kp_dead_letters_options *options,
                              kp_error *err) KP_MUST_CHECK;
void kp_dead_letters_free(kp_dead_letters *self); /* letters that are not acked stay uncommitted, so they come again */

/* Moves the record's message here on KP_OK; on_done follows from kp_dead_letters_serve. */
kp_status kp_dead_letters_send(kp_dead_letters *self, const kp_record *rec, const kp_error *reason,
                               kp_error *err) KP_MUST_CHECK;
void kp_dead_letters_serve(kp_dead_letters *self);           /* after the signal was raised: calls on_done */
void kp_dead_letters_resume(kp_dead_letters *self);          /* sends again what failed */
size_t kp_dead_letters_waiting(const kp_dead_letters *self); /* not acked */
size_t kp_dead_letters_bytes(const kp_dead_letters *self);

#endif
