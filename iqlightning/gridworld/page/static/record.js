// Recording: the program keeps the episodes; this shows what it has, and asks it to begin, undo, stop and discard.

import { say, sentence } from "./forms.js";

const $ = (id) => document.getElementById(id);
const REMEMBERED = "iqlightning-recording";
const DEFAULT = { height: 10, width: 10, num_walls: 5, level: "random_everything", random_start: true };
const BATCH = 128; // of the configuration that the command names

export class Record {
  #link;
  #begun;
  #focus;
  #recording = null;

  constructor(link, { begun, focus }) {
    this.#link = link;
    this.#begun = begun;
    this.#focus = focus;
    $("record-idle").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask("record_start", { name: $("record-name").value.trim() });
    });
    $("record-resume").addEventListener("click", () => {
      this.#ask("record_resume", { name: $("resume-name").value, kept: null });
    });
    $("record-undo").addEventListener("click", () => this.#ask("record_undo"));
    $("record-stop").addEventListener("click", () => this.#ask("record_stop"));
    $("record-discard").addEventListener("click", () => this.#discard());
    $("record-copy").addEventListener("click", () => this.#copy());
  }

  // After the page was loaded anew or the connection came back: goes on with what was being recorded.
  async begin(program) {
    this.#recording = null;
    this.#list(program.recordings);
    this.update(null);
    if (program.troubles.length) say($("record-trouble"), program.troubles.map((each) => `${each}.`).join(" "));
    const remembered = JSON.parse(sessionStorage.getItem(REMEMBERED));
    if (!remembered) return false;
    const { name, settings, episodes, kept } = remembered;
    let trouble;
    // the old connection may take a moment to end
    for (let attempt = 0; attempt < 8; attempt += 1) {
      try {
        if (!episodes) await this.#link.request("new_game", settings);
        // discarding takes away what it would have taken away before
        const begin = episodes ? ["record_resume", { name, kept }] : ["record_start", { name }];
        this.#begun(await this.#link.request(...begin));
        return true;
      } catch (error) {
        if (!this.#link.open) return true;
        trouble = error;
        if (!/another window/.test(error.message)) break;
        await new Promise((resolve) => setTimeout(resolve, 250));
      }
    }
    sessionStorage.removeItem(REMEMBERED);
    say($("record-trouble"), `Recording ended: ${trouble.message}.`);
    return false;
  }

  update(recording, trouble) {
    const began = recording && recording.name !== this.#recording?.name;
    this.#recording = recording;
    if (trouble) say($("record-trouble"), trouble);
    $("record-idle").hidden = recording !== null;
    $("record-busy").hidden = recording === null;
    $("record").classList.toggle("on", recording !== null);
    if (!recording) return;
    sessionStorage.setItem(REMEMBERED, JSON.stringify(recording));
    if (began) {
      $("record-done").hidden = true;
      say($("record-trouble"));
    }
    $("record-what").textContent = recording.name;
    $("record-count").textContent = amount(recording);
    $("record-file").textContent = recording.file;
    $("record-undo").disabled = recording.episodes === 0;
  }

  async #ask(type, fields = {}) {
    try {
      const answer = await this.#link.request(type, fields);
      say($("record-trouble"));
      if (answer.ended) this.#ended(answer, type === "record_discard");
      else if (answer.walls) this.#begun(answer);
      else this.update(answer.recording);
      this.#focus();
    } catch (error) {
      say($("record-trouble"), sentence(error.message));
    }
  }

  #ended({ ended, recordings }, discarded) {
    sessionStorage.removeItem(REMEMBERED);
    this.update(null);
    this.#list(recordings);
    for (const field of $("settings").elements) field.disabled = false;
    const kept = ended.episodes > 0;
    $("record-done").hidden = false;
    $("record-ended").textContent = !kept
      ? discarded
        ? "Discarded; there is no file."
        : "No finished episode, so there is no file."
      : `${discarded ? "Discarded; the file holds" : "Recorded"} ${amount(ended)} in ${ended.file}. Learn from it:`;
    $("record-done").querySelector(".command").hidden = !kept;
    $("record-command").textContent = command(ended);
  }

  #list(recordings) {
    $("resume-name").replaceChildren(...recordings.map((name) => new Option(name, name)));
    $("resume-row").hidden = recordings.length === 0;
    let number = 1;
    while (recordings.includes(`mine-${number}`)) number += 1;
    if (!$("record-name").value || recordings.includes($("record-name").value)) $("record-name").value = `mine-${number}`;
  }

  #discard() {
    const { name, episodes, kept } = this.#recording;
    const since = episodes - kept;
    const what = since === 1 ? "the episode" : `the ${since} episodes`;
    $("confirm-says").textContent = since
      ? `Discard ${what} recorded in “${name}”${kept ? " since you went on with it" : ""}?`
      : `Stop recording “${name}”? There is nothing to discard.`;
    $("confirm-yes").textContent = since ? "Discard" : "Stop";
    const dialog = $("confirm");
    dialog.returnValue = "no";
    dialog.showModal();
    dialog.addEventListener("close", () => dialog.returnValue === "yes" && this.#ask("record_discard"), { once: true });
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText($("record-command").textContent);
      $("record-copy").textContent = "Copied";
    } catch {
      getSelection().selectAllChildren($("record-command"));
      $("record-copy").textContent = "Selected";
    }
    setTimeout(() => ($("record-copy").textContent = "Copy"), 1500);
  }
}

function amount({ episodes, transitions }) {
  return `${episodes} ${episodes === 1 ? "episode" : "episodes"}, ${transitions} ${transitions === 1 ? "move" : "moves"}`;
}

// The command that trains on a recording, with what differs from the configuration's own values.
function command({ file, settings, level, episodes, transitions }) {
  const words = ["python -m iqlightning fit --config configs/cnn_iq.yaml", `--data.path ${quoted(file)} --data.episodes ${episodes}`];
  for (const [name, usual] of Object.entries(DEFAULT)) {
    const value = name === "level" ? level : settings[name];
    if (value !== usual) words.push(`--data.env.${name} ${value}`);
  }
  // a batch cannot be larger than what there is to draw it from
  if (transitions < 2 * BATCH) words.push(`--data.batch_size ${Math.max(1, 2 ** Math.floor(Math.log2(transitions / 2)))}`);
  return words.join(" ");
}

// As a shell reads it.
function quoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
