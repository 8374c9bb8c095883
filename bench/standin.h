/* The stand-in server of the benchmarks, between its parts: standin.c speaks HTTP, standin_proof.c reads bodies and
 * keeps the proof of what arrived, standin_hdfs.c is the NameNode. One thread.
 */
#ifndef KP_BENCH_STANDIN_H
#define KP_BENCH_STANDIN_H

#include "core/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* What arrived, whatever its order: two runs that brought the same have the same three numbers. */
typedef struct {
    uint64_t records;
    uint64_t bytes;    /* of the records alone: no newlines, no action lines */
    uint64_t checksum; /* sum of a 64-bit hash of each record, keyed by its id where it has one */
} proof;

void proof_add(proof *to, const proof *more);

/* ---- a body, read as it arrives ---- */

typedef enum {
    BODY_IGNORED,
    BODY_LINES, /* a file: each line is a record */
    BODY_BULK,  /* action and source lines */
} body_kind;

enum { BODY_ID_MAX = 512 };

typedef struct {
    body_kind kind;
    proof proof;
    uint64_t length;
    bool malformed; /* a _bulk body that Elasticsearch would refuse */
    bool in_pair;   /* the next line is a source */
    size_t id_length;
    char id[BODY_ID_MAX];
    kp_buf carry; /* owned: the beginning of a line whose end has not come */
} body;

void body_begin(body *self, body_kind kind);
void body_feed(body *self, kp_bytes bytes);
void body_end(body *self); /* a last line without a newline counts too */

/* ---- WebHDFS ---- */

typedef struct {
    kp_bytes method;
    kp_bytes target; /* path and query, as on the wire */
} request;

typedef struct {
    int status;
    kp_buf *body;     /* JSON */
    kp_buf *location; /* empty: no such header */
} answer;

void hdfs_init(int port);
bool hdfs_is_upload(const request *req); /* its body is a file */
kp_status hdfs_answer(const request *req, const body *body, answer *out, kp_error *err) KP_MUST_CHECK;
proof hdfs_proof(uint64_t *files); /* of the files that are there under their final names */

#endif
