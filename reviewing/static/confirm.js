// Third tab: photos without labels, the most doubtful first; boxes to confirm.

import { ask, attempt, colour, element, send, tell } from "./server.js";
import { askName } from "./naming.js";
import { Viewer } from "./viewer.js";

const get = (id) => document.getElementById(id);
const WAIT = 1500; // ms between two looks at what is predicted meanwhile

export async function begin(state) {
  if (state.notes.confirm) {
    get("confirm-note").textContent = state.notes.confirm;
    get("confirm-note").hidden = false;
    return () => {};
  }
  get("confirm-work").hidden = false;
  get("confirmed-fit").textContent = `hylle fit ${state.confirmed} --minutes 30`;
  let products = state.products;
  let photo = null;
  let boxes = [];
  let selected = null;
  let pointed = null; // the box under the mouse: keys act on it where none is selected
  const skipped = new Set();

  const viewer = new Viewer(get("confirm-view"), (bbox, event) => {
    if (event.shiftKey && selected) {
      selected.bbox = bbox;
      show();
      return;
    }
    const box = { bbox, counts: true, guesses: [], name: "" };
    boxes.push(box);
    selected = box;
    show();
    name(box, "");
  });

  // Asks for a name; a new box that gets none is taken away again.
  function name(box, first) {
    askName(get("confirm-name"), products, true, first, (given) => {
      if (given) { delete box.category_id; Object.assign(box, given, { counts: true }); }
      else if (!box.name) remove(box);
      selected = null;
      show();
    });
  }

  function remove(box) {
    boxes = boxes.filter((own) => own !== box);
    if (selected === box) selected = null;
    show();
  }

  function show() {
    if (!photo) return;
    viewer.draw(boxes.map((box) => ({
      bbox: box.bbox,
      stroke: box.counts ? colour(box.category_id ?? 0) : "#fff",
      kind: box.counts ? "" : "faint",
      label: box.counts ? box.name : "",
      title: `${box.name}${box.counts ? "" : ", not counted"}`,
      selected: box === selected,
      onpoint: () => { pointed = box; },
      onclick: () => { if (box.counts) selected = box === selected ? null : box; else box.counts = true; show(); },
      oncontextmenu: (event) => { event.preventDefault(); remove(box); },
    })));
    const counted = boxes.filter((box) => box.counts).length;
    const guesses = selected?.guesses?.length ? `; ${selected.guesses.map(([, own], k) => `${k + 1}: ${own}`).join(", ")}` : "";
    get("confirm-title").textContent = photo.name + (photo.confirmed ? " (confirmed before)" : "");
    get("confirm-boxes").textContent = `${counted} boxes${selected ? `; selected: ${selected.name}${guesses}` : ""}`;
  }

  async function queue() {
    const { total, queue: rows } = await ask("/labelling");
    const left = total - rows.filter((row) => row.confirmed).length;
    get("confirm-count").textContent = `(${left})`;
    get("queue").replaceChildren(...rows.map((row) => element("li",
      { class: `${row.name === photo?.name ? "now" : ""} ${row.confirmed ? "done" : ""}`, onclick: () => attempt(() => open(row.name)) },
      row.problem ? `${row.name}: cannot be read (${row.problem})` : `${row.name}: ${row.boxes} boxes${row.confirmed ? ", confirmed" : `, doubt ${row.doubt.toFixed(2)}`}`)));
    return { total, rows };
  }

  async function open(next) {
    photo = await ask(`/labelling/photo?name=${encodeURIComponent(next)}`);
    boxes = photo.boxes.map((box) => ({ ...box, counts: photo.confirmed || box.score >= photo.floor }));
    selected = null;
    viewer.show(`/labelling/photo.jpg?name=${encodeURIComponent(next)}`, [0, 0, ...photo.size], `photo ${next}`);
    show();
    await queue();
  }

  // The next photo to look at; waits where not all are predicted yet.
  async function advance() {
    const { total, rows } = await queue();
    const next = rows.find((row) => !row.confirmed && !row.problem && !skipped.has(row.name));
    if (next) return open(next.name);
    photo = null;
    if (rows.length < total) {
      tell(`predicting: ${rows.length} of ${total} photos`);
      setTimeout(() => attempt(advance), WAIT);
    } else {
      get("confirm-title").textContent = "";
      get("confirm-boxes").textContent = skipped.size ? `${skipped.size} photos were skipped; click them in the queue` : "all photos are confirmed";
      get("confirm-view").hidden = true;
    }
  }

  const named = (box, values) => {
    Object.assign(box, values, { counts: true });
    show();
  };

  const actions = {
    confirm: () => attempt(async () => {
      if (!photo) return;
      const rows = boxes.filter((box) => box.counts).map(({ bbox, category_id, name: own }) => ({ bbox, category_id, name: own }));
      const answer = await send("/labelling/photo", { name: photo.name, boxes: rows });
      products = answer.products;
      tell("");
      await advance();
    }),
    skip: () => attempt(async () => {
      if (photo) skipped.add(photo.name);
      await advance();
    }),
  };
  for (const button of document.querySelectorAll("#tab-confirm [data-action]")) {
    button.addEventListener("click", () => { button.blur(); actions[button.dataset.action](); });
  }
  await attempt(advance);

  return (event) => {
    const box = selected || (boxes.includes(pointed) ? pointed : null);
    const guess = box?.guesses?.[Number(event.key) - 1];
    if (event.key === "Enter") actions.confirm();
    else if (event.key === "ArrowRight") actions.skip();
    else if (event.key === "Escape") { selected = null; show(); }
    else if (box && ["Delete", "Backspace"].includes(event.key)) remove(box);
    else if (guess) named(box, { category_id: guess[0], name: guess[1] });
    else if (box && event.key.length === 1 && /\p{L}/u.test(event.key)) name(box, event.key);
    else return;
    event.preventDefault();
  };
}
