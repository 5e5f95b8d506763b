// Names short enough to stand in a box, and long enough to tell products apart: names on a shelf often begin alike.

const words = (name) => name.split(/\s+/).filter(Boolean);

function* runs(list) {
  for (let length = 1; length <= list.length; length += 1) {
    for (let start = 0; start + length <= list.length; start += 1) yield list.slice(start, start + length).join(" ");
  }
}

// The shortest run of words of each name that no other name has: Map from name to its run, or to the name itself.
export function shortNames(names) {
  const count = new Map();
  for (const name of names) {
    for (const run of new Set(runs(words(name)))) count.set(run, (count.get(run) || 0) + 1);
  }
  return new Map(names.map((name) => [name, [...runs(words(name))].find((run) => count.get(run) === 1 && /\p{L}/u.test(run)) ?? name]));
}

// The text in lines of at most `room` letters, at most `most` of them; what does not fit ends in an ellipsis.
export function wrapped(text, room, most) {
  const lines = [];
  for (const word of words(text)) {
    const joined = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && joined.length <= room) lines[lines.length - 1] = joined;
    else lines.push(word);
  }
  const kept = lines.slice(0, Math.max(1, most));
  if (kept.length < lines.length) kept[kept.length - 1] += "…";
  return kept.map((line) => (line.length > room ? `${line.slice(0, Math.max(1, room - 1))}…` : line));
}
