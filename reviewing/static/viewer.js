// A picture with boxes over it. Boxes are [x, y, width, height] in pixels of the photo; `frame` is the part that the picture shows.

import { ask, attempt } from "./server.js";
import { wrapped } from "./short_names.js";

const SVG = "http://www.w3.org/2000/svg";
const LEAST = 3; // pixels on the screen; a shorter drag is a click, and a mouse that moved less is still
const LETTERS = [10, 13]; // pixels on the screen: the size of a name's letters, on a narrow picture and on a wide one
const WIDE = 600; // pixels on the screen
const WIDTH = 0.58; // of a letter, as a share of its size
const LINES = 3; // of a name, at most

function shape(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

const rectangle = ([x, y, width, height], attributes) => shape("rect", { x, y, width, height, ...attributes });

export class Viewer {
  // onDraw(bbox, event) is called when a person has drawn a box, onClick(point) when one has clicked where no box is.
  constructor(place, onDraw = null, onClick = null) {
    this.image = document.createElement("img");
    this.svg = shape("svg", { preserveAspectRatio: "none" });
    place.replaceChildren(this.image, this.svg);
    this.onDraw = onDraw;
    this.onClick = onClick;
    this.boxes = [];
    this.nodes = new Map();
    this.abort = () => {}; // the drag that is under way
    this.still = null; // where the mouse was when a box was drawn: what is laid under it since was not pointed at
    this.over = null; // the box that the mouse points at
    this.image.addEventListener("error", () => attempt(() => this.failed()));
    new ResizeObserver(() => this.draw(this.boxes)).observe(this.svg);
    if (onDraw) this.svg.addEventListener("pointerdown", (event) => this.begin(event));
    this.svg.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  // Whether a person can see what is shown.
  get isSeen() {
    return this.image.complete && this.image.naturalWidth > 0;
  }

  // Tells why the picture cannot be seen, in the server's words where it has some.
  async failed() {
    const { url } = this, { alt } = this.image;
    const why = await ask(url).then(() => "it cannot be shown", (error) => error.message);
    if (url === this.url && !this.isSeen) throw new Error(`${alt}: no picture (${why})`);
  }

  show(url, frame, alt) {
    if (url !== this.url) this.abort(); // a drag is of the picture that it began on
    const isThere = url === this.url && this.isSeen;
    this.url = url;
    this.frame = frame;
    this.svg.setAttribute("viewBox", frame.join(" "));
    this.image.alt = alt;
    this.image.width = Math.round(frame[2]);
    this.image.height = Math.round(frame[3]);
    if (!isThere) this.image.src = url;
    this.draw([]);
  }

  // Each box: {key, bbox, stroke, kind, label, title, onclick, oncontextmenu, onpoint, selected}; larger ones lie below smaller.
  draw(boxes) {
    if (!this.frame) return;
    this.boxes = boxes;
    const focused = [...this.nodes.keys()].find((key) => this.hasFocus(key));
    const place = [...this.nodes.keys()].indexOf(focused);
    this.nodes.clear();
    const shown = this.svg.clientWidth || WIDE;
    const size = (LETTERS[Number(shown >= WIDE)] * this.frame[2]) / shown;
    const ordered = [...boxes].sort((a, b) => b.bbox[2] * b.bbox[3] - a.bbox[2] * a.bbox[3]);
    const nodes = ordered.map((box) => {
      const node = rectangle(box.bbox, { class: `${box.kind || ""} ${box.selected ? "selected" : ""}` });
      if (box.stroke) node.style.stroke = box.stroke;
      if (box.kind === "beside") node.style.pointerEvents = "none";
      if (box.title) node.setAttribute("aria-label", box.title);
      if (box.onpoint) {
        node.setAttribute("tabindex", "0");
        node.addEventListener("pointermove", (event) => {
          const isStill = this.still && Math.hypot(event.clientX - this.still[0], event.clientY - this.still[1]) < LEAST;
          if (isStill || this.over === node) return;
          this.over = node;
          box.onpoint();
        });
        node.addEventListener("focus", () => { if (!this.isRedrawing) box.onpoint(); });
      }
      if (box.onclick) {
        node.setAttribute("role", "button");
        node.addEventListener("keydown", (event) => this.pressed(event, box));
      }
      node.onBoxClick = box.onclick;
      if (box.oncontextmenu) node.addEventListener("contextmenu", box.oncontextmenu);
      if (box.key) this.nodes.set(box.key, node);
      return node;
    });
    const labels = ordered.filter((box) => box.label).map((box) => this.label(box, size));
    this.svg.replaceChildren(...nodes, ...labels);
    this.isRedrawing = this.nodes.has(focused); // a box that keeps the focus is not pointed at anew
    if (focused) (this.nodes.get(focused) ?? [...this.nodes.values()].at(place) ?? [...this.nodes.values()].at(-1))?.focus();
    this.isRedrawing = false;
  }

  hasFocus(key) {
    return this.nodes.has(key) && this.nodes.get(key) === document.activeElement;
  }

  focus(key) {
    this.nodes.get(key)?.focus();
  }

  // Space is a click on the box that has the focus, and so is Enter where it is dashed.
  pressed(event, box) {
    if (event.key !== " " && !(event.key === "Enter" && box.kind === "faint")) return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat) box.onclick(event);
  }

  // The name of a box, at its top, in as many lines as its width asks for and its height allows.
  label({ bbox: [x, y, width, height], label }, size) {
    const text = shape("text", { "font-size": size, "stroke-width": size / 5 });
    const lines = wrapped(label, Math.max(2, Math.floor(width / (size * WIDTH))), Math.min(LINES, Math.floor(height / size)));
    text.replaceChildren(...lines.map((line, k) => {
      const span = shape("tspan", { x: x + size / 4, y: y + size * (k + 1.05) });
      span.textContent = line;
      return span;
    }));
    return text;
  }

  // Emphasises the box with this key, and no other.
  mark(key) {
    for (const [own, node] of this.nodes) node.classList.toggle("selected", own === key);
  }

  point(event) {
    const place = this.svg.getBoundingClientRect();
    const [x, y, width, height] = this.frame;
    return [x + ((event.clientX - place.left) / place.width) * width, y + ((event.clientY - place.top) / place.height) * height];
  }

  begin(event) {
    this.abort(); // a second finger means no box
    if (event.button !== 0 || !event.isPrimary) return;
    event.preventDefault();
    document.activeElement?.blur();
    const start = this.point(event);
    const target = event.target;
    const drawn = rectangle([...start, 0, 0], { class: "drawing" });
    this.svg.setPointerCapture(event.pointerId);
    const bbox = (end) => [Math.min(start[0], end[0]), Math.min(start[1], end[1]), Math.abs(end[0] - start[0]), Math.abs(end[1] - start[1])];
    const isOther = (later) => later.pointerId !== event.pointerId;
    const move = (later) => {
      if (isOther(later)) return;
      if (!drawn.isConnected) this.svg.append(drawn);
      bbox(this.point(later)).forEach((value, k) => drawn.setAttribute(["x", "y", "width", "height"][k], value));
    };
    const end = (later) => {
      if (isOther(later)) return;
      this.abort();
      const far = Math.abs(later.clientX - event.clientX) > LEAST && Math.abs(later.clientY - event.clientY) > LEAST;
      if (later.type === "pointercancel") return;
      this.still = [later.clientX, later.clientY];
      this.over = null;
      if (far) this.onDraw(bbox(this.point(later)), event);
      else if (target !== this.svg) target.onBoxClick?.(event);
      else this.onClick?.(this.point(later));
    };
    const listeners = { pointermove: move, pointerup: end, pointercancel: end };
    this.abort = () => {
      for (const [kind, listener] of Object.entries(listeners)) this.svg.removeEventListener(kind, listener);
      drawn.remove();
      this.abort = () => {};
    };
    for (const [kind, listener] of Object.entries(listeners)) this.svg.addEventListener(kind, listener);
  }
}
