"""What a person does on the page before the server has answered, run by Node.js on a page and a server of the test's own."""

from pathlib import Path

import pytest
from page_in_node import LATE, confirm, labels, needs_node, run

pytestmark = needs_node


def test_a_photo_that_was_left_is_not_confirmed_and_nor_is_the_one_after_it(tmp_path: Path) -> None:
    steps = """await press(key, "Enter"); await press(key, "ArrowRight"); guesses.give(tea); await settled();
      report([shown(), posts, told()]);"""
    assert confirm(steps, tmp_path) == ["B", [], "A is not confirmed: its boxes had no names yet when you left it"]


def test_a_photo_is_confirmed_once_its_names_are_there(tmp_path: Path) -> None:
    steps = """await press(key, "Enter"); const before = posts.length; guesses.give(tea); await settled();
      report([before, posts, shown()]);"""
    assert confirm(steps, tmp_path) == [0, [["A", ["Tea"]]], "B"]


def test_what_is_done_on_the_next_photo_outlives_a_late_answer(tmp_path: Path) -> None:
    steps = """await press(key, "Enter"); await press(key, "ArrowRight"); await drag("confirm-view", [6, 6], [9.5, 9.5]);
      saved.give(); await settled(); report([shown(), get("confirm-boxes").textContent]);"""
    assert confirm(steps, tmp_path, a='["Tea"]', sent=LATE) == ["B", "2 boxes count"]


def test_a_key_that_is_held_down_confirms_one_photo(tmp_path: Path) -> None:
    steps = """await press(key, "Enter"); await hold("Enter"); await hold("Enter");
      report([posts.map(([name]) => name), shown()]);"""
    assert confirm(steps, tmp_path, a='["Tea"]', more="C") == [["A"], "B"]


def test_a_key_that_is_held_down_skips_one_photo(tmp_path: Path) -> None:
    steps = """await press(key, "ArrowRight"); await hold("ArrowRight"); report([posts, shown()]);"""
    assert confirm(steps, tmp_path, a='["Tea"]', more="C") == [[], "B"]


def test_a_photo_is_confirmed_once_and_the_second_time_refused_aloud(tmp_path: Path) -> None:
    steps = """await press(key, "Enter"); await press(key, "Enter"); const said = told(); saved.give(); await settled();
      await press(key, "Enter"); report([said, posts.map(([name]) => name), told()]);"""
    sent = [["A", "B"], ""]
    assert confirm(steps, tmp_path, a='["Tea"]', sent=LATE) == ["not taken: A was still being confirmed", *sent]


def test_the_next_photo_is_confirmed_while_the_one_before_is_still_being_sent(tmp_path: Path) -> None:
    steps = """await press(key, "Enter"); await press(key, "ArrowRight"); await press(key, "Enter");
      report(posts.map(([name]) => name));"""
    assert confirm(steps, tmp_path, a='["Tea"]', sent=LATE) == ["A", "B"]


@pytest.mark.parametrize(
    ("keys", "unread", "said"),
    [
        (["Enter", "Enter"], "", "all photos are confirmed"),
        (["Enter"], "B", "photos that are not confirmed: 1 cannot be read, see the queue"),
        (["ArrowRight", "Enter"], "", "photos that are not confirmed: 1 skipped, click them in the queue"),
        (
            ["ArrowRight"],
            "B",
            "photos that are not confirmed: 1 skipped, click them in the queue; 1 cannot be read, see the queue",
        ),
    ],
    ids=["none left", "one cannot be read", "one was skipped", "one was skipped, one cannot be read"],
)
def test_what_is_not_confirmed_at_the_end_is_told(keys: list[str], unread: str, said: str, tmp_path: Path) -> None:
    steps = f"""for (const own of {keys}) await press(key, own); report(get("confirm-boxes").textContent);"""
    assert confirm(steps, tmp_path, a='["Tea"]', unread=unread) == said


