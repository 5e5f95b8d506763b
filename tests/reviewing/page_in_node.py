"""The page's own modules run by Node.js, on as much of a page as they ask for, with a server that the test answers for."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")
STATIC = Path(__file__).resolve().parents[2] / "reviewing" / "static"
needs_node = pytest.mark.skipif(NODE is None, reason="needs Node.js: apt-get install nodejs")
LATE = "saved.answer.then(() => answer), saved = held()"  # the server takes what is sent when `saved` is given
# Photos A, B and more with a box each, those of UNREAD not readable; the models' name for A's box comes when it is given.
CONFIRM = """
const posts = [], done = new Set(), guesses = held();
const products = [{ id: 1, name: "Tea" }, { id: 2, name: "Rye" }];
const box = (name) => ({ bbox: [0, 0, 5, 5], score: 0.9, name, category_id: 1, guesses: name ? [[1, name, 0.9]] : [] });
serve(async (path, body) => {
  const problem = (name) => UNREAD.includes(name) ? "cut off" : "";
  const row = (name) => ({ name, boxes: 1, doubt: 0.5, confirmed: done.has(name), problem: problem(name) });
  const revision = (name) => posts.filter(([own]) => own === name).length;
  if (path === "/labelling") return { total: Object.keys(FIRST).length, queue: Object.keys(FIRST).map(row) };
  if (path.startsWith("/labelling/photo?")) {
    const name = path.at(-1);
    const own = { name, size: [10, 10], floor: 0.1, confirmed: false, hidden: [], revision: revision(name) };
    return { ...own, boxes: FIRST[name].map(box) };
  }
  if (path === "/labelling/guesses") return guesses.answer;
  posts.push([body.name, body.boxes.map((own) => own.name)]);
  done.add(body.name);
  return sent(body, { products, revision: revision(body.name) });
});
const key = await begin({ notes: {}, products, confirmed: "c" });
await settled();
const shown = () => get("confirm-title").textContent, told = () => get("message").textContent;
const hold = async (own) => { key({ key: own, repeat: true, preventDefault() {} }); await settled(); };
const tea = { guesses: [[1, "Tea", 0.9]], name: "Tea", category_id: 1 };
"""
LABELS = """
const posts = [];
const doubt = (id) => ({ id, window: [0, 0, 10], kind: "mislabelled", score: 0.5, file_name: id, neighbours: [], references: [],
  decision: null, current: { bbox: [0, 0, 1, 1], category_id: 1, name: "Tea" },
  proposed: { bbox: [0, 0, 1, 1], category_id: 2, name: "Rye" } });
serve(async (path, body) => {
  if (path === "/doubts") return ["d0", "d1", "d2"].map(doubt);
  posts.push([path.slice("/doubts/".length), body]);
  return sent(body, {});
});
const key = await begin({ notes: {}, labels: [{ id: 1, name: "Tea" }, { id: 2, name: "Rye" }, { id: 3, name: "Oat" }] });
const told = () => get("message").textContent;
"""


def run(tab: str, script: str, tmp_path: Path) -> object:
    """What a script reports that acts on a tab of the page."""
    shutil.copytree(STATIC, tmp_path / "static")
    shutil.copy(Path(__file__).with_name("fake_page.mjs"), tmp_path)
    (tmp_path / "static" / "package.json").write_text('{"type": "module"}')
    code = f"""import {{ asksBeforeLeaving, drag, get, held, pointer, press, serve, settled, type }} from "./fake_page.mjs";
        const {{ begin }} = await import("./static/{tab}.js");
        const report = (value) => console.log(JSON.stringify(value));
        {script}"""
    (tmp_path / "test.mjs").write_text(code)
    assert NODE is not None
    done = subprocess.run([NODE, "test.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def confirm(steps: str, tmp_path: Path, a: str = '[""]', sent: str = "answer", more: str = "", unread: str = "") -> object:
    """Runs steps on the third tab; `a` are the names of A's boxes, `more` photos follow, those of `unread` cannot be read."""
    first = f"""const FIRST = {{ A: {a}, B: ["Rye"], ...Object.fromEntries([..."{more}"].map((name) => [name, ["Rye"]])) }};
        const UNREAD = "{unread}", sent = async (body, answer) => {sent};"""
    return run("confirm", first + CONFIRM + steps, tmp_path)


def labels(steps: str, tmp_path: Path, sent: str = "answer") -> object:
    """Runs steps on the second tab."""
    return run("labels", f"const sent = async (body, answer) => {sent};" + LABELS + steps, tmp_path)
