"""The times of the sandbox are told of the zip that was run there, and of no other."""

from pathlib import Path

import pytest

from reporting.speed import sandbox_times
from runs import record


@pytest.mark.parametrize(
    ("zipped", "told", "expected"),
    [
        pytest.param(b"a", None, {}, id="never run"),
        pytest.param(None, {"by_part": {"load": 1.0}}, {}, id="no zip"),
        pytest.param(b"a", {"by_part": {"load": 1.0}}, {"load": 1.0}, id="an earlier version, which told no zip"),
        pytest.param(b"a", {"by_part": {"load": 1.0}, "zip": "of a"}, {"load": 1.0}, id="this zip"),
        pytest.param(b"b", {"by_part": {"load": 1.0}, "zip": "of a"}, {}, id="another zip"),
    ],
)
def test_times_in_the_sandbox(tmp_path: Path, zipped: bytes | None, told: dict | None, expected: dict[str, float]) -> None:
    archive = tmp_path / "submission.zip"
    if told is not None:
        archive.write_bytes(b"a")
        of_a = {"zip": record.fingerprint(archive)} if "zip" in told else {}
        record.write_json(tmp_path / "sandbox.json", told | of_a)
        archive.unlink()
    if zipped is not None:
        archive.write_bytes(zipped)
    assert sandbox_times(tmp_path, archive) == expected
