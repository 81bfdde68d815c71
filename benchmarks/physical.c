/* The same algorithms and workloads as octavo.memory.buddykernels, pagepools, slabkernels and benchmarks/physical_kernels.py,
   in C over the same arrays: what Octavo's compiled kernels are measured against. Built by benchmarks/physical.py. */
#include <stdint.h>
#include <sched.h>

typedef int32_t i32;
typedef int64_t i64;

enum { WORDS = 8, NEXT = 0, PREV = 1, PTE = 2, STATE = 3, BLOCK = 5, USE = 6, HOLDER_WORD = 7 };
enum { FREE = 0, ORDER = 1, FIRST = 2, END = 3, ZLOCK = 4, MIN = 5, HEADS = 8, BLOCKS = 40 };
enum { P_COUNT, P_SIZE, P_TRANSFER, P_TAKEN, P_REFILLS, P_SLOTS = 16, P_WORDS = 144 };
enum { C_LOCK, C_SIZE, C_ORDER, C_PER, C_COLOURS, C_STEP, C_COLOUR, C_PARTIAL, C_EMPTY, C_SLABS, C_EMPTIES, C_OUT, C_HOLDER, C_LINK, C_PRIV, C_MAG = 16 };
enum { M_COUNT, M_CAPACITY, M_TRANSFER, M_FILLS, M_ROUNDS = 16, M_WORDS = 144 };

