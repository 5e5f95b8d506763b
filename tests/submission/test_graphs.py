"""Several graphs in one file answer as each of its own does, and FP16 is refused where it does not answer as float32."""

import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from place import Place

from fusion.pipeline import load
from stage1_detector.export import export_detector, take_photos
from submission import build, check, graphs

SIDE = {"task": "detector", "family": "yolo", "categories": None, "size": 64, "mean": [0.0] * 3, "std": [1.0] * 3}
RNG = np.random.default_rng(0)
CANVASES = [RNG.integers(0, 256, shape, np.uint8) for shape in ((1, 64, 64, 3), (8, 32, 64, 3))]


class Net(torch.nn.Module):
    """A net of a yolo head's output, (B, 4 + classes, anchors): boxes in pixels, scores in [0, 1]."""

    def __init__(self, classes: int, seed: int, scale: float = 40.0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.trunk = torch.nn.Conv2d(3, 8, 8, stride=8)
        self.boxes, self.scores = torch.nn.Conv2d(8, 4, 1), torch.nn.Conv2d(8, classes, 1)
        self.scale = scale

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        trunk = self.trunk(images).relu()
        edges = self.boxes(trunk)  # read by two nodes after the last convolution, as in a yolo's head
        return torch.cat([edges.sigmoid() * self.scale + edges, self.scores(trunk).sigmoid()], 1).flatten(2)


def exported(folder: Path, classes: int, seed: int, scale: float = 40.0, **side: object) -> bytes:
    folder.mkdir(parents=True, exist_ok=True)
    export_detector(Net(classes, seed, scale).eval(), folder / "model.onnx", SIDE | side, ())
    return (folder / "model.onnx").read_bytes()


def answers(data: bytes, canvas: np.ndarray, **more: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(data).run(None, {"images": canvas, **more})[0]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_each_branch_answers_as_its_own_file(tmp_path: Path, count: int) -> None:
    models = [exported(tmp_path / str(i), i + 1, i) for i in range(count)]
    joint = graphs.joined(models)
    for canvas in CANVASES:
        for i, model in enumerate(models):
            np.testing.assert_array_equal(answers(joint, canvas, select=np.array(i)), answers(model, canvas))


def test_graphs_of_different_kinds_are_not_joined(tmp_path: Path, runs: Path) -> None:
    floats = (runs / "one" / "model.onnx").read_bytes()  # takes float32
    with pytest.raises(ValueError, match=r"models to join: got .* must be one, of uint8 photos"):
        graphs.joined([exported(tmp_path, 1, 0), floats])
    with pytest.raises(ValueError, match="models to join"):
        graphs.joined([floats, floats])


def test_fp16_halves_the_weights_keeps_the_tail_and_answers_alike(tmp_path: Path) -> None:
    data = exported(tmp_path, 3, 0)
    half = graphs.halved(data)
    onnx.checker.check_model(onnx.load_model_from_string(half), full_check=True)  # later versions of onnxruntime refuse more
    types = {one.name: one.data_type for one in onnx.load_model_from_string(half).graph.initializer}
    assert types["trunk.weight"] == onnx.TensorProto.FLOAT16
    nodes = onnx.load_model_from_string(half).graph.node
    makers = {name: node for node in nodes for name in node.output}
    tails = [makers[node.input[0]] for node in nodes if node.op_type == "Sigmoid"]  # each after a convolution
    assert [(node.op_type, node.attribute[0].i) for node in tails] == [("Cast", onnx.TensorProto.FLOAT)] * 2
    worst = graphs.difference("yolo", data, half, CANVASES)
    assert 0 < worst["scores"] < 0.01 and 0 < worst["boxes_px"] < 0.5
    graphs.refuse_difference(tmp_path, worst)


def test_what_stays_in_float32_is_not_rounded_to_fp16_between_its_nodes(tmp_path: Path) -> None:
    """FP16 has only whole pixels above 1024, where a canvas of 1280 px has boxes."""
    half = graphs.halved(exported(tmp_path, 3, 0, scale=2000.0))
    found = answers(half, CANVASES[0])[0]  # (4 + 3, A)
    assert (found[:4] > 1024).any()
    assert (found != found.astype(np.float16)).mean() > 0.9


def test_fp16_of_a_graph_that_takes_floats_is_refused(runs: Path) -> None:
    with pytest.raises(ValueError, match="takes float32 photos, need one of uint8"):
        graphs.halved((runs / "one" / "model.onnx").read_bytes())


def test_fp16_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    data = exported(tmp_path, 1, 0, scale=1e6)
    worst = graphs.difference("yolo", data, graphs.halved(data), CANVASES)
    with pytest.raises(ValueError, match="FP16 and float32 disagree: boxes_px got"):
        graphs.refuse_difference(tmp_path, worst)
    with pytest.raises(ValueError, match="compared on no photo"):
        graphs.refuse_difference(tmp_path, graphs.difference("yolo", data, data, []))


def rows(*boxes: tuple[float, float]) -> np.ndarray:
    """A detector's output (5, A): boxes of 10 x 10 px at each x, with each score."""
    return np.array([(x, 0, x + 10, 10, score) for x, score in boxes], np.float64).reshape(-1, 5).T


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        pytest.param(rows(), rows((3, 0.9)), [], id="nothing to compare"),
        pytest.param(rows((3, 0.01)), rows((90, 0.9)), [], id="too low a score"),
        pytest.param(rows((3, 0.9), (50, 0.8)), rows((50.5, 0.8), (3, 0.9)), [(0, 0), (0.5, 0)], id="another order"),
        pytest.param(rows((3, 0.9)), rows((3, 0.2), (3.5, 0.9)), [(0.5, 0)], id="the same place with another score"),
        pytest.param(rows((3, 0.9)), rows((15, 0.9)), [(12, 0)], id="none like it"),
    ],
)
def test_boxes_are_compared_with_the_most_similar(one: np.ndarray, other: np.ndarray, expected: list) -> None:
    assert graphs.counterparts(one, other) == pytest.approx(np.array(expected, float).reshape(-1, 2))


