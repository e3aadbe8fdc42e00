// A policy's walk over a grid, by the maps of what it believes.

import { STEPS } from "./definitions.js";

// Where a move leads; into a wall or over the edge it leads nowhere.
export function after({ height, width, walls }, cell, action) {
  const [right, down] = STEPS[action];
  const [x, y] = [(cell % width) + right, Math.floor(cell / width) + down];
  const inside = x >= 0 && x < width && y >= 0 && y < height;
  return inside && walls[y * width + x] !== "1" ? y * width + x : cell;
}

// The start of a walk.
export function atStart({ start }) {
  return { player: start, trail: [start], moves: 0, status: null };
}

// Makes the greedy move, or one drawn from softmax(Q / temperature); returns the action if it led nowhere, else null.
export function advance(walk, grid, maps, drawn) {
  const action = drawn ? draw(maps, walk.player) : maps.greedy[walk.player];
  if (action < 0) {
    walk.status = "cut";
    return null;
  }
  const to = after(grid, walk.player, action);
  const bumped = to === walk.player;
  walk.player = to;
  walk.moves += 1;
  // on a grid that never changes, a greedy player that has been here before walks in circles
  if (!drawn && walk.trail.includes(to)) walk.status = "loop";
  walk.trail.push(to);
  if (to === grid.goal) walk.status = "goal";
  else if (walk.moves >= grid.height * grid.width) walk.status ??= "limit";
  return bumped ? action : null;
}

// How far it has come, in a sentence.
export function progress({ status, moves }) {
  const made = `${moves} ${moves === 1 ? "move" : "moves"}`;
  if (status === "goal") return `Goal in ${made}.`;
  if (status === "loop") return `Failed: walks in circles after ${made}.`;
  if (status === "limit") return `Failed: no goal in ${made}.`;
  if (status === "cut") return "The goal cannot be reached from here.";
  return moves ? `${made} so far.` : "The player is at the start: press Run.";
}

function draw(maps, cell) {
  const q = maps.q.slice(4 * cell, 4 * cell + 4);
  if (q[0] === null) return -1;
  const highest = Math.max(...q);
  const weights = q.map((value) => Math.exp((value - highest) / (maps.temperature || 0.01)));
  let left = Math.random() * weights.reduce((sum, weight) => sum + weight);
  return Math.max(0, weights.findIndex((weight) => (left -= weight) < 0));
}
