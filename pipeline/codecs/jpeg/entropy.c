/* Huffman codes of JPEG scans: to quantised coefficients and back. Source: ITU-T T.81, annexes F.1, F.2 and G.

   Nothing here trusts a file: each coefficient that is written to is in range of the arrays that the caller has made,
   and bytes are only read between two pointers. All state is on the stack, so threads do not disturb each other. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 64, TABLES = 8, SYMBOLS = 256, LOOKUP_BITS = 9, LONGEST = 16 };
enum { MAX_EOB_RUN = 0x7FFF, MAX_CORRECTIONS = 1000, SKIP_16 = 0xF0, MAX_SIZE = 15 };
enum { OK = 0, DAMAGED = 1, NO_ROOM = 2, UNSUPPORTED = 3 };

typedef struct {
    int16_t *blocks;   /* (lines, width, 64), coefficients in zigzag order */
    int32_t width;     /* blocks of a line, with those that fill up the last unit */
    int32_t own_width; /* blocks of a line and lines without these, which scans of one component leave out */
    int32_t own_lines;
    int32_t h, v;   /* blocks per unit */
    int32_t dc, ac; /* tables: 0 … 3 and 4 … 7 */
} Component;

typedef struct {
    Component component[4];
    int32_t count;
    int32_t is_progressive;
    int32_t first, last, high, low; /* coefficients, and bits before and after this scan */
    int32_t columns, lines;         /* of units */
    int32_t restart;                /* units between restart markers, 0 for none */
} Scan;

typedef struct {
    uint8_t counts[LONGEST]; /* codes of 1 … 16 bits */
    uint8_t symbols[SYMBOLS];
} Code;

typedef struct State State;
typedef int Visit(State *state, const Scan *scan, int component, int16_t *block);
typedef int Restart(State *state, const Scan *scan);

/* Visit the blocks of a scan in its order. */
static int each_block(State *state, const Scan *scan, Visit *visit, Restart *restart) {
    const Component *only = scan->component;
    int columns = scan->count == 1 ? only->own_width : scan->columns;
    int lines = scan->count == 1 ? only->own_lines : scan->lines;
    long unit = 0;
    for (int line = 0; line < lines; line++)
        for (int column = 0; column < columns; column++, unit++) {
            int status = OK;
            if (scan->restart && unit && unit % scan->restart == 0 && (status = restart(state, scan))) return status;
            if (scan->count == 1) {
                status = visit(state, scan, 0, only->blocks + ((long)line * only->width + column) * BLOCK);
                if (status) return status;
                continue;
            }
            for (int c = 0; c < scan->count; c++) {
                const Component *of = &scan->component[c];
                for (int y = 0; y < of->v; y++)
                    for (int x = 0; x < of->h; x++) {
                        long at = ((long)line * of->v + y) * of->width + (long)column * of->h + x;
                        if ((status = visit(state, scan, c, of->blocks + at * BLOCK))) return status;
                    }
            }
        }
    return OK;
}

/* --- reading --- */

typedef struct {
    uint16_t lookup[1 << LOOKUP_BITS]; /* length << 8 | symbol of short codes, else 0 */
    int32_t past[LONGEST + 1];         /* by length: one more than its last code, aligned to 16 bits; 0 for none */
    int32_t offset[LONGEST + 1];       /* position of a symbol less its code */
    uint8_t symbols[SYMBOLS];
} Decoding;

struct State {
    int previous[4]; /* DC of each component */
    int eob_run;
    /* reading */
    const uint8_t *at, *end;
    uint64_t bits;      /* the next one is the highest */
    int count, padding; /* bits that are there, and how many of them are not in the file */
    Decoding decodings[TABLES];
    /* writing */
    uint8_t *to, *room;
    int is_counting, status;
    int64_t *frequencies, extra_bits; /* (8, 256) */
    uint32_t codes[TABLES][SYMBOLS];
    uint8_t lengths[TABLES][SYMBOLS];
    uint8_t corrections[MAX_CORRECTIONS];
    int correction_count;
};

