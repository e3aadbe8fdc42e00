// Watching: one or two policies on the same grid, what they believe about it, and a grid that can be edited.

import { Board } from "./board.js";
import { scaleOf, short } from "./colours.js";
import { announce, isTyping, readSettings, say, sentence, writeSettings } from "./forms.js";
import { isSigned, noteOf, reading, valuesOf } from "./layers.js";
import { read, written } from "./place.js";
import { advance, atStart, progress } from "./walk.js";

const SETTLED = 300; // milliseconds without a change until the address says what is shown

const $ = (id) => document.getElementById(id);
const checked = (name) => document.querySelector(`[name=${name}]:checked`).value;

export class Watch {
  #link;
  #program = null;
  #contenders = [];
  #grid = null;
  #runs = []; // one a board: {figure, board, canvas, chosen, checkpoint, maps, fresh, trouble, player, trail, moves, status};
  // maps are fresh when they are of the grid and the policy as they are now
  #timer = 0;
  #busy = false;
  #stale = false;
  #cursor = 0;
  #pointed = null; // the cell whose value is read
  #paint = null;
  #focused = 0;
  #settling = 0;
  #address = null; // as it was followed or written last; where it differs, somebody has gone elsewhere
  #asked = 0;

  constructor(link) {
    this.#link = link;
    for (const input of document.querySelectorAll("[name=layer], [name=scale], #arrows, #numbers")) {
      input.addEventListener("change", () => this.#show());
    }
    // keys go on working after a click on a layer or another choice; who came to it by keyboard stays there
    for (const input of document.querySelectorAll("#watch fieldset input")) {
      input.addEventListener("click", (event) => event.detail && this.#runs[this.#focused]?.canvas.focus({ preventScroll: true }));
    }
    $("compare").addEventListener("click", () => this.#compare());
    $("run").addEventListener("click", () => (this.#timer ? this.pause() : this.#start()));
    $("step").addEventListener("click", () => this.#advance());
    $("rewind").addEventListener("click", () => this.#rewind());
    $("another").addEventListener("click", () => this.#another());
    $("clear-walls").addEventListener("click", () => this.#edit({ walls: this.#grid?.walls.replaceAll("1", "0") }));
    $("copy-link").addEventListener("click", () => this.#copyLink());
    $("speed").addEventListener("input", () => {
      $("speed-says").textContent = `${$("speed").value}/s`;
      if (this.#timer) this.#start();
    });
    for (const input of document.getElementsByName("acting")) input.addEventListener("change", () => this.#rewind());
    $("watch-settings").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#another();
    });
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  async begin(program) {
    this.#program = program;
    this.#contenders = program.contenders;
    if (this.#grid) return this.#ask();
    writeSettings($("watch-settings"), program.default);
    this.#runs = [this.#run(0)];
    if (program.contenders.length > 2) this.#runs.push(this.#run(1));
    if (!this.#restore()) {
      this.#arrange();
      await this.#another();
    }
  }

  // The room is open: an address that says what to show is followed.
  open() {
    if (this.#program && !this.#restore() && this.#grid) this.#show();
  }

  pause() {
    clearInterval(this.#timer);
    this.#timer = 0;
    $("run").textContent = "Run";
  }

  // Boards

  #run(chosen, checkpoint = this.#contenders[chosen].shown) {
    const figure = $("watched").content.cloneNode(true).querySelector("figure");
    const canvas = figure.querySelector("canvas.board");
    const run = { figure, canvas, board: new Board(canvas), chosen, checkpoint, maps: null, ...atStart({ start: 0 }) };
    const select = figure.querySelector("select");
    select.replaceChildren(...this.#contenders.map(({ label }, index) => new Option(label, index)));
    select.addEventListener("change", () => {
      run.chosen = Number(select.value);
      run.checkpoint = this.#contenders[run.chosen].shown;
      this.#changed();
    });
    figure.querySelector(".training input").addEventListener("input", (event) => {
      run.checkpoint = Number(event.target.value);
      this.#changed();
    });
    canvas.addEventListener("focus", () => (this.#focused = this.#runs.indexOf(run)));
    canvas.addEventListener("pointerdown", (event) => this.#grasp(run, event));
    canvas.addEventListener("pointermove", (event) => this.#drag(run, event));
    canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.#point(null));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (this.#paint = null));
    return run;
  }

  // Other policies or checkpoints are to be shown.
  #changed() {
    this.#arrange();
    this.#rewind();
    this.#ask();
  }

  #arrange() {
    for (const run of this.#runs) {
      const { note, checkpoints } = this.#contenders[run.chosen];
      const { updates, name } = checkpoints[run.checkpoint] ?? {};
      const made = updates === undefined ? "" : `${updates.toLocaleString("en")} updates`;
      const several = checkpoints.length > 1;
      run.figure.querySelector("select").value = run.chosen;
      run.figure.querySelector(".note").textContent = several ? note : [note, made].filter(Boolean).join(", ");
      run.figure.querySelector(".training").hidden = !several;
      Object.assign(run.figure.querySelector(".training input"), { max: checkpoints.length - 1, value: run.checkpoint, ariaValueText: made });
      run.figure.querySelector(".training output").textContent = name ? `${made} (${name})` : made;
    }
    const two = this.#runs.length === 2;
    // a board that is shown already stays where it is: put in anew, it would lose focus and pointer
    const figures = this.#runs.map(({ figure }) => figure);
    for (const figure of [...$("boards").children]) if (!figures.includes(figure)) figure.remove();
    $("boards").append(...figures.filter((figure) => !figure.isConnected));
    $("boards").classList.toggle("two", two);
    $("compare").setAttribute("aria-pressed", two);
    $("compare").hidden = this.#contenders.length < 2;
    $("scale-shared").hidden = !two;
    if (!two && checked("scale") === "shared") document.querySelector("[name=scale][value=own]").checked = true;
    this.#focused = Math.min(this.#focused, this.#runs.length - 1);
  }

  #compare() {
    if (this.#runs.length === 2) this.#runs.pop();
    else this.#runs.push(this.#run((this.#runs[0].chosen + 1) % this.#contenders.length));
    this.#changed();
  }

  // The address

  #restore() {
    this.#address = location.hash;
    const place = read(location.hash, this.#program.sizes);
    if (!place.grid) return false;
    for (const [name, value] of [["layer", place.layer], ["scale", place.scaling]]) {
      if (value) document.querySelector(`[name=${name}][value=${value}]`).checked = true;
    }
    for (const name of ["arrows", "numbers"]) if (place[name] !== undefined) $(name).checked = place[name];
    const runs = place.boards.flatMap(({ label, updates }) => {
      const chosen = this.#contenders.findIndex((each) => each.label === label);
      if (chosen < 0) return [];
      const { checkpoints, shown } = this.#contenders[chosen];
      const checkpoint = checkpoints.findIndex((each) => each.updates === updates);
      return [this.#run(chosen, checkpoint < 0 ? shown : checkpoint)];
    });
    if (runs.length) this.#runs = runs;
    this.#asked += 1; // a grid that is on its way is not wanted any more
    this.#cursor = 0;
    this.#arrange();
    this.#edit(place.grid);
    return true;
  }

  #written() {
    const boards = this.#runs.map(({ chosen, checkpoint }) => {
      const { label, checkpoints } = this.#contenders[chosen];
      return { label, updates: checkpoints[checkpoint]?.updates };
    });
    const [arrows, numbers] = [$("arrows").checked, $("numbers").checked];
    return written({ grid: this.#grid, layer: checked("layer"), scaling: checked("scale"), arrows, numbers, boards });
  }

  // Browsers allow few changes of the address in a short time.
  #settle() {
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => {
      if (!$("watch").hidden && location.hash === this.#address) this.#write();
    }, SETTLED);
  }

  #write() {
    this.#address = this.#written();
    history.replaceState(null, "", this.#address);
  }

  async #copyLink() {
    this.#write();
    const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    $("copy-link").textContent = copied ? "Copied" : "It is in the address bar";
    setTimeout(() => ($("copy-link").textContent = "Copy link"), 1500);
  }

  // The grid

  async #another() {
    const asked = ++this.#asked;
    try {
      const grid = await this.#link.request("watch_grid", readSettings($("watch-settings")));
      if (asked !== this.#asked) return;
      say($("watch-trouble"));
      this.#cursor = 0;
      this.#edit(grid);
    } catch (error) {
      say($("watch-trouble"), sentence(error.message));
      $("watch-trouble").closest("details").open = true;
    }
  }

  #edit(changes) {
    if (!this.#grid && !changes.width) return;
    if (changes.width) {
      this.#pointed = null;
      for (const run of this.#runs) run.maps = null;
    }
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
      const contenders = runs.map(({ chosen, checkpoint }) => [chosen, checkpoint]);
      const answer = await this.#link.request("watch_maps", { height, width, walls, start, goal, contenders });
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
    this.#cursor = this.#pointed = cell;
    const { start, goal, walls } = this.#grid;
    if (cell === run.player && cell !== start && cell !== goal) this.#put("start", cell);
    if (cell === this.#grid.goal) this.#paint = { move: "goal" };
    else if (cell === this.#grid.start) this.#paint = { move: "start" };
    else if (checked("press") === "paints") {
      this.#paint = { wall: walls[cell] === "1" ? "0" : "1" };
      this.#setWall(cell, this.#paint.wall);
    } else this.#paint = {};
    this.#show();
  }

  #drag(run, event) {
    const cell = run.board.cellAt(event);
    const movable = cell !== null && !this.#cellFree(cell);
    const free = checked("press") === "paints" ? "cell" : "default";
    run.canvas.style.cursor = this.#paint?.move ? "grabbing" : movable ? "grab" : free;
    this.#point(cell);
    if (!this.#paint || cell === null || cell === this.#cursor) return;
    this.#cursor = cell;
    if (this.#paint.move) this.#put(this.#paint.move, cell);
    else if (this.#paint.wall) this.#setWall(cell, this.#paint.wall);
    else this.#show();
  }

  // Reads the value of a cell, on every board.
  #point(cell) {
    if (cell === this.#pointed) return;
    this.#pointed = cell;
    this.#readOut();
  }

  #key(event) {
    if ($("watch").hidden || isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key === ".") return this.#advance();
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
    this.#pointed = this.#cursor;
    this.#show();
    if (key.startsWith("Arrow")) announce(reading(this.#viewOf(this.#runs[this.#focused]), this.#cursor));
  }

  // Running

  #rewind() {
    for (const run of this.#runs) Object.assign(run, atStart(this.#grid));
    this.#show();
  }

  #start() {
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
    for (const run of this.#runs) {
      if (run.status || !run.fresh) continue;
      const bumped = advance(run, this.#grid, run.maps, checked("acting") === "drawn");
      if (bumped !== null) run.board.bump(bumped);
    }
    this.#show(true);
    if (this.#runs.every(({ status, trouble }) => status || trouble)) this.pause();
  }

  // Showing

  #viewOf({ maps, player, trail }) {
    const [layer, scaling] = [checked("layer"), checked("scale")];
    return { grid: this.#grid, player, trail, maps, layer, scaling, values: maps && valuesOf(maps, layer, scaling) };
  }

  #show(glide = false) {
    if (!this.#grid) return;
    const views = this.#runs.map((run) => this.#viewOf(run));
    const { layer, scaling } = views[0];
    const signed = isSigned(layer, scaling);
    const all = { shared: views.flatMap(({ values }) => values ?? []), ranks: signed ? null : [0, 100] }[scaling];
    const together = all ? scaleOf(all, signed) : null;
    this.#runs.forEach((run, index) => {
      const view = views[index];
      const scale = view.values && (together ?? scaleOf(view.values, signed));
      const marks = { cursor: this.#cursor, arrows: $("arrows").checked, numbers: $("numbers").checked };
      run.board.show({ ...this.#grid, ...view, ...marks, scale }, { glide });
      this.#legend(run, view, scale);
      const says = run.trouble ? sentence(run.trouble) : run.maps ? progress(run) : "…";
      const place = run.figure.querySelector(".says");
      if (place.textContent !== says) place.textContent = says;
      place.dataset.status = run.trouble ? "loop" : (run.status ?? "");
      const name = this.#contenders[run.chosen].label;
      run.canvas.setAttribute("aria-label", `Grid of ${name}. Cursor: ${reading(view, this.#cursor)}`);
    });
    const explained = document.querySelector(`[data-explains=${layer}]`).textContent;
    if ($("layer-says").textContent !== explained) $("layer-says").textContent = explained;
    this.#readOut();
    this.#settle();
  }

  #readOut() {
    for (const run of this.#runs) {
      const text = this.#pointed === null ? "" : reading(this.#viewOf(run), this.#pointed);
      run.figure.querySelector(".reading").textContent = text;
    }
  }

  #legend({ figure, board }, view, scale) {
    figure.querySelector(".legend").classList.toggle("blank", !scale);
    const { why, notes } = view.maps ? this.#notes(view, board) : { why: "", notes: "" };
    figure.querySelector(".why span").textContent = why;
    figure.querySelector(".legend-note p").textContent = notes || " ";
    if (!scale) return;
    scale.draw(figure.querySelector(".legend canvas"));
    figure.querySelector(".low").textContent = short(scale.low, scale);
    figure.querySelector(".high").textContent = short(scale.high, scale);
  }

  // What the colours stand for, and what is unusual on this grid.
  #notes({ maps, layer, scaling }, board) {
    const { walls, goal } = this.#grid;
    const free = Array.from(walls, (_, cell) => cell).filter((cell) => walls[cell] === "0" && cell !== goal);
    const { why, notes } = noteOf(maps, layer, scaling, this.#runs.length);
    if ($("arrows").checked && free.some((cell) => maps.optimum[cell] !== null && !maps.on_path[cell])) {
      notes.push("Red moves are no shortest way.");
    }
    if (layer !== "none" && free.some((cell) => maps.optimum[cell] === null)) notes.push("Grey does not lead to the goal.");
    if ($("numbers").checked && layer !== "none" && !board.hasRoomFor(layer, this.#grid.width)) {
      notes.push("Numbers need larger cells.");
    }
    return { why, notes: notes.join(" ") };
  }
}
