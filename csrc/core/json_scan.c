/* The scanner: see json_scan.h.
 *
 * One pass, no recursion: what is open is a stack of bits, one a level (object or array). Only the outermost levels can
 * lie on a path, so only those carry more: levels[] stands for the first `tracked` open containers, and keys are
 * compared only while the innermost container is one of them. Sets of paths are bits of a word.
 * Positions are passed in and out of the small functions so that the compiler keeps them in a register.
 */
#include "core/json_scan.h"

#include "core/utf8.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(KP_JSON_PORTABLE)
#include <emmintrin.h>
#endif

typedef unsigned char byte;

typedef struct {
    const byte *start; /* of the container */
    uint64_t ending;   /* paths that name the container itself */
    uint64_t going_on; /* paths that lead on to a key in it */
} level;

typedef struct {
    const byte *begin;
    const byte *end;
    const byte *bad_at; /* set by fail, with the reason */
    const char *bad_why;
    const kp_json_path *paths;
    kp_json_span *found;
    uint64_t all; /* one bit a path */
    unsigned depth;
    unsigned tracked;
    uint64_t ends[KP_JSON_PATH_MAX + 1]; /* ends[n]: paths of n steps */
    /* these two are written before they are read: clearing them would cost as much as scanning a short record */
    level levels[KP_JSON_PATH_MAX + 1];
    uint64_t objects[KP_JSON_DEPTH_MAX / 64];
} scanner;

static void start(scanner *s, kp_bytes text, const kp_json_path *paths, size_t count, kp_json_span *found) {
    assert(count <= KP_JSON_PATHS_MAX);
    s->begin = text.data ? (const byte *)text.data : (const byte *)"";
    s->end = s->begin + text.length;
    s->paths = paths;
    s->found = found;
    s->all = 0;
    s->depth = 0;
    s->tracked = 0;
    memset(s->ends, 0, sizeof s->ends);
    for (size_t i = 0; i < count; i++) {
        s->all |= UINT64_C(1) << i;
        s->ends[paths[i].count] |= UINT64_C(1) << i;
        found[i] = (kp_json_span){0};
    }
}

static const byte *fail(scanner *s, const byte *at, const char *why) {
    s->bad_at = at;
    s->bad_why = why;
    return NULL;
}

static kp_status refuse(const scanner *s, kp_error *err) {
    return kp_error_set(err, KP_REJECT, KP_JSON_INVALID, "invalid JSON at byte %zu: %s%s",
                        (size_t)(s->bad_at - s->begin), s->bad_why, s->bad_at == s->end ? " (the text ends here)" : "");
}

/* The next byte; 0, which starts nothing in JSON, at the end. */
static inline byte peek(const byte *p, const byte *end) {
    return p < end ? *p : 0;
}

/* Moves on to what is no white space, and gives that byte, 0 at the end. */
static inline byte next_token(const byte **at, const byte *end) {
    const byte *p = *at;
    byte c = peek(p, end);
    while (c <= ' ' && (c == ' ' || c == '\n' || c == '\r' || c == '\t')) {
        p++;
        c = peek(p, end);
    }
    *at = p;
    return c;
}

static inline bool all_digits(const byte *p) {
    const uint64_t ones = UINT64_MAX / 255;
    uint64_t word;
    memcpy(&word, p, 8);
    /* 30 to 39 are the bytes that have 3 in their high half, and still have it with 6 added */
    return ((word & ones * 0xF0) | ((word + ones * 0x06) & ones * 0xF0) >> 4) == ones * 0x33;
}

static inline const byte *skip_digits(const byte *p, const byte *end) {
    while (end - p >= 8 && all_digits(p)) {
        p += 8;
    }
    while (p < end && (byte)(*p - '0') <= 9) {
        p++;
    }
    return p;
}

/* A character of a string that means just itself: ASCII, no control character, no quote, no backslash. */
static inline bool is_plain(byte c) {
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

#if defined(__SSE2__) && !defined(KP_JSON_PORTABLE)
static inline unsigned special_bytes(const byte *p) {
    __m128i chunk = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i quote = _mm_cmpeq_epi8(chunk, _mm_set1_epi8('"'));
    __m128i backslash = _mm_cmpeq_epi8(chunk, _mm_set1_epi8('\\'));
    __m128i signed_low = _mm_cmplt_epi8(chunk, _mm_set1_epi8(0x20)); /* control characters, and >= 0x80 as negative */
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(quote, backslash), signed_low));
}