/* Give each symbol its code; codes that do not fit into their length are damage. */
static int each_code(const Code *code, void (*give)(void *, int, int, int, int), void *to) {
    int next = 0, position = 0;
    for (int length = 1; length <= LONGEST; length++, next <<= 1)
        for (int i = 0; i < code->counts[length - 1]; i++, next++, position++) {
            if (position >= SYMBOLS || next >= 1 << length) return DAMAGED;
            give(to, code->symbols[position], position, next, length);
        }
    return OK;
}

static void decode_by(void *to, int symbol, int position, int code, int length) {
    Decoding *decoding = to;
    decoding->symbols[position] = symbol;
    decoding->past[length] = (code + 1) << (LONGEST - length);
    decoding->offset[length] = position - code;
    if (length > LOOKUP_BITS) return;
    int shift = LOOKUP_BITS - length;
    for (int i = 0; i < 1 << shift; i++) decoding->lookup[code << shift | i] = length << 8 | symbol;
}

static void fill(State *state) {
    while (state->count <= 56) {
        uint64_t byte = 0;
        const uint8_t *at = state->at;
        if (at < state->end && *at == 0xFF) { /* FF 00 stands for FF; all others are markers */
            while (at < state->end && *at == 0xFF) at++;
            if (at < state->end && *at == 0)
                state->at = at + 1, byte = 0xFF;
            else
                state->padding += 8;
        } else if (at < state->end)
            byte = *at, state->at++;
        else
            state->padding += 8;
        state->bits |= byte << (56 - state->count);
        state->count += 8;
    }
}

static int take(State *state, int count) {
    if (!count) return 0;
    if (state->count < count) fill(state);
    int value = state->bits >> (64 - count);
    state->bits <<= count, state->count -= count;
    return value;
}

/* The next symbol; -1 for a code without one. */
static int take_symbol(State *state, int table) {
    const Decoding *decoding = &state->decodings[table];
    if (state->count < 32) fill(state);
    int found = decoding->lookup[state->bits >> (64 - LOOKUP_BITS)];
    if (found) return take(state, found >> 8), found & 0xFF;
    int code = state->bits >> (64 - LONGEST);
    for (int length = LOOKUP_BITS + 1; length <= LONGEST; length++)
        if (code < decoding->past[length]) {
            int position = (code >> (LONGEST - length)) + decoding->offset[length];
            return position < 0 || position >= SYMBOLS ? -1 : (take(state, length), decoding->symbols[position]);
        }
    return -1;
}

/* A number of as many bits: the lower half are the negative ones. */
static int take_signed(State *state, int size) {
    int value = take(state, size);
    return size && value < 1 << (size - 1) ? value - (1 << size) + 1 : value;
}

static int read_dc(State *state, const Scan *scan, int component, int16_t *block) {
    int size = take_symbol(state, scan->component[component].dc);
    if (size < 0 || size > MAX_SIZE) return DAMAGED;
    state->previous[component] = (int16_t)(state->previous[component] + take_signed(state, size));
    block[0] = (int16_t)((unsigned)state->previous[component] << scan->low);
    return OK;
}

static int read_ac(State *state, const Scan *scan, const Component *of, int16_t *block) {
    if (state->eob_run) return state->eob_run--, OK;
    for (int k = scan->first ? scan->first : 1; k <= scan->last; k++) {
        int symbol = take_symbol(state, of->ac), size = symbol & 15, run = symbol >> 4;
        if (symbol < 0) return DAMAGED;
        if (size) {
            if ((k += run) > scan->last) return DAMAGED;
            block[k] = (int16_t)((unsigned)take_signed(state, size) << scan->low);
        } else if (run == 15)
            k += 15;
        else if (run && !scan->is_progressive)
            return DAMAGED;
        else
            return state->eob_run = (1 << run) - 1 + take(state, run), OK;
    }
    return OK;
}

static void refine(State *state, int16_t *coefficient, int bit) {
    if (take(state, 1) && !(*coefficient & bit)) *coefficient += *coefficient < 0 ? -bit : bit;
}

