// One grid solved exactly, for a page without a server: moves to the goal, and the soft-optimal values of the true reward.

import { GOAL_REWARD, MOVE_REWARD, STEPS } from "./definitions.js";
import { after } from "./walk.js";

const TOLERANCE = 1e-10;
const MOVES = STEPS.map((_, action) => action);

// Moves to the goal from each cell; -1 on walls and where no way leads to it.
export function distances(grid) {
  const found = Array.from(grid.walls, () => -1);
  found[grid.goal] = 0;
  const queue = [grid.goal];
  for (const cell of queue) {
    for (const next of MOVES.map((action) => after(grid, cell, action))) {
      if (found[next] >= 0) continue;
      found[next] = found[cell] + 1;
      queue.push(next);
    }
  }
  return found;
}

// Q* and V* of cells from which a way leads to the goal, null elsewhere and at the goal; temperature 0 is the maximum.
export function optimalValues(grid, gamma, temperature) {
  const away = distances(grid);
  const cells = away.map((_, cell) => cell).filter((cell) => away[cell] > 0);
  const to = away.map((_, cell) => (away[cell] > 0 ? MOVES.map((action) => after(grid, cell, action)) : null));
  const v = away.map(() => 0);
  const q = (cell) => to[cell].map((next) => (next === grid.goal ? GOAL_REWARD : MOVE_REWARD + gamma * v[next]));
  for (let change = Infinity; change > (TOLERANCE * (1 - gamma)) / (gamma || 1); ) {
    change = 0;
    for (const cell of cells) {
      const better = softMaximum(q(cell), temperature);
      change = Math.max(change, Math.abs(better - v[cell]));
      v[cell] = better;
    }
  }
  return {
    q: away.flatMap((_, cell) => (to[cell] ? q(cell) : [null, null, null, null])),
    v: v.map((value, cell) => (to[cell] ? value : null)),
  };
}

// temperature log sum exp(q / temperature), or the maximum.
export function softMaximum(q, temperature) {
  const highest = Math.max(...q);
  if (temperature === 0) return highest;
  return highest + temperature * Math.log(q.reduce((sum, each) => sum + Math.exp((each - highest) / temperature), 0));
}
