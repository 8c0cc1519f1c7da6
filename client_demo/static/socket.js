/** One WebSocket: speech up, events down and, on the WebSocket route, units (frame + sound) down. */

import { Problem } from "./session.js";

const MAGIC = 0x3155484c; // "LHU1" read as a little-endian word
const HEADER_BYTES = 20;
const OPEN_TIMEOUT_MS = 8000;
const PING_MS = 2000;
const UNHEARD_PINGS = 5; // nothing at all came since so many: the server is gone

/** Split a binary message; returns null for one that is not a unit. */
export function unpack(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEADER_BYTES || view.getUint32(0, true) !== MAGIC) return null;
  const flags = view.getUint16(4, true);
  const videoBytes = view.getUint32(12, true);
  const audioBytes = view.getUint32(16, true);
  if (HEADER_BYTES + videoBytes + audioBytes !== buffer.byteLength) return null;
  return {
    keyframe: Boolean(flags & 1),
    speaking: Boolean(flags & 2),
    jpeg: Boolean(flags & 4),
    generation: view.getUint16(6, true),
    index: view.getUint32(8, true),
    video: new Uint8Array(buffer, HEADER_BYTES, videoBytes),
    pcm: buffer.slice(HEADER_BYTES + videoBytes),
  };
}

export class Wire {
  #socket;
  #pings = null;
  #unheard = 0; // pings since the last message
  rttMs = null;
  /** Set these before open(): they are called for each event, unit, and once at the end. */
  onEvent = () => {};
  onUnit = () => {};
  onClose = () => {};

  constructor(session, video) {
    this.session = session;
    this.video = video;
  }

  /** Resolves with the `session.created` event. */
  open() {
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(this.session.streamUrl(this.video));
      socket.binaryType = "arraybuffer";
      this.#socket = socket;
      const timer = setTimeout(() => this.#fail(reject), OPEN_TIMEOUT_MS);
      socket.onmessage = ({ data }) => {
        this.#unheard = 0;
        if (typeof data !== "string") return this.#unit(data);
        const event = JSON.parse(data);
        if (event.type === "session.created") {
          clearTimeout(timer);
          this.#pings = setInterval(() => this.#ping(), PING_MS);
          this.#ping();
          resolve(event);
        }
        if (event.type === "pong") this.rttMs = performance.now() - this.pingedAt;
        else this.onEvent(event);
      };
      socket.onclose = () => {
        clearTimeout(timer);
        clearInterval(this.#pings);
        reject(new Problem({ code: "lost" }));
        if (this.#socket === socket) this.onClose();
      };
    });
  }

  #fail(reject) {
    this.close();
    reject(new Problem({ code: "lost" }));
  }

  #unit(data) {
    const unit = unpack(data);
    if (unit) this.onUnit(unit);
  }

  #ping() {
    if (this.#unheard === UNHEARD_PINGS) return this.#vanished();
    this.#unheard += 1;
    this.pingedAt = performance.now();
    this.send({ type: "ping" });
  }

  #vanished() {
    this.close();
    this.onClose();
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Bytes that the browser still holds back. */
  get waiting() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  send(message) {
    if (this.isOpen) this.#socket.send(JSON.stringify(message));
  }

  /** Say at which rate the next sendSpeech() samples were taken (mono). */
  announce(rate) {
    this.send({ type: "session.update", audio: { sample_rate: rate, channels: 1 } });
  }

  /** @param {Int16Array} samples */
  sendSpeech(samples) {
    if (this.isOpen) this.#socket.send(samples);
  }

  close() {
    const socket = this.#socket;
    this.#socket = null;
    clearInterval(this.#pings);
    socket?.close(1000);
  }
}