static int refine_ac(State *state, const Scan *scan, const Component *of, int16_t *block) {
    int bit = 1 << scan->low, k = scan->first;
    for (; !state->eob_run && k <= scan->last; k++) {
        int symbol = take_symbol(state, of->ac), run = symbol >> 4, value = 0;
        if (symbol < 0 || (symbol & 15) > 1) return DAMAGED;
        if (symbol & 15)
            value = take(state, 1) ? bit : -bit;
        else if (run < 15) {
            state->eob_run = (1 << run) + take(state, run);
            break;
        }
        for (; k <= scan->last; k++) {
            if (block[k])
                refine(state, &block[k], bit);
            else if (--run < 0)
                break;
        }
        if (value && k > scan->last) return DAMAGED;
        if (value) block[k] = value;
    }
    if (!state->eob_run) return OK;
    for (; k <= scan->last; k++)
        if (block[k]) refine(state, &block[k], bit);
    state->eob_run--;
    return OK;
}

static int read_block(State *state, const Scan *scan, int component, int16_t *block) {
    const Component *of = &scan->component[component];
    int status = OK;
    if (!scan->is_progressive) {
        memset(block, 0, BLOCK * sizeof *block);
        status = read_dc(state, scan, component, block);
        if (!status) status = read_ac(state, scan, of, block);
    } else if (scan->first)
        status = (scan->high ? refine_ac : read_ac)(state, scan, of, block);
    else if (!scan->high)
        status = read_dc(state, scan, component, block);
    else if (take(state, 1))
        block[0] |= 1 << scan->low;
    return status ? status : state->count < state->padding ? DAMAGED : OK;
}

static int after_marker(State *state, const Scan *scan) {
    (void)scan;
    if (state->count - state->padding >= 8 || state->eob_run) return DAMAGED;
    while (state->at < state->end && *state->at == 0xFF) state->at++;
    if (state->at >= state->end || (*state->at & 0xF8) != 0xD0) return DAMAGED;
    state->at++;
    state->bits = 0, state->count = 0, state->padding = 0;
    memset(state->previous, 0, sizeof state->previous);
    return OK;
}

/* Read the data of a scan, from which its markers at the end have been cut, into its blocks. */
int read_scan(const Scan *scan, const Code *codes, const uint8_t *data, long length) {
    State *state = calloc(1, sizeof *state);
    if (!state) return NO_ROOM;
    state->at = data, state->end = data + length;
    int status = OK;
    for (int table = 0; table < TABLES && !status; table++)
        status = each_code(&codes[table], decode_by, &state->decodings[table]);
    if (!status) status = each_block(state, scan, read_block, after_marker);
    free(state);
    return status;
}

/* --- writing --- */

static void put(State *state, unsigned value, int count) {
    if (state->is_counting) {
        state->extra_bits += count;
        return;
    }
    state->bits = state->bits << count | (value & ((1u << count) - 1));
    for (state->count += count; state->count >= 8; state->count -= 8) {
        uint8_t byte = state->bits >> (state->count - 8);
        if (state->room - state->to < 2) {
            state->status = NO_ROOM;
            continue;
        }
        *state->to++ = byte;
        if (byte == 0xFF) *state->to++ = 0;
    }
}

static void put_symbol(State *state, int table, int symbol) {
    if (state->is_counting)
        state->frequencies[table * SYMBOLS + symbol]++;
    else if (!state->lengths[table][symbol])
        state->status = UNSUPPORTED;
    else
        put(state, state->codes[table][symbol], state->lengths[table][symbol]);
}

static int size_of(unsigned value) { return value ? 32 - __builtin_clz(value) : 0; }

static void put_corrections(State *state, int from, int count) {
    for (int i = 0; i < count; i++) put(state, state->corrections[from + i], 1);
}

static void put_eob_run(State *state, int table) {
    if (!state->eob_run) return;
    int size = size_of(state->eob_run) - 1;
    put_symbol(state, table, size << 4);
    put(state, state->eob_run, size);
    put_corrections(state, 0, state->correction_count);
    state->eob_run = 0, state->correction_count = 0;
}

static int write_dc(State *state, const Scan *scan, int component, const int16_t *block) {
    int value = block[0] >> scan->low, difference = value - state->previous[component];
    int size = size_of(abs(difference));
    if (size > MAX_SIZE) return UNSUPPORTED;
    state->previous[component] = value;
    put_symbol(state, scan->component[component].dc, size);
    put(state, difference < 0 ? difference - 1 : difference, size);
    return OK;
}

