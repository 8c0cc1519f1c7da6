/** What it is going to say: a bundled clip, a file of one's own, or the microphone. */

import { Problem, fetchSpeech, listClips } from "./session.js";
import { decodeSpeech } from "./speech.js";

const find = (id) => document.getElementById(id);

export class Voices {
  #clips = [];
  #file = null; // {name, speech}
  #decoded = new Map(); // clip id -> Promise of speech
  onChoose = () => {}; // another kind of voice
  onPick = () => {}; // another clip or file of the same kind
  onProblem = () => {};

  async load() {
    for (const input of document.querySelectorAll('[name="voice"]')) {
      input.onchange = () => {
        this.#show();
        this.onChoose();
      };
    }
    this.#bindFile();
    this.#show();
    this.#clips = await listClips();
    find("clips-none").hidden = this.#clips.length > 0;
    find("clips").replaceChildren(...this.#clips.map((clip, rank) => this.#row(clip, rank === 0)));
    if (!this.#clips.length) this.choose("talk");
  }

  /** "clip", "talk" or "file". */
  get kind() {
    return document.querySelector('[name="voice"]:checked').value;
  }

  get mode() {
    return this.kind === "talk" ? "echo" : "speak";
  }

  choose(kind) {
    document.querySelector(`[name="voice"][value="${kind}"]`).checked = true;
    this.#show();
  }

  get hasClips() {
    return this.#clips.length > 0;
  }

  #show() {
    for (const kind of ["clip", "talk", "file"]) find(`choice-${kind}`).hidden = kind !== this.kind;
  }

  #row({ id, name, text }, first) {
    const row = document.createElement("label");
    row.className = "clip";
    row.innerHTML = '<input type="radio" name="clip"><svg aria-hidden="true"><use href="#i-play"/></svg>'
      + "<div><b></b><small></small></div>";
    const input = row.firstChild;
    input.value = id;
    input.checked = first;
    input.onchange = () => this.onPick();
    row.querySelector("b").textContent = name;
    row.querySelector("small").textContent = text || "";
    return row;
  }

  #bindFile() {
    const input = find("speech-file");
    const drop = find("speech-drop");
    input.onchange = () => this.takeFile(input.files[0]);
    drop.ondragover = (event) => {
      event.preventDefault();
      drop.classList.add("over");
    };
    drop.ondragleave = () => drop.classList.remove("over");
    drop.ondrop = (event) => {
      event.preventDefault();
      event.stopPropagation();
      drop.classList.remove("over");
      this.takeFile(event.dataTransfer.files[0]);
    };
  }

  /** Use a sound file that was chosen or dropped. */
  async takeFile(file) {
    if (!file) return;
    find("speech-file").value = "";
    try {
      const speech = await decodeSpeech(await file.arrayBuffer());
      this.#file = { name: file.name, speech };
      find("speech-name").textContent = file.name;
      find("speech-facts").textContent = `${speech.seconds.toFixed(1)} seconds, ready to be said`;
    } catch (error) {
      this.onProblem(error);
      return;
    }
    const changed = this.kind !== "file";
    this.choose("file");
    if (changed) this.onChoose();
    this.onPick();
  }

  /** The chosen clip or file, decoded: {samples, rate, seconds}; null for the microphone. */
  async speech() {
    if (this.kind === "talk") return null;
    if (this.kind === "file") {
      if (!this.#file) throw new Problem({ code: "no_speech_file" });
      return this.#file.speech;
    }
    const id = document.querySelector('[name="clip"]:checked')?.value;
    const clip = this.#clips.find((one) => one.id === id);
    if (!clip) throw new Problem({ code: "no_speech_file" });
    if (!this.#decoded.has(id)) this.#decoded.set(id, fetchSpeech(clip.url).then(decodeSpeech));
    try {
      return await this.#decoded.get(id);
    } catch (error) {
      this.#decoded.delete(id); // ask again next time
      throw error;
    }
  }
}
