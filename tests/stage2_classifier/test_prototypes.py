"""Photos become a prototype, and a prototype a column of the graph: against the cosine by hand."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from cosine_models import BLUE, RED, SIZE, flat, save_classifier

from fusion.models import Model
from photos.data import Photo
from stage2_classifier import prototypes
from stage2_classifier.crops import Region, cut
from stage2_classifier.prototypes import Place

IDS = [3, 7]
SCALE = 16.0


@pytest.mark.parametrize("background", [False, True], ids=["names only", "background last"])
@pytest.mark.parametrize("k", [1, 3], ids=["one centre", "three centres"])
def test_the_graph_with_a_prototype_equals_the_cosine_by_hand(tmp_path: Path, background: bool, k: int) -> None:
    rng = np.random.default_rng(0)
    columns = 2 + background
    centres = [SCALE * one / np.linalg.norm(one, axis=0) for one in rng.normal(size=(k, 3, columns))]
    path = tmp_path / "model.onnx"
    save_classifier(path, centres, IDS, background=background)
    direction = np.array([0.6, 0.0, 0.8], np.float32)
    place = Place(2, 9, False)
    new = prototypes.with_prototype(onnx.load(str(path)), path, prototypes.Column(place, direction), 2)
    onnx.save(new, str(tmp_path / "new.onnx"))
    sidecar = json.loads(path.with_suffix(".json").read_text())
    (tmp_path / "new.json").write_text(json.dumps(sidecar | {"categories": [*IDS, 9]}))
    crops = rng.integers(0, 256, (7, SIZE, SIZE, 3), np.uint8)
    logits = Model(tmp_path / "new.onnx")(crops)
    assert new.graph.output[0].type.tensor_type.shape.dim[1].dim_value == columns + 1
    embedding = crops.mean((1, 2)) / 255 - 0.5  # (7, 3)
    cosine = embedding @ direction / np.linalg.norm(embedding, axis=1)
    np.testing.assert_allclose(logits[:, 2], SCALE * cosine, atol=1e-3)
    np.testing.assert_allclose(np.delete(logits, 2, 1), Model(path)(crops), atol=1e-4)
    prototypes.refuse_change(Model(path), Model(tmp_path / "new.onnx"), crops, place)


def photo(boxes: list[list[float]]) -> Photo:
    n = len(boxes)
    edges = np.array(boxes, np.float32).reshape(-1, 4)
    return Photo(1, Path("a.jpg"), 99, 99, edges, np.zeros(n, np.int64), np.arange(n), None)


def test_box_sides_are_quartiles_of_the_long_side() -> None:
    assert prototypes.box_sides([]) == prototypes.box_sides([photo([])]) == ()
    boxes = [[0, 0, 10, 5], [0, 0, 5, 20], [0, 0, 30, 30], [5, 5, 45, 10], [0, 0, 50, 1]]
    assert prototypes.box_sides([photo(boxes)]) == (20, 30, 40)


def test_a_photo_is_seen_at_the_shelf_s_sides_and_never_enlarged() -> None:
    region = cut(np.full((60, 80, 3), 200, np.uint8), np.array([10, 10, 50, 30], np.float32), 0, 64, studio=True)
    assert prototypes.at_side(region, 20).box.tolist() == [5, 4, 25, 14]  # of the room above, 8 pixels were kept
    assert prototypes.at_side(region, 20).image.shape == (region.image.shape[0] // 2, region.image.shape[1] // 2, 3)
    assert prototypes.at_side(region, 41) is region


def test_a_thin_cut_out_keeps_a_pixel() -> None:
    thin = Region(np.full((400, 4, 3), 200, np.uint8), np.array([0, 0, 4, 400], np.float32), 0, studio=True)
    shrunk = prototypes.at_side(thin, 20)
    assert shrunk.image.shape == (20, 1, 3) and shrunk.box.tolist() == pytest.approx([0, 0, 0.2, 20])


def test_without_a_product_in_both_domains_there_is_no_shift(tmp_path: Path) -> None:
    save_classifier(tmp_path / "model.onnx", [np.eye(3)], [1, 2, 3])
    model = Model(tmp_path / "model.onnx")
    box = np.array([0, 0, 30, 30], np.float32)
    seen = [cut(flat(RED, size=30)[0], box, 0, SIZE)]
    other = [cut(flat(BLUE, size=30)[0], box, 1, SIZE, studio=True)]
    assert prototypes.domain_shift(model, other, seen, ()) is None
    same = [cut(flat(BLUE, size=30)[0], box, 0, SIZE, studio=True)]
    shift = prototypes.domain_shift(model, same, seen, ())
    np.testing.assert_allclose(prototypes.prototype(model, same, (), shift), prototypes.prototype(model, seen, ()), atol=1e-5)
