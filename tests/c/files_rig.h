/* The files sink on a bench: a store in memory, and the part of the worker and of Kafka that matters to it, which is
 * one partition's committed offset with its metadata.
 */
#ifndef KP_FILES_RIG_H
#define KP_FILES_RIG_H

#include "fake_store.h"
#include "sink_rig.h"

typedef struct {
    const char *path;
    int records; /* the rotation rules; 0: none */
    int bytes;
    int age_ms;
    int buffer_bytes;        /* 0: 1 MiB */
    int stream_bytes;        /* 0: none */
    const char *format;      /* NULL: "json" */
    const char *compression; /* NULL: "none" */
    bool envelope;
    int open_files;        /* 0: 256 */
    const char *overrides; /* JSON; NULL: none */
} files_rules;

typedef struct {
    int64_t committed;
    char intent[8192]; /* the manifest that is committed beside it; "": none */
    int64_t intent_end;
} files_group;

void files_rig_open(sink_rig *rig, fake_disk *disk, const files_rules *rules); /* slot 0 is partition 0, and begun */
void files_rig_begin(sink_rig *rig, int32_t slot, int32_t partition);
/* Writes count records of slot from offset `from` on: {"n":OFFSET,"c":OFFSET % colors}. Every one must be taken. */
void files_rig_write(sink_rig *rig, int32_t slot, int64_t from, size_t count, int colors);
/* Turns until nothing moves by itself: uploads are done, or trouble was told. */
void files_rig_settle(sink_rig *rig);
/* Commits the next intent of what is sealed below end_max; false: there is none. */
bool files_rig_intend(sink_rig *rig, int32_t slot, int64_t end_max, files_group *group);
/* Publishes the group's intent, trying again when it fails, and commits its end. */
void files_rig_publish(sink_rig *rig, int32_t slot, files_group *group);
/* The two until nothing is sealed. */
void files_rig_commit_all(sink_rig *rig, int32_t slot, files_group *group);

/* Every offset of [0, count) is on exactly one line of one file outside _tmp, and the lines of a file rise. */
void files_rig_assert_exactly_once(const fake_disk *disk, size_t count);
void files_rig_assert_file(const fake_disk *disk, const char *path, const char *body);

#endif
