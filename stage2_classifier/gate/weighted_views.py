"""Ensembles of class-agnostic detectors that see each photo in several weighted views, and what a way of merging them scores.

The detectors run once, in all VIEWS; every choice of weights and of merging is then a re-merging of the same raw outputs.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fusion.ensemble import Ensemble, Member
from fusion.merge import Merge
from fusion.models import read_sidecar
from fusion.pipeline import merge
from photos.data import Photo
from photos.score import Match, Truth, match, scores
from runs.first_command import refuse_untrained
from stage2_classifier.gate.evidence import RawOutputs

CONF = 0.01  # chosen: fainter boxes hardly count, and make merging several times slower
SCALES = {"small": 0.75, "large": 1.25}  # chosen: of the training size
TILES = {"tiles": [2, 2], "overlap": 0.25}
VIEWS = ("plain", "flip", *SCALES, "tiles")  # the names of each detector's views, in this order


def refuse_twice(parts: Sequence[str]) -> None:
    """Raises ValueError for a part of the folds that is named twice.

    >>> refuse_twice(["valid", "test"])
    """
    if len(set(parts)) < len(parts):
        raise ValueError(f"--parts: got {' '.join(parts)}, must be each once, or its photos would count twice")


def ensemble_of(models: Sequence[Path], photos: Sequence[Photo]) -> Ensemble:
    """An ensemble of class-agnostic detectors, each with all of VIEWS. ValueError for one that is not finished."""
    members = []
    for model in models:
        refuse_untrained(model.parent.parent, model.parent.name, kind="detector")
        sidecar = read_sidecar(model.with_suffix(".json"))
        views = views_of(sidecar.size, sidecar.shape, sidecar.stride)
        members.append(Member.of(str(model.resolve()), sidecar, views=views, conf=CONF))
    return Ensemble([0], members, Merge(max_det=max(member.max_det for member in members)))


def views_of(size: int, shape: str, stride: int) -> list[dict[str, Any]]:
    """VIEWS as ensemble.json has them. A detector that takes one size only sees it in every view."""
    plain = {"size": size, "shape": shape, "stride": stride}
    scaled = {name: size if shape == "stretch" else stride * round(size * scale / stride) for name, scale in SCALES.items()}
    return [plain, plain | {"flip": True}, *[plain | {"size": side} for side in scaled.values()], plain | TILES]


def with_weights(ensemble: Ensemble, weights: Sequence[dict[str, float]], method: Merge) -> Ensemble:
    """`ensemble` merged by `method`, with a weight for each view of each detector, by its name in VIEWS; 0 if not named."""
    members = []
    for member, by_name in zip(ensemble.detectors, weights, strict=True):
        views = [view | {"weight": by_name.get(name, 0.0)} for name, view in zip(VIEWS, member.views, strict=True)]
        members.append(replace(member, views=views))
    return replace(ensemble, detectors=members, merge=replace(method, max_det=ensemble.merge.max_det))


def equal_weights(ensemble: Ensemble, views: Sequence[Sequence[str]], method: Merge) -> Ensemble:
    """`ensemble` merged by `method` from the named `views` of each detector, each of weight 1."""
    return with_weights(ensemble, [dict.fromkeys(names, 1.0) for names in views], method)


def match_merged(photos: Sequence[Photo], raw: RawOutputs, ensemble: Ensemble) -> Match:
    """The boxes that `ensemble` merges from the raw outputs, matched to the true ones without regard to category."""
    truths = [Truth.of(photo).nameless() for photo in photos]
    return match(truths, [merge(outputs, ensemble) for outputs in raw], 1)


def det_map50(photos: Sequence[Photo], raw: RawOutputs, ensemble: Ensemble) -> float:
    """The det mAP50 of the boxes that `ensemble` merges from the raw outputs."""
    return scores(match_merged(photos, raw, ensemble)).det_map50
