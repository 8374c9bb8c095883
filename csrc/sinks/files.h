/* The files sink, between its parts: files_segment.c takes records, files_upload.c brings their bytes to the store,
 * files_publish.c makes files visible and cleans up. Everything here belongs to one loop thread.
 */
#ifndef KP_SINKS_FILES_H
#define KP_SINKS_FILES_H

#include "core/template.h"
#include "sinks/sink.h"
#include "stores/store.h"

enum {
    FILES_MANIFEST_MAX = 3600, /* Kafka's offset.metadata.max.bytes is 4096; the intent wraps the manifest */
    FILES_PREFIX_MAX = 130,    /* of a temporary file's name: group and topic */
};

typedef struct files_file files_file;
typedef struct files_segment files_segment;
typedef struct files_part files_part;
typedef struct files_sink files_sink;

typedef enum { FILE_OPEN, FILE_SEALED, FILE_JOINING, FILE_UPLOADED } files_state;

typedef struct files_piece files_piece;

struct files_piece { /* bytes of a file on their way into the store; in memory until it has confirmed their length */
    files_piece *next;
    files_file *file;
    int64_t start; /* where they lie in the file */
    kp_buf body;
    bool under_way;
};

struct files_file {
    files_file *next;
    files_segment *segment;
    files_state state;
    kp_buf key;          /* rendered path with the offsets left at 0: which file of the segment a record belongs to */
    kp_buf body;         /* bytes that are in no piece yet */
    files_piece *pieces; /* that are not in the store yet, oldest first */
    kp_buf starts;       /* int64_t: where each piece lies, those in the store too */
    kp_buf temp;         /* paths, NUL-terminated; made with the first piece */
    kp_buf path;         /* once sealed */
    int64_t length;      /* of all pieces */
    size_t records;
    kp_record first; /* what the path is rendered from; its key is first_key, its value first_value */
    kp_buf first_key;
    kp_buf first_value; /* kept when the path names a field */
};

struct files_segment {
    files_segment *next;
    files_part *part;
    files_file *files;
    size_t unfinished; /* files that are not whole in the store */
    int64_t start;
    int64_t end;
    int64_t opened_ms;
    size_t manifest_bytes; /* estimate */
    bool due;              /* a rotation rule fired */
};

struct files_part {   /* one assigned partition */
    files_part *next; /* in the sink's list */
    files_sink *sink;
    int32_t slot; /* -1: the partition is gone; freed when nothing is under way */
    int32_t partition;
    char *topic;
    kp_buf temp_prefix; /* of the names of its temporary files, whoever made them */
    char token[48];     /* tells this assignment's temporary files from an earlier one's; ends in "+" */
    files_segment *open;
    files_segment *closed; /* oldest first */
    files_segment *closed_last;
    size_t in_flight; /* store operations that point here */
    bool clean_due;
    bool publishing;
    bool lost; /* on_lost was called: nothing more goes up, the pipeline begins anew */
};

struct files_sink {
    kp_sink base;
    kp_sink_env env;
    kp_store *store;
    kp_template *path;
    kp_buf temp_folder; /* "<base>_tmp/" */
    char token[17];     /* random: tells this run's temporary files from another's */
    uint64_t sequence;
    int64_t rotate_records;
    int64_t rotate_bytes;
    int64_t rotate_age_ms;
    size_t buffer_bytes;
    size_t stream_bytes; /* of a piece; 0: a file goes up whole, when it is sealed */
    size_t held;         /* bytes of bodies and pieces in memory */
    size_t open_bytes;   /* of bodies of files that are open */
    size_t open_files;
    size_t uploading;   /* pieces */
    bool halted;        /* after trouble, until resume */
    files_part *parts;  /* also those that are gone and still have something under way */
    files_part **slots; /* owned; those that are assigned, by slot */
    size_t slot_count;
};

void files_trouble(files_sink *self, const kp_error *err);

/* files_upload.c */
kp_status files_cut(files_file *file, kp_error *err) KP_MUST_CHECK; /* what is in its body becomes a piece */
void files_cut_large(files_sink *self);   /* the larger ones of the open files, to make room in the buffer */
void files_drop_bodies(files_file *file); /* but for what is under way */
kp_status files_part_upload(files_sink *self, files_part *part, kp_error *err) KP_MUST_CHECK;

/* files_segment.c */
files_part *files_part_find(const files_sink *self, int32_t slot); /* NULL: not assigned */
void files_part_free(files_part *part);
void files_part_drop_idle(files_part *part); /* frees a part that is gone and has nothing under way */
void files_segment_free(files_segment *segment);
kp_status files_part_seal(files_sink *self, files_part *part, kp_error *err) KP_MUST_CHECK; /* its open segment */
kp_status files_write(kp_sink *base, kp_batch *batch, kp_error *err) KP_MUST_CHECK;

/* files_publish.c */
kp_status files_publish(kp_sink *base, int32_t slot, kp_bytes manifest, kp_error *err) KP_MUST_CHECK;
void files_clean_start(files_part *part);
kp_status files_manifest_add(kp_buf *manifest, const files_file *file, kp_error *err) KP_MUST_CHECK;

#endif
