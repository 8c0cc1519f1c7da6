/** The WebSocket route: units come in, sound is the clock, each frame is drawn at its sound's time. */

import { H264, Jpeg, Pictures } from "./decode.js";
import { Problem } from "./session.js";

export class Player {
  name = "WebSocket";
  #node = null;
  #report = null; // {index, time}: frame position `index` left the worklet at context time `time`
  #pictures = new Pictures();
  #generation = null;
  #drawing = 0;
  onFrame = () => {};
  onDecodeError = () => {};

  constructor(wire, canvas, context) {
    this.wire = wire;
    this.canvas = canvas;
    this.context = context;
    this.decoder = wire.video === "jpeg"
      ? new Jpeg(this.#pictures)
      : new H264(this.#pictures, () => this.onDecodeError());
  }

  async start() {
    if (!this.context.audioWorklet) throw new Problem({ code: "no_worklet" });
    await this.context.audioWorklet.addModule(new URL("./worklet-play.js", import.meta.url));
    this.#node = new AudioWorkletNode(this.context, "livehead-play", {
      numberOfInputs: 0, outputChannelCount: [1],
    });
    this.#node.port.onmessage = ({ data }) => { this.#report = data; };
    this.#node.connect(this.context.destination);
    this.wire.onUnit = (unit) => this.push(unit);
    const draw = () => {
      this.#draw();
      this.#drawing = requestAnimationFrame(draw);
    };
    draw();
  }

  /** The node that sounds, for a level meter. */
  get output() {
    return this.#node;
  }

  push(unit) {
    if (this.#generation !== null && unit.generation !== this.#generation) {
      this.#node.port.postMessage("clear"); // an interrupt: what waits is no longer wanted
      this.#pictures.clear();
    }
    this.#generation = unit.generation;
    this.#node.port.postMessage({ index: unit.index, pcm: unit.pcm }, [unit.pcm]);
    this.decoder.push(unit);
  }

  /** The frame position that is being heard now, in frames; null before the first sound. */
  heard() {
    if (!this.#report) return null;
    const latency = this.context.outputLatency || this.context.baseLatency || 0;
    const elapsed = this.context.currentTime - latency - this.#report.time;
    const ahead = Math.min(elapsed, 0.1); // no report for long: the sound stands still, so does the face
    return this.#report.index + ahead * this.wire.session.video.fps;
  }

  #draw() {
    const position = this.heard();
    if (position === null) return;
    const due = this.#pictures.take(Math.floor(position));
    if (!due) return;
    const { image, index, speaking } = due;
    const width = image.displayWidth || image.width;
    const height = image.displayHeight || image.height;
    if (this.canvas.width !== width) Object.assign(this.canvas, { width, height });
    this.canvas.getContext("2d").drawImage(image, 0, 0);
    image.close();
    this.onFrame({ index, speaking });
  }

  async facts() {
    const kind = this.wire.video === "jpeg" ? "WebSocket, JPEG" : "WebSocket";
    return { type: kind, rttMs: this.wire.rttMs };
  }

  close() {
    cancelAnimationFrame(this.#drawing);
    this.wire.onUnit = () => {};
    this.#node?.disconnect();
    this.decoder.close();
    this.#pictures.clear();
  }
}
