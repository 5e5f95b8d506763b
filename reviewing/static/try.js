// First tab: a photo in; boxes, evidence, facings and a planogram out.

import { ask, attempt, colour, element, tell } from "./server.js";
import { shortNames } from "./short_names.js";
import { get } from "./tab.js";
import { Viewer } from "./viewer.js";

const percent = (share) => `${(100 * share).toFixed(1)} %`;

export function begin(state) {
  const viewer = new Viewer(get("try-view"));
  const short = shortNames(state.products.map((product) => product.name));
  const floor = get("floor");
  floor.min = Math.min(Number(floor.min), state.floor);
  let least = state.floor; // exactly: the slider rounds
  let photo = null;
  let timer = 0;
  let uploads = 0;

  async function upload(file) {
    if (!file) return;
    if (file.size > state.limits.bytes) {
      throw new Error(`${file.name} has ${Math.round(file.size / 1e6)} MB, at most ${state.limits.bytes / 1e6} MB are taken; send a smaller JPEG`);
    }
    tell(`looking at ${file.name} …`);
    const started = performance.now();
    const own = (uploads += 1);
    const answer = await ask("/photos", { method: "POST", body: file, headers: { "x-photo-name": encodeURIComponent(file.name) } });
    if (own !== uploads) return; // another photo was asked for meanwhile
    photo = answer;
    get("seconds").textContent = `found and named in ${((performance.now() - started) / 1000).toFixed(1)} s`;
    tell(photo.remark);
    floor.value = least = state.floor;
    get("result").hidden = false;
    get("hover").textContent = "Point at a box, or reach it with the Tab key, to see why it has its name.";
    viewer.show(`/photos/${photo.id}/shown.jpg`, [0, 0, photo.shelf.width, photo.shelf.height], `photo ${photo.shelf.photo}`);
    show(photo.shelf);
    get("result").dataset.photo = photo.id;
  }

  function explain(box, name) {
    const list = (pairs) => pairs.map(([own, p]) => `${own} ${percent(p)}`).join(", ") || "gives no names";
    get("hover").replaceChildren(
      element("strong", {}, `${name}, score ${box.score.toFixed(3)}`),
      element("dl", {},
        element("dt", {}, "detector"), element("dd", {}, list(box.detector)),
        element("dt", {}, "classifier"), element("dd", {}, list(box.classifier)),
        element("dt", {}, "a product at all"), element("dd", {}, percent(box.objectness)),
        element("dt", {}, "why"), element("dd", {}, box.why)),
    );
  }

  const nameOf = (id) => state.products.find((product) => product.id === id)?.name ?? `id ${id}`;

  function showBoxes() {
    get("floor-value").textContent = least.toFixed(3);
    viewer.draw(photo.candidates.filter((box) => box.score >= least).map((box) => {
      const name = nameOf(box.category_id);
      return { bbox: box.bbox, stroke: colour(box.category_id), label: short.get(name), title: `${name}, ${box.score.toFixed(2)}`, onpoint: () => explain(box, name) };
    }));
  }

  function show(shelf) {
    showBoxes();
    const chip = (id) => {
      const node = element("span", { class: "chip" });
      node.style.background = colour(id);
      return node;
    };
    get("facings").tBodies[0].replaceChildren(...shelf.facings.map((row) => element("tr", {},
      element("td", {}, chip(row.category_id), row.name), element("td", {}, String(row.facings)),
      element("td", {}, percent(row.share_by_count)), element("td", {}, percent(row.share_by_width)))));
    const rows = new Map();
    for (const box of shelf.boxes) rows.set(box.row, [...(rows.get(box.row) || []), box]);
    get("planogram").replaceChildren(...[...rows.values()].map((boxes) => element("div", { class: "shelf" }, ...boxes.map((box) => {
      const node = element("div", { class: "facing", title: `row ${box.row}, place ${box.place}` }, box.name);
      node.style.borderTopColor = colour(box.category_id);
      return node;
    }))));
    for (const link of document.querySelectorAll("[data-file]")) {
      link.href = `/photos/${photo.id}/${link.dataset.file}?floor=${shelf.floor}`;
      link.download = link.dataset.file;
    }
  }

  // An answer about another photo or floor than those on the page comes too late.
  const refresh = () => attempt(async () => {
    const { id } = photo, asked = least;
    const shelf = await ask(`/photos/${id}/shelf?floor=${asked}`);
    if (photo.id === id && least === asked) show(shelf);
  });
  floor.addEventListener("input", () => {
    least = Number(floor.value);
    showBoxes();
    clearTimeout(timer);
    timer = setTimeout(refresh, 120);
  });
  get("floor-reset").addEventListener("click", () => {
    floor.value = least = state.floor;
    refresh();
  });
  get("file").addEventListener("change", (event) => attempt(() => upload(event.target.files[0])).then(() => { event.target.value = ""; }));
  const drop = get("drop");
  for (const kind of ["dragover", "dragleave", "drop"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop") attempt(() => upload(event.dataTransfer.files[0]));
    });
  }
}