static inline const byte *skip_plain(const byte *p, const byte *end) {
    while (end - p >= 16) {
        unsigned special = special_bytes(p);
        if (special) {
            return p + __builtin_ctz(special);
        }
        p += 16;
    }
    while (p < end && is_plain(*p)) {
        p++;
    }
    return p;
}
#else
static inline bool all_plain(const byte *p) {
    const uint64_t ones = UINT64_MAX / 255;
    const uint64_t highs = ones << 7;
    uint64_t word;
    memcpy(&word, p, 8);
    uint64_t quote = word ^ ones * '"';
    uint64_t backslash = word ^ ones * '\\';
    /* x - ones borrows out of a zero byte, word - ones * 0x20 out of one below 0x20 */
    return ((word | (word - ones * 0x20) | (quote - ones) | (backslash - ones)) & highs) == 0;
}

static inline const byte *skip_plain(const byte *p, const byte *end) {
    while (end - p >= 8 && all_plain(p)) {
        p += 8;
    }
    while (p < end && is_plain(*p)) {
        p++;
    }
    return p;
}
#endif

static const byte *skip_escape(scanner *s, const byte *p) {
    int32_t code;
    size_t length = kp_json_escape((kp_bytes){(const char *)p, (size_t)(s->end - p)}, &code);
    if (length > 0) {
        return p + length;
    }
    return fail(s, p,
                code < 0 ? "a backslash must be followed by one of \"\\/bfnrt or u and four hexadecimal digits"
                         : "half of a surrogate pair");
}

/* p is behind the opening quote; gives the place behind the closing one. Sets *escaped when there is a backslash. */
static inline __attribute__((always_inline)) const byte *skip_string(scanner *s, const byte *p, bool *escaped) {
    const byte *end = s->end;
    for (;;) {
        p = skip_plain(p, end);
        byte c = peek(p, end);
        if (c == '"') {
            return p + 1;
        }
        if (c == '\\') {
            *escaped = true;
            p = skip_escape(s, p);
            if (!p) {
                return NULL;
            }
        } else if (c < 0x80) {
            return fail(s, p, p == end ? "a string is not closed" : "a control character in a string must be escaped");
        }
        while (p < end && *p >= 0x80) {
            size_t length = kp_utf8_length(p, (size_t)(end - p));
            if (length == 0) {
                return fail(s, p, "a string is not valid UTF-8");
            }
            p += length;
        }
    }
}

static const byte *skip_number(scanner *s, const byte *p) {
    const byte *end = s->end;
    const byte *digits = p + (*p == '-');
    p = skip_digits(digits, end);
    if (p == digits) {
        return fail(s, p, "a digit is expected");
    }
    if (*digits == '0' && p - digits > 1) {
        return fail(s, digits, "a number must not start with 0");
    }
    if (peek(p, end) == '.') {
        digits = p + 1;
        p = skip_digits(digits, end);
        if (p == digits) {
            return fail(s, p, "a digit is expected");
        }
    }
    if ((peek(p, end) | 0x20) == 'e') {
        p++;
        digits = p + (peek(p, end) == '+' || peek(p, end) == '-');
        p = skip_digits(digits, end);
        if (p == digits) {
            return fail(s, p, "a digit is expected");
        }
    }
    return p;
}

static inline const byte *skip_word(scanner *s, const byte *p, const char *word, size_t length) {
    if ((size_t)(s->end - p) >= length && memcmp(p, word, length) == 0) {
        return p + length;
    }
    return fail(s, p, "a value is expected");
}

/* c is the byte at p. */
static inline const byte *skip_scalar(scanner *s, const byte *p, byte c) {
    switch (c) {
    case 't':
        return skip_word(s, p, "true", 4);
    case 'f':
        return skip_word(s, p, "false", 5);
    case 'n':
        return skip_word(s, p, "null", 4);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return skip_number(s, p);
    case 0xEF:
        return fail(s, p, p == s->begin ? "a byte order mark is not allowed" : "a value is expected");
    default:
        return fail(s, p, "a value is expected");
    }
}

static kp_json_kind kind_of(byte first) {
    switch (first) {
    case '"':
        return KP_JSON_STRING;
    case '{':
        return KP_JSON_OBJECT;
    case '[':
        return KP_JSON_ARRAY;
    case 't':
        return KP_JSON_TRUE;
    case 'f':
        return KP_JSON_FALSE;
    case 'n':
        return KP_JSON_NULL;
    default:
        return KP_JSON_NUMBER;
    }
}

static kp_json_span span_of(const byte *from, const byte *to, bool escaped) {
    return (kp_json_span){kind_of(*from), escaped, {(const char *)from, (size_t)(to - from)}};
}

static void settle(scanner *s, uint64_t which, const byte *from, const byte *to, bool escaped) {
    for (; which; which &= which - 1) {
        s->found[__builtin_ctzll(which)] = span_of(from, to, escaped);
    }
}

