"use strict";
// What works by this script alone is hidden where none runs.
for (const node of document.querySelectorAll("[data-scripted]")) node.hidden = false;
// What kinds of boxes are shown, on all photos.
for (const box of document.querySelectorAll("input[data-kind]")) {
  const apply = () => document.getElementById("photos").classList.toggle("hide-" + box.dataset.kind, !box.checked);
  box.addEventListener("change", apply);
  apply();
}
// A photo that can be zoomed, moved, and stepped through mistake by mistake.
for (const viewer of document.querySelectorAll(".viewer")) {
  const svg = viewer.querySelector("svg"), said = viewer.querySelector(".said");
  const whole = svg.getAttribute("viewBox").split(" ").map(Number), view = whole.slice();
  const marks = Array.from(svg.querySelectorAll("rect")).filter((rect) => !rect.classList.contains("right"));
  let current = null, drag = null;
  const clamp = (value, least, most) => Math.min(Math.max(value, least), most);
  const show = (x, y, scale) => {
    view[2] = whole[2] / scale; view[3] = whole[3] / scale;
    view[0] = clamp(x - view[2] / 2, 0, whole[2] - view[2]); view[1] = clamp(y - view[3] / 2, 0, whole[3] - view[3]);
    svg.setAttribute("viewBox", view.join(" "));
    svg.classList.toggle("zoomed", scale > 1); // a finger moves the photo then, and not the page
  };
  const zoom = (by) => show(view[0] + view[2] / 2, view[1] + view[3] / 2, clamp(by * whole[2] / view[2], 1, 16));
  const move = (x, y) => show(view[0] + view[2] * (0.5 + x), view[1] + view[3] * (0.5 + y), whole[2] / view[2]);
  const tell = (rect) => {
    for (const other of svg.querySelectorAll(".marked")) other.classList.remove("marked");
    rect.classList.add("marked");
    said.textContent = rect.querySelector("title").textContent;
  };
  const step = (by) => {
    const seen = marks.filter((rect) => getComputedStyle(rect).display !== "none");
    if (!seen.length) { said.textContent = "no mistakes of the kinds that are shown"; return; }
    const place = marks.indexOf(current);
    const after = seen.find((rect) => marks.indexOf(rect) > place) ?? seen[0];
    const before = seen.filter((rect) => marks.indexOf(rect) < place).pop() ?? seen[seen.length - 1];
    current = by > 0 ? after : before;
    const box = current.getBBox();
    show(box.x + box.width / 2, box.y + box.height / 2, clamp(whole[2] / (6 * box.width), 1, 8));
    tell(current);
    said.textContent = (seen.indexOf(current) + 1) + " of " + seen.length + ": " + said.textContent;
  };
  const actions = { in: () => zoom(1.5), out: () => zoom(1 / 1.5), whole: () => show(0, 0, 1), next: () => step(1), before: () => step(-1) };
  for (const button of viewer.querySelectorAll("button[data-do]")) button.addEventListener("click", actions[button.dataset.do]);
  const keys = { "+": actions.in, "=": actions.in, "-": actions.out, "0": actions.whole, n: actions.next, p: actions.before,
    ArrowLeft: () => move(-0.2, 0), ArrowRight: () => move(0.2, 0), ArrowUp: () => move(0, -0.2), ArrowDown: () => move(0, 0.2) };
  svg.addEventListener("keydown", (event) => {
    const zoomed = view[2] < whole[2] || !event.key.startsWith("Arrow");
    if (keys[event.key] && zoomed && !event.ctrlKey && !event.metaKey) { keys[event.key](); event.preventDefault(); }
  });
  svg.addEventListener("pointerover", (event) => { if (event.target.tagName === "rect" && !drag) tell(event.target); });
  svg.addEventListener("click", (event) => { if (event.target.tagName === "rect") tell(event.target); });
  svg.addEventListener("pointerdown", (event) => { if (event.isPrimary && view[2] < whole[2]) drag = [event.clientX, event.clientY]; });
  svg.addEventListener("pointermove", (event) => {
    if (!drag || !event.isPrimary) return;
    const size = svg.getBoundingClientRect();
    move((drag[0] - event.clientX) / size.width, (drag[1] - event.clientY) / size.height);
    drag = [event.clientX, event.clientY];
  });
  for (const end of ["pointerup", "pointerleave", "pointercancel"]) svg.addEventListener(end, () => { drag = null; });
}
// Tables that a click on a column's head sorts; what has no value stays at the end.
for (const head of document.querySelectorAll("th[data-sort]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => {
    const body = head.closest("table").tBodies[0], column = head.cellIndex;
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[column].dataset.value;
    const compare = (a, b) => head.classList.contains("number") ? a - b : a.localeCompare(b);
    const known = Array.from(body.rows).filter((row) => value(row) !== ""), unknown = Array.from(body.rows).filter((row) => value(row) === "");
    known.sort((a, b) => (up ? 1 : -1) * compare(value(a), value(b)));
    body.append(...known, ...unknown);
  });
}
