/** One conversation: a session, the route its media take, the microphone, and what is being said. */

import { Call } from "./call.js";
import { canDecodeH264 } from "./decode.js";
import { levelOf } from "./meter.js";
import { Player } from "./player.js";
import { Problem, openSession } from "./session.js";
import { Wire } from "./socket.js";
import { Microphone, Utterance } from "./speech.js";

export const Phase = Object.freeze({ OFF: "off", STARTING: "starting", LIVE: "live", ENDING: "ending" });

const ALLOWED = {
  off: [Phase.STARTING],
  starting: [Phase.LIVE, Phase.ENDING],
  live: [Phase.ENDING],
  ending: [Phase.OFF],
};

/** The next phase; throws when the step does not exist. */
export function step(phase, next) {
  if (!ALLOWED[phase].includes(next)) throw new Error(`no step from ${phase} to ${next}`);
  return next;
}

export class Conversation {
  #turn = 0; // raised by end(): what an older start() still awaits must not come alive
  #wire = null;
  #media = null; // Call or Player
  #level = null;
  #closing = null; // the server's reason, when it announced the end
  #opened = null; // Promise of the session, from the moment it is asked for
  #ended = Promise.resolve(); // of the last end()
  #muted = false;
  phase = Phase.OFF;
  state = "off";
  mode = null; // of the last start(): "speak" or "echo"
  microphone = null;
  utterance = null;
  context = null;
  player = null;
  onChange = () => {};
  onNote = () => {}; // progress, in a few words
  onProblem = () => {}; // trouble that does not end the conversation
  onEnded = () => {}; // it ended by itself: (reason from the server | Problem)

  constructor({ video, canvas, meter }) {
    Object.assign(this, { video, canvas, meter });
  }

  /**
   * Begin. Must run inside a click, so that sound may play. Rejects with a Problem.
   * @returns {boolean} whether it lives: not when end() was called meanwhile
   */
  async start({ face, mode, route, headphones, key }) {
    this.#go(Phase.STARTING);
    this.#turn += 1;
    const turn = this.#turn;
    this.#closing = null;
    this.mode = mode;
    this.routeChoice = route;
    this.meter.reset();
    try {
      await this.#openSound();
      if (mode === "echo") await this.#openMicrophone(headphones);
      if (turn !== this.#turn) return false;
      this.onNote("Preparing the face…");
      this.#opened = openSession({ ...face, mode, key });
      const session = await this.#opened;
      if (turn !== this.#turn) return false; // end() ends that session too
      this.session = session;
      this.onSize(session.video);
      this.onNote("Connecting…");
      await this.#connect(turn);
      if (turn !== this.#turn) return false;
      this.#go(Phase.LIVE);
      return true;
    } catch (error) {
      if (turn !== this.#turn) return false;
      await this.end();
      throw error;
    }
  }

  /** Two contexts: streams must be heard at the device's own rate, units are played at theirs. */
  async #openSound() {
    this.context ??= new AudioContext({ latencyHint: "interactive" });
    this.player ??= new AudioContext({ latencyHint: "interactive", sampleRate: 48000 });
    await Promise.all([this.context.resume(), this.player.resume()]);
  }

  async #openMicrophone(headphones) {
    this.onNote("Waiting for the microphone…");
    const microphone = new Microphone();
    this.microphone = microphone;
    microphone.muted = this.#muted;
    microphone.onOnset = () => {
      if (this.state !== "talking") this.meter.voiceHeard();
    };
    await microphone.open(headphones, this.context);
    if (this.microphone !== microphone) microphone.close();
  }

  async #connect(turn) {
    if (this.routeChoice !== "websocket" && Call.supported) {
      try {
        return await this.#byCall();
      } catch (error) {
        if (turn !== this.#turn) throw error; // the media are another turn's by now
        this.#dropMedia();
        if (this.routeChoice === "webrtc") throw error;
        this.onNote("WebRTC could not connect; using the WebSocket…");
      }
    } else if (this.routeChoice === "webrtc") {
      throw new Problem({ code: "no_webrtc" });
    }
    return this.#bySocket();
  }

  async #byCall() {
    const call = new Call(this.session, this.video);
    this.#media = call;
    call.onFrame = ({ index }) => this.#shown(index, this.state === "talking");
    call.onLost = () => this.#callLost();
    const wire = this.#newWire("none");
    await Promise.all([wire.open(), call.connect(this.microphone?.track ?? null)]);
    if (this.#media !== call) return;
    this.#level = levelOf(this.context, call.stream);
    await this.player.suspend(); // until the WebSocket is needed after all
  }

  async #bySocket(kind = null) {
    const turn = this.#turn;
    const video = kind ?? ((await canDecodeH264()) ? "h264" : "jpeg");
    await this.player.resume();
    if (turn !== this.#turn) return;
    const wire = this.#newWire(video);
    const player = new Player(wire, this.canvas, this.player);
    this.#media = player;
    player.onFrame = ({ index, speaking }) => this.#shown(index, speaking);
    player.onDecodeError = () => this.#downgrade();
    await player.start();
    if (this.#media !== player) return player.close();
    this.#level = levelOf(this.player, player.output);
    await wire.open();
    if (this.microphone) await this.microphone.feed(wire);
  }

  #newWire(video) {
    const wire = new Wire(this.session, video);
    this.#wire = wire;
    wire.onEvent = (event) => this.#event(event);
    wire.onClose = () => this.#wireLost(wire);
    return wire;
  }

  #event(event) {
    if (event.type === "avatar.state_updated") {
      this.state = event.state;
      this.onChange();
    } else if (event.type === "session.going_away") {
      this.onNote(`This session ends in ${Math.round(event.in_ms / 1000)} seconds.`);
    } else if (event.type === "session.closed") {
      this.#closing = event.reason;
    } else if (event.type === "error") {
      this.onProblem(new Problem({ code: event.error?.code, detail: event.error?.message }));
    }
  }

  #shown(index, speaking) {
    this.meter.frame(index, speaking);
    if (this.meter.framesShown === 1) this.onChange();
  }

