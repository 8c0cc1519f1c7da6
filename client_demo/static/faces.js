/** The gallery: bundled avatars, and a picture of one's own. */

import { Problem, address, listAvatars } from "./session.js";

const LONGEST_SIDE = 1600;

export class Faces {
  #gallery = document.getElementById("gallery");
  #preview = document.getElementById("portrait");
  #own = null; // {blob, url}
  #input = null;
  chosen = null; // {avatarId} or {portrait, url, box: of the face to take, or absent}
  /** Called after a choice by the person; and with a Problem when a picture cannot be read. */
  onChoose = () => {};
  onProblem = () => {};

  async load() {
    const avatars = await listAvatars();
    this.#gallery.replaceChildren(...avatars.map((avatar) => this.#tile(avatar)), this.#addTile());
    if (avatars.length) this.#select(this.#gallery.querySelector("input"));
  }

  #tile({ id, name, image_url: imageUrl }) {
    const tile = document.createElement("label");
    tile.className = "tile";
    tile.innerHTML = '<input type="radio" name="face"><img alt="" loading="lazy"><span></span>';
    const [input, image, caption] = tile.children;
    input.value = id;
    image.src = address(imageUrl);
    caption.textContent = name;
    input.dataset.image = image.src;
    input.onchange = () => {
      this.#select(input);
      this.onChoose();
    };
    return tile;
  }

  #addTile() {
    const tile = document.createElement("label");
    tile.className = "tile";
    tile.innerHTML = '<input type="file" id="portrait-file" accept="image/*"><b class="add">'
      + '<svg aria-hidden="true"><use href="#i-plus"/></svg></b><span>Add yours</span>';
    this.#input = tile.firstChild;
    this.#input.onchange = () => this.take(this.#input.files[0]);
    return tile;
  }

  #select(input) {
    input.checked = true;
    this.#preview.src = input.dataset.image;
    this.#preview.hidden = false;
    this.chosen = input.value === "own" ? { portrait: this.#own.blob, url: this.#own.url } : { avatarId: input.value };
  }

  /** Use a picture file that was chosen or dropped. */
  async take(file) {
    if (!file) return;
    this.#input.value = "";
    try {
      const blob = await shrink(file);
      if (this.#own) URL.revokeObjectURL(this.#own.url);
      this.#own = { blob, url: URL.createObjectURL(blob) };
    } catch {
      this.onProblem(new Problem({ code: "bad_image" }));
      return;
    }
    this.#gallery.querySelector('[value="own"]')?.parentElement.remove();
    const tile = this.#tile({ id: "own", name: "Yours", image_url: this.#own.url });
    this.#gallery.lastChild.before(tile);
    this.#select(tile.firstChild);
    this.onChoose();
  }
}

/** A camera's photo is far larger than a face needs: scale it down, which also drops its metadata. */
async function shrink(file) {
  const image = await createImageBitmap(file);
  const scale = LONGEST_SIDE / Math.max(image.width, image.height);
  if (scale >= 1 && /^image\/(png|jpeg|webp)$/.test(file.type)) return file;
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(image.width * Math.min(1, scale));
  canvas.height = Math.round(image.height * Math.min(1, scale));
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("empty"))), "image/jpeg", 0.92);
  });
}
