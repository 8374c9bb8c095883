/* Pipelines on librdkafka's mock cluster: starting them from a few rules, waiting for what a user would see, and raw
 * clients beside them for what a topic and a group hold. One cluster and one folder a test program.
 */
#ifndef KP_PIPE_RIG_H
#define KP_PIPE_RIG_H

#include "kp_test.h"

#include "flow/mock.h"
#include "flow/pipeline.h"

#include <stdbool.h>

typedef struct {
    const char *topic;     /* also the group's name, with "g-" before it */
    int workers;           /* 0: 1 */
    const char *sink;      /* a JSON object; NULL: files below pipe_rig_folder, by records and age_ms */
    int records;           /* rotation; 0: none */
    int age_ms;            /* the same */
    const char *path;      /* of the files, below pipe_rig_folder; NULL: "{topic}-{partition}-{offset}.log" */
    const char *dead;      /* dead letters: NULL: stop; "drop"; otherwise a topic */
    const char *kafka;     /* more properties: ",\"name\":\"value\"" */
    const char *bootstrap; /* NULL: the mock cluster's */
    int backoff_max_ms;    /* 0: 100 */
    int in_flight_bytes;   /* 0: 64 MiB */
} pipe_rules;

extern kp_mock *pipe_rig_cluster;
extern char pipe_rig_folder[64];

int pipe_rig_setup(void **state);    /* of the group of tests */
int pipe_rig_teardown(void **state); /* the same */
int pipe_rig_remember(void **state); /* of a test: what is alive now */
int pipe_rig_compare(void **state);  /* the same: nothing more is alive */
#define PIPE_TEST(test) cmocka_unit_test_setup_teardown(test, pipe_rig_remember, pipe_rig_compare)
#define pipe_rig_run(tests) (kp_test_choose(), cmocka_run_group_tests(tests, pipe_rig_setup, pipe_rig_teardown))

void pipe_rig_topic(const char *topic, int partitions);
/* Records {"n":N,...} for N of [from, to), record N to partition N % partitions, with Korean text and a large number.
 */
void pipe_rig_produce(const char *topic, int partitions, int from, int to);
void pipe_rig_produce_one(const char *topic, int32_t partition, const char *key, const char *value, int64_t timestamp,
                          const char *header, const char *header_value); /* NULL and 0: none */

kp_status pipe_rig_try_start(kp_pipeline **out, const pipe_rules *rules, kp_error *err);
kp_pipeline *pipe_rig_start(const pipe_rules *rules);
int64_t pipe_rig_stop(kp_pipeline *pipeline, int64_t drain_ms); /* frees it; milliseconds until all had stopped */

int64_t pipe_rig_counter(kp_pipeline *pipeline, const char *key);
void pipe_rig_look(kp_pipeline *pipeline, char state[32], char reason[1024]);
/* These fail with the snapshot when it has not come to pass within 30 s. */
void pipe_rig_await(kp_pipeline *pipeline, const char *counter, int64_t least);
void pipe_rig_await_lag(kp_pipeline *pipeline, int64_t lag);                             /* exactly */
void pipe_rig_await_state(kp_pipeline *pipeline, const char *state, const char *reason); /* NULL: no reason at all */
void pipe_rig_await_assigned(kp_pipeline *pipeline, size_t partitions);
void pipe_rig_await_stopped(kp_pipeline *pipeline); /* every worker ended by itself */

/* The group's offset and metadata; -1 and "" when there is none. */
int64_t pipe_rig_committed(const char *topic, int32_t partition, char metadata[4200]);
void pipe_rig_commit(const char *topic, int32_t partition, int64_t offset, const char *metadata); /* as no member */

/* Each number of [0, count) is on one line of one published file of the topic. */
void pipe_rig_assert_exactly_once(const char *topic, int count);
int pipe_rig_count_files(const char *subfolder, const char *prefix);
void pipe_rig_write_file(const char *name, const char *body); /* below the folder; makes its parents */
bool pipe_rig_file_is(const char *name, const char *body);

double pipe_rig_cpu_share(int64_t milliseconds); /* of one core, of the whole process, over that time from now */
int64_t pipe_rig_now_ms(void);
void pipe_rig_wait(kp_pipeline *pipeline, int milliseconds); /* until something changed, or that long */

#endif
