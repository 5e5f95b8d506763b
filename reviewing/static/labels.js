// Second tab: doubtful labels one by one.

import { ask, attempt, element, send, tell } from "./server.js";
import { askName, closeName } from "./naming.js";
import { bindButtons, get, openTab } from "./tab.js";
import { Viewer } from "./viewer.js";

const NOW = "#e61e1e", THEN = "#1ec83c";
const DOUBT = { mislabelled: "perhaps another product", shifted: "perhaps its box is off", missing: "perhaps a box is missing", duplicate: "perhaps one box too many" };
const CHANGES = new Set(["accept", "rename", "redraw"]); // what nobody decides unseen
const SAID = { accept: "accepted", reject: "rejected", rename: "renamed", redraw: "redrawn" };

export async function begin(state) {
  if (!openTab("labels", state)) return () => {};
  let doubts = await ask("/doubts");
  let at = Math.max(0, doubts.findIndex((doubt) => !doubt.decision));
  const viewer = new Viewer(get("label-view"), (bbox) => decide({ action: "redraw", ...kept(), bbox }));
  get("labels-work").hidden = !doubts.length;
  get("apply").textContent = `hylle labels --data ${state.data} --apply ${state.proposals} --out COPY`;

  // What is proposed, with what the person changed of it; null for a box to delete.
  function proposed(doubt) {
    const { bbox, category_id } = doubt.decision || {};
    const base = doubt.proposed || (bbox || category_id !== undefined ? doubt.current : null);
    if (!base) return null;
    const id = category_id ?? base.category_id;
    return { bbox: bbox || base.bbox, name: state.labels.find((label) => label.id === id)?.name ?? base.name };
  }

  function show() {
    const doubt = doubts[at];
    get("labels-count").textContent = `(${doubts.filter((own) => !own.decision).length})`;
    if (!doubt) return;
    const [x, y, side] = doubt.window;
    const then = proposed(doubt);
    viewer.show(`/doubts/${doubt.id}/crop.jpg`, [x, y, side, side], `${doubt.file_name}: the label in doubt and its neighbours`);
    viewer.draw([
      ...doubt.neighbours.map((box) => ({ bbox: box.bbox, kind: "beside", label: box.name })),
      ...(doubt.current ? [{ bbox: doubt.current.bbox, stroke: NOW }] : []),
      ...(then ? [{ bbox: then.bbox, stroke: THEN, kind: "faint" }] : []),
    ]);
    get("label-title").textContent = `${at + 1} of ${doubts.length}: ${DOUBT[doubt.kind] ?? doubt.kind}`;
    get("label-sides").textContent = `Now: ${doubt.current?.name ?? "no box"} → proposed: ${then?.name ?? "no box"}`;
    get("label-why").textContent = `Suspicion ${doubt.score.toFixed(2)} of 1: ${doubt.why ?? ""} (${doubt.file_name})`;
    get("label-decision").textContent = doubt.decision ? SAID[doubt.decision.action] : "";
    get("references").replaceChildren(...doubt.references.map((reference) => {
      const pictures = [];
      if (reference.studio) pictures.push(element("img", { src: `/studio/${reference.category_id}.jpg`, alt: `studio photo of ${reference.name}` }));
      for (let k = 0; k < reference.examples; k += 1) {
        const src = `/doubts/${doubt.id}/examples/${reference.category_id}/${k}.jpg`;
        pictures.push(element("img", { src, alt: `another crop labelled ${reference.name}` }));
      }
      const told = reference.studio ? "studio photo, then other crops" : "other crops";
      return element("figure", { class: "reference" }, element("figcaption", {}, `${reference.name}: ${told} so labelled`), ...pictures);
    }));
  }

  // An open input for a name is about the proposal that was shown: it goes with it.
  function move(to) {
    const next = Math.min(doubts.length - 1, Math.max(0, to));
    if (next !== at) {
      closeName(get("label-name"));
      tell(""); // what was told was about the proposal before
    }
    at = next;
    show();
  }

  // Somebody else decided meanwhile: what is shown is not what is known.
  async function again() {
    doubts = await ask("/doubts");
    show();
  }

  let sending = false; // a second key before the answer would decide the same proposal again, and pass over the next
  const decide = (decision) => attempt(async () => {
    if (sending) return tell("not taken: the decision before it was still being sent");
    if (CHANGES.has(decision.action) && !viewer.isSeen) return tell("not taken: the picture is not there; wait for it, or look at another");
    const here = at, doubt = doubts[here];
    sending = true;
    tell("");
    try {
      doubt.revision = (await send(`/doubts/${doubt.id}`, { ...decision, revision: doubt.revision })).revision;
    } catch (error) {
      if (error.status === 409) await again();
      throw error;
    } finally {
      sending = false;
    }
    doubt.decision = decision.action === "undo" ? null : decision;
    const isDone = ["accept", "reject", "rename"].includes(decision.action);
    move(at === here && isDone ? here + 1 : at); // a person who went elsewhere meanwhile stays there
  });

  // What was changed of a proposal stays so where something else is decided about it.
  const kept = () => {
    const { bbox, category_id } = doubts[at].decision || {};
    return { ...(bbox && { bbox }), ...(category_id !== undefined && { category_id }) };
  };
  const actions = {
    accept: () => decide({ action: "accept", ...kept() }),
    reject: () => decide({ action: "reject" }),
    rename: () => askName(get("label-name"), state.labels, false, "", (name) => name && decide({ action: "rename", ...kept(), category_id: name.category_id })),
    undo: () => decide({ action: "undo" }),
    previous: () => move(at - 1),
    next: () => move(at + 1),
  };
  bindButtons("labels", actions);
  show();
  const keys = { a: "accept", r: "reject", n: "rename", u: "undo", arrowleft: "previous", arrowright: "next" };
  return (event) => {
    const action = event.ctrlKey ? null : keys[event.key.toLowerCase()]; // Caps Lock makes it A
    if (!action || !doubts.length) return;
    event.preventDefault();
    if (event.repeat && !event.key.startsWith("Arrow")) return; // a key that is held down decides once
    actions[action]();
  };
}
