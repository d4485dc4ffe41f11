/* Local-λ by tiles of queries, which share a square of neighbours: what moebius/fast/local_lambda.py computes. */
#include "tiles.h"

#ifdef __AMX_BF16__

typedef struct {
    const void *projected; /* (maps, height, width, (heads + 2)·head): queries, keys and values */
    int is_bf16, parts;
    long height, width, heads, head, window, tile; /* heads of `head` channels each */
} Layer;

static long position(const Layer *layer, long map, long y, long x) {
    return (map * layer->height + y) * layer->width + x;
}

static void load_query(const Layer *layer, long position, long head, float *to) {
    load(to, layer->projected, (position * (layer->heads + 2) + head) * layer->head, layer->head, layer->is_bf16);
}

/* What query meets at a place of the square around a tile, or after it: a neighbour's value, content, or nothing. */
static void load_value(const Layer *layer, const float *content, long map, long top, long left, long place, float *to) {
    long side = layer->tile + layer->window - 1, reach = layer->window / 2, after = place - side * side;
    long y = top + place / side - reach, x = left + place % side - reach;
    int is_inside = after < 0 && y >= 0 && y < layer->height && x >= 0 && x < layer->width;
    if (is_inside)
        load_query(layer, position(layer, map, y, x), layer->heads + 1, to);
    else if (after >= 0 && after < layer->head)
        memcpy(to, content + (map * layer->head + after) * layer->head, layer->head * sizeof(float));
    else
        memset(to, 0, layer->head * sizeof(float));
}

/* All that the queries of a tile meet, as a weight: (head / 32, steps, parts, 2, 16, 16, 2), places in pairs. */
static void gather(const Layer *layer, const float *content, long map, long top, long left, long steps, bf16 *to) {
    long panels = (layer->head + PANEL - 1) / PANEL;
    float first[panels * PANEL], second[panels * PANEL];
    memset(first, 0, sizeof first);
    memset(second, 0, sizeof second);
    for (long pair = 0; pair < steps * SIDE; pair++) {
        load_value(layer, content, map, top, left, 2 * pair, first);
        load_value(layer, content, map, top, left, 2 * pair + 1, second);
        for (int part = 0; part < layer->parts; part++)
            for (long half = 0; half < 2 * panels; half++) {
                long tile = ((half / 2 * steps + pair / SIDE) * layer->parts + part) * 2 + half % 2;
                uint32_t line[SIDE];
                for (long i = 0; i < SIDE; i++) {
                    float *a = first + half * SIDE + i, *b = second + half * SIDE + i;
                    uint32_t low = rounded(*a), high = rounded(*b);
                    line[i] = low | high << 16;
                    *a -= widened(low);
                    *b -= widened(high);
                }
                memcpy(to + tile * TILE + pair % SIDE * STEP, line, sizeof line);
            }
    }
}

/* Adds the layer's result to (maps, height, width, heads·head) float32.

   taps: of (window, span) outputs and head inputs, laid out as a weight, zeros from window to span, a multiple of 16.
   content: (maps, head, head) float32, what all positions add to a query's lambda. */
void local_lambda(const void *projected, int is_bf16, long maps, long height, long width, long heads, long head,
                  long window, long tile, const bf16 *taps, int parts, const float *content, float *to, int threads) {
    long span = (window + SIDE - 1) / SIDE * SIDE, side = tile + window - 1, rows = tile * tile * heads;
    long panels = (head + PANEL - 1) / PANEL, scored = (window * span + PANEL - 1) / PANEL * PANEL;
    long asked_steps = (head + STEP - 1) / STEP, steps = (side * side + head + STEP - 1) / STEP;
    Layer layer = {projected, is_bf16, parts, height, width, heads, head, window, tile};
#pragma omp parallel for num_threads(threads)
    for (long strip = 0; strip < maps * (height / tile); strip++) {
        long map = strip / (height / tile), top = strip % (height / tile) * tile;
        bf16 *around = aligned_alloc(64, panels * steps * parts * 2 * TILE * sizeof(bf16));
        bf16 *asked = aligned_alloc(64, 2 * asked_steps * parts * TILE * sizeof(bf16));
        bf16 *weights = aligned_alloc(64, 2 * steps * parts * TILE * sizeof(bf16));
        float *scores = aligned_alloc(64, PANEL * scored * sizeof(float));
        float query[asked_steps * STEP], row[steps * STEP + SIDE], square[PANEL * PANEL];
        Tiles before;
        _tile_storeconfig(&before);
        _tile_loadconfig(&ALL_WHOLE);
        memset(query, 0, sizeof query);
        for (long left = 0; left < width; left += tile) {
            gather(&layer, content, map, top, left, steps, around);
            for (long first = 0; first < rows; first += PANEL) { /* rows: places of the tile, of each all heads */
                long here = least(PANEL, rows - first);
                for (long at = 0; at < here; at++) {
                    long place = (first + at) / heads, y = top + place / tile, x = left + place % tile;
                    load_query(&layer, position(&layer, map, y, x), (first + at) % heads, query);
                    lay_out(query, asked_steps, parts, asked, at);
                }
                for (long panel = 0; panel < scored / PANEL; panel++)
                    multiply(asked, taps + panel * asked_steps * parts * 2 * TILE, asked_steps, parts,
                             scores + panel * PANEL, scored);
                for (long at = 0; at < here; at++) {
                    long place = (first + at) / heads, y = place / tile, x = place % tile;
                    memset(row, 0, sizeof row);
                    for (long down = 0; down < window; down++)
                        for (long i = 0; i < span; i += SIDE)
                            memcpy(row + (y + down) * side + x + i, scores + at * scored + down * span + i,
                                   SIDE * sizeof(float));
                    load_query(&layer, position(&layer, map, top + y, left + x), (first + at) % heads,
                               row + side * side);
                    lay_out(row, steps, parts, weights, at);
                }
                for (long panel = 0; panel < panels; panel++) {
                    multiply(weights, around + panel * steps * parts * 2 * TILE, steps, parts, square, PANEL);
                    for (long at = 0; at < here; at++) {
                        long place = (first + at) / heads, y = top + place / tile, x = left + place % tile;
                        float *sum = to + (position(&layer, map, y, x) * heads + (first + at) % heads) * head;
                        for (long i = 0; i < least(PANEL, head - panel * PANEL); i++)
                            sum[panel * PANEL + i] += square[at * PANEL + i];
                    }
                }
            }
        }
        _tile_loadconfig(&before);
        free(around);
        free(asked);
        free(weights);
        free(scores);
    }
}
#endif
