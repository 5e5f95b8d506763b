"""Drags that outlive their picture or their finger, and decisions about a picture that is not there, run by Node.js."""

from pathlib import Path

import pytest
from page_in_node import confirm, labels, needs_node

pytestmark = needs_node
BOXES = 'get("confirm-boxes").textContent'
UNSEEN = 'get("{view}").children[0].naturalWidth = 0;'


def test_a_drag_that_outlives_its_photo_draws_on_no_other(tmp_path: Path) -> None:
    steps = f"""await pointer("confirm-view", "pointerdown", [6, 6]); await press(key, "Enter");
      await pointer("confirm-view", "pointerup", [9.5, 9.5]); const late = {BOXES};
      await drag("confirm-view", [6, 6], [9.5, 9.5]); report([shown(), late, {BOXES}]);"""
    assert confirm(steps, tmp_path, a='["Tea"]') == ["B", "1 boxes count", "2 boxes count"]


def test_a_drag_that_outlives_its_label_redraws_no_other(tmp_path: Path) -> None:
    steps = """await pointer("label-view", "pointerdown", [0, 0]); await press(key, "a");
      await pointer("label-view", "pointerup", [8, 8]); report(posts.map(([id, body]) => [id, body.action]));"""
    assert labels(steps, tmp_path) == [["d0", "accept"]]


@pytest.mark.parametrize(
    ("events", "boxes"),
    [
        pytest.param(
            [("pointerdown", 6, 1), ("pointerdown", 2, 2), ("pointerup", 0, 2), ("pointerup", 9.5, 1)], 1, id="a pinch"
        ),
        pytest.param([("pointerdown", 6, 2), ("pointerup", 9.5, 2)], 1, id="a second finger alone"),
        pytest.param([("pointerdown", 6, 1), ("pointercancel", 7, 1), ("pointerup", 9.5, 1)], 1, id="the browser takes over"),
        pytest.param([("pointerdown", 6, 1), ("pointerup", 0, 2), ("pointerup", 9.5, 1)], 2, id="another finger goes up"),
    ],
)
def test_only_the_finger_that_began_a_box_draws_it(events: list[tuple[str, float, int]], boxes: int, tmp_path: Path) -> None:
    steps = "".join(f'await pointer("confirm-view", "{kind}", [{at}, {at}], {finger});' for kind, at, finger in events)
    assert confirm(f"{steps} report({BOXES});", tmp_path, a='["Tea"]') == f"{boxes} boxes count"


def test_a_picture_that_was_left_is_not_told_of(tmp_path: Path) -> None:
    steps = """const late = held(); globalThis.fetch = async () => ({ ok: false, json: async () => late.answer });
      const image = get("label-view").children[0]; image.naturalWidth = 0; image.fire("error"); await settled();
      await press(key, "a"); const said = told() !== ""; await press(key, "ArrowRight"); late.give({ error: "gone" });
      await settled(); report([said, told()]);"""
    assert labels(steps, tmp_path) == [True, ""]


def test_what_is_not_seen_is_not_changed(tmp_path: Path) -> None:
    steps = f"""{UNSEEN.format(view="label-view")} await press(key, "a"); const said = told();
      await drag("label-view", [0, 0], [8, 8]); await press(key, "n"); await type("label-name", "Oat");
      await press(key, "r"); report([said, posts.map(([id, body]) => [id, body.action])]);"""
    said = "not taken: the picture is not there; wait for it, or look at another"
    assert labels(steps, tmp_path) == [said, [["d0", "reject"]]]


def test_a_photo_that_is_not_seen_is_not_confirmed(tmp_path: Path) -> None:
    steps = f"""{UNSEEN.format(view="confirm-view")} await press(key, "Enter"); report([posts, told(), shown()]);"""
    assert confirm(steps, tmp_path, a='["Tea"]') == [
        [], "not confirmed: the picture is not there; wait for it, or skip the photo", "A",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("why", "said"),
    [("a.jpg: cannot be read", "A: no picture (a.jpg: cannot be read)"), ("", "A: no picture (it cannot be shown)")],
    ids=["the server's words", "without a word"],
)
def test_a_picture_that_cannot_be_seen_is_told(why: str, said: str, tmp_path: Path) -> None:
    steps = f"""globalThis.fetch = async () => ({{ ok: {str(not why).lower()}, json: async () => ({{ error: "{why}" }}) }});
      const image = get("confirm-view").children[0]; image.naturalWidth = 0; image.fire("error"); await settled();
      report(told().replace("photo ", ""));"""
    assert confirm(steps, tmp_path, a='["Tea"]') == said
