// Watching: one or two policies on the same grid, what they believe about it, and a grid that can be edited.

import { Board } from "./board.js";
import { scaleOf, short } from "./colours.js";
import { isTyping, readSettings, say, writeSettings } from "./forms.js";

const $ = (id) => document.getElementById(id);
const NOTES = {
  none: () => "",
  v: (maps) => `value that it expects, γ ${maps.gamma}`,
  q: () => "Q of up, right, down and left in each cell",
  reward: () => "recovered reward of the greedy move; white is 0",
  optimum: (maps) => `exact: true reward, γ ${maps.gamma}, temperature ${maps.temperature}`,
  difference: () => "V minus exact V*; white is 0",
};
const SIGNED = new Set(["reward", "difference"]);

export class Watch {
  #link;
  #contenders = [];
  #grid = null;
  #runs = []; // one a board: {figure, board, canvas, chosen, maps, fresh, trouble, player, trail, moves, status}; maps are fresh
  // when they are of the grid and the policy as they are now
  #timer = 0;
  #busy = false;
  #stale = false;
  #cursor = 0;
  #paint = null;

  constructor(link) {
    this.#link = link;
    for (const input of document.querySelectorAll("[name=layer], #arrows, #numbers")) {
      input.addEventListener("change", () => this.#show());
    }
    $("compare").addEventListener("click", () => this.#compare());
    $("run").addEventListener("click", () => (this.#timer ? this.pause() : this.#play()));
    $("step").addEventListener("click", () => this.#advance());
    $("rewind").addEventListener("click", () => this.#rewind());
    $("another").addEventListener("click", () => this.#another());
    $("clear-walls").addEventListener("click", () => this.#edit({ walls: this.#grid?.walls.replaceAll("1", "0") }));
    $("speed").addEventListener("input", () => {
      $("speed-says").textContent = `${$("speed").value}/s`;
      if (this.#timer) this.#play();
    });
    for (const input of document.getElementsByName("acting")) input.addEventListener("change", () => this.#rewind());
    $("watch-settings").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#another();
    });
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  async begin(program) {
    this.#contenders = program.contenders;
    if (!this.#grid) {
      writeSettings($("watch-settings"), program.default);
      this.#runs = [this.#run(0)];
      if (program.contenders.length > 2) this.#runs.push(this.#run(1));
      this.#arrange();
      await this.#another();
    } else this.#ask();
  }

  pause() {
    clearInterval(this.#timer);
    this.#timer = 0;
    $("run").textContent = "Play";
  }

  // Boards

  #run(chosen) {
    const figure = $("watched").content.cloneNode(true).querySelector("figure");
    const canvas = figure.querySelector("canvas.board");
    const run = { figure, canvas, board: new Board(canvas), chosen, maps: null, player: 0, trail: [], status: null };
    const select = figure.querySelector("select");
    select.replaceChildren(...this.#contenders.map(({ label }, index) => new Option(label, index)));
    select.addEventListener("change", () => {
      run.chosen = Number(select.value);
      this.#arrange();
      this.#rewind();
      this.#ask();
    });
    canvas.addEventListener("pointerdown", (event) => this.#grasp(run, event));
    canvas.addEventListener("pointermove", (event) => this.#drag(run, event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (this.#paint = null));
    return run;
  }

  #arrange() {
    for (const run of this.#runs) {
      run.figure.querySelector("select").value = run.chosen;
      run.figure.querySelector(".note").textContent = this.#contenders[run.chosen].note;
    }
    $("boards").replaceChildren(...this.#runs.map(({ figure }) => figure));
    $("boards").classList.toggle("two", this.#runs.length === 2);
    $("compare").setAttribute("aria-pressed", this.#runs.length === 2);
    $("compare").hidden = this.#contenders.length < 2;
  }

  #compare() {
    if (this.#runs.length === 2) this.#runs.pop();
    else this.#runs.push(this.#run((this.#runs[0].chosen + 1) % this.#contenders.length));
    this.#arrange();
    this.#rewind();
    this.#ask();
  }

  // The grid

  async #another() {
    try {
      const grid = await this.#link.request("watch_grid", readSettings($("watch-settings")));
      say($("watch-trouble"));
      this.#cursor = 0;
      this.#edit(grid);
    } catch (error) {
      say($("watch-trouble"), `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`);
      $("watch-trouble").closest("details").open = true;
    }
  }

  #edit(changes) {
    if (!this.#grid && !changes.width) return;
    if (changes.width) for (const run of this.#runs) run.maps = null;
    this.#grid = { ...this.#grid, ...changes };
    this.#rewind();
    this.#ask();
  }

  // Asks for the maps of the grid as it is; while an answer is on its way, further changes are asked for once, together.
  async #ask() {
    for (const run of this.#runs) run.fresh = false;
    if (this.#busy) {
      this.#stale = true;
      return;
    }
    this.#busy = true;
    this.#stale = false;
    const [grid, runs] = [this.#grid, [...this.#runs]];
    const { height, width, walls, start, goal } = grid;
    try {
      const answer = await this.#link.request("watch_maps", {
        height, width, walls, start, goal, contenders: runs.map(({ chosen }) => chosen),
      });
      if (grid.width === this.#grid.width && grid.height === this.#grid.height) {
        runs.forEach((run, index) => {
          const maps = answer.maps[index];
          run.maps = maps.trouble ? null : maps;
          run.trouble = maps.trouble;
          run.fresh = !this.#stale && !maps.trouble;
        });
      }
      $("boards").dataset.asked = Number($("boards").dataset.asked ?? 0) + 1;
    } catch (error) {
      for (const run of runs) run.trouble = error.message;
    }
    this.#busy = false;
    this.#show();
    if (this.#stale) this.#ask();
  }

  #cellFree(cell) {
    return cell !== this.#grid.start && cell !== this.#grid.goal;
  }

  #setWall(cell, wall) {
    const { walls } = this.#grid;
    if (!this.#cellFree(cell) || walls[cell] === wall) return;
    this.#edit({ walls: walls.slice(0, cell) + wall + walls.slice(cell + 1) });
  }

  #put(what, cell) {
    if (this.#cellFree(cell) && this.#grid.walls[cell] !== "1") this.#edit({ [what]: cell });
  }

  #grasp(run, event) {
    const cell = run.board.cellAt(event);
    if (cell === null || event.button > 0) return;
    event.preventDefault();
    run.canvas.focus({ preventScroll: true });
    run.canvas.setPointerCapture(event.pointerId);
    this.#cursor = cell;
    const { start, goal, walls } = this.#grid;
    if (cell === run.player && cell !== start && cell !== goal) this.#put("start", cell);
    if (cell === this.#grid.goal) this.#paint = { move: "goal" };
    else if (cell === this.#grid.start) this.#paint = { move: "start" };
    else {
      this.#paint = { wall: walls[cell] === "1" ? "0" : "1" };
      this.#setWall(cell, this.#paint.wall);
    }
    this.#show();
  }

  #drag(run, event) {
    const cell = run.board.cellAt(event);
    run.canvas.style.cursor = this.#paint?.move ? "grabbing" : cell !== null && !this.#cellFree(cell) ? "grab" : "cell";
    if (!this.#paint || cell === null || cell === this.#cursor) return;
    this.#cursor = cell;
    if (this.#paint.move) this.#put(this.#paint.move, cell);
    else this.#setWall(cell, this.#paint.wall);
  }

  #key(event) {
    if ($("watch").hidden || isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === "." ) return this.#advance();
    if (key === "n") return this.#another();
    if (!event.target.matches("canvas.board")) return;
    const { height, width, walls } = this.#grid;
    const [row, column] = [Math.floor(this.#cursor / width), this.#cursor % width];
    const actions = {
      ArrowUp: () => (this.#cursor -= row > 0 ? width : 0),
      ArrowDown: () => (this.#cursor += row < height - 1 ? width : 0),
      ArrowLeft: () => (this.#cursor -= column > 0 ? 1 : 0),
      ArrowRight: () => (this.#cursor += column < width - 1 ? 1 : 0),
      " ": () => this.#setWall(this.#cursor, walls[this.#cursor] === "1" ? "0" : "1"),
      p: () => this.#put("start", this.#cursor),
      g: () => this.#put("goal", this.#cursor),
      Enter: () => $("run").click(),
    };
    if (!(key in actions)) return;
    event.preventDefault();
    actions[key]();
    this.#show();
  }

  // Playing

  #rewind() {
    for (const run of this.#runs) {
      Object.assign(run, { player: this.#grid.start, trail: [this.#grid.start], moves: 0, status: null });
    }
    this.#show();
  }

  #play() {
    this.pause();
    if (this.#runs.every(({ status }) => status)) this.#rewind();
    $("run").textContent = "Pause";
    this.#timer = setInterval(() => this.#advance(true), 1000 / Number($("speed").value));
  }

  #advance(playing = false) {
    if (!playing) {
      this.pause();
      if (this.#runs.every(({ status }) => status)) return this.#rewind();
    }
    const drawn = document.querySelector("[name=acting]:checked").value === "drawn";
    for (const run of this.#runs) if (!run.status && run.fresh) this.#move(run, drawn);
    this.#show(true);
    if (this.#runs.every(({ status, trouble }) => status || trouble)) this.pause();
  }

  #move(run, drawn) {
    const { height, width, walls, goal } = this.#grid;
    const action = drawn ? draw(run.maps, run.player) : run.maps.greedy[run.player];
    if (action < 0) {
      run.status = "cut";
      return;
    }
    const [row, column] = [Math.floor(run.player / width), run.player % width];
    const [down, across] = [[-1, 0], [0, 1], [1, 0], [0, -1]][action];
    const to = (row + down) * width + column + across;
    const inside = row + down >= 0 && row + down < height && column + across >= 0 && column + across < width;
    if (inside && walls[to] !== "1") run.player = to;
    else run.board.bump(action);
    run.moves += 1;
    // on a grid that never changes, a greedy player that has been here before walks in circles
    if (!drawn && run.trail.includes(run.player)) run.status = "loop";
    run.trail.push(run.player);
    if (run.player === goal) run.status = "goal";
    else if (run.moves >= height * width) run.status ??= "limit";
  }

  // Showing

  #show(glide = false) {
    if (!this.#grid) return;
    const layer = document.querySelector("[name=layer]:checked").value;
    for (const run of this.#runs) {
      const { maps } = run;
      const scale = maps && layer !== "none" ? scaleOf(maps[layer], SIGNED.has(layer)) : null;
      const view = { ...this.#grid, player: run.player, trail: run.trail, maps, scale, layer, cursor: this.#cursor };
      run.board.show({ ...view, arrows: $("arrows").checked, numbers: $("numbers").checked }, { glide });
      this.#legend(run, layer, scale);
      const says = run.trouble ? capital(run.trouble) : status(run);
      const place = run.figure.querySelector(".says");
      if (place.textContent !== says) place.textContent = says;
      place.dataset.status = run.trouble ? "loop" : (run.status ?? "");
      run.canvas.setAttribute("aria-label", this.#describe(run, layer));
    }
  }

  #legend({ figure, maps, board }, layer, scale) {
    figure.querySelector(".legend").classList.toggle("blank", !scale);
    figure.querySelector(".legend-note").textContent = maps ? this.#notes(maps, layer, board) || " " : " ";
    if (!scale) return;
    scale.draw(figure.querySelector(".legend canvas"));
    figure.querySelector(".low").textContent = short(scale.low, scale);
    figure.querySelector(".high").textContent = short(scale.high, scale);
  }

  // What the colours stand for, and what is unusual on this grid.
  #notes(maps, layer, board) {
    const { walls, goal } = this.#grid;
    const free = Array.from(walls, (_, cell) => cell).filter((cell) => walls[cell] === "0" && cell !== goal);
    const notes = [NOTES[layer](maps)];
    if ($("arrows").checked && free.some((cell) => maps.optimum[cell] !== null && !maps.on_path[cell])) {
      notes.push("red moves are no shortest way");
    }
    if (layer !== "none" && free.some((cell) => maps.optimum[cell] === null)) notes.push("grey does not lead to the goal");
    if ($("numbers").checked && layer !== "none" && !board.hasRoomFor(layer, this.#grid.width)) {
      notes.push("numbers need larger cells");
    }
    return notes.filter(Boolean).join("; ");
  }

  #describe({ player, maps }, layer) {
    const { width, walls, goal } = this.#grid;
    const at = (cell) => `row ${Math.floor(cell / width) + 1}, column ${(cell % width) + 1}`;
    const here = this.#cursor;
    const what = walls[here] === "1" ? "wall" : here === goal ? "goal" : here === player ? "player" : "free";
    const value = maps && layer !== "none" && layer !== "q" ? maps[layer][here] : null;
    const move = ["up", "right", "down", "left"][maps?.greedy[here] ?? -1];
    return `Cursor at ${at(here)}: ${what}${value === null ? "" : `, ${value}`}${move ? `, greedy move ${move}` : ""}.`;
  }
}

function draw(maps, cell) {
  const q = maps.q.slice(4 * cell, 4 * cell + 4);
  if (q[0] === null) return -1;
  const highest = Math.max(...q);
  const weights = q.map((value) => Math.exp((value - highest) / (maps.temperature || 0.01)));
  let left = Math.random() * weights.reduce((sum, weight) => sum + weight);
  return Math.max(0, weights.findIndex((weight) => (left -= weight) < 0));
}

function status({ status: ended, moves, maps }) {
  if (!maps) return "…";
  const made = `${moves} ${moves === 1 ? "move" : "moves"}`;
  if (ended === "goal") return `Goal in ${made}.`;
  if (ended === "loop") return `Failed: walks in circles after ${made}.`;
  if (ended === "limit") return `Failed: no goal in ${made}.`;
  if (ended === "cut") return "The goal cannot be reached from here.";
  return moves ? made : "At the start.";
}

function capital(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}
