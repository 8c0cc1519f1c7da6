/** Audio thread: plays units' sound in order and reports which frame is being heard. */

const HELD_UNITS = 50; // two seconds; beyond that the oldest go, so that delay cannot build up
const LATE_UNITS = 12; // more than this waiting for a whole second: skip forward
const REPORT_EVERY = 8; // blocks of 128 samples, about 21 ms

class Player extends AudioWorkletProcessor {
  constructor() {
    super();
    this.queue = []; // {index, samples}
    this.at = 0; // samples of queue[0] already played
    this.playing = false;
    this.wanted = 2; // units to hold before sound starts; grows after a gap
    this.blocks = 0;
    this.late = 0;
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  receive(data) {
    if (data === "clear") {
      this.queue.length = 0;
      this.at = 0;
      this.playing = false;
      return;
    }
    const whole = new Int16Array(data.pcm);
    this.queue.push({ index: data.index, samples: Float32Array.from(whole, (value) => value / 32768) });
    if (this.queue.length > HELD_UNITS) this.skip(this.wanted);
  }

  skip(keep) {
    this.queue.splice(0, Math.max(0, this.queue.length - keep));
    this.at = 0;
  }

  process(_inputs, outputs) {
    const out = outputs[0][0];
    if (!this.playing && this.queue.length >= this.wanted) this.playing = true;
    if (this.playing) this.fill(out);
    this.blocks += 1;
    if (this.blocks % REPORT_EVERY === 0) this.report();
    return true;
  }

  fill(out) {
    let done = 0;
    while (done < out.length && this.queue.length) {
      const { samples } = this.queue[0];
      const part = samples.subarray(this.at, this.at + out.length - done);
      out.set(part, done);
      done += part.length;
      this.at += part.length;
      if (this.at >= samples.length) {
        this.queue.shift();
        this.at = 0;
      }
    }
    if (done < out.length) { // ran dry: silence, and hold a little more next time
      this.playing = false;
      this.wanted = Math.min(6, this.wanted + 1);
    }
  }

  report() {
    this.late = this.queue.length > LATE_UNITS ? this.late + 1 : 0;
    if (this.late * REPORT_EVERY * 128 > sampleRate) {
      this.skip(this.wanted);
      this.late = 0;
    }
    const head = this.queue[0];
    if (!head || !this.playing) return;
    const index = head.index + this.at / head.samples.length;
    this.port.postMessage({ index, time: currentTime + 128 / sampleRate, waiting: this.queue.length });
  }
}

registerProcessor("livehead-play", Player);
