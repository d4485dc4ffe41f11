/* Products of matrices by the tiles of AMX. */
#include "tiles.h"

#ifdef __AMX_BF16__
#include <sys/syscall.h>
#include <unistd.h>

enum { BUDGET = 512 * 1024 }; /* bytes of rows laid out: a part of a core's second cache */
enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };

/* Whether the system lets this process use tiles. */
int has_tiles(void) { return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0; }

/* rows @ weight.T + bias, with the rows normed before, as `apply` of rows.h says; added to what is there, or not.
   weight: (outputs / 32, inputs / 32, parts, 2, 16, 16, 2), zeros beyond the edges, high parts before low ones. */
void product(const void *rows, int from_bf16, long count, long inputs, const float *scale, const float *shift,
             long positions, float eps, const bf16 *weight, int parts, long outputs, const float *bias, void *to,
             int to_bf16, int is_added, int threads) {
    if (count <= 0) return;
    Norm norm = {scale, shift, positions, eps};
    long steps = (inputs + STEP - 1) / STEP, panels = (outputs + PANEL - 1) / PANEL, line = steps * parts * STEP;
    long most = BUDGET / (line * (long)sizeof(bf16)) / PANEL * PANEL, blocks = count / (most ? most : PANEL) + 1;
    if (blocks < threads) blocks = threads;
    long block = (count + blocks * PANEL - 1) / (blocks * PANEL) * PANEL;
#pragma omp parallel for num_threads(threads)
    for (long top = 0; top < count; top += block) {
        long here = least(block, count - top);
        bf16 *tiles = aligned_alloc(64, (here + PANEL - 1) / PANEL * PANEL * line * sizeof(bf16));
        float row[steps * STEP], square[PANEL * PANEL];
        Tiles before;
        _tile_storeconfig(&before); /* other libraries take theirs for still loaded */
        _tile_loadconfig(&ALL_WHOLE);
        memset(row, 0, sizeof row);
        for (long at = 0; at < (here + PANEL - 1) / PANEL * PANEL; at++) {
            if (at < here) {
                load(row, rows, (top + at) * inputs, inputs, from_bf16);
                apply(&norm, row, top + at, inputs);
            } else
                memset(row, 0, sizeof row);
            lay_out(row, steps, parts, tiles, at);
        }
        for (long panel = 0; panel < panels; panel++) {
            long first = panel * PANEL, width = least(PANEL, outputs - first);
            for (long at = 0; at < here; at += PANEL) {
                for (long y = 0; y < least(PANEL, here - at) && !to_bf16; y++)
                    for (long i = 0; i < width; i += SIDE)
                        __builtin_prefetch((float *)to + (top + at + y) * outputs + first + i, 1);
                multiply(tiles + at * line, weight + first * line, steps, parts, square, PANEL);
                for (long y = 0; y < least(PANEL, here - at); y++) {
                    float *sum = square + y * PANEL, there[PANEL];
                    long place = (top + at + y) * outputs + first;
                    if (bias)
                        for (long i = 0; i < width; i++) sum[i] += bias[first + i];
                    if (is_added) {
                        load(there, to, place, width, to_bf16);
                        for (long i = 0; i < width; i++) sum[i] += there[i];
                    }
                    store(to, sum, place, width, to_bf16);
                }
            }
        }
        _tile_loadconfig(&before);
        free(tiles);
    }
}
#else
int has_tiles(void) { return 0; }
#endif
