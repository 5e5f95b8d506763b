// A picture with boxes over it. Boxes are [x, y, width, height] in pixels of the photo; `frame` is the part that the picture shows.

const SVG = "http://www.w3.org/2000/svg";
const LEAST = 3; // pixels on the screen; a shorter drag is a click

function shape(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

const rectangle = ([x, y, width, height], attributes) => shape("rect", { x, y, width, height, ...attributes });

export class Viewer {
  // onDraw(bbox, event) is called when a person has drawn a box.
  constructor(place, onDraw = null) {
    this.image = document.createElement("img");
    this.svg = shape("svg", { preserveAspectRatio: "none" });
    place.replaceChildren(this.image, this.svg);
    this.onDraw = onDraw;
    if (onDraw) this.svg.addEventListener("pointerdown", (event) => this.begin(event));
    this.svg.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  show(url, frame, alt) {
    this.frame = frame;
    this.svg.setAttribute("viewBox", frame.join(" "));
    this.image.alt = alt;
    this.image.width = Math.round(frame[2]);
    this.image.height = Math.round(frame[3]);
    this.image.src = url;
    this.svg.replaceChildren();
  }

  // Each box: {bbox, stroke, kind, label, title, onclick, oncontextmenu, onpoint, selected}; larger boxes lie below smaller ones.
  draw(boxes) {
    const size = this.frame[2] / 60;
    const ordered = [...boxes].sort((a, b) => b.bbox[2] * b.bbox[3] - a.bbox[2] * a.bbox[3]);
    const nodes = ordered.map((box) => {
      const node = rectangle(box.bbox, { class: `${box.kind || ""} ${box.selected ? "selected" : ""}` });
      if (box.stroke) node.style.stroke = box.stroke;
      if (box.kind === "beside") node.style.pointerEvents = "none";
      if (box.title) node.setAttribute("aria-label", box.title);
      if (box.onpoint) {
        node.setAttribute("tabindex", "0");
        node.addEventListener("pointerenter", box.onpoint);
        node.addEventListener("focus", box.onpoint);
      }
      node.onBoxClick = box.onclick;
      if (box.oncontextmenu) node.addEventListener("contextmenu", box.oncontextmenu);
      return node;
    });
    const labels = ordered.filter((box) => box.label).map((box) => {
      const text = shape("text", { x: box.bbox[0] + size / 5, y: box.bbox[1] + size, "font-size": size, "stroke-width": size / 6 });
      const room = Math.max(3, Math.floor(box.bbox[2] / (size * 0.55)));
      text.textContent = box.label.length > room ? `${box.label.slice(0, room - 1)}…` : box.label;
      return text;
    });
    this.svg.replaceChildren(...nodes, ...labels);
  }

  point(event) {
    const place = this.svg.getBoundingClientRect();
    const [x, y, width, height] = this.frame;
    return [x + ((event.clientX - place.left) / place.width) * width, y + ((event.clientY - place.top) / place.height) * height];
  }

  begin(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    document.activeElement?.blur();
    const start = this.point(event);
    const target = event.target;
    const drawn = rectangle([...start, 0, 0], { class: "drawing" });
    this.svg.setPointerCapture(event.pointerId);
    const bbox = (end) => [Math.min(start[0], end[0]), Math.min(start[1], end[1]), Math.abs(end[0] - start[0]), Math.abs(end[1] - start[1])];
    const move = (later) => {
      if (!drawn.isConnected) this.svg.append(drawn);
      bbox(this.point(later)).forEach((value, k) => drawn.setAttribute(["x", "y", "width", "height"][k], value));
    };
    const end = (later) => {
      this.svg.removeEventListener("pointermove", move);
      drawn.remove();
      const far = Math.abs(later.clientX - event.clientX) > LEAST && Math.abs(later.clientY - event.clientY) > LEAST;
      if (later.type === "pointercancel") return;
      if (far) this.onDraw(bbox(this.point(later)), event);
      else target.onBoxClick?.(event);
    };
    this.svg.addEventListener("pointermove", move);
    this.svg.addEventListener("pointerup", end, { once: true });
  }
}
