"""The page's own arithmetic, run by Node.js: names that tell products apart, and the box that a click means."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

NODE = shutil.which("node")
STATIC = Path(__file__).resolve().parents[2] / "reviewing" / "static"
pytestmark = pytest.mark.skipif(NODE is None, reason="needs Node.js: apt-get install nodejs")


def run(module: str, expression: str, tmp_path: Path) -> object:
    """What an expression gives that uses the exports of a module, as `page`."""
    shutil.copy(STATIC / f"{module}.js", tmp_path / f"{module}.mjs")
    script = f'import * as page from "{(tmp_path / module).as_uri()}.mjs"; console.log(JSON.stringify({expression}));'
    assert NODE is not None
    done = subprocess.run([NODE, "--input-type=module", "-e", script], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("names", "short"),
    [
        pytest.param([], [], id="no product"),
        pytest.param(["Cola"], ["Cola"], id="one word"),
        pytest.param(["Fjell Mais 380 g", "Fjell Linser 380 g"], ["Mais", "Linser"], id="brand and weight are shared"),
        pytest.param(["Dal Juice eple", "Dal Te eple", "Fjell Juice eple"], ["Dal Juice", "Te", "Fjell"], id="two words tell"),
        pytest.param(["Cola", "Cola Zero"], ["Cola", "Zero"], id="a name within a name"),
        pytest.param(["Te 10 2", "Te 20 2"], ["Te 10", "Te 20"], id="a number alone tells nothing"),
    ],
)
def test_short_names_tell_products_apart(names: list[str], short: list[str], tmp_path: Path) -> None:
    assert run("short_names", f"[...page.shortNames({json.dumps(names)}).values()]", tmp_path) == short


@pytest.mark.parametrize(
    ("text", "room", "most", "lines"),
    [
        pytest.param("", 5, 3, [], id="nothing"),
        pytest.param("Dal Juice eple", 9, 3, ["Dal Juice", "eple"], id="words fill lines"),
        pytest.param("Dal Juice eple", 9, 1, ["Dal Juic…"], id="fewer lines than needed"),
        pytest.param("Popcorn", 4, 3, ["Pop…"], id="a word longer than a line"),
    ],
)
def test_names_are_wrapped_into_their_boxes(text: str, room: int, most: int, lines: list[str], tmp_path: Path) -> None:
    assert run("short_names", f"page.wrapped({json.dumps(text)}, {room}, {most})", tmp_path) == lines


@pytest.mark.parametrize(
    ("hidden", "counted", "found"),
    [
        pytest.param([], [], None, id="no hidden box"),
        pytest.param([[[50, 50, 20, 20], 0.9]], [], None, id="none under the point"),
        pytest.param(
            [[[0, 0, 20, 20], 0.02], [[0, 0, 200, 200], 0.02]], [], [0, 0, 20, 20], id="the one that it is central in"
        ),
        pytest.param([[[0, 0, 20, 20], 0.01], [[2, 2, 20, 20], 0.1]], [], [2, 2, 20, 20], id="the more probable one"),
        pytest.param([[[0, 0, 20, 20], 0.1]], [[1, 1, 20, 20]], None, id="a product that has a box already"),
    ],
)
def test_a_click_means_the_box_that_is_there(
    hidden: list[list[object]], counted: list[list[int]], found: list[int] | None, tmp_path: Path
) -> None:
    boxes = [{"bbox": bbox, "counts": True} for bbox in counted]
    faint = [{"bbox": bbox, "score": score} for bbox, score in hidden]
    expression = f"(new page.PhotoBoxes({json.dumps(boxes)}, {json.dumps(faint)})).faintAt([10, 10])?.bbox ?? null"
    assert run("photo_boxes", expression, tmp_path) == found


def test_a_change_is_undone_with_all_that_it_changed(tmp_path: Path) -> None:
    steps = """(() => { const shelf = new page.PhotoBoxes([{bbox: [0, 0, 1, 1], name: "a", counts: true}], []);
      const box = shelf.boxes[0], undo = () => shelf.undo();
      shelf.change(box, {name: "b", given: true}); shelf.remove(box);
      return [shelf.boxes.length, undo(), shelf.boxes[0].name, undo(), shelf.boxes[0], shelf.boxes[0] === box, undo()];
    })()"""
    box = {"bbox": [0, 0, 1, 1], "name": "a", "counts": True}
    assert run("photo_boxes", steps, tmp_path) == [0, True, "b", True, box, True, False]
