// The connection of a page without a server: it answers itself, with the networks and grids that it was written with.

import { actionValues } from "./networks.js";
import { distances, optimalValues, softMaximum } from "./planning.js";
import { PROGRAM } from "./program.js";
import { after } from "./walk.js";

const DIGITS = 4;

export class Link {
  open = true;
  #drawn = { play: 0, watch: 0 };
  #game = null;
  #networks = new Map();

  constructor({ opened }) {
    queueMicrotask(opened);
  }

  async request(type, fields = {}) {
    const answers = { hello: this.#hello, new_game: this.#newGame, move: this.#move, watch_grid: this.#watchGrid, watch_maps: this.#watchMaps };
    return { type, ...answers[type].call(this, fields) };
  }

  #hello() {
    return { ...PROGRAM, exported: true, recordings: [], troubles: [] };
  }

  #next(room) {
    return PROGRAM.grids[this.#drawn[room]++ % PROGRAM.grids.length];
  }

  #newGame() {
    const grid = this.#next("play");
    this.#game = { grid, player: grid.start, moves: 0, finished: null };
    const shortest = distances(grid)[grid.start];
    return { ...grid, settings: PROGRAM.default, limit: PROGRAM.limit, shortest, recording: null };
  }

  #move({ action }) {
    const game = this.#game;
    const before = game.player;
    if (!game.finished) {
      game.player = after(game.grid, before, action);
      game.moves += 1;
      game.finished = game.player === game.grid.goal ? "goal" : game.moves >= PROGRAM.limit ? "limit" : null;
    }
    return { player: game.player, moves: game.moves, finished: game.finished, bumped: game.player === before, recording: null };
  }

  #watchGrid() {
    return this.#next("watch");
  }

  #watchMaps({ contenders, ...grid }) {
    return { maps: contenders.map(([chosen, checkpoint]) => this.#maps(grid, chosen, checkpoint)) };
  }

  #maps(grid, chosen, checkpoint) {
    const contender = PROGRAM.contenders[chosen];
    const network = contender.networks[checkpoint];
    try {
      return { ...mapsOf(grid, network && this.#decoded(network), network ?? contender), true_units: contender.true_units };
    } catch (error) {
      return { trouble: error.message };
    }
  }

  #decoded(network) {
    if (!this.#networks.has(network)) {
      const tensors = Object.entries(network.tensors).map(([name, text]) => [name, numbers(text)]);
      this.#networks.set(network, { ...network, tensors: Object.fromEntries(tensors) });
    }
    return this.#networks.get(network);
  }
}

// What the package's value maps hold, by flat cell; without a network, of the exact optimum.
export function mapsOf(grid, network, { gamma, temperature }) {
  const { walls, goal } = grid;
  const [exact, away] = [optimalValues(grid, gamma, temperature), distances(grid)];
  const q = network ? actionValues(network, grid) : exact.q;
  const of = (cell) => q.slice(4 * cell, 4 * cell + 4);
  const decided = Array.from(walls, (wall, cell) => wall !== "1" && cell !== goal && q[4 * cell] !== null);
  const v = decided.map((here, cell) => (here ? softMaximum(of(cell), temperature) : null));
  const greedy = decided.map((here, cell) => (here ? of(cell).indexOf(Math.max(...of(cell))) : -1));
  const to = greedy.map((action, cell) => (action < 0 ? cell : after(grid, cell, action)));
  const reward = greedy.map((action, cell) =>
    action < 0 ? null : q[4 * cell + action] - (to[cell] === goal ? 0 : gamma * v[to[cell]]),
  );
  const rounded = (values) => values.map((value) => (value === null ? null : Number(value.toPrecision(DIGITS))));
  return {
    v: rounded(v),
    q: rounded(q.map((value, index) => (decided[Math.floor(index / 4)] ? value : null))),
    greedy,
    on_path: greedy.map((action, cell) => Number(action >= 0 && away[cell] > 0 && away[to[cell]] === away[cell] - 1)),
    reward: rounded(reward),
    optimum: rounded(exact.v),
    difference: rounded(v.map((value, cell) => (value === null || exact.v[cell] === null ? null : value - exact.v[cell]))),
    gamma,
    temperature,
  };
}

// Little-endian single precision in base64.
function numbers(text) {
  return new Float32Array(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}
