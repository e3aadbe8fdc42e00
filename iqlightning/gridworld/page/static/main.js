// Starts the page: the connection, the two rooms, and which of them is open.

import { CELLS } from "./definitions.js";
import { Link } from "./link.js";
import { roomOf } from "./place.js";
import { Play } from "./play.js";
import { Watch } from "./watch.js";

const banner = document.getElementById("banner");
const rooms = { play: document.getElementById("play"), watch: document.getElementById("watch") };

// the token has become a cookie; it need not stay in the address bar and the history
if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", new URL(".", import.meta.url).pathname + location.hash);

for (const [name, colour] of Object.entries(CELLS)) document.documentElement.style.setProperty(`--cell-${name}`, colour);

const link = new Link({ opened: begin, lost });
const play = new Play(link);
const watch = new Watch(link);
let begun = false;

async function begin() {
  banner.hidden = true;
  const program = await link.request("hello");
  if (!begun) {
    begun = true;
    for (const each of document.querySelectorAll("[data-needs-program]")) each.hidden = program.exported === true;
    for (const each of document.querySelectorAll("[data-exported]")) each.hidden = !program.exported;
    for (const form of document.querySelectorAll("[data-settings]")) prepare(form, program);
    if (!location.hash) history.replaceState(null, "", program.contenders.length > 1 ? "#watch" : "#play");
    addEventListener("hashchange", open);
  }
  open();
  await Promise.all([play.begin(program), watch.begin(program)]);
}

function lost() {
  banner.textContent =
    "No connection to the program. Finished episodes are on the disk; trying again… " +
    "If you started it anew, open the address that it printed.";
  banner.hidden = false;
}

function prepare(form, program) {
  form.replaceChildren(document.getElementById("settings-form").content.cloneNode(true));
  for (const name of ["height", "width"]) [form.elements[name].min, form.elements[name].max] = program.sizes;
}

function open() {
  const chosen = roomOf(location.hash) === "watch" ? "watch" : "play";
  for (const [name, room] of Object.entries(rooms)) {
    room.hidden = name !== chosen;
    document.getElementById(`to-${name}`).toggleAttribute("aria-current", name === chosen);
  }
  if (chosen === "play") {
    watch.pause();
    play.focus();
  } else watch.open();
}
