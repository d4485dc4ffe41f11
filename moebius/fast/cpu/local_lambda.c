/* Local-λ by tiles of queries, which share a square of neighbours: what moebius/fast/local_lambda.py computes. */
#include "tiles.h"

#ifdef __AMX_BF16__

typedef struct {
    const void *projected;
    int is_bf16, parts;
    long height, width, heads, head, window, tile, line; /* positions, channels of a head, values of a position */
} Layer;

/* Values of the neighbours of a tile, then the content, as `multiply` takes a weight: of channels, inputs in pairs. */
static void gather(const Layer *layer, const float *content, long map, long top, long left, long steps, bf16 *to) {
    long side = layer->tile + layer->window - 1, reach = layer->window / 2, panels = (layer->head + PANEL - 1) / PANEL;
    long values = (layer->heads + 1) * layer->head;
    float row[panels * PANEL];
    memset(row, 0, sizeof row);
    for (long input = 0; input < steps * STEP; input++) {
        long y = top + input / side - reach, x = left + input % side - reach, after = input - side * side;
        int is_inside = after < 0 && y >= 0 && y < layer->height && x >= 0 && x < layer->width;
        if (is_inside)
            load(row, layer->projected, ((map * layer->height + y) * layer->width + x) * layer->line + values,
                 layer->head, layer->is_bf16);
        else if (after >= 0 && after < layer->head)
            memcpy(row, content + (map * layer->head + after) * layer->head, layer->head * sizeof(float));
        else
            memset(row, 0, sizeof row);
        for (long panel = 0; panel < panels; panel++) {
            bf16 *pair = to + ((panel * steps + input / STEP) * layer->parts * 2 * SIDE + input % STEP / 2) * STEP + input % 2;
            const float *from = row + panel * PANEL;
            for (long half = 0; half < 2; half++)
                for (long i = 0; i < SIDE; i++) {
                    float rest = from[half * SIDE + i];
                    for (int part = 0; part < layer->parts; part++) {
                        bf16 *place = pair + (2 * part + half) * TILE + 2 * i;
                        *place = rounded(rest);
                        rest -= widened(*place);
                    }
                }
        }
    }
}

/* Adds the layer's result to (maps, height, width, heads·head) float32.

   projected: (maps, height, width, (heads + 2)·head), queries, keys and values. taps: of (window², head), laid out as a
   weight. content: (maps, head, head) float32, what all positions add to a query's lambda. */
void local_lambda(const void *projected, int is_bf16, long maps, long height, long width, long heads, long head,
                  long window, long tile, const bf16 *taps, int parts, const float *content, float *to, int threads) {
    Layer layer = {projected, is_bf16, parts, height, width, heads, head, window, tile, (heads + 2) * head};
    long side = tile + window - 1, length = side * side + head, panels = (head + PANEL - 1) / PANEL;
    long asked_steps = (head + STEP - 1) / STEP, steps = (length + STEP - 1) / STEP;
    long scored = (window * window + PANEL - 1) / PANEL * PANEL, rows = tile * tile * heads;
#pragma omp parallel for num_threads(threads)
    for (long strip = 0; strip < maps * (height / tile); strip++) {
        long map = strip / (height / tile), top = strip % (height / tile) * tile;
        bf16 *around = aligned_alloc(64, panels * steps * parts * 2 * TILE * sizeof(bf16));
        bf16 *laid = aligned_alloc(64, 2 * (steps + asked_steps) * parts * TILE * sizeof(bf16));
        bf16 *asked = laid + 2 * steps * parts * TILE;
        float scores[PANEL * scored], query[asked_steps * STEP], row[steps * STEP], square[PANEL * PANEL];
        Tiles before;
        _tile_storeconfig(&before);
        _tile_loadconfig(&ALL_WHOLE);
        memset(query, 0, sizeof query);
        memset(laid, 0, 2 * (steps + asked_steps) * parts * TILE * sizeof(bf16));
        for (long left = 0; left < width; left += tile) {
            gather(&layer, content, map, top, left, steps, around);
            for (long first = 0; first < rows; first += PANEL) {
                long here = least(PANEL, rows - first);
                for (long at = 0; at < here; at++) {
                    long place = (first + at) / heads, y = top + place / tile, x = left + place % tile;
                    load(query, projected, ((map * height + y) * width + x) * layer.line + (first + at) % heads * head,
                         head, is_bf16);
                    lay_out(query, asked_steps, parts, asked, at);
                }
                for (long panel = 0; panel < scored / PANEL; panel++)
                    multiply(asked, taps + panel * asked_steps * parts * 2 * TILE, asked_steps, parts,
                             scores + panel * PANEL, scored);
                for (long at = 0; at < here; at++) {
                    long place = (first + at) / heads, y = place / tile, x = place % tile;
                    memset(row, 0, sizeof row);
                    for (long down = 0; down < window; down++)
                        memcpy(row + (y + down) * side + x, scores + at * scored + down * window, window * sizeof(float));
                    load(row + side * side, projected,
                         ((map * height + top + y) * width + left + x) * layer.line + (first + at) % heads * head, head,
                         is_bf16);
                    lay_out(row, steps, parts, laid, at);
                }
                for (long panel = 0; panel < panels; panel++) {
                    multiply(laid, around + panel * steps * parts * 2 * TILE, steps, parts, square, PANEL);
                    for (long at = 0; at < here; at++) {
                        long place = (first + at) / heads, y = top + place / tile, x = left + place % tile;
                        float *sum = to + (((map * height + y) * width + x) * heads + (first + at) % heads) * head + panel * PANEL;
                        for (long i = 0; i < least(PANEL, head - panel * PANEL); i++) sum[i] += square[at * PANEL + i];
                    }
                }
            }
        }
        _tile_loadconfig(&before);
        free(laid);
        free(around);
    }
}
#endif