static int write_ac(State *state, const Scan *scan, int table, const int16_t *block) {
    int run = 0;
    for (int k = scan->first ? scan->first : 1; k <= scan->last; k++) {
        int value = abs(block[k]) >> scan->low, size = size_of(value);
        if (!value) {
            run++;
            continue;
        }
        if (size > MAX_SIZE) return UNSUPPORTED;
        put_eob_run(state, table);
        for (; run > 15; run -= 16) put_symbol(state, table, SKIP_16);
        put_symbol(state, table, run << 4 | size);
        put(state, block[k] < 0 ? ~value : value, size);
        run = 0;
    }
    if (!run) return OK;
    if (!scan->is_progressive)
        put_symbol(state, table, 0);
    else if (++state->eob_run == MAX_EOB_RUN)
        put_eob_run(state, table);
    return OK;
}

static int write_refined_ac(State *state, const Scan *scan, int table, const int16_t *block) {
    int run = 0, last_new = 0, from = state->correction_count, count = 0;
    for (int k = scan->first; k <= scan->last; k++)
        if (abs(block[k]) >> scan->low == 1) last_new = k;
    for (int k = scan->first; k <= scan->last; k++) {
        int value = abs(block[k]) >> scan->low;
        if (!value) {
            run++;
            continue;
        }
        for (; run > 15 && k <= last_new; run -= 16) {
            put_eob_run(state, table);
            put_symbol(state, table, SKIP_16);
            put_corrections(state, from, count);
            from = 0, count = 0;
        }
        if (value > 1) {
            state->corrections[from + count++] = value & 1;
            continue;
        }
        put_eob_run(state, table);
        put_symbol(state, table, run << 4 | 1);
        put(state, block[k] > 0, 1);
        put_corrections(state, from, count);
        run = 0, from = 0, count = 0;
    }
    if (!run && !count) return OK;
    state->correction_count = from + count;
    if (++state->eob_run == MAX_EOB_RUN || state->correction_count > MAX_CORRECTIONS - BLOCK) put_eob_run(state, table);
    return OK;
}

static int write_block(State *state, const Scan *scan, int component, int16_t *block) {
    int table = scan->component[component].ac, status = OK;
    if (!scan->is_progressive) {
        status = write_dc(state, scan, component, block);
        if (!status) status = write_ac(state, scan, table, block);
    } else if (scan->first)
        status = (scan->high ? write_refined_ac : write_ac)(state, scan, table, block);
    else if (!scan->high)
        status = write_dc(state, scan, component, block);
    else
        put(state, block[0] >> scan->low & 1, 1);
    return status ? status : state->status;
}

static int write_all(State *state, const Scan *scan) {
    int status = each_block(state, scan, write_block, NULL);
    if (!status && scan->is_progressive && scan->first) put_eob_run(state, scan->component[0].ac);
    return status ? status : state->status;
}

/* Count how often a scan needs each symbol, (8, 256), and the bits beside them. */
int count_symbols(const Scan *scan, int64_t *frequencies, int64_t *extra_bits) {
    State *state = calloc(1, sizeof *state);
    if (!state) return NO_ROOM;
    state->is_counting = 1, state->frequencies = frequencies;
    int status = write_all(state, scan);
    *extra_bits = state->extra_bits;
    free(state);
    return status;
}

typedef struct {
    State *state;
    int table;
} Encoding;

static void encode_by(void *to, int symbol, int position, int code, int length) {
    (void)position;
    Encoding *encoding = to;
    encoding->state->codes[encoding->table][symbol] = code;
    encoding->state->lengths[encoding->table][symbol] = length;
}

/* Write the data of a scan, and return how many bytes there are in ``written``. */
int write_scan(const Scan *scan, const Code *codes, uint8_t *data, long room, int64_t *written) {
    State *state = calloc(1, sizeof *state);
    if (!state) return NO_ROOM;
    state->to = data, state->room = data + room;
    int status = OK;
    for (int table = 0; table < TABLES && !status; table++)
        status = each_code(&codes[table], encode_by, &(Encoding){state, table});
    if (!status) status = write_all(state, scan);
    if (!status && state->count) put(state, 0x7F, 8 - state->count);
    *written = state->to - data;
    status = status ? status : state->status;
    free(state);
    return status;
}
