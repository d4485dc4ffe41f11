/* Rows of channels-last maps: float32 in the cache, float32 or bfloat16 in memory. Loops are such that compilers make
   vectors of them. */
#ifndef ROWS_H
#define ROWS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint16_t bf16;

static inline long least(long a, long b) { return a < b ? a : b; }

static inline float widened(bf16 value) {
    uint32_t bits = (uint32_t)value << 16;
    float wide;
    memcpy(&wide, &bits, 4);
    return wide;
}

/* To the nearest, of two equally near to the even one; what is not a number stays none. */
static inline bf16 rounded(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return value != value ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static inline void load(float *to, const void *from, long at, long count, int is_bf16) {
    if (is_bf16)
        for (long i = 0; i < count; i++) to[i] = widened(((const bf16 *)from)[at + i]);
    else
        for (long i = 0; i < count; i++) to[i] = ((const float *)from)[at + i];
}

static inline void store(void *to, const float *from, long at, long count, int is_bf16) {
    if (is_bf16)
        for (long i = 0; i < count; i++) ((bf16 *)to)[at + i] = rounded(from[i]);
    else
        for (long i = 0; i < count; i++) ((float *)to)[at + i] = from[i];
}

/* e^x within 3e-7 of itself: a power of two times the series of the rest. */
static inline float exponential(float x) {
    x = x < -87.3f ? -87.3f : x > 88.3f ? 88.3f : x;
    float whole = rintf(x * 1.44269504f);
    float rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f; /* ln 2 in two parts */
    float series = 1 / 24.0f + rest * (1 / 120.0f + rest / 720);
    series = 1 + rest * (1 + rest * (1 / 2.0f + rest * (1 / 6.0f + rest * series)));
    uint32_t bits = (uint32_t)((int32_t)whole + 127) << 23;
    float power;
    memcpy(&power, &bits, 4);
    return power * series;
}

static inline float silu(float x) { return x / (1 + exponential(-x)); }

/* What a norm does to a row, in place: nothing; a layer norm without weights; or x·scale + shift by channels. */
typedef struct {
    const float *scale, *shift; /* (B, channels), or none */
    long positions;             /* rows of each of the B maps */
    float eps;                  /* of a layer norm; negative where there is none */
} Norm;

static inline void apply(const Norm *norm, float *row, long index, long channels) {
    if (norm->scale) {
        const float *scale = norm->scale + index / norm->positions * channels;
        const float *shift = norm->shift + index / norm->positions * channels;
        for (long i = 0; i < channels; i++) row[i] = row[i] * scale[i] + shift[i];
    } else if (norm->eps >= 0) {
        float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
        for (long i = 0; i < channels; i++) sum += row[i];
        float mean = sum / channels;
#pragma omp simd reduction(+ : squares)
        for (long i = 0; i < channels; i++) squares += (row[i] - mean) * (row[i] - mean);
        float factor = 1 / sqrtf(squares / channels + norm->eps);
        for (long i = 0; i < channels; i++) row[i] = (row[i] - mean) * factor;
    }
}

#endif
