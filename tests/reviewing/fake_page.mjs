// As much of a browser's page as the page's own modules ask for, with a server that the test answers for.

const nodes = {};

function made() {
  const listeners = {};
  return {
    complete: true, naturalWidth: 10, style: {}, dataset: {}, children: [], hidden: true, value: "", textContent: "", classList: { toggle() {} },
    get firstChild() { return this.children[0]; },
    setAttribute(name, value) { this[name] = value; },
    addEventListener(kind, listener, { once = false } = {}) { (listeners[kind] ??= []).push({ listener, once }); },
    removeEventListener(kind, listener) { listeners[kind] = listeners[kind]?.filter((own) => own.listener !== listener); },
    fire(kind, event = {}) {
      const called = listeners[kind] ?? [];
      listeners[kind] = called.filter((own) => !own.once);
      for (const { listener } of called) listener({ preventDefault() {}, stopPropagation() {}, ...event });
    },
    replaceChildren(...children) { this.children = children; },
    append(...children) { this.children = [...this.children, ...children]; }, remove() {}, focus() {}, blur() {}, setPointerCapture() {},
    getBoundingClientRect: () => ({ left: 0, top: 0, width: 10, height: 10 }),
    tBodies: [{ replaceChildren() {} }],
  };
}

globalThis.document = {
  getElementById: (id) => (nodes[id] ??= made()),
  createElement: made,
  createElementNS: made,
  querySelectorAll: () => [],
  activeElement: null,
};
const leaving = made();
globalThis.addEventListener = leaving.addEventListener;
// Whether the browser would ask the person before it leaves the page.
export const asksBeforeLeaving = () => {
  let asks = false;
  leaving.fire("beforeunload", { preventDefault: () => { asks = true; } });
  return asks;
};
globalThis.ResizeObserver = class { observe() {} };

export const get = (id) => document.getElementById(id);
export const settled = () => new Promise((resolve) => setTimeout(resolve, 5));
export const press = async (onKey, key, ctrlKey = false) => { onKey({ key, ctrlKey, preventDefault() {} }); await settled(); };

// The server: `answer(path, body)` gives what it says, perhaps later.
export function serve(answer) {
  globalThis.fetch = async (path, options = {}) => {
    const said = await answer(path, options.body && !options.headers["x-photo-name"] ? JSON.parse(options.body) : options.body);
    return { ok: true, json: async () => said };
  };
}

// An answer that comes when `give` is called.
export function held() {
  let give;
  const answer = new Promise((resolve) => { give = resolve; });
  return { answer, give };
}

// A finger or mouse goes down, moves or goes up on a picture of 10 x 10 pixels on the screen.
export async function pointer(view, type, [clientX, clientY], pointerId = 1) {
  const svg = get(view).children[1];
  svg.fire(type, { type, clientX, clientY, button: 0, pointerId, isPrimary: pointerId === 1, target: svg });
  await settled();
}

// A person drags over a picture, then lets go.
export async function drag(view, from, to) {
  await pointer(view, "pointerdown", from);
  await pointer(view, "pointerup", to);
}

// A person types a name into an open input, and Enter.
export async function type(place, name) {
  const input = get(place).firstChild;
  input.value = name;
  input.fire("keydown", { key: "Enter" });
  await settled();
}
