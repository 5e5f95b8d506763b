// What the tabs share: a note where there is nothing to show, and buttons with the actions that keys have too.

export const get = (id) => document.getElementById(id);

// Shows the tab's work, or the note that says why there is none; whether there is work.
export function openTab(name, state) {
  const note = state.notes[name];
  get(`${name}-note`).textContent = note || "";
  get(`${name}-note`).hidden = !note;
  get(`${name}-work`).hidden = Boolean(note);
  return !note;
}

export function bindButtons(name, actions) {
  for (const button of document.querySelectorAll(`#tab-${name} [data-action]`)) {
    button.addEventListener("click", () => { button.blur(); actions[button.dataset.action](); });
  }
}
