"""What a person changed on a photo and has not confirmed: it outlives a look at another photo, and is never passed over."""

from pathlib import Path

import pytest
from page_in_node import LATE, confirm, needs_node

pytestmark = needs_node
NOW = '[shown(), get("confirm-boxes").textContent]'
DRAW = 'await drag("confirm-view", [6, 6], [9.5, 9.5]); guesses.give(tea); await settled();'
OPEN = 'get("queue").children.find((row) => row.children[0].children[0] === "{}").children[0].fire("click"); await settled();'
QUEUE = 'get("queue").children.map((row) => row.children.at(-1))'
TEA = '["Tea"]'


@pytest.mark.parametrize("leave", [OPEN.format("B"), 'await press(key, "ArrowRight");'], ids=["by the queue", "by skipping"])
def test_changes_are_there_when_the_photo_is_opened_again(leave: str, tmp_path: Path) -> None:
    steps = f"""{DRAW} {leave} const other = {NOW}; {OPEN.format("A")} const back = {NOW}; await press(key, "z", true);
      report([other, back, {NOW}]);"""
    assert confirm(steps, tmp_path, a=TEA) == [["B", "1 boxes count"], ["A", "2 boxes count"], ["A", "1 boxes count"]]


def test_the_browser_asks_before_changes_are_lost(tmp_path: Path) -> None:
    steps = f"""const asks = [], look = () => asks.push(asksBeforeLeaving()); look(); {DRAW} look(); {OPEN.format("B")} look();
      {OPEN.format("A")} await press(key, "Enter"); look(); report(asks);"""
    assert confirm(steps, tmp_path, a=TEA) == [False, True, True, False]


def test_what_was_changed_and_undone_is_no_change(tmp_path: Path) -> None:
    assert confirm(f'{DRAW} await press(key, "z", true); report(asksBeforeLeaving());', tmp_path, a=TEA) is False


def test_what_is_changed_while_a_confirmation_is_on_its_way_is_told_and_confirmed_by_the_next(tmp_path: Path) -> None:
    steps = f"""await press(key, "Enter"); {DRAW} saved.give(); await settled();
      const waiting = [...{NOW}, told(), asksBeforeLeaving()];
      await press(key, "Enter"); saved.give(); await settled(); report([waiting, posts, shown(), asksBeforeLeaving()]);"""
    said = "A is confirmed as it was when you asked; what you changed since is not: confirm it too"
    stays = ["A", "2 boxes count; confirmed before", said, True]
    assert confirm(steps, tmp_path, a=TEA, sent=LATE) == [stays, [["A", ["Tea"]], ["A", ["Tea", "Tea"]]], "B", False]


def test_what_is_changed_and_left_while_a_confirmation_is_on_its_way_is_in_the_queue(tmp_path: Path) -> None:
    steps = f"""await press(key, "Enter"); {DRAW} await press(key, "ArrowRight"); saved.give(); await settled();
      const rows = {QUEUE}; await press(key, "Enter"); saved.give(); await settled(); report([rows, {NOW}]);"""
    rows = [": 1 boxes, confirmed, changes not confirmed", ": 1 boxes, doubt 0.50"]
    left = ["", "photos that are not confirmed: 1 changed since, click them in the queue"]
    assert confirm(steps, tmp_path, a=TEA, sent=LATE) == [rows, left]


def test_a_photo_that_is_being_confirmed_is_not_opened(tmp_path: Path) -> None:
    """Else its boxes of before the confirmation would be shown, and confirmed again."""
    steps = f"""await press(key, "Enter"); {OPEN.format("B")} {OPEN.format("A")} const said = told(), there = shown();
      await press(key, "ArrowRight"); report([said, there, {NOW}]);"""
    left = ["", "photos that are not confirmed: 1 skipped, click them in the queue"]
    assert confirm(steps, tmp_path, a=TEA, sent=LATE) == ["A is still being confirmed; open it in a moment", "B", left]


def test_changes_of_what_somebody_else_confirmed_are_given_up_aloud(tmp_path: Path) -> None:
    steps = f"""{DRAW} posts.push(["A", ["of another tab"]]); {OPEN.format("A")} report([{NOW}, told()]);"""
    said = "A was confirmed elsewhere meanwhile; what you changed on it is gone"
    assert confirm(steps, tmp_path, a=TEA) == [["A", "1 boxes count"], said]


def test_what_was_told_of_a_photo_goes_with_it(tmp_path: Path) -> None:
    steps = """await drag("confirm-view", [6, 6], [9.5, 9.5]); guesses.give({ guesses: [], name: "" }); await settled();
      await press(key, "Enter"); const said = told() !== ""; await press(key, "ArrowRight"); report([said, shown(), told()]);"""
    assert confirm(steps, tmp_path, a=TEA) == [True, "B", ""]


def test_keys_change_nothing_that_is_not_shown(tmp_path: Path) -> None:
    steps = f"""{DRAW} await press(key, "ArrowRight"); await press(key, "ArrowRight"); await press(key, "z", true);
      await press(key, "Delete"); {OPEN.format("A")} report({NOW});"""
    assert confirm(steps, tmp_path, a=TEA) == ["A", "2 boxes count"]
