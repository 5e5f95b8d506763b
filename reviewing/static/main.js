// The tabs, and which of them a key belongs to.

import { ask, attempt, belongTo } from "./server.js";
import { begin as beginTry } from "./try.js";
import { begin as beginLabels } from "./labels.js";
import { begin as beginConfirm } from "./confirm.js";
import { leave } from "./tab.js";

const tabs = [...document.querySelectorAll("[role=tab]")];
const onKey = {};
let shown = "try";

function open(name) {
  shown = name;
  for (const tab of tabs) {
    tab.setAttribute("aria-selected", String(tab.dataset.tab === name));
    document.getElementById(`tab-${tab.dataset.tab}`).hidden = tab.dataset.tab !== name;
  }
}

for (const tab of tabs) tab.addEventListener("click", (event) => { leave(tab, event); open(tab.dataset.tab); });

document.addEventListener("keydown", (event) => {
  if (event.metaKey || event.altKey || event.target.closest("input, button, a")) return;
  onKey[shown]?.(event);
});

attempt(async () => {
  const state = await ask("/state");
  belongTo(state.start);
  beginTry(state);
  onKey.labels = await attempt(() => beginLabels(state));
  onKey.confirm = await attempt(() => beginConfirm(state));
  document.body.dataset.ready = "yes";
});
