/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. Inline, because the JSON scanner
 * asks for every character that is not ASCII.
 */
#ifndef KP_CORE_UTF8_H
#define KP_CORE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

static inline bool kp_utf8_is_tail(unsigned char c) {
    return (c & 0xC0) == 0x80;
}

/* Length of the multi-byte sequence that starts at p (p[0] >= 0x80) with left >= 1 bytes to read; 0: none does. */
static inline size_t kp_utf8_length(const unsigned char *p, size_t left) {
    unsigned c = p[0];
    if ((c & 0xF0) == 0xE0 && left >= 3) { /* Korean, among others: one comparison for all three bytes */
        unsigned w = c << 16 | (unsigned)p[1] << 8 | p[2];
        unsigned high = w & 0x0F2000; /* tells E0 80..9F and ED A0..BF */
        return (w & 0xF0C0C0) == 0xE08080 && high != 0 && high != 0x0D2000 ? 3 : 0;
    }
    if (c < 0xE0) {
        return c >= 0xC2 && left >= 2 && kp_utf8_is_tail(p[1]) ? 2 : 0;
    }
    if (c < 0xF0 || c > 0xF4 || left < 4) {
        return 0;
    }
    if (!kp_utf8_is_tail(p[1]) || !kp_utf8_is_tail(p[2]) || !kp_utf8_is_tail(p[3])) {
        return 0;
    }
    unsigned high = (c & 0x07) << 6 | (p[1] & 0x3Fu); /* the code point without its last twelve bits */
    return high >= (0x10000 >> 12) && high <= (0x10FFFF >> 12) ? 4 : 0;
}

#endif
