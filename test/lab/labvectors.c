/* SPDX-License-Identifier: BSD-3-Clause */
/* Does each process keep its vector registers while others run? Three of them take turns. */
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* In `out` what was put into a register of that width, after so many milliseconds without a call. */
#define KEEP(name, isa, type, set, store)                                      \
    __attribute__((target(isa))) static void name(int value, int ms, int *out) \
    {                                                                          \
        type v = set(value);                                                   \
        const clock_t end = clock() + ms * (CLOCKS_PER_SEC / 1000);            \
        while (clock() < end) {                                                \
            for (int i = 0; i < 1000000; ++i) {                                \
                __asm__ volatile("" : "+v"(v));                                \
            }                                                                  \
        }                                                                      \
        store((void *) out, v);                                                \
    }
KEEP(keep_sse, "sse2", __m128i, _mm_set1_epi32, _mm_storeu_si128)
KEEP(keep_avx, "avx", __m256i, _mm256_set1_epi32, _mm256_storeu_si256)
KEEP(keep_avx512, "avx512f", __m512i, _mm512_set1_epi32, _mm512_storeu_si512)

static int wrong_words(int value)
{
    int out[16], wrong = 0, words = 4;

    if (__builtin_cpu_supports("avx512f")) {
        keep_avx512(value, 300, out);
        words = 16;
    } else if (__builtin_cpu_supports("avx")) {
        keep_avx(value, 300, out);
        words = 8;
    } else {
        keep_sse(value, 300, out);
    }
    for (int i = 0; i < words; ++i) {
        wrong += value != out[i];
    }
    return wrong;
}

int main(void)
{
    int status, failed = 0;

    for (int k = 1; k <= 3; ++k) {
        if (0 == fork()) {
            _exit(0 == wrong_words(k * 0x01010101) ? 0 : 1);
        }
    }
    while (wait(&status) > 0) {
        failed += 0 != status;
    }
    printf("%d failed\n", failed);
    return 0 != failed;
}
