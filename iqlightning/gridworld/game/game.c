/* One step of a batch of GridWorlds, and the draw of new grids: what state.py and layouts.py do with tensors, one grid
 * after the other. Every number is the same: the hash is that of keyed.py, the order of the draws that of layouts.py.
 */
#include <stdint.h>
#include <string.h>

/* WALLS_AT_MOST, LAYOUT, SPLIT, GOAL_KEY, START_KEY and WALL_KEY are given by compiled.py: they are layouts.py's. */
#define ATTEMPTS_AT_MOST (1 << 16)

typedef struct {
    int64_t height, width, walls, random_start, random_goal;
    int64_t shares;              /* bit s: share s of the eight is wanted */
    int64_t row_bits;            /* of the integer that layouts.py keeps a row in */
    const int64_t *share_of_cell; /* (cells,) */
    const int64_t *factors;      /* (height,) of the hash of the walls */
    int64_t patience;            /* unsolvable grids after which the caller draws */
} Rules;

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

static uint64_t with_key(uint64_t state, uint64_t key) { return mix((state ^ key) + 0x9E3779B97F4A7C15u); }

/* A number of an attempt, whose key is already in `state`. */
static int64_t integer(uint64_t state, uint64_t key, int64_t bound) {
    return (int64_t)((double)(with_key(state, key) >> 11) * 0x1p-53 * (double)bound);
}

/* The free cells of a row that are connected, within it, with the seed. */
static uint64_t fill_row(uint64_t seed, uint64_t open) {
    uint64_t up = seed | (open & ~(open + seed)); /* a carry runs from the seed to the end of its stretch */
    for (int shift = 1; shift < 64; shift *= 2) {
        seed |= open & (seed >> shift);
        open &= open >> shift;
        if (!open) break;
    }
    return up | seed;
}

/* Cells connected with the seed: sweeps down and up until nothing is left to reach, or nothing changes. */
static void flood(const uint64_t *open, uint64_t *reached, int64_t height) {
    for (int changed = 1; changed;) {
        uint64_t missing = 0;
        changed = 0;
        for (int64_t sweep = 0; sweep < 2 * height; sweep++) {
            int64_t row = sweep < height ? sweep : 2 * height - 1 - sweep;
            uint64_t grown = reached[row], before = grown;
            if (row > 0) grown |= reached[row - 1];
            if (row < height - 1) grown |= reached[row + 1];
            grown &= open[row];
            if (grown) grown = fill_row(grown, open[row]);
            reached[row] = grown;
            changed |= grown != before;
            if (sweep >= height) missing |= open[row] & ~grown;
        }
        if (!missing) return;
    }
}

static int64_t share(const Rules *rules, const uint64_t *walls, int64_t cell) {
    uint64_t sum = 0;
    int shift = (int)(64 - rules->row_bits);
    for (int64_t row = 0; row < rules->height; row++) {
        int64_t as_signed = (int64_t)(walls[row] << shift) >> shift; /* rows are signed there */
        sum += (uint64_t)as_signed * (uint64_t)rules->factors[row];
    }
    return (int64_t)((with_key(with_key(0, SPLIT), sum) + (uint64_t)rules->share_of_cell[cell]) & 7);
}

/* The grid of an episode; 0 if it is left to the caller. */
static int draw(const Rules *rules, uint64_t seed, uint64_t episode, int64_t *walls, int64_t *start, int64_t *goal) {
    int64_t height = rules->height, width = rules->width, cells = height * width, corner = !rules->random_start;
    uint64_t episode_key = with_key(with_key(with_key(0, LAYOUT), seed), episode);
    uint64_t all = width == 64 ? ~(uint64_t)0 : ((uint64_t)1 << width) - 1;
    uint64_t blocked[64], open[64], reached[64];
    int64_t failures = 0;
    for (uint64_t attempt = 0; failures < rules->patience && attempt < ATTEMPTS_AT_MOST; attempt++) {
        uint64_t base = with_key(0, with_key(episode_key, attempt));
        *goal = cells - 1;
        if (rules->random_goal)
            *goal = rules->random_start ? integer(base, GOAL_KEY, cells) : 1 + integer(base, GOAL_KEY, cells - 1);
        int64_t options = cells - 1 - corner;
        for (int64_t j = 0; j < rules->walls; j++) {
            int64_t newest = options - rules->walls + j;
            int64_t drawn = integer(base, (uint64_t)(WALL_KEY + j), newest + 1);
            for (int64_t k = 0; k < j; k++)
                if (walls[k] == drawn) {
                    drawn = newest;
                    break;
                }
            walls[j] = drawn;
        }
        memset(blocked, 0, sizeof(uint64_t) * (size_t)height);
        for (int64_t j = 0; j < rules->walls; j++) {
            walls[j] += corner;
            walls[j] += walls[j] >= *goal;
            blocked[walls[j] / width] |= (uint64_t)1 << (walls[j] % width);
        }
        if (rules->shares != 0xFF && !(rules->shares >> share(rules, blocked, *goal) & 1)) continue;
        for (int64_t row = 0; row < height; row++) {
            open[row] = all & ~blocked[row];
            reached[row] = 0;
        }
        uint64_t goal_bit = (uint64_t)1 << (*goal % width);
        reached[*goal / width] = goal_bit;
        flood(open, reached, height);
        if (corner) {
            *start = 0;
            if (reached[0] & 1) return 1;
        } else {
            reached[*goal / width] &= ~goal_bit;
            int64_t count = 0;
            for (int64_t row = 0; row < height; row++) count += __builtin_popcountll(reached[row]);
            if (count) {
                int64_t chosen = integer(base, START_KEY, count), row = 0, in_row;
                while (chosen >= (in_row = __builtin_popcountll(reached[row]))) {
                    chosen -= in_row;
                    row++;
                }
                uint64_t bits = reached[row];
                while (chosen--) bits &= bits - 1;
                *start = row * width + __builtin_ctzll(bits);
                return 1;
            }
        }
        failures++;
    }
    return 0;
}