static void lock(i32 *at)
{
    int spins = 0;
    i32 zero = 0;
    while (!__atomic_compare_exchange_n(at, &zero, 1, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        zero = 0;
        if (++spins == 200) { sched_yield(); spins = 0; }
    }
}
static void unlock(i32 *at) { __atomic_store_n(at, 0, __ATOMIC_RELEASE); }

static void insert(i32 *w, i32 *z, i64 first, i64 order)
{
    i64 at = first * WORDS, head = z[HEADS + order];
    w[at + BLOCK] = order; w[at + NEXT] = head; w[at + PREV] = 0;
    if (head) w[head * WORDS + PREV] = first;
    z[HEADS + order] = first; z[BLOCKS + order]++;
}
static void unlink_block(i32 *w, i32 *z, i64 first, i64 order)
{
    i64 at = first * WORDS, after = w[at + NEXT], before = w[at + PREV];
    if (before) w[before * WORDS + NEXT] = after; else z[HEADS + order] = after;
    if (after) w[after * WORDS + PREV] = before;
    w[at + BLOCK] = -1; z[BLOCKS + order]--;
}
static void merge(i32 *w, i32 *z, i64 first, i64 order)
{
    while (order < z[ORDER]) {
        i64 buddy = first ^ (1LL << order);
        if (buddy < z[FIRST] || buddy >= z[END] || w[buddy * WORDS + BLOCK] != order) break;
        unlink_block(w, z, buddy, order);
        if (buddy < first) first = buddy;
        order++;
    }
    insert(w, z, first, order);
}
static void release(i32 *w, i32 *z, i64 first, i64 count)
{
    z[FREE] += count;
    while (count) {
        i64 order = 0;
        while (order < z[ORDER] && !(first >> order & 1) && (2LL << order) <= count) order++;
        merge(w, z, first, order);
        first += 1LL << order; count -= 1LL << order;
    }
}
static i64 take_block(i32 *w, i32 *z, i64 order)
{
    i64 have = order, first;
    while (have <= z[ORDER] && !z[HEADS + have]) have++;
    if (have > z[ORDER]) return 0;
    first = z[HEADS + have];
    unlink_block(w, z, first, have);
    while (have > order) { have--; insert(w, z, first + (1LL << have), have); }
    z[FREE] -= 1 << order;
    return first;
}

static i64 refill(i32 *w, i32 *z, i32 *p, int privileged)
{
    i64 count = 0, have;
    lock(z + ZLOCK);
    have = privileged ? z[FREE] : z[FREE] - z[MIN];
    while (count < p[P_TRANSFER] && count < have) {
        i64 frame = take_block(w, z, 0);
        w[frame * WORDS + STATE] = 9; p[P_SLOTS + count++] = frame;
    }
    unlock(z + ZLOCK);
    p[P_COUNT] = count; p[P_REFILLS]++;
    return count;
}
static void drain(i32 *w, i32 *z, i32 *p, i64 count)
{
    i64 left = p[P_COUNT] - count;
    lock(z + ZLOCK);
    for (i64 i = 0; i < count; i++) {
        i64 frame = p[P_SLOTS + i];
        w[frame * WORDS + STATE] = 1; release(w, z, frame, 1);
    }
    unlock(z + ZLOCK);
    for (i64 i = 0; i < left; i++) p[P_SLOTS + i] = p[P_SLOTS + count + i];
    p[P_COUNT] = left; p[P_REFILLS]++;
}
static i64 take_page(i32 *w, i32 *z, i32 *cpus, i64 cpu, int privileged)
{
    i32 *p = cpus + cpu * P_WORDS;
    i64 count = p[P_COUNT], frame;
    if (!count && !(count = refill(w, z, p, privileged))) return 0;
    frame = p[P_SLOTS + --count];
    p[P_COUNT] = count; p[P_TAKEN]++; w[frame * WORDS + STATE] = 6;
    return frame;
}
static void free_page(i32 *w, i32 *z, i32 *cpus, i64 cpu, i64 frame)
{
    i32 *p = cpus + cpu * P_WORDS;
    i64 count;
    if (p[P_COUNT] == p[P_SIZE]) drain(w, z, p, p[P_TRANSFER]);
    count = p[P_COUNT];
    p[P_SLOTS + count] = frame; p[P_COUNT] = count + 1; p[P_TAKEN]--; w[frame * WORDS + STATE] = 9;
}

static void link_slab(i32 *w, i32 *c, int which, i64 slab)
{
    i64 head = c[which];
    w[slab * WORDS + NEXT] = head; w[slab * WORDS + PREV] = 0;
    if (head) w[head * WORDS + PREV] = slab;
    c[which] = slab;
}
static void unlink_slab(i32 *w, i32 *c, int which, i64 slab)
{
    i64 after = w[slab * WORDS + NEXT], before = w[slab * WORDS + PREV];
    if (before) w[before * WORDS + NEXT] = after; else c[which] = after;
    if (after) w[after * WORDS + PREV] = before;
    w[slab * WORDS + NEXT] = w[slab * WORDS + PREV] = 0;
}
static i64 grow(i32 *w, i32 *z, i32 *link, i32 *c)
{
    i64 slab = 0, place, colour, n = 1LL << c[C_ORDER];
    lock(z + ZLOCK);
    if (c[C_PRIV] || z[FREE] - n >= z[MIN]) slab = take_block(w, z, c[C_ORDER]);
    unlock(z + ZLOCK);
    if (!slab) return 0;
    colour = c[C_COLOUR] * c[C_STEP];
    c[C_COLOUR] = (c[C_COLOUR] + 1) % c[C_COLOURS];
    for (i64 i = 0; i < n; i++) {
        i32 *e = w + (slab + i) * WORDS;
        e[STATE] = 6; e[USE] = -i; e[HOLDER_WORD] = c[C_HOLDER];
    }
    w[slab * WORDS + PTE] = colour; w[slab * WORDS + USE] = 1;
    place = ((slab << 12) + colour + c[C_LINK]) >> 2;
    for (i64 i = 0; i < c[C_PER]; i++, place += c[C_SIZE] >> 2) link[place] = i + 1 < c[C_PER] ? i + 2 : 0;
    link_slab(w, c, C_EMPTY, slab);
    c[C_SLABS]++; c[C_EMPTIES]++;
    return slab;
}
static i64 pop_object(i32 *w, i32 *z, i32 *link, i32 *c)
{
    i64 slab = c[C_PARTIAL], index, start, after, out;
    i32 *e;
    if (!slab) {
        slab = c[C_EMPTY];
        if (!slab && !(slab = grow(w, z, link, c))) return 0;
        unlink_slab(w, c, C_EMPTY, slab); c[C_EMPTIES]--;
        link_slab(w, c, C_PARTIAL, slab);
    }
    e = w + slab * WORDS;
    index = (e[USE] & 0xFFFF) - 1;
    start = (slab << 12) + e[PTE] + index * c[C_SIZE];
    after = link[(start + c[C_LINK]) >> 2];
    out = (e[USE] >> 16) + 1;
    e[USE] = out << 16 | after;
    if (out == c[C_PER]) unlink_slab(w, c, C_PARTIAL, slab);
    c[C_OUT]++;
    return start >> 3;
}
static void push_object(i32 *w, i32 *link, i32 *c, i64 granule)
{
    i64 slab = granule >> 9, start = granule << 3, use, out;
    i32 *e;
    if (w[slab * WORDS + USE] < 0) slab += w[slab * WORDS + USE];
    e = w + slab * WORDS;
    use = e[USE]; out = use >> 16;
    link[(start + c[C_LINK]) >> 2] = use & 0xFFFF;
    e[USE] = (out - 1) << 16 | ((start - (slab << 12) - e[PTE]) / c[C_SIZE] + 1);
    if (out == c[C_PER]) link_slab(w, c, C_PARTIAL, slab);
    if (out == 1) { unlink_slab(w, c, C_PARTIAL, slab); link_slab(w, c, C_EMPTY, slab); c[C_EMPTIES]++; }
    c[C_OUT]--;
}
static i64 take_object(i32 *w, i32 *z, i32 *link, i32 *c, i64 cpu)
{
    i32 *m = c + C_MAG + cpu * M_WORDS;
    i64 count = m[M_COUNT];
    if (!count) {
        lock(c + C_LOCK);
        while (count < m[M_TRANSFER]) {
            i64 granule = pop_object(w, z, link, c);
            if (!granule) break;
            m[M_ROUNDS + count++] = granule;
        }
        unlock(c + C_LOCK);
        m[M_COUNT] = count; m[M_FILLS]++;
        if (!count) return 0;
    }
    m[M_COUNT] = --count;
    return m[M_ROUNDS + count];
}
static void free_object(i32 *w, i32 *link, i32 *c, i64 cpu, i64 granule)
{
    i32 *m = c + C_MAG + cpu * M_WORDS;
    i64 count = m[M_COUNT];
    if (count == m[M_CAPACITY]) {
        i64 n = m[M_TRANSFER], left = count - n;
        lock(c + C_LOCK);
        for (i64 i = 0; i < n; i++) push_object(w, link, c, m[M_ROUNDS + i]);
        unlock(c + C_LOCK);
        for (i64 i = 0; i < left; i++) m[M_ROUNDS + i] = m[M_ROUNDS + n + i];
        count = left;
    }
    m[M_ROUNDS + count] = granule; m[M_COUNT] = count + 1;
}

i64 page_pairs(i32 *w, i32 *z, i32 *cpus, i64 count)
{
    i64 total = 0;
    for (i64 i = 0; i < count; i++) { i64 f = take_page(w, z, cpus, 0, 1); total += f; free_page(w, z, cpus, 0, f); }
    return total;
}
i64 page_batches(i32 *w, i32 *z, i32 *cpus, i32 *held, i64 slots, i64 rounds)
{
    i64 total = 0;
    for (i64 r = 0; r < rounds; r++) {
        for (i64 i = 0; i < slots; i++) total += held[i] = take_page(w, z, cpus, 0, 1);
        for (i64 i = 0; i < slots; i++) free_page(w, z, cpus, 0, held[i]);
    }
    return total;
}
i64 mixed(i32 *w, i32 *z, i32 *first, i32 *orders, i64 slots, i64 count, i64 seed)
{
    i64 total = 0, state = seed;
    for (i64 i = 0; i < count; i++) {
        i64 slot;
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF;
        slot = (state >> 12) % slots;
        if (first[slot]) { release(w, z, first[slot], 1LL << orders[slot]); first[slot] = 0; }
        else {
            i64 order = 0;
            while (order < 6 && (state >> order) & 1) order++;
            first[slot] = take_block(w, z, order); orders[slot] = order; total += first[slot];
        }
    }
    return total;
}
i64 object_pairs(i32 *w, i32 *z, i32 *link, i32 *c, i64 count)
{
    i64 total = 0;
    for (i64 i = 0; i < count; i++) { i64 g = take_object(w, z, link, c, 0); total += g; free_object(w, link, c, 0, g); }
    return total;
}
i64 object_batches(i32 *w, i32 *z, i32 *link, i32 *c, i32 *held, i64 slots, i64 rounds)
{
    i64 total = 0;
    for (i64 r = 0; r < rounds; r++) {
        for (i64 i = 0; i < slots; i++) total += held[i] = take_object(w, z, link, c, 0);
        for (i64 i = 0; i < slots; i++) free_object(w, link, c, 0, held[i]);
    }
    return total;
}
