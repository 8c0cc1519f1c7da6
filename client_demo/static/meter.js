/** Measurements: frames a second, delay to the first speaking frame, round trip. */

const WINDOW_MS = 2000;
const FORGET_MS = 8000; // speech that has not been answered by then is not going to be
const VOICE_WAIT_MS = 2000; // after that it was a noise that the server did not take for a voice

export class Meter {
  #times = []; // when frames were shown, the last two seconds
  #sentAt = null;
  #armed = false; // a frame that does not speak was seen since: the next that does answers
  framesShown = 0;
  lastFrameIndex = -1;
  delayMs = null;
  rttMs = null;

  reset() {
    this.#times.length = 0;
    this.#sentAt = null;
    Object.assign(this, { framesShown: 0, lastFrameIndex: -1, delayMs: null, rttMs: null });
  }

  /** Speech begins to leave for the server, while it still talks or not. */
  speechSent(talking) {
    this.#sentAt = performance.now();
    this.#armed = !talking;
  }

  /** A voice sets in at the microphone; one that waits for its answer already goes first. */
  voiceHeard() {
    const waiting = this.#sentAt !== null && performance.now() - this.#sentAt < VOICE_WAIT_MS;
    if (!waiting) this.speechSent(false);
  }

  /** The first frame after speechSent() that shows `speaking` ends the measurement. */
  frame(index, speaking) {
    const now = performance.now();
    this.framesShown += 1;
    this.lastFrameIndex = index;
    this.#times.push(now);
    while (now - this.#times[0] > WINDOW_MS) this.#times.shift();
    if (!speaking) this.#armed = true;
    else if (this.#armed && this.#sentAt !== null) {
      if (now - this.#sentAt < FORGET_MS) this.delayMs = now - this.#sentAt;
      this.#sentAt = null;
    }
  }

  get fps() {
    const times = this.#times;
    if (times.length < 2 || performance.now() - times.at(-1) > 1000) return 0;
    return ((times.length - 1) * 1000) / (times.at(-1) - times[0]);
  }
}

/** A loudness reader for any audio node or incoming stream, 0 to about 1. */
export function levelOf(context, source) {
  const node = source instanceof MediaStream ? context.createMediaStreamSource(source) : source;
  const analyser = new AnalyserNode(context, { fftSize: 512 });
  node.connect(analyser);
  const window = new Float32Array(analyser.fftSize);
  return () => {
    analyser.getFloatTimeDomainData(window);
    const power = window.reduce((sum, value) => sum + value * value, 0) / window.length;
    return Math.min(1, Math.sqrt(power) * 5);
  };
}