typedef struct {
    int64_t count, limit;
    float goal_reward, move_reward;
    const int64_t *edges;     /* (cells, 4) where a move leads if no wall is there */
    uint8_t *planes;          /* (count, 3, cells) the observations */
    uint8_t *successors;      /* the same as they were before new episodes began */
    uint8_t *stale;           /* (count,) where the successors are of an earlier grid */
    const int64_t *seeds;     /* (count,) and so are all below */
    int64_t *episodes, *player, *start, *goal, *moves, *shortest, *ended;
} Batch;

/* Begins the next episodes of some environments; returns how many are left to the caller, moved to the front. */
int64_t restart(const Rules *rules, const Batch *batch, int64_t count, int64_t *envs) {
    int64_t cells = rules->height * rules->width, walls[WALLS_AT_MOST], left = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t env = envs[i], start, goal;
        if (!draw(rules, (uint64_t)batch->seeds[env], (uint64_t)batch->episodes[env], walls, &start, &goal)) {
            envs[left++] = env;
            continue;
        }
        uint8_t *grid = batch->planes + env * 3 * cells;
        memset(grid, 0, (size_t)(3 * cells));
        for (int64_t j = 0; j < rules->walls; j++) grid[walls[j]] = 1;
        grid[cells + start] = 1;
        grid[2 * cells + goal] = 1;
        batch->player[env] = batch->start[env] = start;
        batch->goal[env] = goal;
        batch->moves[env] = 0;
        batch->shortest[env] = -1;
        batch->stale[env] = 1;
        batch->episodes[env]++;
    }
    return left;
}

/* One move in each grid. Returns how many episodes ended, which are written to batch->ended; or -1, with nothing done,
 * if an action is not 0 to 3. `flags` are terminated and then truncated, (2, count). */
int64_t move(const Rules *rules, const Batch *batch, const int64_t *restrict actions, float *restrict rewards,
             uint8_t *restrict flags) {
    int64_t count = batch->count, cells = rules->height * rules->width, limit = batch->limit, ends = 0;
    const int64_t *restrict edges = batch->edges, *restrict goal = batch->goal;
    uint8_t *restrict planes = batch->planes, *restrict successors = batch->successors, *restrict stale = batch->stale;
    int64_t *restrict player = batch->player, *restrict moves = batch->moves, *restrict ended = batch->ended;
    float goal_reward = batch->goal_reward, move_reward = batch->move_reward;
    uint64_t all = 0;
    for (int64_t i = 0; i < count; i++) all |= (uint64_t)actions[i];
    if (all > 3) return -1;
    for (int64_t i = 0; i < count; i++)
        if (stale[i]) {
            memcpy(successors + i * 3 * cells, planes + i * 3 * cells, (size_t)(3 * cells));
            stale[i] = 0;
        }
    for (int64_t i = 0; i < count; i++) {
        uint8_t *grid = planes + i * 3 * cells, *kept = successors + i * 3 * cells;
        int64_t from = player[i], ahead = edges[4 * from + actions[i]];
        int64_t to = grid[ahead] ? from : ahead;
        grid[cells + from] = kept[cells + from] = 0;
        grid[cells + to] = kept[cells + to] = 1;
        player[i] = to;
    }
    for (int64_t i = 0; i < count; i++) {
        moves[i]++;
        uint8_t arrived = player[i] == goal[i], late = !arrived & (moves[i] >= limit);
        rewards[i] = arrived ? goal_reward : move_reward;
        flags[i] = arrived;
        flags[count + i] = late;
    }
    for (int64_t i = 0; i < count; i++) {
        ended[ends] = i;
        ends += flags[i] | flags[count + i];
    }
    return ends;
}

/* A move, and new episodes where that ended one; returns how many of these are left to the caller, as `restart` does. */
int64_t step(const Rules *rules, const Batch *batch, const int64_t *actions, float *rewards, uint8_t *flags) {
    int64_t ends = move(rules, batch, actions, rewards, flags);
    return ends > 0 ? restart(rules, batch, ends, batch->ended) : ends;
}
