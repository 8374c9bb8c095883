/* The files sink, between its parts: files_options.c reads its configuration, files_segment.c takes records,
 * files_format.c makes lines of them, files_upload.c brings their bytes to the store,
 * files_publish.c makes files visible and cleans up. Everything here belongs to one loop thread.
 */
#ifndef KP_SINKS_FILES_H
#define KP_SINKS_FILES_H

#include "core/template.h"
#include "io/gzip.h"
#include "io/zstd.h"
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

typedef enum { FILES_PLAIN, FILES_GZIP, FILES_ZSTD } files_compression;

typedef struct files_plan files_plan;

struct files_plan { /* what may differ from topic to topic */
    files_plan *next;
    char *topic; /* owned; NULL: all others, and the last of the list */
    kp_template *path;
    kp_buf temp_folder; /* "<base>_tmp/" */
    int64_t records;    /* the rotation rules; 0: none */
    int64_t bytes;
    int64_t age_ms;
};

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
    kp_buf key;           /* rendered path with the offsets left at 0: which file of the segment a record belongs to */
    kp_buf body;          /* bytes that are in no piece yet */
    kp_gzip_stream *gzip; /* what compresses it while it is open; NULL: nothing */
    kp_zstd_stream *zstd;
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
    files_file *list; /* one of files: holds the manifest when that is too long for an intent; NULL: none */
    bool due;         /* a rotation rule fired */
};

struct files_part {   /* one assigned partition */
    files_part *next; /* in the sink's list */
    files_sink *sink;
    const files_plan *plan; /* borrowed from the sink */
    int32_t slot;           /* -1: the partition is gone; freed when nothing is under way */
    int32_t partition;
    char *topic;
    kp_buf temp_prefix; /* of the names of its temporary files, whoever made them */
    char token[48];     /* tells this assignment's temporary files from an earlier one's; ends in "+" */
    files_segment *open;
    files_segment *closed; /* oldest first */
    files_segment *closed_last;
    size_t in_flight; /* store operations that point here */
    kp_buf published; /* temporary names, each with its NUL, of the intent that is being published: what is done */
    bool clean_due;
    bool publishing;
    bool lost; /* on_lost was called: nothing more goes up, the pipeline begins anew */
};

struct files_sink {
    kp_sink base;
    kp_sink_env env;
    kp_store *store;
    files_plan *plans; /* owned */
    char token[17];    /* random: tells this run's temporary files from another's */
    uint64_t sequence;
    int64_t buffer_bytes;
    int64_t stream_bytes; /* of a piece; 0: a file goes up whole, when it is sealed */
    int64_t open_max;     /* files */
    bool raw;
    bool envelope;
    files_compression compression;
    kp_buf line;       /* scratch, of what is compressed */
    size_t held;       /* bytes of bodies and pieces in memory */
    size_t open_bytes; /* of bodies of files that are open */
    size_t open_files;
    size_t files;       /* of every state: what is committed is forgotten */
    size_t uploading;   /* pieces */
    bool halted;        /* after trouble, until resume */
    files_part *parts;  /* also those that are gone and still have something under way */
    files_part **slots; /* owned; those that are assigned, by slot */
    size_t slot_count;
};

void files_trouble(files_sink *self, const kp_error *err);

bool files_is_full(const files_sink *self);

/* files_options.c */
kp_status files_options_read(files_sink *self, const kp_json *config, kp_error *err) KP_MUST_CHECK;
void files_options_free(files_sink *self);
const files_plan *files_plan_for(const files_sink *self, const char *topic); /* borrowed */

/* files_format.c */
kp_status files_format_check(const files_sink *self, const kp_record *rec, kp_error *err) KP_MUST_CHECK;
kp_status files_format_add(files_sink *self, files_file *file, const kp_record *rec, kp_error *err) KP_MUST_CHECK;
kp_status files_format_end(files_file *file, kp_error *err) KP_MUST_CHECK; /* its last bytes; again does nothing */
void files_format_free(files_file *file);

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
void files_file_free(files_file *file);                                                     /* that is in no list */
kp_status files_part_seal(files_sink *self, files_part *part, kp_error *err) KP_MUST_CHECK; /* its open segment */
kp_status files_write(kp_sink *base, kp_batch *batch, kp_error *err) KP_MUST_CHECK;

/* files_manifest.c */
kp_status files_manifest_seal(files_segment *segment,
                              kp_error *err) KP_MUST_CHECK; /* when its files have their names */
bool files_sealed(kp_sink *base, int32_t slot, int64_t end_max, kp_intent *out);
void files_settled(kp_sink *base, int32_t slot, int64_t end);

/* files_publish.c */
kp_status files_publish(kp_sink *base, int32_t slot, kp_bytes manifest, kp_error *err) KP_MUST_CHECK;
void files_clean_start(files_part *part);

#endif
