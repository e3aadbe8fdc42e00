// Draws one grid: floor, walls, goal, player, the way walked, and what a policy believes about each cell.

import { short } from "./colours.js";
import { CELLS, DARK_CELLS, INK, STEPS } from "./definitions.js";

const TWEEN = 85; // milliseconds of a move
const NUMBERS = { cell: 28, move: 44 }; // smallest sides of a cell that hold one number, or four
const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)");

export class Board {
  #canvas;
  #pen;
  #view = null;
  #shown = null; // where the player is drawn, between two cells while it moves
  #bump = null;
  #frame = 0;
  #side = 1;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#pen = canvas.getContext("2d");
    new ResizeObserver(() => this.#draw()).observe(canvas);
    dark.addEventListener("change", () => this.#draw());
    for (const event of ["focus", "blur"]) canvas.addEventListener(event, () => this.#draw());
  }

  // {height, width, walls, goal, player, trail, start?, maps?, values?, scale?, layer?, arrows?, numbers?, cursor?}
  // values: of each cell, or of each move (layer q)
  show(view, { glide = false } = {}) {
    const before = this.#view;
    const same = before && before.width === view.width && before.height === view.height;
    this.#view = view;
    const to = this.#place(view.player);
    if (!same) {
      this.#canvas.style.aspectRatio = `${view.width} / ${view.height}`;
      this.#canvas.style.setProperty("--shape", view.width / view.height);
    }
    if (glide && same && this.#shown && !still.matches) this.#glide(this.#shown, to);
    else {
      this.#shown = to;
      this.#later();
    }
  }

  // Whether the cells are large enough for the numbers of a layer.
  hasRoomFor(layer, width) {
    return this.#canvas.clientWidth / width >= (layer === "q" ? NUMBERS.move : NUMBERS.cell);
  }

  // The player knocks against a wall.
  bump(action) {
    if (still.matches) return;
    this.#bump = { action, since: performance.now() };
    this.#later();
  }

  cellAt(event) {
    const box = this.#canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * this.#view.width);
    const row = Math.floor(((event.clientY - box.top) / box.height) * this.#view.height);
    if (row < 0 || column < 0 || row >= this.#view.height || column >= this.#view.width) return null;
    return row * this.#view.width + column;
  }

  #place(cell) {
    return [cell % this.#view.width, Math.floor(cell / this.#view.width)];
  }

  #glide(from, to) {
    const since = performance.now();
    const advance = (now) => {
      const share = Math.min(1, Math.max(0, (now - since) / TWEEN));
      this.#shown = from.map((start, axis) => start + (to[axis] - start) * share);
      this.#draw();
      if (share < 1) this.#frame = requestAnimationFrame(advance);
    };
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(advance);
  }

  #later() {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#draw());
  }

  #draw() {
    const view = this.#view;
    const wide = this.#canvas.clientWidth;
    if (!view || !wide) return;
    const ratio = devicePixelRatio || 1;
    const [columns, rows] = [Math.round(wide * ratio), Math.round((wide * ratio * view.height) / view.width)];
    if (this.#canvas.width !== columns || this.#canvas.height !== rows) {
      this.#canvas.width = columns;
      this.#canvas.height = rows;
    }
    const pen = this.#pen;
    const side = wide / view.width;
    this.#side = side;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const colours = dark.matches ? DARK_CELLS : CELLS;
    pen.fillStyle = colours.floor;
    pen.fillRect(0, 0, wide, side * view.height);
    this.#cells(colours);
    if (side >= 8) this.#lines(colours);
    this.#goal(colours);
    if (view.arrows && view.maps) this.#arrows();
    this.#trail(colours);
    if (view.numbers && view.maps) this.#numbers();
    this.#player(colours);
    if (view.cursor != null && document.activeElement === this.#canvas) this.#cursor();
  }

  #cells(colours) {
    const { walls, goal, maps, layer } = this.#view;
    const scale = this.#view.scale;
    const values = scale ? this.#view.values : null;
    for (let cell = 0; cell < walls.length; cell += 1) {
      if (walls[cell] === "1") this.#fill(cell, colours.wall, 0.35);
      else if (!values || cell === goal) continue;
      else if (maps.optimum[cell] === null) this.#fill(cell, colours.cut, 0);
      else if (layer === "q") this.#triangles(cell, values, scale);
      else if (values[cell] !== null) this.#fill(cell, scale.colour(values[cell]).fill, 0.35);
    }
  }

  #fill(cell, colour, overlap) {
    const [x, y] = this.#place(cell);
    const side = this.#side;
    this.#pen.fillStyle = colour;
    // a hair too large, so that no floor shines through between two cells
    this.#pen.fillRect(x * side, y * side, side + overlap, side + overlap);
  }

  // The part of a cell that stands for a move, drawn in a little from its edge.
  #triangle(cell, action, inset = 0) {
    const [x, y] = this.#place(cell);
    const [pen, side] = [this.#pen, this.#side];
    const middle = [(x + 0.5) * side, (y + 0.5) * side];
    const corner = (index) => {
      const [across, down] = [[-1, -1], [1, -1], [1, 1], [-1, 1]][index % 4];
      return [middle[0] + across * (side / 2 - inset), middle[1] + down * (side / 2 - inset)];
    };
    pen.beginPath();
    pen.moveTo(...corner(action));
    pen.lineTo(...corner(action + 1));
    pen.lineTo(...middle);
    pen.closePath();
  }

  #triangles(cell, q, scale) {
    const [pen, side] = [this.#pen, this.#side];
    for (let action = 0; action < 4; action += 1) {
      const value = q[4 * cell + action];
      if (value === null) continue;
      const colour = scale.colour(value).fill;
      this.#triangle(cell, action);
      pen.fillStyle = colour;
      pen.fill();
      if (side >= 14) {
        pen.strokeStyle = "rgb(255 255 255 / .35)";
        pen.lineWidth = 0.5;
        pen.stroke();
      }
    }
  }

  #lines(colours) {
    const { height, width } = this.#view;
    const [pen, side] = [this.#pen, this.#side];
    pen.strokeStyle = colours.line;
    pen.globalAlpha = this.#view.scale ? 0.45 : 1;
    pen.lineWidth = 1;
    pen.beginPath();
    for (let x = 1; x < width; x += 1) {
      pen.moveTo(Math.round(x * side) + 0.5, 0);
      pen.lineTo(Math.round(x * side) + 0.5, height * side);
    }
    for (let y = 1; y < height; y += 1) {
      pen.moveTo(0, Math.round(y * side) + 0.5);
      pen.lineTo(width * side, Math.round(y * side) + 0.5);
    }
    pen.stroke();
    pen.globalAlpha = 1;
  }

  #goal(colours) {
    const [x, y] = this.#place(this.#view.goal);
    const [pen, side] = [this.#pen, this.#side];
    this.#fill(this.#view.goal, colours.floor, 0);
    pen.fillStyle = colours.goal;
    pen.beginPath();
    pen.roundRect((x + 0.12) * side, (y + 0.12) * side, 0.76 * side, 0.76 * side, side * 0.14);
    pen.fill();
    // yellow on a light floor is hard to see: its edge is what tells them apart
    pen.strokeStyle = colours.edge;
    pen.lineWidth = Math.max(1, side * 0.045);
    pen.stroke();
  }

  #trail(colours) {
    const trail = this.#view.trail ?? [];
    if (trail.length < 2) return;
    const [pen, side] = [this.#pen, this.#side];
    pen.beginPath();
    trail.forEach((cell, index) => {
      const [x, y] = this.#place(cell);
      pen[index ? "lineTo" : "moveTo"]((x + 0.5) * side, (y + 0.5) * side);
    });
    pen.lineJoin = pen.lineCap = "round";
    if (this.#view.scale) {
      pen.strokeStyle = "rgb(255 255 255 / .75)";
      pen.lineWidth = Math.max(3, side * 0.16);
      pen.stroke();
    }
    pen.strokeStyle = colours.player;
    pen.globalAlpha = this.#view.scale ? 0.9 : 0.3;
    pen.lineWidth = Math.max(1.5, side * 0.08);
    pen.stroke();
    pen.globalAlpha = 1;
    const [x, y] = this.#place(trail[0]);
    pen.beginPath();
    pen.arc((x + 0.5) * side, (y + 0.5) * side, Math.max(2, side * 0.1), 0, 7);
    pen.fillStyle = colours.player;
    pen.fill();
  }

  #player(colours) {
    const [pen, side] = [this.#pen, this.#side];
    let [x, y] = this.#shown;
    if (this.#bump) {
      const share = (performance.now() - this.#bump.since) / (2 * TWEEN);
      if (share < 1) {
        const reach = 0.14 * Math.sin(Math.PI * share);
        x += STEPS[this.#bump.action][0] * reach;
        y += STEPS[this.#bump.action][1] * reach;
        this.#later();
      } else this.#bump = null;
    }
    pen.beginPath();
    pen.arc((x + 0.5) * side, (y + 0.5) * side, 0.3 * side, 0, 7);
    pen.fillStyle = colours.player;
    pen.fill();
    pen.lineWidth = Math.max(1, side * 0.045);
    pen.strokeStyle = this.#view.scale ? "#ffffff" : "rgb(90 0 0 / .45)";
    pen.stroke();
  }

  #inkOn(cell, action = null) {
    const { maps, layer, scale, values } = this.#view;
    if (!scale) return INK;
    const value = layer === "q" ? values[4 * cell + (action ?? Math.max(0, maps.greedy[cell]))] : values[cell];
    return value === null || value === undefined ? INK : scale.colour(value).ink;
  }

  #arrows() {
    const { maps, walls, goal, numbers, layer } = this.#view;
    const [pen, side] = [this.#pen, this.#side];
    if (side < 5) return;
    // numbers need room: one is below the arrow; four leave none, and the greedy one is framed instead
    const raised = numbers && layer !== "q" && side >= NUMBERS.cell ? 0.14 : 0;
    const framed = numbers && layer === "q" && side >= NUMBERS.move;
    for (let cell = 0; cell < walls.length; cell += 1) {
      const action = maps.greedy[cell];
      if (walls[cell] === "1" || cell === goal || action < 0 || maps.optimum[cell] === null) continue;
      const [dx, dy] = STEPS[action];
      const [column, row] = this.#place(cell);
      const [x, y] = [(column + 0.5) * side, (row + 0.5 - raised) * side];
      const detour = !maps.on_path[cell];
      if (framed) {
        this.#frameMove(cell, action, detour);
        continue;
      }
      const reach = side * (raised ? 0.2 : 0.25);
      const barb = side * 0.13;
      pen.beginPath();
      pen.moveTo(x - dx * reach, y - dy * reach);
      pen.lineTo(x + dx * reach, y + dy * reach);
      pen.moveTo(x + dx * (reach - barb) - dy * barb, y + dy * (reach - barb) - dx * barb);
      pen.lineTo(x + dx * reach, y + dy * reach);
      pen.lineTo(x + dx * (reach - barb) + dy * barb, y + dy * (reach - barb) + dx * barb);
      pen.lineCap = pen.lineJoin = "round";
      if (detour) {
        pen.strokeStyle = "#ffffff";
        pen.lineWidth = Math.max(2.4, side * 0.13);
        pen.stroke();
      }
      pen.strokeStyle = detour ? CELLS.player : this.#inkOn(cell);
      pen.globalAlpha = detour ? 1 : 0.85;
      pen.lineWidth = Math.max(1, side * 0.055);
      pen.stroke();
      pen.globalAlpha = 1;
    }
  }

  #frameMove(cell, action, detour) {
    const [pen, side] = [this.#pen, this.#side];
    const width = Math.max(1.5, side * 0.04);
    this.#triangle(cell, action, 0.7 * width);
    pen.lineJoin = "round";
    for (const [colour, wide] of detour ? [["#ffffff", 2.2 * width], [CELLS.player, 1.3 * width]] : [[INK, width]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = wide;
      pen.stroke();
    }
  }

  #numbers() {
    const { maps, walls, goal, layer, scale, arrows, values } = this.#view;
    const [pen, side] = [this.#pen, this.#side];
    if (!scale || side < (layer === "q" ? NUMBERS.move : NUMBERS.cell)) return;
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    const four = layer === "q";
    const size = four ? Math.min(14, side * 0.2) : Math.min(15, side * 0.3);
    const write = (text, x, y, ink, weight = 400) => {
      pen.font = `${weight} ${size}px ui-sans-serif, system-ui, sans-serif`;
      pen.fillStyle = ink;
      pen.fillText(text, x * side, y * side, side * (four ? 0.4 : 0.94));
    };
    for (let cell = 0; cell < walls.length; cell += 1) {
      if (walls[cell] === "1" || cell === goal || maps.optimum[cell] === null) continue;
      const [x, y] = this.#place(cell);
      if (four) {
        STEPS.forEach(([dx, dy], action) => {
          const value = values[4 * cell + action];
          const text = short(value, scale, { steps: 25, cell: true });
          const greedy = arrows && action === maps.greedy[cell];
          write(text, x + 0.5 + dx * 0.28, y + 0.5 + dy * 0.35, this.#inkOn(cell, action), greedy ? 700 : 400);
        });
      } else if (values[cell] !== null) {
        write(short(values[cell], scale, { steps: 25, cell: true }), x + 0.5, y + (arrows ? 0.78 : 0.52), this.#inkOn(cell));
      }
    }
  }

  #cursor() {
    const [x, y] = this.#place(this.#view.cursor);
    const [pen, side] = [this.#pen, this.#side];
    for (const [colour, width] of [["#ffffff", 5], ["#1f6feb", 2.5]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.strokeRect(x * side + 2.5, y * side + 2.5, side - 5, side - 5);
    }
  }
}
