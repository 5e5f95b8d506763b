"""What is compared where a detector keeps some of its start: the share that its own shop chose, with none, at home and away."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from experiments.studies import start_shares
from experiments.studies.start_shares import Found, Shop
from fitting.procedure import SHARES


def test_a_gain_is_of_the_share_that_each_shop_chose() -> None:
    own, others = {0.5: 0.7, 0.3: 0.8, 0.15: 0.85, 0.0: 0.9}, {0.5: 0.6, 0.3: 0.5, 0.15: 0.45, 0.0: 0.4}
    at_home, away = start_shares.figures("x", [Found(0.5, own, others), Found(0.3, own, others)])
    assert (at_home.key, away.key) == ("start_share.x.own_shop", "start_share.x.other_shops")
    assert at_home.estimate.value == pytest.approx((-0.2 - 0.1) / 2) and away.estimate.value == pytest.approx((0.2 + 0.1) / 2)
    assert at_home.estimate.n == 2 and "(0.5, 0.3)" in at_home.setting


def test_each_shop_is_looked_at_by_the_others_detectors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    shops = [Shop(Path(name), SimpleNamespace(), [f"{name} test"], [f"{name} all"], 0.3) for name in "abc"]  # type: ignore[arg-type, list-item]
    looks = []

    def with_share(shop: Shop, share: float, photos: list[str]) -> float:
        looks.append((shop.runs.name, photos[0]))
        return {"a test": 0.9, "b all": 0.5, "c all": 0.7}[photos[0]]

    monkeypatch.setattr(start_shares, "with_share", with_share)
    found = start_shares.look(shops[0], shops[1:])
    assert looks == [("a", photos) for _ in SHARES for photos in ("a test", "b all", "c all")]
    assert found.share == 0.3 and found.own[0.0] == 0.9 and found.others[0.5] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("runs", "message"),
    [(["a"], "--runs: got 1, need two shops or more"), (["a", "b"], "a has no fitted.json, must be of a finished hylle fit")],
    ids=["one", "no fit"],
)
def test_mistakes_are_one_line(runs: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert start_shares.main(["--set", "x", "--runs", *(str(tmp_path / name) for name in runs)]) == 2
    assert message in capsys.readouterr().err
