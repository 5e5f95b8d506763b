// Third tab: photos without labels, the most doubtful first; boxes to confirm.

import { ask, attempt, colour, element, send, tell } from "./server.js";
import { askName, closeName } from "./naming.js";
import { PhotoBoxes } from "./photo_boxes.js";
import { shortNames } from "./short_names.js";
import { bindButtons, get, openTab } from "./tab.js";
import { Viewer } from "./viewer.js";

const WAIT = 1500; // ms between two looks at what is predicted meanwhile
const UNSURE = 0.5; // doubt from which a name is shown with a question mark

export async function begin(state) {
  if (!openTab("confirm", state)) return () => {};
  get("confirmed-fit").textContent = `hylle fit ${state.confirmed} --minutes 30`;
  let products = state.products;
  let short = shortNames(products.map((product) => product.name));
  let photo = null;
  let shelf = new PhotoBoxes([], []);
  let selected = null; // by a click: keys act on it until Escape or another click
  let pointed = null; // under the mouse, or just drawn: keys act on it where none is selected
  let asking = null; // the box that the person was asked for a name of
  let last = null; // the name that was given last
  const naming = new Set(); // requests for names that are under way
  const sending = new Set(); // names of photos whose confirmation is under way
  const shelves = new Map(); // the boxes of each photo that was opened, by its name: what is changed stays until it is confirmed
  const skipped = new Set(); // and not confirmed since

  const active = () => selected || (shelf.boxes.includes(pointed) ? pointed : null);
  const viewer = new Viewer(get("confirm-view"), drawn, clicked);

  addEventListener("beforeunload", (event) => {
    if ([...shelves.values()].some((own) => own.isChanged)) event.preventDefault(); // the browser asks whether to leave
  });

  function drawn(bbox, event) {
    if (!photo) return;
    if (event.shiftKey && selected) {
      const box = selected;
      shelf.change(box, box.given ? { bbox } : { bbox, name: "", guesses: [] });
      selected = null;
      pointed = box;
    } else {
      pointed = shelf.add({ bbox, counts: true, guesses: [], name: "" });
      selected = null;
    }
    show();
    suggest(pointed);
  }

  // A click where no box is: the box that the models see there, were it ever so faintly.
  function clicked(point) {
    selected = null;
    const box = shelf.faintAt(point);
    tell(box ? "" : "the models see no product there; drag to draw its box");
    pointed = box && shelf.add(box);
    show();
    if (box && !box.name) suggest(box);
  }

  // Asks the models for a box's names; where they have none, the person.
  function suggest(box) {
    if (!photo) return;
    const { bbox } = box, asked = photo.name;
    const request = attempt(async () => {
      const found = await send("/labelling/guesses", { name: asked, bbox });
      if (photo?.name !== asked || box.bbox !== bbox) return;
      Object.assign(box, { guesses: found.guesses }, box.name ? {} : { name: found.name, category_id: found.category_id });
      show();
      if (!box.name && shelf.boxes.includes(box) && get("confirm-name").hidden) askFor(box, "");
    }).finally(() => naming.delete(request));
    naming.add(request);
  }

  function suggestMissing() {
    for (const box of shelf.counted) if (!box.name) suggest(box);
  }

  function giveName(box, given) {
    const { category_id, name } = given;
    shelf.change(box, { category_id, name, counts: true, given: true });
    last = { category_id, name };
    selected = null;
    show();
  }

  // Asks the person for a name; a new box that gets none is taken away again. The keyboard goes back to the box that it came from.
  function askFor(box, first) {
    asking = box;
    const isByKey = document.activeElement?.matches(":focus-visible");
    askName(get("confirm-name"), products, true, first, (given) => {
      if (given) giveName(box, given);
      else if (!box.name) remove(box);
      if (isByKey) viewer.focus(box);
    });
  }

  function remove(box) {
    shelf.remove(box);
    if (selected === box) selected = null;
    show();
  }

  function select(box) {
    if (!shelf.boxes.includes(box)) return; // removed while the mouse was down
    if (!box.counts) shelf.change(box, { counts: true });
    else selected = box === selected ? null : box;
    pointed = box;
    show();
    if (!box.guesses?.length) suggest(box);
  }

  function labelOf(box) {
    if (!box.counts) return "";
    return box.name ? `${short.get(box.name) ?? box.name}${!box.given && box.doubt > UNSURE ? "?" : ""}` : "…";
  }

  function show() {
    if (!photo) return;
    if (!shelf.boxes.includes(asking)) closeName(get("confirm-name")); // its box is gone, or of another photo
    viewer.draw(shelf.boxes.map((box) => ({
      key: box,
      bbox: box.bbox,
      stroke: box.counts ? colour(box.category_id ?? 0) : "#fff",
      kind: box.counts ? "" : "faint",
      label: labelOf(box),
      title: `${box.name}${box.counts ? "" : ", not counted"}`,
      selected: box === active(),
      onpoint: () => { pointed = box; showActive(); },
      onclick: () => select(box),
      oncontextmenu: (event) => { if (event.pointerType !== "touch") remove(box); }, // a long touch is no right click
    })));
    get("confirm-title").textContent = photo.name;
    get("confirm-boxes").textContent = `${shelf.counted.length} boxes count${photo.confirmed ? "; confirmed before" : ""}`;
    showActive();
  }

  // The box that keys act on: its name, the names to pick from, and what else can be done.
  function showActive() {
    const box = active();
    viewer.mark(box);
    get("box-name").textContent = !box ? "Point at a box, or tap it." : box.counts ? box.name || "looking for its name …" : `not counted: ${box.name}`;
    const button = (key, text, action, isOwn = false) => {
      const onclick = (event) => {
        action();
        if (!event.detail && get("confirm-name").hidden) viewer.focus(box); // the button is gone: back to its box
      };
      return element("button", { type: "button", class: isOwn && "main", onclick }, element("kbd", {}, key), ` ${text}`);
    };
    const pick = ([category_id, name], k) => button(String(k + 1), name, () => giveName(box, { category_id, name }), name === box.name);
    const picks = (box?.guesses || []).map(pick);
    const again = box && last ? [button("0", `${last.name} again`, () => giveName(box, last))] : [];
    const count = box && !box.counts ? [button("Space", "count it", () => select(box))] : [];
    const others = box ? [...count, button("A–Z", "other name", () => askFor(box, "")), button("Del", "remove", () => remove(box))] : [];
    get("box-names").replaceChildren(...picks, ...again, ...others);
  }

  async function queue() {
    const { total, queue: rows } = await ask("/labelling");
    const left = total - rows.filter((row) => row.confirmed).length;
    get("confirm-count").textContent = `(${left})`;
    const state = (row) => row.confirmed ? "confirmed" : `doubt ${row.doubt.toFixed(2)}`;
    const changed = (row) => isChanged(row) ? ", changes not confirmed" : "";
    const said = (row) => row.problem ? `cannot be read (${row.problem})` : `${row.boxes} boxes, ${state(row)}${changed(row)}`;
    get("queue").replaceChildren(...rows.map((row) => element("li",
      { class: `${row.name === photo?.name ? "now" : ""} ${row.confirmed ? "done" : ""}` },
      element("button", { type: "button", class: "plain", onclick: () => attempt(() => open(row.name)) }, row.name), `: ${said(row)}`)));
    return { total, rows };
  }

  // The boxes of a photo as the person left them; as the server has them where it has newer ones.
  function shelfOf({ name, boxes, hidden, confirmed, floor, revision }) {
    const own = shelves.get(name);
    if (own?.revision === revision) return own;
    if (own?.isChanged) tell(`${name} was confirmed elsewhere meanwhile; what you changed on it is gone`);
    const shown = boxes.map((box) => ({ ...box, counts: confirmed || box.score >= floor, given: confirmed }));
    shelves.set(name, new PhotoBoxes(shown, hidden, revision));
    return shelves.get(name);
  }

  async function open(next) {
    if (sending.has(next)) return tell(`${next} is still being confirmed; open it in a moment`);
    photo = await ask(`/labelling/photo?name=${encodeURIComponent(next)}`);
    tell(""); // what was told was about the photo before
    shelf = shelfOf(photo);
    selected = pointed = null;
    get("confirm-view").hidden = false;
    viewer.show(`/labelling/photo.jpg?name=${encodeURIComponent(next)}`, [0, 0, ...photo.size], `photo ${next}`);
    show();
    suggestMissing();
    await queue();
  }

  const isChanged = (row) => Boolean(shelves.get(row.name)?.isChanged);

  // Which photos are not confirmed where none is next.
  function leftOver(rows) {
    const changed = rows.filter((row) => row.confirmed && isChanged(row)).length;
    const unread = rows.filter((row) => row.problem && !row.confirmed).length;
    const passedOver = rows.filter((row) => !row.confirmed && skipped.has(row.name)).length;
    const said = [passedOver && `${passedOver} skipped, click them in the queue`, unread && `${unread} cannot be read, see the queue`, changed && `${changed} changed since, click them in the queue`].filter(Boolean);
    return said.length ? `photos that are not confirmed: ${said.join("; ")}` : "all photos are confirmed";
  }

  // The next photo to look at; waits where not all are predicted yet.
  async function advance() {
    const { total, rows } = await queue();
    const next = rows.find((row) => !row.confirmed && !row.problem && !skipped.has(row.name) && !sending.has(row.name));
    if (next) return open(next.name);
    photo = selected = pointed = null;
    shelf = new PhotoBoxes([], []); // keys change nothing that is not shown
    closeName(get("confirm-name"));
    if (rows.length < total) {
      tell(`predicting: ${rows.length} of ${total} photos`);
      setTimeout(() => photo || attempt(advance), WAIT); // a photo that was opened meanwhile stays
    } else {
      get("confirm-title").textContent = "";
      get("confirm-boxes").textContent = leftOver(rows);
      get("confirm-view").hidden = true;
      get("box-name").textContent = "";
      get("box-names").replaceChildren();
    }
  }

  async function confirmPhoto(asked) {
    if (!viewer.isSeen) return tell("not confirmed: the picture is not there; wait for it, or skip the photo");
    await Promise.all(naming);
    if (photo !== asked) return tell(`${asked.name} is not confirmed: its boxes had no names yet when you left it`);
    if (!get("confirm-name").hidden) {
      get("confirm-name").firstChild.focus();
      return tell("a name is still asked for: Enter in its field takes it, Escape leaves");
    }
    const nameless = shelf.counted.find((box) => !box.name);
    if (nameless) { selected = nameless; show(); tell("this box has no name yet"); askFor(nameless, ""); return; }
    const own = shelf, { version } = own;
    const rows = own.counted.map(({ bbox, category_id, name }) => ({ bbox, category_id, name }));
    const answer = await send("/labelling/photo", { name: asked.name, boxes: rows, revision: own.revision });
    skipped.delete(asked.name);
    products = answer.products;
    short = shortNames(products.map((product) => product.name));
    own.kept = version;
    own.revision = answer.revision;
    if (!own.isChanged) shelves.delete(asked.name); // from now on as the server has them
    if (photo !== asked) return queue(); // a photo that was opened meanwhile stays
    if (!own.isChanged) return advance();
    photo.confirmed = true;
    show();
    tell(`${asked.name} is confirmed as it was when you asked; what you changed since is not: confirm it too`);
    return queue();
  }

  const actions = {
    confirm: () => attempt(async () => {
      const asked = photo;
      if (!asked) return;
      if (sending.has(asked.name)) return tell(`not taken: ${asked.name} was still being confirmed`);
      sending.add(asked.name);
      tell("");
      try {
        await confirmPhoto(asked);
      } finally {
        sending.delete(asked.name);
      }
    }),
    skip: () => attempt(async () => {
      if (photo) skipped.add(photo.name);
      await advance();
    }),
    undo: () => {
      if (!shelf.undo()) tell("nothing to undo on this photo");
      if (!shelf.boxes.includes(selected)) selected = null;
      show();
      suggestMissing(); // what the models said since is no change, and went with one
    },
  };
  bindButtons("confirm", actions);
  await attempt(advance);

  return (event) => {
    const box = active();
    const guess = box?.guesses?.[Number(event.key) - 1];
    if (event.ctrlKey && !event.shiftKey && event.key.toLowerCase() === "z") actions.undo(); // Caps Lock makes it Z
    else if (event.ctrlKey) return;
    else if (event.key === "Enter") event.repeat || actions.confirm(); // a key that is held down is of one photo:
    else if (event.key === "ArrowRight") event.repeat || actions.skip(); // nobody has looked at the next
    else if (event.key === "Escape") { selected = null; show(); }
    else if (box && ["Delete", "Backspace"].includes(event.key)) event.repeat || remove(box);
    else if (guess) giveName(box, { category_id: guess[0], name: guess[1] });
    else if (box && last && event.key === "0") giveName(box, last);
    else if (box && event.key.length === 1 && /\p{L}/u.test(event.key)) askFor(box, event.key);
    else return;
    event.preventDefault();
  };
}
