/* Reads bodies line by line as they arrive, in the piece that was received: a body is never held whole, and a line is
 * copied only when it is cut by the end of a piece.
 */
#include "standin.h"

#include <stdlib.h>
#include <string.h>

void proof_add(proof *to, const proof *more) {
    to->records += more->records;
    to->bytes += more->bytes;
    to->checksum += more->checksum;
}

/* ---- hash: after wyhash, 16 bytes a multiplication ---- */

__extension__ typedef unsigned __int128 wide;

static const uint64_t HASH_A = 0x2d358dccaa6c78a5;
static const uint64_t HASH_B = 0x8bb84b93962eacc9;

static uint64_t fold(uint64_t a, uint64_t b) {
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load(const char *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static uint64_t hash(uint64_t seed, kp_bytes text) {
    char tail[16] = {0};
    uint64_t h = fold(seed ^ HASH_A, text.length ^ HASH_B);
    for (; text.length >= 16; text.data += 16, text.length -= 16) {
        h = fold(load(text.data) ^ HASH_A, load(text.data + 8) ^ h);
    }
    memcpy(tail, text.data, text.length);
    return fold(load(tail) ^ HASH_B, load(tail + 8) ^ h);
}

/* ---- lines ---- */

static void count(body *self, uint64_t seed, kp_bytes record) {
    self->proof.records++;
    self->proof.bytes += record.length;
    self->proof.checksum += hash(seed, record);
}

static const char *find(const char *at, const char *end, const char *text, size_t length) {
    while ((at = memchr(at, text[0], (size_t)(end - at))) && (size_t)(end - at) >= length) {
        if (memcmp(at, text, length) == 0) {
            return at + length;
        }
        at++;
    }
    return NULL;
}

static bool begins_with(kp_bytes line, const char *text) {
    size_t length = strlen(text);
    return line.length > length && memcmp(line.data, text, length) == 0;
}

static void keep_id(body *self, kp_bytes line) {
    static const char key[] = "\"_id\":\"";
    const char *end = line.data + line.length;
    const char *id = find(line.data, end, key, sizeof key - 1);
    const char *quote = id ? memchr(id, '"', (size_t)(end - id)) : NULL;
    self->id_length = quote ? (size_t)(quote - id) : 0;
    if (self->id_length > sizeof self->id) {
        self->malformed = true;
        return;
    }
    memcpy(self->id, id ? id : "", self->id_length);
}

static void on_bulk_line(body *self, kp_bytes line) {
    if (self->in_pair) {
        self->malformed |= line.length < 2 || line.data[0] != '{' || line.data[line.length - 1] != '}';
        count(self, hash(0, (kp_bytes){self->id, self->id_length}), line);
        self->in_pair = false;
    } else if (begins_with(line, "{\"create\":{") || begins_with(line, "{\"index\":{")) {
        keep_id(self, line);
        self->in_pair = true;
    } else {
        self->malformed = true;
    }
}

static void on_line(body *self, kp_bytes line) {
    if (self->kind == BODY_BULK) {
        on_bulk_line(self, line);
    } else {
        count(self, 0, line);
    }
}

static void carry(body *self, kp_bytes piece) {
    if (kp_buf_append(&self->carry, piece.data, piece.length, NULL) != KP_OK) {
        abort();
    }
}

static void end_carry(body *self, kp_bytes piece) {
    carry(self, piece);
    on_line(self, (kp_bytes){self->carry.data, self->carry.length});
    kp_buf_reset(&self->carry);
}

void body_begin(body *self, body_kind kind) {
    kp_buf_reset(&self->carry);
    self->kind = kind;
    self->proof = (proof){0};
    self->length = 0;
    self->malformed = self->in_pair = false;
}

void body_feed(body *self, kp_bytes bytes) {
    const char *at = bytes.data;
    const char *end = at + bytes.length;
    const char *newline;
    self->length += bytes.length;
    while (self->kind != BODY_IGNORED && (newline = memchr(at, '\n', (size_t)(end - at)))) {
        kp_bytes line = {at, (size_t)(newline - at)};
        if (self->carry.length) {
            end_carry(self, line);
        } else {
            on_line(self, line);
        }
        at = newline + 1;
    }
    if (self->kind != BODY_IGNORED) {
        carry(self, (kp_bytes){at, (size_t)(end - at)});
    }
}

void body_end(body *self) {
    if (self->carry.length) {
        self->malformed |= self->kind == BODY_BULK; /* its last line must end with a newline */
        end_carry(self, (kp_bytes){"", 0});
    }
    self->malformed |= self->in_pair;
}
