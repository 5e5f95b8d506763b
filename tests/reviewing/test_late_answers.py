"""What a person does on the page before the server has answered, run by Node.js on a page and a server of the test's own."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")
STATIC = Path(__file__).resolve().parents[2] / "reviewing" / "static"
pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node.js: apt-get install nodejs")
LATE = "saved.answer.then(() => answer), saved = held()"  # the server takes what is sent when `saved` is given
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
    code = f"""import {{ drag, get, held, press, serve, settled, type }} from "./fake_page.mjs";
        const {{ begin }} = await import("./static/{tab}.js");
        const report = (value) => console.log(JSON.stringify(value));
        {script}"""
    (tmp_path / "test.mjs").write_text(code)
    assert NODE is not None
    done = subprocess.run([NODE, "test.mjs"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def labels(steps: str, tmp_path: Path, sent: str = "answer") -> object:
    """Runs steps on the second tab."""
    return run("labels", f"const sent = async (body, answer) => {sent};" + LABELS + steps, tmp_path)


def test_a_name_is_of_the_proposal_that_it_was_asked_for(tmp_path: Path) -> None:
    steps = """await press(key, "n"); const asked = !get("label-name").hidden; await press(key, "ArrowRight");
      const left = get("label-name").hidden; await press(key, "n"); await type("label-name", "Oat");
      report([asked, left, posts]);"""
    assert labels(steps, tmp_path) == [True, True, [["d1", {"action": "rename", "category_id": 3}]]]


def test_a_box_that_is_drawn_anew_keeps_its_new_name(tmp_path: Path) -> None:
    steps = """await press(key, "n"); await type("label-name", "Oat"); await press(key, "ArrowLeft");
      await drag("label-view", [0, 0], [8, 8]); report([posts[1], get("label-sides").textContent]);"""
    drawn = {"action": "redraw", "bbox": [0, 0, 8, 8], "category_id": 3}
    assert labels(steps, tmp_path) == [["d0", drawn], "Now: Tea → proposed: Oat"]


def test_a_second_decision_before_the_answer_is_refused_aloud(tmp_path: Path) -> None:
    steps = """await press(key, "a"); await press(key, "r"); const said = told(); saved.give(); await settled();
      await press(key, "r"); report([said, posts.map(([id, body]) => [id, body.action]), told()]);"""
    said = "not taken: the decision before it was still being sent"
    assert labels(steps, tmp_path, sent=LATE) == [said, [["d0", "accept"], ["d1", "reject"]], ""]


def test_who_went_elsewhere_before_the_answer_stays_there(tmp_path: Path) -> None:
    steps = """await press(key, "a"); await press(key, "ArrowRight"); await press(key, "ArrowRight");
      saved.give(); await settled(); report(get("label-title").textContent.slice(0, 6));"""
    assert labels(steps, tmp_path, sent=LATE) == "3 of 3"


def test_an_answer_about_a_former_floor_or_photo_comes_too_late(tmp_path: Path) -> None:
    script = """const answers = [], shelf = (floor) => ({ photo: "p", width: 9, height: 9, floor, facings: [], boxes: [] });
      const links = [{ dataset: { file: "f" } }]; document.querySelectorAll = () => links;
      const files = { slow: held(), fast: held() };
      serve((path, body) => {
        if (path === "/photos") return files[body.name].answer;
        const waiting = held(); answers.push(waiting); return waiting.answer;
      });
      begin({ products: [], limits: { bytes: 99 }, floor: 0.1 });
      const chosen = (name) => ({ target: { files: [{ name, size: 1 }] } });
      const upload = async (name) => { get("file").fire("change", chosen(name)); await settled(); };
      const photo = (id) => ({ id, remark: "", candidates: [], shelf: shelf(0.1) });
      await upload("slow"); await upload("fast"); files.fast.give(photo("b")); await settled(); files.slow.give(photo("a"));
      await settled(); const uploaded = links[0].href;
      get("floor").value = 0.5; get("floor").fire("input"); await new Promise((resolve) => setTimeout(resolve, 150));
      get("floor-reset").fire("click"); await settled();
      answers[1].give(shelf(0.1)); await settled(); answers[0].give(shelf(0.5)); await settled();
      report([answers.length, uploaded, links[0].href]);"""
    assert run("try", script, tmp_path) == [2, "/photos/b/f?floor=0.1", "/photos/b/f?floor=0.1"]
