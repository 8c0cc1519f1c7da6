/** Audio thread: hands the microphone's samples to the page, 20 ms of s16 mono at a time. */

const MAX_RATE = 48000; // the fastest that servers take; faster devices are averaged down

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.factor = Math.ceil(sampleRate / MAX_RATE);
    this.block = new Int16Array(Math.round(sampleRate / this.factor / 50));
    this.filled = 0;
    this.sum = 0;
    this.summed = 0;
  }

  process(inputs) {
    for (const value of inputs[0][0] ?? []) {
      this.sum += value;
      this.summed += 1;
      if (this.summed === this.factor) this.take(this.sum / this.factor);
    }
    return true;
  }

  take(value) {
    this.sum = 0;
    this.summed = 0;
    this.block[this.filled] = Math.max(-1, Math.min(1, value)) * 32767;
    this.filled += 1;
    if (this.filled < this.block.length) return;
    const full = this.block;
    this.block = new Int16Array(full.length);
    this.filled = 0;
    this.port.postMessage(full, [full.buffer]);
  }
}

registerProcessor("livehead-record", Recorder);
