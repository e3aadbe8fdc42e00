// The form of a game: what it says, and what it is made to say.

const FLAGS = ["random_walls", "random_start", "random_goal"];
const COUNTS = ["height", "width", "num_walls"];

export function readSettings(form) {
  const flags = FLAGS.map((name) => [name, form.elements[name].checked]);
  const counts = COUNTS.map((name) => [name, Math.trunc(Number(form.elements[name].value)) || 0]);
  return Object.fromEntries([...flags, ...counts]);
}

export function writeSettings(form, settings) {
  for (const name of FLAGS) form.elements[name].checked = settings[name];
  for (const name of COUNTS) form.elements[name].value = settings[name];
}

// Whether two readings of the form say the same.
export function same(one, other) {
  return Object.keys(one).every((name) => one[name] === other[name]);
}

// Shows a sentence, or hides its place.
export function say(element, sentence) {
  element.textContent = sentence ?? "";
  element.hidden = !sentence;
}

// A message of the program as a sentence.
export function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

// Has a screen reader say something, also what it has just said.
export function announce(text) {
  const place = document.getElementById("announced");
  place.textContent = place.textContent === text ? `${text}\u00a0` : text;
}

// Whether a key is meant for something that is being filled in.
export function isTyping(target) {
  const filledIn = "input:not([type=checkbox], [type=radio], [type=range]), select, textarea, dialog, [contenteditable]";
  return target.closest?.(filledIn) != null;
}
