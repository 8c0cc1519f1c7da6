/* Runs in the page before its own scripts: reads counter and flash off what is shown, hears beeps.

   Works on whichever route the page uses: the video element of a call, or the canvas. */
"use strict";
(() => {
  const BITS = 16;
  const SIDE = 256;
  const probe = { frames: [], flashes: [], beeps: [], route: null };
  window.probe = probe;
  const sheet = new OffscreenCanvas(SIDE, SIDE);
  const pen = sheet.getContext("2d", { willReadFrequently: true });

  /* The frame number (16 cells, most significant left) and whether the lower third is white. */
  function look(source, at) {
    pen.drawImage(source, 0, 0, SIDE, SIDE);
    const row = pen.getImageData(0, 8, SIDE, 1).data;
    let counter = 0;
    for (let bit = 0; bit < BITS; bit += 1) {
      counter = counter * 2 + (row[4 * (bit * 16 + 8)] > 127 ? 1 : 0);
    }
    const flash = pen.getImageData(SIDE / 2, SIDE - 20, 1, 1).data[0] > 127;
    const before = probe.frames.at(-1);
    if (flash && before && !before.flash) probe.flashes.push(at);
    probe.frames.push({ counter, flash, at });
  }

  function watchVideo(video) {
    const shown = (_now, facts) => {
      look(video, facts.expectedDisplayTime);
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  }

  function watchCanvas(canvas) {
    let known = -1;
    const shown = (now) => {
      const { framesShown, route } = window.livehead ?? {};
      if (route === "WebSocket" && framesShown && framesShown !== known) {
        known = framesShown;
        look(canvas, now);
      }
      requestAnimationFrame(shown);
    };
    requestAnimationFrame(shown);
  }

  /* Posts the context time of each onset of sound, exact to the sample. */
  const WORKLET = `registerProcessor("onset", class extends AudioWorkletProcessor {
    constructor() { super(); this.quiet = 0; }
    process([input]) {
      const samples = input[0] || [];
      for (let k = 0; k < samples.length; k++) {
        if (Math.abs(samples[k]) > 0.05) {
          if (this.quiet > sampleRate / 5) this.port.postMessage((currentFrame + k) / sampleRate);
          this.quiet = 0;
        } else this.quiet++;
      }
      return true;
    }
  });`;

  /* Beeps of any node, at the time on the page's clock when they leave the loudspeaker. */
  async function hear(context, node, played) {
    const code = new Blob([WORKLET], { type: "text/javascript" });
    await context.audioWorklet.addModule(URL.createObjectURL(code));
    const onset = new AudioWorkletNode(context, "onset", { numberOfOutputs: 0 });
    let offset = Infinity; // page clock minus context clock; the least delayed look at both counts
    setInterval(() => {
      offset = Math.min(offset, performance.now() - 1000 * context.currentTime);
    }, 7);
    onset.port.onmessage = ({ data }) => {
      const latency = played ? context.outputLatency || context.baseLatency : 0;
      probe.beeps.push(1000 * (data + latency) + offset);
    };
    plain.call(node, onset);
  }

  const plain = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function connect(target, ...rest) {
    if (target === this.context.destination) hear(this.context, this, true);
    return plain.call(this, target, ...rest);
  };

  addEventListener("DOMContentLoaded", () => {
    const video = document.getElementById("face-video");
    watchVideo(video);
    watchCanvas(document.getElementById("face-canvas"));
    let context = null;
    video.addEventListener("playing", () => {
      if (!video.srcObject?.getAudioTracks().length) return;
      context?.close();
      context = new AudioContext({ latencyHint: "interactive" });
      hear(context, context.createMediaStreamSource(video.srcObject), false);
    });
  });
})();
