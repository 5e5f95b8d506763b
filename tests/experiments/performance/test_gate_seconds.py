"""The evidence that the gate is timed on is that of dense shelves: as many boxes and names as it says, named as well."""

import numpy as np
import pytest

from experiments.performance import gate_seconds
from stage2_classifier.gate.calibrate import named_boxes


def test_drawn_evidence_is_what_the_setting_says() -> None:
    evidence = gate_seconds.draw(4, 40, np.random.default_rng(0))
    assert [e.photo.id for e in evidence] == [0, 1, 2, 3]
    for e in evidence:
        assert 85 <= len(e.photo.boxes) <= 200
        assert e.probabilities is not None
        assert e.merged.evidence is not None
        assert e.probabilities.shape == e.merged.evidence.shape == (len(e.merged), 40)
    rows, labels = named_boxes(evidence)
    assert len(rows) / sum(len(e.photo.boxes) for e in evidence) == pytest.approx(gate_seconds.FOUND, abs=0.05)
    assert (rows.argmax(1) == labels).mean() == pytest.approx(gate_seconds.DETECTOR, abs=0.12)


def test_too_few_photos_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert gate_seconds.main(["--photos", "1"]) == 2
    assert "--photos, --names, --rounds: got 1, 356, 3" in capsys.readouterr().err
