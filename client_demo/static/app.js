/** The page's conductor: buttons and choices on one side, the conversation on the other. */

import { Conversation, Phase } from "./conversation.js";
import { Faces } from "./faces.js";
import { Meter } from "./meter.js";
import { Report } from "./report.js";
import { View } from "./view.js";
import { Voices } from "./voices.js";
import { explain, explainClosing } from "./words.js";

const find = (id) => document.getElementById(id);
const view = new View();
const meter = new Meter();
const faces = new Faces();
const report = new Report();
const voices = new Voices();
const talk = new Conversation({ video: find("face-video"), canvas: find("face-canvas"), meter });

let wishes = 0; // raised by each wish to say something and by each begin(): an older wish is void

/** For tests and for the curious: what the page knows about itself. */
window.livehead = {
  get state() { return talk.phase === Phase.LIVE ? talk.state : talk.phase; },
  get route() { return talk.routeName; },
  get fps() { return meter.fps; },
  get framesShown() { return meter.framesShown; },
  get lastFrameIndex() { return meter.lastFrameIndex; },
  get delayMs() { return meter.delayMs; },
  get rttMs() { return meter.rttMs; },
};

const draw = () => view.show(talk, voices.kind, meter.framesShown);
talk.onChange = draw;
talk.onNote = (text) => view.say(text);
talk.onSize = ({ width, height }) => find("frame").style.setProperty("--aspect", width / height);
talk.onProblem = (problem) => view.notice(explain(problem));
talk.onEnded = (why) => view.notice(typeof why === "string" ? explainClosing(why) : explain(why));

/** Start afresh: nothing but the choices on the page lives on from before. */
function start() {
  mute(false);
  return begin();
}

/** Begin with what is chosen. Ends when the conversation lives; what it says then goes on alone. */
async function begin() {
  if (talk.phase !== Phase.OFF) return;
  wishes += 1;
  view.notice("");
  try {
    if (!faces.chosen) throw { code: "no_face_chosen" };
    const speech = voices.speech(); // decodes while the session opens
    speech.catch(() => {});
    if (voices.kind === "file") await speech;
    const lives = await talk.start({
      face: faces.chosen,
      mode: voices.mode,
      route: find("route").value,
      headphones: find("headphones").checked,
      key: view.key,
    });
    if (!lives) return;
    report.show(faces.chosen, talk.session.report);
    view.askKey(false);
    if (voices.kind !== "talk") sayIt();
  } catch (error) {
    trouble(error);
  }
}

function trouble(error) {
  const pointed = error?.code === "no_face" && faces.chosen?.box;
  if (pointed) delete faces.chosen.box; // the next start takes the largest face again
  view.notice(explain(pointed ? { code: "no_face_there" } : error));
  if (error?.code === "unauthorised") view.askKey(true);
  if (error?.code?.startsWith("mic_") && voices.hasClips) voices.choose("clip");
  draw();
}

/** Say what is chosen, to its end; tells its own troubles. */
async function sayIt() {
  wishes += 1;
  const wish = wishes;
  view.notice("");
  try {
    const speech = await voices.speech();
    if (speech && wish === wishes) await talk.say(speech);
  } catch (error) {
    if (wish === wishes) view.notice(explain(error));
  }
}

/** A choice that needs another session: end this one, then begin with what is chosen by then. */
function restart() {
  if (talk.phase === Phase.STARTING || talk.phase === Phase.LIVE) talk.end().then(begin);
}

function interrupt() {
  if (!find("interrupt").disabled && talk.phase === Phase.LIVE) talk.interrupt();
}

function mute(muted) {
  talk.muted = muted;
  view.muted(muted);
  draw();
}

function bindButtons() {
  find("start").onclick = start;
  find("end").onclick = () => talk.end().then(() => find("start").focus());
  find("say").onclick = sayIt;
  find("interrupt").onclick = interrupt;
  find("mute").onclick = () => mute(!talk.muted);
  find("notice-close").onclick = () => view.notice("");
  find("route").onchange = restart;
  find("headphones").onchange = restart;
  find("key-form").onsubmit = (event) => {
    event.preventDefault();
    start();
  };
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape") interrupt();
  });
}

function bindChoices() {
  faces.onChoose = () => {
    view.notice("");
    report.hide();
    restart();
  };
  report.onPoint = (box) => {
    view.notice("");
    faces.chosen.box = box;
    restart();
  };
  faces.onProblem = trouble;
  voices.onProblem = trouble;
  voices.onPick = () => {
    if (talk.phase === Phase.LIVE) sayIt();
  };
  voices.onChoose = () => {
    draw();
    if (voices.mode !== talk.mode) restart();
  };
}

function bindDrop() {
  const isFile = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!isFile(event)) return;
    event.preventDefault();
    find("drop-veil").hidden = false;
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) find("drop-veil").hidden = true;
  });
  document.addEventListener("drop", (event) => {
    find("drop-veil").hidden = true;
    if (!isFile(event) || event.defaultPrevented) return;
    event.preventDefault();
    const file = event.dataTransfer.files[0];
    if (/^(audio|video)\//.test(file.type)) voices.takeFile(file);
    else faces.take(file);
  });
}

async function measure() {
  const facts = await talk.facts();
  meter.rttMs = facts?.rttMs ?? null;
  view.numbers(meter, facts?.type ?? null);
}

bindButtons();
bindChoices();
bindDrop();
draw();
setInterval(measure, 500);
setInterval(() => view.loudness(talk.loudness(), talk.microphone?.level ?? 0), 100);
addEventListener("pagehide", () => talk.end());
Promise.all([faces.load(), voices.load()]).catch(trouble).then(draw);
