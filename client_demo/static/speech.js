/** Speech going up: files decoded in the browser and streamed, or the microphone. */

import { Problem } from "./session.js";

const RATE = 48000;
const SLICE_MS = 40;
const AHEAD_MS = 2000; // how far sending may run ahead of the ear: keeps commands from queueing behind speech
const LONGEST_S = 600;
const ONSET = 0.02; // RMS at which the microphone counts as speaking
const QUIET_MS = 500;

/** Decode any sound the browser knows into mono s16: {samples, rate, seconds}. */
export async function decodeSpeech(bytes) {
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(bytes);
  } catch {
    throw new Problem({ code: "bad_speech" });
  }
  if (sound.duration > LONGEST_S) throw new Problem({ code: "long_speech" });
  const samples = new Int16Array(sound.length);
  const channels = Array.from({ length: sound.numberOfChannels }, (_, k) => sound.getChannelData(k));
  for (let k = 0; k < samples.length; k += 1) {
    let sum = 0;
    for (const channel of channels) sum += channel[k];
    samples[k] = Math.max(-1, Math.min(1, sum / channels.length)) * 32767;
  }
  return { samples, rate: RATE, seconds: sound.duration };
}

/** Streams decoded speech, a little ahead of real time, over one wire or, where that breaks, the next. */
export class Utterance {
  #timer = null;
  #at = 0;
  #finish;
  running = true; // not all is sent, nor was it stopped
  /** Resolves when all is sent (and committed) or stop() was called. */
  sent = new Promise((resolve) => { this.#finish = resolve; });

  constructor({ samples, rate }) {
    Object.assign(this, { samples, rate });
  }

  /** Begin, or go on where pause() left it. */
  send(wire) {
    this.pause();
    wire.announce(this.rate);
    const began = performance.now();
    const first = Math.max(this.#at, (AHEAD_MS * this.rate) / 1000);
    const step = () => {
      const due = first + ((performance.now() - began) * this.rate) / 1000;
      while (this.#at < Math.min(due, this.samples.length) && wire.waiting < 262144) {
        const end = this.#at + (this.rate * SLICE_MS) / 1000;
        wire.sendSpeech(this.samples.subarray(this.#at, end));
        this.#at = end;
      }
      if (this.#at < this.samples.length && wire.isOpen) return;
      wire.send({ type: "input_audio_buffer.commit" });
      this.stop();
    };
    this.#timer = setInterval(step, SLICE_MS);
    step();
  }

  pause() {
    clearInterval(this.#timer);
  }

  stop() {
    this.pause();
    this.running = false;
    this.#finish();
  }
}

/** The microphone: one track for WebRTC, the same samples for the WebSocket, and a level. */
export class Microphone {
  #stream = null;
  #source = null;
  #recorder = null;
  #watch = null;
  #quietSince = 0;
  #muted = false;
  level = 0;
  /** Called when a voice sets in after quiet. */
  onOnset = () => {};

  /** Ask for it. With headphones nothing needs cancelling and the voice goes in as it is. */
  async open(headphones, context) {
    if (!navigator.mediaDevices) throw new Problem({ code: "mic_insecure" });
    const clean = !headphones;
    try {
      this.#stream = await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: clean, noiseSuppression: clean, autoGainControl: clean },
      });
    } catch (error) {
      const codes = { NotAllowedError: "mic_denied", SecurityError: "mic_denied", NotFoundError: "mic_absent" };
      throw new Problem({ code: codes[error.name] || "mic_busy" });
    }
    this.muted = this.#muted; // before anything is made of its sound
    this.context = context;
    this.#source = context.createMediaStreamSource(this.#stream);
    const analyser = new AnalyserNode(context, { fftSize: 1024 });
    this.#source.connect(analyser);
    const window = new Float32Array(analyser.fftSize);
    this.#watch = setInterval(() => this.#measure(analyser, window), 20);
  }

  get track() {
    return this.#stream?.getAudioTracks()[0] ?? null;
  }

  set muted(value) {
    this.#muted = value;
    if (this.track) this.track.enabled = !value;
  }

  /** Send the samples over a wire (the WebSocket route). */
  async feed(wire) {
    await this.context.audioWorklet.addModule(new URL("./worklet-record.js", import.meta.url));
    this.#recorder?.disconnect(); // of a wire before
    this.#recorder = new AudioWorkletNode(this.context, "livehead-record", { numberOfOutputs: 0 });
    const { sampleRate } = this.context;
    wire.announce(sampleRate / Math.ceil(sampleRate / RATE)); // as worklet-record.js averages it
    this.#recorder.port.onmessage = ({ data }) => {
      if (wire.waiting < 65536) wire.sendSpeech(data); // a blocked network: drop, do not fall behind
    };
    this.#source.connect(this.#recorder);
  }

  #measure(analyser, window) {
    analyser.getFloatTimeDomainData(window);
    this.level = Math.sqrt(window.reduce((sum, value) => sum + value * value, 0) / window.length);
    const now = performance.now();
    if (this.level < ONSET) return;
    if (now - this.#quietSince > QUIET_MS) this.onOnset();
    this.#quietSince = now;
  }

  close() {
    clearInterval(this.#watch);
    this.#recorder?.disconnect();
    this.#source?.disconnect();
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#stream = null;
  }
}