  async #callLost() {
    if (this.phase !== Phase.LIVE) return;
    this.#dropMedia();
    if (this.routeChoice === "webrtc") return this.#over(new Problem({ code: "lost" }));
    await this.#swap("WebRTC was lost; going on over the WebSocket.", null);
  }

  async #downgrade() {
    if (this.phase === Phase.OFF || this.phase === Phase.ENDING) return;
    this.#dropMedia();
    await this.#swap("This browser could not decode the picture; using JPEG.", "jpeg");
  }

  async #swap(note, kind) {
    this.onNote(note);
    try {
      await this.#bySocket(kind);
      if (this.utterance?.running) this.utterance.send(this.#wire); // the rest of what was being said
      this.onChange();
    } catch (error) {
      await this.#over(error);
    }
  }

  async #wireLost(wire) {
    if (wire !== this.#wire || this.phase !== Phase.LIVE) return;
    await this.#over(this.#closing ?? new Problem({ code: "lost" }));
  }

  async #over(why) {
    if (this.phase !== Phase.LIVE) return;
    const ended = this.end();
    this.onEnded(why); // told at once: a server that is gone keeps the end waiting
    await ended;
  }

  /** Say decoded speech; what was being said is interrupted. Resolves when all is sent or stopped. */
  async say(speech) {
    if (this.phase !== Phase.LIVE) return;
    if (this.utterance?.running || this.state === "talking") this.interrupt();
    const utterance = new Utterance(speech);
    this.utterance = utterance;
    this.meter.speechSent(this.state === "talking");
    if (this.#wire?.isOpen) utterance.send(this.#wire); // else #swap() sends it when there is one
    this.onChange();
    await utterance.sent;
    this.onChange();
  }

  /** Stop talking now. It goes down the same wire as speech, so nothing sent before it survives. */
  interrupt() {
    this.utterance?.stop();
    this.#wire?.send({ type: "response.cancel" });
    this.onChange();
  }

  /** Whether the microphone is kept silent, this one and those of later starts. */
  get muted() {
    return this.#muted;
  }

  set muted(value) {
    this.#muted = value;
    if (this.microphone) this.microphone.muted = value;
  }

  /** How loud the face (or, while it listens, the person) is, 0 to 1. */
  loudness() {
    if (this.state === "talking") return this.#level?.() ?? 0;
    return Math.min(1, (this.microphone?.level ?? 0) * 5);
  }

  /** {name, type, rttMs} of the route in use, or null. */
  async facts() {
    if (this.phase !== Phase.LIVE || !this.#media) return null;
    return { name: this.#media.name, ...(await this.#media.facts()) };
  }

  get routeName() {
    return this.#media?.name ?? null;
  }

  #dropMedia() {
    this.utterance?.pause();
    this.#wire?.close();
    this.#media?.close();
    this.#wire = this.#media = this.#level = null;
  }

  /** End it, whatever it is doing. Resolves when it has ended. */
  end() {
    if (this.phase === Phase.STARTING || this.phase === Phase.LIVE) this.#ended = this.#end();
    return this.#ended;
  }

  async #end() {
    this.#turn += 1;
    this.#go(Phase.ENDING);
    this.#dropMedia();
    this.utterance?.stop();
    this.microphone?.close();
    this.microphone = null;
    const opened = this.#opened;
    this.#opened = this.session = null;
    this.state = "off";
    await opened?.then((session) => session.end()).catch(() => {}); // it is gone already, or the server is
    await Promise.all([this.context?.suspend(), this.player?.suspend()]);
    this.#go(Phase.OFF);
  }

  #go(next) {
    this.phase = step(this.phase, next);
    if (next === Phase.LIVE && this.state === "off") this.state = "idle";
    this.onChange();
  }
}
