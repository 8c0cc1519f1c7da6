/** Encoded pictures to drawable ones: H.264 by WebCodecs, JPEG where that is missing. */

const HELD_PICTURES = 50; // two seconds; beyond that the oldest is dropped, for a newer one exists

/** Whether this browser can decode the server's H.264 without a media element. */
export async function canDecodeH264() {
  if (!("VideoDecoder" in window)) return false;
  try {
    return (await VideoDecoder.isConfigSupported({ codec: "avc1.42E01F" })).supported === true;
  } catch {
    return false;
  }
}

/** Decoded pictures by frame index, oldest first; the caller takes the newest one that is due. */
export class Pictures {
  #held = []; // {index, image, speaking}

  add(picture) {
    this.#held.push(picture);
    this.#held.sort((a, b) => a.index - b.index);
    if (this.#held.length > HELD_PICTURES) this.#held.shift().image.close();
  }

  /** The newest picture whose index is not after `index`; closes the ones it passes over. */
  take(index) {
    let due = null;
    while (this.#held.length && this.#held[0].index <= index) {
      due?.image.close();
      due = this.#held.shift();
    }
    return due;
  }

  clear() {
    this.#held.splice(0).forEach(({ image }) => image.close());
  }
}

/** Annex-B H.264 units in, pictures out. After an error it waits for the next keyframe. */
export class H264 {
  #decoder = null;
  #speaking = new Map(); // timestamp -> speaking, for units inside the decoder

  constructor(pictures, onError) {
    this.pictures = pictures;
    this.onError = onError;
  }

  push(unit) {
    if (!this.#decoder) {
      if (!unit.keyframe) return;
      this.#open(unit.video);
    }
    this.#speaking.set(unit.index, unit.speaking);
    this.#decoder.decode(new EncodedVideoChunk({
      type: unit.keyframe ? "key" : "delta", timestamp: unit.index, data: unit.video,
    }));
  }

  #open(video) {
    this.#decoder = new VideoDecoder({
      output: (image) => {
        const index = image.timestamp;
        this.pictures.add({ index, image, speaking: this.#speaking.get(index) ?? false });
        for (const held of this.#speaking.keys()) if (held <= index) this.#speaking.delete(held);
      },
      error: () => {
        this.close();
        this.onError();
      },
    });
    this.#decoder.configure({ codec: codecName(video), optimizeForLatency: true });
  }

  close() {
    if (this.#decoder && this.#decoder.state !== "closed") this.#decoder.close();
    this.#decoder = null;
    this.#speaking.clear();
  }
}

/** JPEG units in, pictures out. */
export class Jpeg {
  constructor(pictures) {
    this.pictures = pictures;
  }

  async push({ video, index, speaking }) {
    const image = await createImageBitmap(new Blob([video], { type: "image/jpeg" }));
    this.pictures.add({ index, image, speaking });
  }

  close() {}
}

/** The `avc1.PPCCLL` name from the sequence parameter set that opens a keyframe. */
export function codecName(video) {
  for (let at = 0; at + 6 < video.length; at += 1) {
    const start = video[at] === 0 && video[at + 1] === 0 && video[at + 2] === 1;
    if (start && (video[at + 3] & 31) === 7) {
      const hex = [...video.subarray(at + 4, at + 7)].map((byte) => byte.toString(16).padStart(2, "0"));
      return `avc1.${hex.join("")}`;
    }
  }
  return "avc1.42e01f";
}
