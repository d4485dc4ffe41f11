/* Products of 32 rows with 32 outputs by the tiles of AMX, in one, two or three parts.

   A part is what bfloat16 holds of a number, or of what the parts before have left: two hold 16 bits, three all 24 of
   float32. Of the products of parts those are summed that matter: one, three or six. Sums are float32. A row's result
   depends on that row alone. */
#ifndef TILES_H
#define TILES_H

#include "rows.h"

#ifdef __AMX_BF16__
#include <immintrin.h>

enum { SIDE = 16, STEP = 32, PANEL = 32, TILE = SIDE * STEP }; /* rows of a tile; inputs and outputs at a time */

/* Shapes of tiles, as the processor takes them. */
typedef struct {
    uint8_t palette, first_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} Tiles;

static const Tiles ALL_WHOLE = {1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

/* Lays a row out as its line of the tiles (rows / 16, steps, parts, 16, 32); of the row remains what no part holds. */
static void lay_out(float *row, long steps, int parts, bf16 *tiles, long index) {
    bf16 *tile = tiles + index / SIDE * steps * parts * TILE + index % SIDE * STEP;
    for (long step = 0; step < steps; step++, row += STEP)
        for (int part = 0; part < parts; part++, tile += TILE) {
            if (part)
                for (long i = 0; i < STEP; i++) row[i] -= widened(tile[i - TILE]);
            for (long i = 0; i < STEP; i++) tile[i] = rounded(row[i]);
        }
}

/* 32 rows laid out, times (steps, parts, 2, 16, 16, 2) of a weight → (32, stride) of which 32 columns are written. */
static void multiply(const bf16 *rows, const bf16 *weight, long steps, int parts, float *to, long stride) {
    const bf16 *below = rows + steps * parts * TILE;
    __asm__ volatile("" ::: "memory"); /* compilers do not know that tiles are loaded from it */
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (long step = 0; step < steps; step++, rows += parts * TILE, below += parts * TILE)
        for (int part = 0; part < parts; part++, weight += 2 * TILE) {
            _tile_loadd(6, weight, 2 * STEP);
            _tile_loadd(7, weight + TILE, 2 * STEP);
            for (int other = parts - part - 1; other >= 0; other--) {
                _tile_loadd(4, rows + other * TILE, 2 * STEP);
                _tile_loadd(5, below + other * TILE, 2 * STEP);
                _tile_dpbf16ps(0, 4, 6);
                _tile_dpbf16ps(1, 4, 7);
                _tile_dpbf16ps(2, 5, 6);
                _tile_dpbf16ps(3, 5, 7);
            }
        }
    _tile_stored(0, to, stride * sizeof(float));
    _tile_stored(1, to + SIDE, stride * sizeof(float));
    _tile_stored(2, to + SIDE * stride, stride * sizeof(float));
    _tile_stored(3, to + SIDE * stride + SIDE, stride * sizeof(float));
}

#endif
#endif