/* Paths that lead to the value of this key. An earlier value of the same key counts no more, nor what was in it. */
static inline uint64_t match_key(scanner *s, const byte *key, size_t length, bool escaped) {
    uint64_t hits = 0;
    size_t step = s->tracked - 1;
    for (uint64_t rest = s->levels[step].going_on; rest; rest &= rest - 1) {
        size_t i = (size_t)__builtin_ctzll(rest);
        const kp_bytes *want = &s->paths[i].steps[step];
        bool same = want->length == length && (byte)want->data[0] == key[0] && memcmp(want->data, key, length) == 0;
        if (same || (escaped && kp_json_text_equals((kp_bytes){(const char *)key, length}, *want))) {
            hits |= UINT64_C(1) << i;
            s->found[i] = (kp_json_span){0};
        }
    }
    return hits;
}

static inline bool open_container(scanner *s, const byte *p, bool object, uint64_t hits) {
    if (s->depth == KP_JSON_DEPTH_MAX) {
        fail(s, p, "nested too deep");
        return false;
    }
    if (hits) { /* implies that the container around it is tracked too */
        uint64_t ending = hits & s->ends[s->tracked];
        s->levels[s->tracked++] = (level){p, ending, hits & ~ending};
    }
    uint64_t bit = UINT64_C(1) << (s->depth % 64);
    uint64_t *word = &s->objects[s->depth / 64];
    *word = object ? *word | bit : *word & ~bit;
    s->depth++;
    return true;
}

/* p is behind the bracket. Tells whether the container around it is an object. */
static inline bool close_container(scanner *s, const byte *p) {
    if (s->depth == s->tracked) {
        level *closed = &s->levels[--s->tracked];
        settle(s, closed->ending, closed->start, p, false);
    }
    s->depth--;
    return s->depth > 0 && (s->objects[(s->depth - 1) / 64] >> ((s->depth - 1) % 64) & 1);
}

/* A key and its colon; sets *hits. */
static inline const byte *skip_key(scanner *s, const byte *p, uint64_t *hits) {
    bool escaped = false;
    if (next_token(&p, s->end) != '"') {
        return fail(s, p, "a key in quotes is expected");
    }
    const byte *key = p + 1;
    p = skip_string(s, key, &escaped);
    if (!p) {
        return NULL;
    }
    *hits = s->depth == s->tracked ? match_key(s, key, (size_t)(p - key - 1), escaped) : 0;
    return next_token(&p, s->end) == ':' ? p + 1 : fail(s, p, "':' is expected behind a key");
}

/* One function with jumps, because each state knows its successor. */
static const byte *skip_value(scanner *s, const byte *p) {
    const byte *end = s->end;
    uint64_t hits = s->all; /* paths that the value at hand lies on */
    bool in_object = false;
    bool escaped;
    const byte *from;
    byte c;
value:
    c = next_token(&p, end);
    from = p;
    if (c == '{' || c == '[') {
        in_object = c == '{';
        if (!open_container(s, from, in_object, hits)) {
            return NULL;
        }
        p++;
        if (next_token(&p, end) == (in_object ? '}' : ']')) {
            goto close;
        }
        goto next;
    }
    escaped = false;
    p = c == '"' ? skip_string(s, p + 1, &escaped) : skip_scalar(s, p, c);
    if (!p) {
        return NULL;
    }
    if (hits) {
        settle(s, hits & s->ends[s->tracked], from, p, escaped);
    }
behind_value:
    if (s->depth == 0) {
        return p;
    }
    c = next_token(&p, end);
    if (c == ',') {
        p++;
        goto next;
    }
    if (c != (in_object ? '}' : ']')) {
        return fail(s, p, in_object ? "',' or '}' is expected" : "',' or ']' is expected");
    }
close:
    p++;
    in_object = close_container(s, p);
    goto behind_value;
next:
    hits = 0;
    if (in_object) {
        p = skip_key(s, p, &hits);
        if (!p) {
            return NULL;
        }
    }
    goto value;
}

kp_status kp_json_scan(kp_bytes text, const kp_json_path *paths, size_t path_count, kp_json_span *found,
                       kp_json_kind *kind_out, kp_error *err) {
    scanner s;
    start(&s, text, paths, path_count, found);
    const byte *p = skip_value(&s, s.begin);
    if (p) {
        next_token(&p, s.end);
    }
    if (p && p != s.end) {
        p = fail(&s, p, "there is more behind the value");
    }
    if (!p) {
        return refuse(&s, err);
    }
    if (kind_out) {
        const byte *first = s.begin;
        *kind_out = kind_of(next_token(&first, s.end));
    }
    return KP_OK;
}

kp_status kp_json_scan_value(kp_bytes text, size_t *at, kp_json_span *value, kp_error *err) {
    scanner s;
    start(&s, text, NULL, 0, NULL);
    const byte *from = s.begin + *at;
    next_token(&from, s.end);
    const byte *p = skip_value(&s, from);
    if (!p) {
        return refuse(&s, err);
    }
    *value = span_of(from, p, *from == '"' && memchr(from, '\\', (size_t)(p - from)));
    *at = (size_t)(p - s.begin);
    return KP_OK;
}
