/* What is between the products, one pass over memory each. Maps are channels-last; of the results of all loops, none
   depends on the number of threads. */
#include "rows.h"

enum { BLOCK = 256, LANES = 64 }; /* channels of a band, whose rows stay in the cache; and at a time */
enum { CHUNK = 64 };              /* positions that are summed up in float32 */
enum { AHEAD = 4, LINE = 64 };    /* places that are asked for beforehand, by as many bytes */

/* Rows of (count, channels) normed, of another type, and SiLU of them or not. */
void normed(const void *from, int from_bf16, long count, long channels, const float *scale, const float *shift,
            long positions, float eps, void *to, int to_bf16, int has_silu, int threads) {
    Norm norm = {scale, shift, positions, eps};
#pragma omp parallel for num_threads(threads)
    for (long row = 0; row < count; row++) {
        float line[channels];
        load(line, from, row * channels, channels, from_bf16);
        apply(&norm, line, row, channels);
        if (has_silu)
            for (long i = 0; i < channels; i++) line[i] = silu(line[i]);
        store(to, line, row * channels, channels, to_bf16);
    }
}

/* A group norm of (maps, positions, channels) as x·scale + shift, (maps, channels) each. */
void group_terms(const void *features, int is_bf16, long maps, long positions, long channels, long groups, float eps,
                 const float *weight, const float *bias, float *scale, float *shift, int threads) {
    long each = channels / groups;
#pragma omp parallel for num_threads(threads)
    for (long map = 0; map < maps; map++) {
        double sums[groups], squares[groups];
        memset(sums, 0, sizeof sums);
        memset(squares, 0, sizeof squares);
        for (long first = 0; first < positions; first += CHUNK) {
            float sum[channels], square[channels], row[channels];
            memset(sum, 0, sizeof sum);
            memset(square, 0, sizeof square);
            for (long at = first; at < least(first + CHUNK, positions); at++) {
                load(row, features, (map * positions + at) * channels, channels, is_bf16);
                for (long i = 0; i < channels; i++) sum[i] += row[i], square[i] += row[i] * row[i];
            }
            for (long i = 0; i < channels; i++) sums[i / each] += sum[i], squares[i / each] += square[i];
        }
        for (long i = 0; i < channels; i++) {
            double mean = sums[i / each] / (each * positions);
            double variance = squares[i / each] / (each * positions) - mean * mean;
            variance = variance < 0 ? 0 : variance; /* by rounding */
            float factor = variance < INFINITY ? 1 / sqrt(variance + eps) * (weight ? weight[i] : 1) : NAN;
            scale[map * channels + i] = factor;
            shift[map * channels + i] = (bias ? bias[i] : 0) - (float)mean * factor;
        }
    }
}

/* Asks for what will be loaded: places lie too far apart for the processor to guess. */
static inline void fetch(const void *from, long at, long count, int is_bf16) {
    const char *first = (const char *)from + at * (is_bf16 ? 2 : 4);
    for (long byte = 0; byte < count * (is_bf16 ? 2 : 4); byte += LINE) __builtin_prefetch(first + byte);
}

/* Three rows of a block of channels with a zero at either end, of which row y lies in rows[y % 3]. */
typedef struct {
    float *rows[3], *taps, bias[BLOCK];
    long width;
} Band;

static Band new_band(long width, const float *taps, const float *bias, long first, long count, long channels) {
    Band band = {.width = width};
    float *memory = calloc(3 * (width + 2) * BLOCK + 9 * BLOCK, sizeof(float));
    for (long row = 0; row < 3; row++) band.rows[row] = memory + row * (width + 2) * BLOCK;
    band.taps = memory + 3 * (width + 2) * BLOCK;
    for (long tap = 0; tap < 9; tap++)
        memcpy(band.taps + tap * BLOCK, taps + tap * channels + first, count * sizeof(float));
    memset(band.bias, 0, sizeof band.bias);
    memcpy(band.bias, bias + first, count * sizeof(float));
    return band;
}

static inline float *place(const Band *band, long y, long x) { return band->rows[(y + 3) % 3] + (x + 1) * BLOCK; }

static void clear(const Band *band, long y) {
    memset(band->rows[(y + 3) % 3], 0, (band->width + 2) * BLOCK * sizeof(float));
}

