/* A store in memory whose every operation can be held back, refused, or done without an answer. Its disk outlives it,
 * as a real one outlives a crash. Memory comes from malloc, so that the core's counters see the code under test only.
 */
#ifndef KP_FAKE_STORE_H
#define KP_FAKE_STORE_H

#include "stores/store.h"

typedef enum {
    FAKE_PUT,
    FAKE_PIECE,
    FAKE_JOIN,
    FAKE_RENAME,
    FAKE_STATUS,
    FAKE_LIST,
    FAKE_REMOVE,
    FAKE_READ,
    FAKE_KINDS
} fake_kind;

typedef struct {
    char *path;
    char *body; /* NUL-terminated */
    size_t length;
} fake_file;

typedef struct {
    fake_file *files;
    size_t count;
    size_t asked[FAKE_KINDS]; /* operations so far */
    int fails[FAKE_KINDS];    /* the next so many fail and do nothing */
    int loses[FAKE_KINDS];    /* the next so many are done, but say that they failed */
    bool hold;                /* operations wait, and are done when this ends */
    bool slow;                /* one operation a pump */
    int chaos;                /* percent of the operations that fail or lose their answer */
    unsigned seed;
} fake_disk;

kp_store *fake_store_new(fake_disk *disk);
void fake_disk_deinit(fake_disk *disk);

const fake_file *fake_disk_find(const fake_disk *disk, const char *path); /* NULL: not there */
void fake_disk_put(fake_disk *disk, const char *path, const char *body);
void fake_disk_remove(fake_disk *disk, const char *path);
size_t fake_disk_count(const fake_disk *disk, const char *part); /* files whose path has this in it */

#endif
