/** The WebRTC route: picture and sound from the server, the microphone to it. */

import { Problem } from "./session.js";

const CONNECT_TIMEOUT_MS = 9000;
const LOST_AFTER_MS = 5000;

export class Call {
  name = "WebRTC";
  #peer = null;
  #lostTimer = null;
  #gone = false;
  /** Called for each shown frame: ({index}) counted in frames of media time since the first. */
  onFrame = () => {};
  /** Called once when an established call dies. */
  onLost = () => {};

  constructor(session, video) {
    this.session = session;
    this.video = video;
    this.stream = new MediaStream();
  }

  static get supported() {
    return "RTCPeerConnection" in window;
  }

  /** Connect; `microphone` is a MediaStreamTrack or null. Rejects when no way to the server is found. */
  async connect(microphone) {
    const peer = new RTCPeerConnection({
      iceServers: this.session.iceServers, bundlePolicy: "max-bundle",
    });
    this.#peer = peer;
    peer.addTransceiver(microphone || "audio", { direction: microphone ? "sendrecv" : "recvonly" });
    preferH264(peer.addTransceiver("video", { direction: "recvonly" }));
    peer.ontrack = ({ track }) => this.stream.addTrack(track);
    const connected = this.#connected(peer);
    connected.catch(() => {}); // a failed offer below rejects first
    const held = [];
    let answered = false;
    peer.onicecandidate = ({ candidate }) => {
      if (!candidate) return;
      if (answered) this.#trickle(candidate);
      else held.push(candidate);
    };
    await peer.setLocalDescription();
    const { sdp, type } = peer.localDescription;
    const answer = await this.session.offer({ sdp, type });
    await peer.setRemoteDescription(answer);
    answered = true;
    held.forEach((candidate) => this.#trickle(candidate));
    await connected;
    await this.#play();
  }

  #trickle({ candidate, sdpMid, sdpMLineIndex }) {
    if (this.#gone || !candidate) return;
    this.session.candidate({ candidate, sdpMid, sdpMLineIndex }).catch(() => {
      // One candidate that the server refuses is no reason to stop: the others may connect.
    });
  }

  #connected(peer) {
    return new Promise((resolve, reject) => {
      const fail = () => reject(new Problem({ code: "no_webrtc" }));
      const timer = setTimeout(fail, CONNECT_TIMEOUT_MS);
      peer.onconnectionstatechange = () => {
        const state = peer.connectionState;
        clearTimeout(this.#lostTimer);
        if (state === "connected") {
          clearTimeout(timer);
          resolve();
        } else if (state === "failed" || state === "closed") {
          clearTimeout(timer);
          fail();
          this.#lost();
        } else if (state === "disconnected") {
          this.#lostTimer = setTimeout(() => this.#lost(), LOST_AFTER_MS);
        }
      };
    });
  }

  #lost() {
    if (this.#gone) return;
    this.#gone = true;
    this.onLost();
  }

  async #play() {
    this.video.srcObject = this.stream;
    this.#watch();
    await this.video.play();
  }

  #watch() {
    const video = this.video;
    const perFrame = 90000 / this.session.video.fps;
    let origin = null;
    let counted = 0;
    const shown = (_now, facts) => {
      if (this.#gone) return;
      origin ??= facts.rtpTimestamp;
      counted += 1;
      const ticks = (facts.rtpTimestamp - origin + 2 ** 32) % 2 ** 32;
      this.onFrame({ index: origin === undefined ? counted : Math.round(ticks / perFrame) });
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  }

  /** How the packets travel and how long there and back: {type, rttMs}. */
  async facts() {
    const report = await this.#peer.getStats();
    const pair = [...report.values()].find(
      (row) => row.type === "candidate-pair" && row.nominated && row.state === "succeeded",
    );
    const local = pair && report.get(pair.localCandidateId);
    const relayed = local?.candidateType === "relay";
    const rtt = pair?.currentRoundTripTime;
    return { type: relayed ? "WebRTC, relayed" : "WebRTC", rttMs: rtt === undefined ? null : rtt * 1000 };
  }

  close() {
    this.#gone = true;
    clearTimeout(this.#lostTimer);
    this.#peer?.close();
    this.stream.getTracks().forEach((track) => this.stream.removeTrack(track));
    this.video.srcObject = null;
  }
}

/** The server's own encoding is H.264; asking for it first saves the server a second encoder. */
function preferH264(transceiver) {
  const all = RTCRtpReceiver.getCapabilities?.("video")?.codecs;
  if (!all || !transceiver.setCodecPreferences) return;
  const first = all.filter((codec) => codec.mimeType === "video/H264");
  transceiver.setCodecPreferences([...first, ...all.filter((codec) => !first.includes(codec))]);
}
