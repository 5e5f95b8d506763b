"""What a zip's run.py tries in order to leave the sandbox fails, whatever it is."""

import subprocess
import sys
from pathlib import Path

import pytest

from experiments.performance.escapes import ESCAPES, escapes
from submission import isolation
from submission.judge_machine import Limits, Machine
from submission.sandbox import execute

PERMITTED = subprocess.run([*isolation.UNSHARE, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not PERMITTED, reason="this system permits no namespaces, and the sandbox refuses to run anything")
@pytest.mark.slow
@pytest.mark.parametrize("name", ESCAPES)
def test_nothing_leaves_the_sandbox(name: str, tmp_path: Path) -> None:
    assert escapes(name, tmp_path) == ""


def _zip(folder: Path) -> tuple[Path, Path]:
    import zipfile

    (folder / "photos").mkdir()
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("run.py", "import sys; open(sys.argv[4], 'w').write('[]')")
    return folder / "a.zip", folder / "photos"


def test_without_namespaces_nothing_is_run_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, photos = _zip(tmp_path)
    monkeypatch.setattr(isolation, "UNSHARE", ["false"])
    machine = Machine(Path(sys.executable), Limits(20.0))
    with pytest.raises(ValueError, match=r"permits no namespaces .* --unprotected"):
        execute(archive, photos, tmp_path / "out.json", machine)
    assert not (tmp_path / "out.json").exists()
    outcome = execute(archive, photos, tmp_path / "out.json", Machine(machine.python, machine.limits, unprotected=True))
    assert outcome.problems == [] and "not protected" in outcome.notes[0]
