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

// Keys are the page's own again after a click; who came to a button by the keyboard stays there.
export const leave = (button, event) => { if (event.detail) button.blur(); };

const QUICK = new Set(["undo", "previous", "next"]); // the others are about what a person has looked at: once for each click

export function bindButtons(name, actions) {
  for (const button of document.querySelectorAll(`#tab-${name} [data-action]`)) {
    const { action } = button.dataset;
    button.addEventListener("keydown", (event) => { if (event.repeat && !QUICK.has(action)) event.preventDefault(); });
    button.addEventListener("click", (event) => {
      leave(button, event);
      if (event.detail < 2 || QUICK.has(action)) actions[action](); // the second of a double click is of the next picture
    });
  }
}
