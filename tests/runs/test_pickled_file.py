"""Files whose reading runs code: refused without being run, unless one of our runs wrote them or the user trusts them."""

from pathlib import Path

import pytest
import torch
from pickled_code import MARKER, write_evil
from safetensors.torch import save_file

from runs.pickled_file import is_ours, needs_code, note_written, refuse_untrusted


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "bare pickle"])
def test_a_foreign_file_is_refused_and_nothing_in_it_is_run(tmp_path: Path, legacy: bool) -> None:
    path = write_evil(tmp_path / "w.pt", tmp_path, legacy)
    with pytest.raises(ValueError, match=rf"--pretrained: got .*w.pt, must be .* pass --trust {path}$"):
        refuse_untrusted("--pretrained", path, None)
    with pytest.raises(ValueError, match="--trust"):
        refuse_untrusted("--pretrained", path, tmp_path / "other.pt")
    assert not (tmp_path / MARKER).exists()


def test_what_the_user_trusts_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_evil(tmp_path / "w.pt", tmp_path)
    monkeypatch.chdir(tmp_path)
    for trusted in (path, Path("w.pt"), tmp_path, Path()):
        refuse_untrusted("--pretrained", path, trusted)


def test_tensors_alone_need_no_trust(tmp_path: Path) -> None:
    torch.save({"network": {"a": torch.ones(2)}, "epoch": 3}, tmp_path / "w.pt")
    save_file({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    for name in ("w.pt", "w.safetensors"):
        assert not needs_code(tmp_path / name)
        refuse_untrusted("--pretrained", tmp_path / name, None)


def test_a_file_is_ours_as_long_as_it_is_what_we_wrote(tmp_path: Path) -> None:
    """The new version is noted before it replaces the old one, so both are known: a kill leaves either."""
    last, new = tmp_path / "last.pt", tmp_path / "last.pt.part"
    last.write_bytes(b"epoch 1")
    note_written(tmp_path, [("last.pt", last), ("best.pt", tmp_path / "none")])
    new.write_bytes(b"epoch 2")
    note_written(tmp_path, [("last.pt", new)])
    assert is_ours(last)
    new.replace(last)
    assert is_ours(last)
    last.write_bytes(b"from elsewhere")
    assert not is_ours(last)
    (tmp_path / "best.pt").write_bytes(b"epoch 2")
    assert not is_ours(tmp_path / "best.pt")
