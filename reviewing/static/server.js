// What the page asks of its own server, and what it tells the person.

let start = ""; // the server's own: one that was started anew means others by the same numbers and names

export const belongTo = (own) => { start = own; };

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, start ? { ...options, headers: { ...options.headers, "x-server-start": start } } : options);
  } catch {
    throw new Error("the server does not answer; is it still running?");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(body.error || `the server answered ${answer.status}`), { status: answer.status });
  return body;
}

export const send = (path, value) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value) });

export function tell(text, isError = false) {
  const message = document.getElementById("message");
  message.textContent = text;
  message.classList.toggle("error", isError);
  message.hidden = !text;
}

// Runs an action; what goes wrong is told on the page.
export async function attempt(action) {
  try {
    return await action();
  } catch (error) {
    tell(error.message, true);
  }
}

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// The colour of a product, the same on every photo: hues by steps of the golden ratio.
export const colour = (id) => `hsl(${Math.round((id * 0.618034 * 360) % 360)} 85% 50%)`;
