/** Audio thread: hands the microphone's samples to the page, 20 ms of s16 mono at a time. */

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Int16Array(Math.round(sampleRate / 50));
    this.filled = 0;
  }

  process(inputs) {
    const input = inputs[0][0];
    if (!input) return true;
    for (const value of input) {
      this.block[this.filled] = Math.max(-1, Math.min(1, value)) * 32767;
      this.filled += 1;
      if (this.filled === this.block.length) {
        const full = this.block;
        this.block = new Int16Array(full.length);
        this.filled = 0;
        this.port.postMessage(full, [full.buffer]);
      }
    }
    return true;
  }
}

registerProcessor("livehead-record", Recorder);
