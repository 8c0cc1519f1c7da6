/** The small panel on a portrait of one's own: what was found in it, and how it could be better. */

const MOUTH = { closed: "mouth closed", parted: "lips parted", open: "mouth open", smile_with_teeth: "smiling" };

export class Report {
  #panel = document.getElementById("report");
  #picture = document.getElementById("report-picture");
  #image = document.getElementById("report-image");
  #box = document.getElementById("report-box");
  #title = document.getElementById("report-title");
  #facts = document.getElementById("report-facts");
  #limits = document.getElementById("report-limits");
  #report = null;
  /** Called with the box [x, y, width, height], in shares of the picture, around the face pointed at. */
  onPoint = () => {};

  constructor() {
    this.#picture.onclick = (event) => this.#point(event);
  }

  /** For a picture of one's own; bundled faces are known to be good. */
  show({ portrait, url }, report) {
    this.#report = report;
    this.#panel.hidden = !(portrait && report);
    if (this.#panel.hidden) return;
    this.#image.src = url;
    this.#frame(report);
    const { faces } = report;
    const limits = report.limits.filter(({ code }) => code !== "several_faces"); // the facts say it
    this.#title.textContent = limits.length ? "This picture works" : "A good picture";
    this.#facts.textContent = facts(report);
    this.#limits.replaceChildren(...limits.map(item));
    this.#picture.classList.toggle("choice-of-faces", faces > 1);
    this.#picture.title = faces > 1 ? "Point at another face to choose it" : "";
  }

  hide() {
    this.#panel.hidden = true;
  }

  #frame({ face_box: [left, top, width, height], width: across, height: down }) {
    const share = (value) => `${(100 * value).toFixed(2)}%`;
    Object.assign(this.#box.style, {
      left: share(left / across), top: share(top / down),
      width: share(width / across), height: share(height / down),
    });
  }

  #point({ clientX, clientY }) {
    const { faces, face_box: [, , width, height], width: across, height: down } = this.#report;
    if (faces < 2) return;
    const seen = this.#image.getBoundingClientRect();
    const size = [width / across, height / down];
    const x = (clientX - seen.left) / seen.width - size[0] / 2;
    const y = (clientY - seen.top) / seen.height - size[1] / 2;
    const round = (value) => Number(Math.min(1, Math.max(0, value)).toFixed(4));
    this.onPoint([round(x), round(y), ...size.map(round)]);
  }
}

function facts({ face_box: [, , width], faces, mouth, glasses, black_and_white: grey }) {
  return [
    `${faces > 1 ? "The framed face" : "One face"}, ${Math.round(width)} pixels wide`,
    MOUTH[mouth],
    ...(glasses ? ["glasses"] : []),
    ...(grey ? ["black and white"] : []),
  ].join(", ") + (faces > 1 ? `. ${faces} people are there: point at another to choose it.` : ".");
}

function item({ text, hint }) {
  const line = document.createElement("li");
  line.textContent = text;
  const small = document.createElement("small");
  small.textContent = hint;
  line.append(small);
  return line;
}