/* The 3×3 filters at one place. */
static inline void filter(const Band *band, long y, long x, long first, float *restrict to) {
    const float *restrict top = place(band, y - 1, x - 1) + first, *restrict middle = place(band, y, x - 1) + first,
                          *restrict bottom = place(band, y + 1, x - 1) + first, *restrict taps = band->taps + first;
#define AT(row, across, tap) row[(across) * BLOCK + i] * taps[(tap) * BLOCK + i]
    for (long i = 0; i < LANES; i++)
        to[i] = band->bias[first + i] + AT(top, 0, 0) + AT(top, 1, 1) + AT(top, 2, 2) + AT(middle, 0, 3) +
                AT(middle, 1, 4) + AT(middle, 2, 5) + AT(bottom, 0, 6) + AT(bottom, 1, 7) + AT(bottom, 2, 8);
#undef AT
}

/* ReLU(filters(SiLU(x·scale + shift))) of (maps, height, width, channels) float32; what the filters see goes to
   `around`, if there, too. Without scale the filters see x. */
void norm_silu_depthwise(const float *features, long maps, long height, long width, long channels, const float *scale,
                         const float *shift, float *around, const float *taps, const float *bias, void *to, int to_bf16,
                         int threads) {
    long blocks = (channels + BLOCK - 1) / BLOCK;
#pragma omp parallel for num_threads(threads)
    for (long part = 0; part < maps * blocks; part++) {
        long map = part / blocks, first = part % blocks * BLOCK, count = least(BLOCK, channels - first);
        Band band = new_band(width, taps, bias, first, count, channels);
        for (long y = -1; y < height; y++) { /* row y + 1 is prepared, row y computed */
            if (y + 1 == height)
                clear(&band, height);
            else
                for (long x = 0; x < width; x++) {
                    long at = ((map * height + y + 1) * width + x) * channels + first;
                    float *row = place(&band, y + 1, x);
                    fetch(features, at + AHEAD * channels, count, 0);
                    load(row, features, at, count, 0);
                    if (scale) {
                        const float *factor = scale + map * channels + first, *offset = shift + map * channels + first;
                        for (long i = 0; i < count; i++) row[i] = silu(row[i] * factor[i] + offset[i]);
                    }
                    if (around) store(around, row, at, count, 0);
                }
            for (long x = 0; x < width && y >= 0; x++)
                for (long lane = 0; lane < count; lane += LANES) {
                    float output[LANES];
                    filter(&band, y, x, lane, output);
                    for (long i = 0; i < LANES; i++) output[i] = output[i] < 0 ? 0 : output[i]; /* NaN stays */
                    store(to, output, ((map * height + y) * width + x) * channels + first + lane,
                          least(LANES, count - lane), to_bf16);
                }
        }
        free(band.rows[0]);
    }
}

/* SiLU(filters(SiLU(gate)))·filters(SiLU(value)) of (maps, height, width, 2·channels), values before gates. */
void gated_depthwise(const void *features, int is_bf16, long maps, long height, long width, long channels,
                     const float *taps, const float *bias, void *to, int threads) {
    long blocks = (channels + BLOCK - 1) / BLOCK;
#pragma omp parallel for num_threads(threads)
    for (long part = 0; part < maps * blocks; part++) {
        long map = part / blocks, first = part % blocks * BLOCK, count = least(BLOCK, channels - first);
        Band bands[2] = {new_band(width, taps, bias, first, count, 2 * channels),
                         new_band(width, taps, bias, channels + first, count, 2 * channels)};
        for (long y = -1; y < height; y++) {
            for (int half = 0; half < 2; half++)
                if (y + 1 == height)
                    clear(&bands[half], height);
                else
                    for (long x = 0; x < width; x++) {
                        long at = ((map * height + y + 1) * width + x) * 2 * channels + half * channels + first;
                        float *row = place(&bands[half], y + 1, x);
                        fetch(features, at + AHEAD * 2 * channels, count, is_bf16);
                        load(row, features, at, count, is_bf16);
                        for (long i = 0; i < BLOCK; i++) row[i] = silu(row[i]);
                    }
            for (long x = 0; x < width && y >= 0; x++)
                for (long lane = 0; lane < count; lane += LANES) {
                    float value[LANES], gate[LANES];
                    filter(&bands[0], y, x, lane, value);
                    filter(&bands[1], y, x, lane, gate);
                    for (long i = 0; i < LANES; i++) value[i] *= silu(gate[i]);
                    store(to, value, ((map * height + y) * width + x) * channels + first + lane,
                          least(LANES, count - lane), is_bf16);
                }
        }
        for (int half = 0; half < 2; half++) free(bands[half].rows[0]);
    }
}