class Ranking(Net):
    """Puts out the net's eight best boxes, best first; reversed for `turn`, without the best `cut`."""

    def __init__(self, turn: bool = False, cut: int = 0) -> None:
        super().__init__(1, 0, 2000.0)
        self.turn, self.cut = turn, cut

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        dense = super().forward(images)
        order = dense[:, 4].topk(8, 1).indices[:, self.cut :]
        order = order.flip(1) if self.turn else order
        return dense.gather(2, order[:, None].expand(-1, 5, -1))


def ranked(folder: Path, **changed: int) -> bytes:
    folder.mkdir()
    export_detector(Ranking(**changed).eval(), folder / "model.onnx", SIDE | {"family": "rcnn"}, ())
    return (folder / "model.onnx").read_bytes()


def test_a_graph_may_change_the_order_of_its_boxes_and_not_the_boxes(tmp_path: Path) -> None:
    plain, turned, cut = ranked(tmp_path / "a"), ranked(tmp_path / "b", turn=True), ranked(tmp_path / "c", cut=4)
    graphs.refuse_difference(tmp_path, graphs.difference("rcnn", plain, turned, CANVASES[:1]), "rcnn")
    told = r"disagree: boxes_px got .*, allowed 1\.0 \(FP16 ranks proposals otherwise, and their NMS keeps others\); leave out"
    for one, other in ((plain, cut), (cut, plain)):
        with pytest.raises(ValueError, match=told):
            graphs.refuse_difference(tmp_path, graphs.difference("rcnn", one, other, CANVASES[:1]), "rcnn")


@pytest.fixture
def trained(place: Place) -> Place:
    """The place with detectors that look at the photo."""
    ids = json.loads((place.runs / "all" / "model.json").read_text())["categories"]
    exported(place.runs / "one", 1, 0)
    exported(place.runs / "all", len(ids), 1, categories=ids)
    namer = place.runs / "classifier_shelf" / "model.onnx"
    graph = onnx.load(str(namer))
    take_photos(graph, SIDE["mean"], SIDE["std"])
    onnx.save(graph, str(namer))
    return place


@pytest.mark.parametrize(
    ("flags", "weights"),
    [
        pytest.param(["--join"], ["classifier_shelf.onnx", "detectors.onnx"], id="joined"),
        pytest.param(["--half"], ["all.onnx", "classifier_shelf.onnx", "one.onnx"], id="FP16"),
        pytest.param(["--join", "--half"], ["classifier_shelf.onnx", "detectors.onnx"], id="both"),
    ],
)
def test_a_smaller_zip_says_the_same(trained: Place, flags: list[str], weights: list[str], tmp_path: Path) -> None:
    arguments = [*flags, *(["--photos", str(trained.data / "images")] if "--half" in flags else [])]
    assert build.main([*trained.words("build"), *arguments]) == 0
    archive = trained.root / "a.zip"
    assert check.check(archive) == []
    with zipfile.ZipFile(archive) as zipped:
        zipped.extractall(tmp_path / "code")
        assert sorted(name for name in zipped.namelist() if name.endswith(".onnx")) == weights
        assert json.loads(zipped.read("manifest.json")).get("half", False) == ("--half" in flags)
    photo = np.random.default_rng(1).integers(0, 256, (64, 96, 3), np.uint8)
    ours, plain = load(tmp_path / "code")(photo), load(trained.runs)(photo)
    assert len(ours) == len(plain) > 1
    tolerance = 0.02 if "--half" in flags else 0.0
    assert abs(sum(row["score"] for row in ours) - sum(row["score"] for row in plain)) <= tolerance * len(ours)
    if "--half" not in flags:
        assert ours == plain


def test_half_needs_photos_to_be_held_to(trained: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main([*trained.words("build"), "--half"]) == 2
    assert capsys.readouterr().err == "error: --half and --photos: got one of them, need both\n"
    (trained.root / "none").mkdir()
    assert build.main([*trained.words("build"), "--half", "--photos", str(trained.root / "none")]) == 2
    assert "compared on no photo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"categories": [3, 7]}, "puts out 3 classes, its sidecar lists 2", id="narrow class map"),
        pytest.param({"branch": 0}, "puts out 1 classes, its sidecar lists 3", id="the other branch"),
        pytest.param({"branch": 2}, "has 2 branches, a sidecar names branch 2", id="no such branch"),
    ],
)
def test_a_branch_is_held_to_its_sidecar(trained: Place, change: dict[str, object], message: str) -> None:
    files = build.collect(trained.runs, join=True)
    files["all.json"] = json.dumps(json.loads(files["all.json"]) | change).encode()
    build.write(files, trained.root / "b.zip")
    assert [violation.what for violation in check.check(trained.root / "b.zip")] == [message]


def test_a_shared_file_that_is_missing_is_told(trained: Place) -> None:
    files = build.collect(trained.runs, join=True)
    del files["detectors.onnx"]
    build.write(files, trained.root / "b.zip")
    assert {violation.where for violation in check.check(trained.root / "b.zip")} == {"detectors.onnx"}
