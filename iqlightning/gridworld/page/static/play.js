// Playing by hand: one move a key, a new grid at the goal.

import { Board } from "./board.js";
import { ACTIONS } from "./definitions.js";
import { announce, isTyping, readSettings, same, say, sentence, writeSettings } from "./forms.js";
import { Record } from "./record.js";
import { after } from "./walk.js";

const KEYS = { ArrowUp: "up", ArrowRight: "right", ArrowDown: "down", ArrowLeft: "left", w: "up", d: "right", s: "down", a: "left" };
const PAUSE = 900; // milliseconds at the goal before the next grid
const SWIPE = 24; // pixels

const $ = (id) => document.getElementById(id);

export class Play {
  #link;
  #canvas = $("game");
  #board = new Board(this.#canvas);
  #form = $("settings");
  #record;
  #grid = null;
  #state = null; // {player, moves, finished, trail}
  #next = 0;
  #asked = 0;
  #tally = { episodes: 0, reached: 0, ratios: 0 };

  constructor(link) {
    this.#link = link;
    this.#record = new Record(link, { begun: (answer) => this.#begun(answer), focus: () => this.focus() });
    document.addEventListener("keydown", (event) => this.#key(event));
    for (const button of document.querySelectorAll("[data-move]")) {
      button.addEventListener("click", () => this.#move(button.dataset.move));
    }
    $("play-another").addEventListener("click", () => this.#newGame().then(() => this.focus()));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#newGame().then(() => this.focus());
    });
    this.#form.addEventListener("change", (event) => {
      if (event.target.type === "checkbox") this.#newGame();
      else if (this.#form.reportValidity()) this.#newGame();
    });
    this.#swipes();
  }

