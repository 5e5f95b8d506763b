"""The models run by OpenVINO: answers close to onnxruntime's, few sizes of batches, no network, and where it is missing."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from constant_models import CANDIDATES, save_graph
from cosine_models import SIZE, save
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from fusion.models import SELECT, start_session
from fusion.pipeline import load
from recognition import openvino_session
from recognition.openvino_session import OpenVinoSession, replace_sessions, what_it_means
from recognition.predict import main
from submission.graphs import joined
from submission.int8_graph import quantised

ROOT = Path(__file__).resolve().parent.parent.parent
needs_openvino = pytest.mark.skipif(not openvino_session.is_installed(), reason="the package openvino is not installed")


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """A graph of random weights: a convolution, the mean of its answers, 5 logits."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["crops", "kernel"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["pooled"]), helper.make_node("Flatten", ["pooled"], ["embedding"]),
        helper.make_node("Gemm", ["embedding", "weight"], ["cosine.0"]), helper.make_node("Identity", ["cosine.0"], ["logits"]),
    ]  # fmt: skip
    shapes = {"kernel": (3, 3, 3, 3), "weight": (3, 5)}
    values = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), name) for name, s in shapes.items()]
    save(tmp_path / "net.onnx", nodes, values, 5)
    return tmp_path / "net.onnx"


def crops(count: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)


def put_photo(folder: Path) -> Path:
    folder.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)).save(folder / "a.png")
    return folder


# -- the session -------------------------------------------------------------------------------------------------------------


@needs_openvino
@pytest.mark.parametrize("step", [1, 4])
@pytest.mark.parametrize("count", [0, 1, 3, 4, 9])
def test_answers_are_those_of_onnxruntime(classifier: Path, count: int, step: int) -> None:
    names = ["embedding", "logits"]
    theirs = start_session(classifier).run(names, {"crops": crops(count)})
    ours = OpenVinoSession(classifier, 1, "f32", step).run(names, {"crops": crops(count)})
    for mine, its in zip(ours, theirs, strict=True):
        assert mine.shape == its.shape
        np.testing.assert_allclose(mine, its, atol=1e-5)


@needs_openvino
def test_a_batch_that_is_filled_up_answers_exactly_as_the_same_crops_in_one_that_is_not(classifier: Path) -> None:
    session, plain = (OpenVinoSession(classifier, 1, "f32", step) for step in (4, 1))
    (whole,) = plain.run(["logits"], {"crops": crops(8)})
    for count in (5, 6, 7, 8):
        np.testing.assert_array_equal(session.run(["logits"], {"crops": crops(8)[:count]})[0], whole[:count])


