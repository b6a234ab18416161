/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bytes of messages. Each word of 8 bytes is
 *
 *     | seed 16 | operation 12 | part 7 | sender 7 | 1 | index of the word in the message 21 |
 *
 * through a function that can be inverted: all bytes of a word depend on all of it, and a word that
 * came to a wrong place tells where it belongs.
 */
#include "storm.h"

#define K1 0x9e3779b97f4a7c15ull
#define K2 0xd6e8feb86659fd93ull
#define INDEX_BITS 21

static inline uint64_t scramble(uint64_t x)
{
    x ^= x >> 32;
    x *= K2;
    x ^= x >> 29;
    x *= K1;
    return x ^ x >> 32;
}

/* The odd number's inverse modulo 2^64: each step doubles the bits that are right. */
static uint64_t inverse(uint64_t k)
{
    uint64_t x = k;

    for (int i = 0; i < 6; ++i) {
        x *= 2 - k * x;
    }
    return x;
}

static uint64_t unscramble(uint64_t x)
{
    x ^= x >> 32;
    x *= inverse(K1);
    x ^= x >> 29 ^ x >> 58;
    x *= inverse(K2);
    return x ^ x >> 32;
}

uint64_t storm_stamp(struct storm_stamp s)
{
    return (s.seed & 0xffff) << 48 | (uint64_t) s.op << 36 | (uint64_t) s.part << 29
           | (uint64_t) s.sender << 22 | 1ull << INDEX_BITS;
}

uint64_t storm_word(uint64_t stamp, uint64_t index)
{
    return scramble(stamp | index);
}

static inline unsigned char byte_at(uint64_t stamp, size_t offset)
{
    return (unsigned char) (storm_word(stamp, offset / 8) >> 8 * (offset % 8));
}

void storm_fill(uint64_t stamp, unsigned char *to, size_t offset, size_t n)
{
    size_t i = 0;

    vt_handed_back(to);
    for (; i < n && 0 != (offset + i) % 8; ++i) {
        to[i] = byte_at(stamp, offset + i);
    }
    for (; i + 8 <= n; i += 8) {
        uint64_t w = storm_word(stamp, (offset + i) / 8);

        memcpy(to + i, &w, 8);
    }
    for (; i < n; ++i) {
        to[i] = byte_at(stamp, offset + i);
    }
    vt_handed_over(to);
}

bool storm_same(uint64_t stamp, const unsigned char *p, size_t offset, size_t n, size_t *first)
{
    size_t i = 0;

    vt_handed_back(p);
    for (; i < n && 0 != (offset + i) % 8; ++i) {
        if (p[i] != byte_at(stamp, offset + i)) {
            *first = i;
            return false;
        }
    }
    for (; i + 8 <= n; i += 8) {
        uint64_t w;

        memcpy(&w, p + i, 8);
        if (w != storm_word(stamp, (offset + i) / 8)) {
            break;              /* the loop below finds the byte */
        }
    }
    for (; i < n; ++i) {
        if (p[i] != byte_at(stamp, offset + i)) {
            *first = i;
            return false;
        }
    }
    return true;
}

void storm_whose(const unsigned char *p, char *text, size_t room)
{
    uint64_t w;

    memcpy(&w, p, 8);
    if (0 == w) {
        snprintf(text, room, "zeros");
        return;
    }
    if (0xdbdbdbdbdbdbdbdbull == w) {
        snprintf(text, room, "bytes that nobody wrote since the buffer was made ready");
        return;
    }
    w = unscramble(w);
    if (0 == (w >> INDEX_BITS & 1) || (int) (w >> 22 & 127) >= vt.size) {
        snprintf(text, room, "bytes of no message (the first 8: %02x %02x %02x %02x %02x %02x %02x %02x)",
                 p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]);
        return;
    }
    snprintf(text, room, "bytes %zu and on of plan %llu (modulo 65536), operation %d, part %d, "
                         "sender %d",
             (size_t) (w & ((1u << INDEX_BITS) - 1)) * 8, (unsigned long long) (w >> 48),
             (int) (w >> 36 & 4095), (int) (w >> 29 & 127), (int) (w >> 22 & 127));
}
