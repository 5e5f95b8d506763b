// An input for a product's name: a few letters find it; Enter takes the name that is shown, Escape leaves.

import { element } from "./server.js";

export function match(products, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return null;
  const tests = [(name) => name === wanted, (name) => name.startsWith(wanted), (name) => name.includes(wanted)];
  for (const test of tests) {
    const product = products.find((own) => test(own.name.toLowerCase()));
    if (product) return product;
  }
  return null;
}

// Closes the input without a word to who asked: what it is about is no longer shown.
export function closeName(place) {
  place.hidden = true;
  place.replaceChildren();
}

// Calls onName({category_id, name}) or, where `allowsNew`, onName({name}) with a new product's name; onName(null) on Escape.
export function askName(place, products, allowsNew, first, onName) {
  const input = element("input", { "aria-label": "name of the product", autocomplete: "off", maxlength: "200" });
  const hint = element("output");
  const update = () => {
    const found = match(products, input.value);
    const other = allowsNew ? "; Ctrl+Enter: a new product of just this name" : "";
    hint.textContent = !input.value.trim() ? "type a few letters of the name, then Enter; Escape leaves"
      : found ? `Enter: ${found.name}${other}` : allowsNew ? `Enter: a new product, ${input.value.trim()}` : "no product has such a name";
  };
  const before = document.activeElement?.matches(":focus-visible") ? document.activeElement : null; // came by the keyboard
  const finish = (value) => {
    closeName(place);
    onName(value);
    if (before?.isConnected) before.focus();
  };
  input.addEventListener("input", update);
  input.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.isComposing) return; // the key ends a composition, as of Japanese letters, and not the name
    if (event.key === "Escape") finish(null);
    if (event.key !== "Enter" || !input.value.trim()) return;
    event.preventDefault();
    const found = event.ctrlKey && allowsNew ? null : match(products, input.value);
    if (found) finish({ category_id: found.id, name: found.name });
    else if (allowsNew) finish({ name: input.value.trim() });
  });
  place.replaceChildren(input, hint);
  place.hidden = false;
  input.value = first;
  update();
  input.focus();
}