@needs_openvino
def test_batches_keep_few_sizes(classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, sizes = OpenVinoSession(classifier, 1, step=4), list[int]()
    infer = session.request.infer
    monkeypatch.setattr(session, "request", type("Request", (), {
        "infer": lambda self, feed, **how: sizes.append(len(feed["crops"])) or infer(feed, **how)
    })())  # fmt: skip
    answers = [session.run(["logits"], {"crops": crops(count)})[0] for count in range(1, 17)]
    assert set(sizes) == {4, 8, 12, 16} and [len(answer) for answer in answers] == list(range(1, 17))


@needs_openvino
def test_answers_stay_as_they_are_when_others_are_asked_for(classifier: Path) -> None:
    session = OpenVinoSession(classifier, 1)
    first = session.run(["logits"], {"crops": crops(2)})[0]
    kept = first.copy()
    session.run(["logits"], {"crops": 1 - crops(2)})
    np.testing.assert_array_equal(first, kept)


@needs_openvino
def test_what_is_fastest_here_is_close_and_told(classifier: Path) -> None:
    session = OpenVinoSession(classifier, 1)
    assert session.precision in openvino_session.PRECISIONS
    assert OpenVinoSession(classifier, 1, "f32").precision == "f32"
    theirs = start_session(classifier).run(["logits"], {"crops": crops(4)})[0]
    np.testing.assert_allclose(session.run(["logits"], {"crops": crops(4)})[0], theirs, atol=0.02 * np.abs(theirs).max())


def brightness(times: float) -> bytes:
    """A graph: uint8 photos (B, H, W, 3) -> their mean colour x `times`, (B, 3)."""
    nodes = [
        helper.make_node("Cast", ["images"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["f"], ["m"], axes=[1, 2], keepdims=0), helper.make_node("Mul", ["m", "t"], ["out"]),
    ]  # fmt: skip
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", "height", "width", 3])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", 3])
    graph = helper.make_graph(nodes, "g", [images], [out], [numpy_helper.from_array(np.float32(times), "t")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@needs_openvino
def test_a_branch_of_a_joint_graph_is_chosen_and_filled_up(tmp_path: Path) -> None:
    (tmp_path / "joint.onnx").write_bytes(joined([brightness(1.0), brightness(10.0)]))
    (name,) = (output.name for output in onnx.load(tmp_path / "joint.onnx").graph.output)
    session = OpenVinoSession(tmp_path / "joint.onnx", 1, "f32", 4)
    for branch, times in enumerate((1.0, 10.0)):
        feed = {"images": np.full((3, 8, 9, 3), 7, np.uint8), SELECT: np.array(branch, np.int64)}
        np.testing.assert_allclose(session.run([name], feed)[0], np.full((3, 3), 7 * times), rtol=1e-6)


@needs_openvino
def test_what_is_no_graph_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"no graph")
    with pytest.raises(ValueError, match=r"a\.onnx: OpenVINO [\d.]+ does not take it: [^\n]+$"):
        OpenVinoSession(tmp_path / "a.onnx")


@needs_openvino
def test_a_graph_in_8_bits_is_refused(classifier: Path) -> None:
    classifier.write_bytes(quantised(classifier.read_bytes(), "classifier", [{"crops": crops(4)}]))
    with pytest.raises(ValueError, match=r"net\.onnx: computes in 8 bits .* leave --openvino out$"):
        OpenVinoSession(classifier)


@needs_openvino
def test_models_of_one_file_share_a_session_and_batches_have_four_sizes(runs: Path) -> None:
    values = json.loads((runs / "ensemble.json").read_text())
    values["detectors"].append(values["detectors"][0])
    values["classifiers"][0]["batch"] = 18
    (runs / "ensemble.json").write_text(json.dumps(values))
    pipeline = load(runs)
    assert replace_sessions(pipeline, "f32") == "float32"
    one, aware, again = (model.session for model in pipeline.detectors)
    assert one is again and one is not aware
    assert (one.step, pipeline.classifiers[0].session.step) == (1, 4)


# -- the network -------------------------------------------------------------------------------------------------------------

OPENS_NO_SOCKET = """
import sys
from pathlib import Path
sys.addaudithook(lambda event, given: event.startswith("socket.") and sys.exit(f"{event} {given}"))
"""
RUN = """
import numpy as np
from recognition.openvino_session import OpenVinoSession
OpenVinoSession(Path(sys.argv[1]), 1).run(["output"], {"images": np.zeros((1, 3, 64, 64), np.float32)})
"""


@needs_openvino
@pytest.mark.parametrize(
    ("code", "reports"), [pytest.param(RUN, False, id="ours"), pytest.param("import openvino", True, id="without care")]
)
def test_nothing_is_reported_over_the_network(tmp_path: Path, code: str, reports: bool) -> None:
    save_graph(tmp_path / "a.onnx", CANDIDATES)
    (tmp_path / "openvino_telemetry.py").write_text(f"open({str(tmp_path / 'reported')!r}, 'w').close()\nraise ImportError")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    words = [sys.executable, "-c", OPENS_NO_SOCKET + code, str(tmp_path / "a.onnx")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reported").exists() == reports


# -- the command -------------------------------------------------------------------------------------------------------------


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@needs_openvino
def test_the_command_says_what_it_computes_in_and_is_not_gone_on_with_by_another_engine(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(put_photo(tmp_path / "D")), "--model", str(runs), "--no-pictures", "--out"]
    assert main([*words, str(tmp_path / "plain")]) == 0 and "OpenVINO" not in capsys.readouterr().out
    assert main([*words, str(tmp_path / "fast"), "--openvino"]) == 0
    assert "boxes and scores are close to those of run.py, not equal" in capsys.readouterr().out
    ours, theirs = rows(tmp_path / "fast"), rows(tmp_path / "plain")
    assert len(ours) == 2 and [row["product"] for row in ours] == [row["product"] for row in theirs]
    for column, tolerance in (("score", 0.01), ("x0", 0.5), ("y1", 0.5)):
        assert [float(row[column]) for row in ours] == pytest.approx([float(row[column]) for row in theirs], abs=tolerance)
    assert main([*words, str(tmp_path / "fast"), "--openvino", "--resume"]) == 0
    assert main([*words, str(tmp_path / "fast"), "--resume"]) == 2
    assert main([*words, str(tmp_path / "plain"), "--resume", "--openvino"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "begun with engine 'OpenVINO in " in first and first.endswith("now 'onnxruntime'; pass the same, or --force")
    assert "begun with engine 'onnxruntime', now 'OpenVINO in " in second


@pytest.mark.parametrize("engine", ["OpenVINO in bfloat16", "OpenVINO in float32"])
def test_where_it_computes_in_float32_it_is_told_that_nothing_is_gained(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino_session, "version", lambda: "1.2.3")
    line = what_it_means(engine)
    assert line.startswith(f"OpenVINO 1.2.3, {engine.removeprefix('OpenVINO ')}, runs the models on the processor")
    assert ("nothing is gained" in line) == engine.endswith("float32")


@pytest.mark.parametrize("broken", [False, True], ids=["not installed", "does not import"])
def test_a_missing_package_is_one_line_with_the_remedy(
    broken: bool, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if broken:
        (tmp_path / "path").mkdir()
        (tmp_path / "path" / "openvino.py").write_text("raise ImportError('libtbb.so.12: cannot open')")
        monkeypatch.syspath_prepend(tmp_path / "path")
        monkeypatch.delitem(sys.modules, "openvino", raising=False)
    else:
        monkeypatch.setitem(sys.modules, "openvino", None)
    photos = put_photo(tmp_path / "D")
    assert main([str(photos), "--model", str(runs), "--out", str(tmp_path / "out"), "--openvino"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --openvino: ") and error.count("\n") == 1
    assert "uv pip install -e '.[openvino]'" in error and ("libtbb.so.12" in error) == broken
    assert not (tmp_path / "out").exists()