  async begin(program) {
    if (!this.#grid) writeSettings(this.#form, program.default);
    if (!(await this.#record.begin(program))) await this.#newGame();
  }

  focus() {
    if (!$("play").hidden && matchMedia("(hover: hover)").matches) this.#canvas.focus({ preventScroll: true });
  }

  async #newGame() {
    clearTimeout(this.#next);
    const asked = ++this.#asked;
    const settings = readSettings(this.#form);
    let answer;
    try {
      answer = await this.#link.request("new_game", settings);
    } catch (error) {
      if (asked === this.#asked) say($("settings-trouble"), sentence(error.message));
      return;
    }
    // another grid has been asked for since: this one is no longer the server's
    if (asked !== this.#asked) return;
    say($("settings-trouble"));
    // what is being typed while the answer is on its way stays
    this.#begun(answer, same(settings, readSettings(this.#form)));
  }

  #begun(answer, fillIn = true) {
    clearTimeout(this.#next);
    this.#grid = answer;
    this.#canvas.dataset.grids = Number(this.#canvas.dataset.grids ?? 0) + 1;
    this.#state = { player: answer.start, moves: 0, finished: null, trail: [answer.start] };
    if (fillIn) writeSettings(this.#form, answer.settings);
    this.#record.update(answer.recording);
    for (const field of this.#form.elements) field.disabled = answer.recording !== null && field.type !== "submit";
    $("game-says").textContent = "";
    this.#show(false);
    if (!$("play").hidden) announce(`New grid. ${this.#canvas.getAttribute("aria-label")} ${this.#blocked()}`);
  }

  #key(event) {
    if ($("play").hidden || isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (key in KEYS) {
      event.preventDefault();
      // a key that is held at the goal must not begin the next episode
      if (!(event.repeat && (this.#state?.finished || !this.#state?.moves))) this.#move(KEYS[key]);
    } else if (key === "n") this.#newGame();
  }

  async #move(name) {
    if (!this.#state || this.#state.finished) return;
    const grid = this.#grid;
    const action = ACTIONS.indexOf(name);
    let answer;
    try {
      answer = await this.#link.request("move", { action });
    } catch (error) {
      $("game-says").textContent = sentence(error.message);
      return;
    }
    if (grid !== this.#grid || this.#state.finished) return;
    const state = this.#state;
    state.player = answer.player;
    state.moves = answer.moves;
    state.finished = answer.finished;
    if (answer.bumped) this.#board.bump(action);
    else state.trail.push(answer.player);
    this.#record.update(answer.recording, answer.trouble);
    if (answer.finished) this.#finish();
    else announce(`${answer.bumped ? "Blocked, still at" : `${name} to`} ${this.#at(state.player)}. ${this.#blocked()}`);
    this.#show(!answer.bumped);
  }

  #at(cell) {
    const { width } = this.#grid;
    return `row ${Math.floor(cell / width) + 1}, column ${(cell % width) + 1}`;
  }

  // What a person who does not see the grid has to know of the next move.
  #blocked() {
    const { player } = this.#state;
    const blocked = ACTIONS.filter((_, action) => after(this.#grid, player, action) === player);
    return blocked.length ? `Blocked: ${blocked.join(", ")}.` : "No wall around.";
  }

  #finish() {
    const { moves, finished } = this.#state;
    const { shortest } = this.#grid;
    const tally = this.#tally;
    tally.episodes += 1;
    tally.reached += finished === "goal";
    tally.ratios += moves / shortest;
    const ratio = (tally.ratios / tally.episodes).toFixed(2);
    $("tally").textContent = `Reached ${tally.reached} of ${tally.episodes} goals, distance ratio ${ratio} on average.`;
    $("game-says").textContent =
      finished === "limit"
        ? `Out of moves: ${moves} are the limit.`
        : moves === shortest
          ? `Goal in ${moves} moves, and no way is shorter.`
          : `Goal in ${moves} moves; the shortest way takes ${shortest}.`;
    this.#next = setTimeout(() => this.#newGame(), finished === "goal" ? PAUSE : 2 * PAUSE);
  }

  #show(glide) {
    const { shortest, limit, height, width } = this.#grid;
    const { player, trail, moves, finished } = this.#state;
    this.#board.show({ ...this.#grid, player, trail }, { glide });
    this.#canvas.classList.toggle("won", finished === "goal");
    this.#canvas.classList.toggle("over", finished === "limit");
    this.#canvas.setAttribute(
      "aria-label",
      `Grid of ${height} by ${width}. Player at ${this.#at(player)}, goal at ${this.#at(this.#grid.goal)}. Arrow keys move.`,
    );
    $("moves").textContent = moves;
    $("moves").title = `at most ${limit}`;
    $("shortest").textContent = shortest;
    $("ratio").textContent = finished ? (moves / shortest).toFixed(2) : "–";
    $("ratio").className = !finished ? "" : finished === "goal" && moves === shortest ? "good" : "poor";
  }

  #swipes() {
    let from = null;
    this.#canvas.addEventListener("pointerdown", (event) => {
      this.#canvas.focus({ preventScroll: true });
      from = [event.clientX, event.clientY];
      this.#canvas.setPointerCapture(event.pointerId);
    });
    // a long swipe makes several moves, one for each cell that the finger crosses, however seldom it is reported
    this.#canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      const reach = Math.max(SWIPE, this.#canvas.clientWidth / this.#grid.width);
      const way = [event.clientX - from[0], event.clientY - from[1]];
      const axis = Math.abs(way[0]) > Math.abs(way[1]) ? 0 : 1;
      const [sign, moves] = [Math.sign(way[axis]), Math.floor(Math.abs(way[axis]) / reach)];
      if (!moves) return;
      from[axis] += sign * moves * reach;
      from[1 - axis] = axis ? event.clientX : event.clientY;
      const name = axis ? (sign > 0 ? "down" : "up") : sign > 0 ? "right" : "left";
      for (let move = 0; move < moves; move += 1) this.#move(name);
    });
    for (const end of ["pointerup", "pointercancel"]) this.#canvas.addEventListener(end, () => (from = null));
  }
}