def test_a_photo_that_was_skipped_and_is_confirmed_later_is_not_left_over(tmp_path: Path) -> None:
    steps = """await press(key, "ArrowRight"); get("queue").children[0].children[0].fire("click"); await settled();
      await press(key, "Enter"); await press(key, "Enter"); report([posts.length, get("confirm-boxes").textContent]);"""
    assert confirm(steps, tmp_path, a='["Tea"]') == [2, "all photos are confirmed"]


def test_keys_mean_the_same_with_caps_lock(tmp_path: Path) -> None:
    steps = """await press(key, "A"); await press(key, "U"); await press(key, "R"); await press(key, "N");
      report([posts.map(([id, body]) => [id, body.action]), get("label-name").hidden]);"""
    decided = [["d0", "accept"], ["d1", "undo"], ["d1", "reject"]]
    assert labels(steps, tmp_path) == [decided, False]


def test_undo_is_undo_with_caps_lock_too(tmp_path: Path) -> None:
    steps = """await drag("confirm-view", [6, 6], [9.5, 9.5]); await press(key, "Z", true);
      report(get("confirm-boxes").textContent);"""
    assert confirm(steps, tmp_path, a='["Tea"]') == "1 boxes count"


def test_a_name_that_is_being_typed_is_of_no_other_photo(tmp_path: Path) -> None:
    steps = """await drag("confirm-view", [6, 6], [9.5, 9.5]); guesses.give({ guesses: [], name: "" }); await settled();
      const asked = !get("confirm-name").hidden; await press(key, "Enter"); const said = told();
      await press(key, "ArrowRight"); report([asked, said, posts, shown(), get("confirm-name").hidden]);"""
    said = "a name is still asked for: Enter in its field takes it, Escape leaves"
    assert confirm(steps, tmp_path, a='["Tea"]') == [True, said, [], "B", True]


def test_a_name_that_is_being_typed_goes_with_its_box(tmp_path: Path) -> None:
    steps = """await drag("confirm-view", [6, 6], [9.5, 9.5]); guesses.give({ guesses: [], name: "" }); await settled();
      const asked = !get("confirm-name").hidden; await press(key, "z", true); report([asked, get("confirm-name").hidden]);"""
    assert confirm(steps, tmp_path, a='["Tea"]') == [True, True]


def test_undo_leaves_the_other_boxes_their_names(tmp_path: Path) -> None:
    steps = """await drag("confirm-view", [6, 6], [9.5, 9.5]); guesses.give(tea); await settled();
      await press(key, "z", true); await press(key, "Enter"); report(posts);"""
    assert confirm(steps, tmp_path) == [["A", ["Tea"]]]


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


def test_the_picture_and_the_table_are_cut_at_the_same_score_though_the_slider_rounds(tmp_path: Path) -> None:
    script = """const asked = [], slider = get("floor"); let place = 0;
      const set = (value) => { place = Math.round(value * 1000) / 1000; };
      Object.defineProperty(slider, "value", { get: () => place, set });
      slider.min = "0.01";
      const shelf = { photo: "p", width: 9, height: 9, floor: 0.3004, facings: [], boxes: [] };
      const evidence = { category_id: 1, detector: [], classifier: [], objectness: 1, why: "" };
      const found = (score) => ({ bbox: [0, 0, 1, 1], score, ...evidence });
      serve((path) => {
        if (path !== "/photos") asked.push(path.split("=")[1]);
        return path === "/photos" ? { id: "a", remark: "", candidates: [found(0.3005), found(0.3001)], shelf } : shelf;
      });
      begin({ products: [], limits: { bytes: 99 }, floor: 0.3004 });
      const drawn = () => get("try-view").children[1].children.length;
      get("file").fire("change", { target: { files: [{ name: "a", size: 1 }] } }); await settled(); const first = drawn();
      slider.value = 0.5; slider.fire("input"); await new Promise((resolve) => setTimeout(resolve, 150));
      const higher = drawn();
      get("floor-reset").fire("click"); await settled();
      report([first, higher, drawn(), asked]);"""
    assert run("try", script, tmp_path) == [1, 0, 1, ["0.5", "0.3004"]]
