/** What the person sees: turns the conversation's phase, state and numbers into the page. */

import { Phase } from "./conversation.js";

const find = (id) => document.getElementById(id);
const STATE = { off: "Not started", idle: "Idle", listening: "Listening", talking: "Talking" };

export class View {
  #rested = "Choose a face, then press Start.";
  #muted = false;

  /** Draw all that follows from the conversation and the kind of voice. */
  show({ phase, state, utterance, routeName }, kind, framesShown) {
    const live = phase === Phase.LIVE;
    Object.assign(document.body.dataset, { phase, state });
    const deaf = kind === "talk" && this.#muted && state === "listening";
    const shown = deaf ? "Muted" : STATE[state];
    find("state-text").textContent = phase === Phase.STARTING ? "Connecting" : shown;
    const wasLive = !find("live").hidden;
    find("live").hidden = !live;
    find("start").hidden = live;
    find("start").disabled = phase !== Phase.OFF;
    find("route-text").textContent = { starting: "Connecting…", live: `Live over ${routeName}` }[phase]
      ?? "Not connected";
    find("start").lastChild.textContent = phase === Phase.STARTING ? "Starting…" : "Start";
    find("mute").hidden = kind !== "talk";
    find("say").hidden = kind === "talk";
    find("interrupt").disabled = !(state === "talking" || utterance?.running);
    if (live && !wasLive) find(kind === "talk" ? "mute" : "say").focus({ preventScroll: true });
    this.#picture(live && framesShown > 0, routeName);
    if (phase === Phase.OFF) this.say(this.#rested);
    if (live) this.say(this.#guide(state, kind));
  }

  #picture(moving, routeName) {
    find("face-video").hidden = !(moving && routeName === "WebRTC");
    find("face-canvas").hidden = !(moving && routeName === "WebSocket");
  }

  #guide(state, kind) {
    if (state === "talking") return "Speaking. Interrupt stops it at once.";
    if (kind !== "talk" && state === "listening") return "It is about to speak.";
    if (kind === "talk" && this.#muted) return "You are muted.";
    if (kind === "talk") return state === "listening" ? "Listening…" : "Say something: it says it back.";
    return kind === "file" ? "Press Say it to hear your file." : "Press Say it, or pick another clip.";
  }

  /** One quiet line under the face; read out politely. */
  say(text) {
    if (find("status").textContent !== text) find("status").textContent = text;
  }

  /** Trouble, in plain words; read out at once. Empty clears it. */
  notice(text) {
    find("notice-text").textContent = text;
    find("notice").hidden = !text;
  }

  askKey(wanted) {
    find("key-form").hidden = !wanted;
    if (wanted) find("key").focus();
  }

  get key() {
    return find("key").value.trim();
  }

  muted(muted) {
    this.#muted = muted;
    find("mute").setAttribute("aria-pressed", String(muted));
    find("mute").querySelector("use").setAttribute("href", muted ? "#i-mic-off" : "#i-mic");
    find("mute").lastChild.textContent = muted ? "Unmute" : "Mute";
  }

  numbers({ fps, delayMs, rttMs }, route) {
    const whole = (value) => (value === null ? "–" : String(Math.round(value)));
    find("n-fps").textContent = fps ? fps.toFixed(1) : "–";
    find("n-delay").textContent = whole(delayMs);
    find("n-rtt").textContent = rttMs !== null && rttMs < 1 ? "<1" : whole(rttMs);
    find("n-route").textContent = route ?? "–";
  }

  loudness(value, microphone) {
    document.documentElement.style.setProperty("--level", value.toFixed(2));
    find("mic-level").style.transform = `scaleX(${Math.min(1, microphone * 5).toFixed(2)})`;
  }
}
