"""A graph that hands back its best candidates: those that a slow loop over the whole output would list, in that order."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from stage1_detector.best_boxes import disagreement, hands_back_best, how_many, keep_best


def graph(rows: int, apart: bool) -> onnx.ModelProto:
    """A graph whose output (B, rows, A) is its input; `apart`: boxes and the sigmoid of the other rows, put together."""
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", rows, "anchors"])
    output = helper.make_tensor_value_info("predictions", TensorProto.FLOAT, ["batch", rows, "anchors"])
    constants = [numpy_helper.from_array(np.array([4, rows - 4]), "sizes")]
    nodes = [
        helper.make_node("Split", ["images", "sizes"], ["boxes", "logits"], axis=1),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["predictions"], axis=1),
    ]
    nodes = nodes if apart else [helper.make_node("Identity", ["images"], ["predictions"])]
    whole = helper.make_graph(nodes, "g", [images], [output], constants)
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answer(model: onnx.ModelProto, raw: np.ndarray) -> np.ndarray:
    """The output of a graph."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    output: np.ndarray = session.run(None, {"images": raw})[0]
    return output


def best_of(raw: np.ndarray, count: int, apart: bool = False) -> np.ndarray:
    """What the changed graph hands back."""
    model = graph(raw.shape[1], apart)
    keep_best(model, count)
    onnx.checker.check_model(model)
    assert hands_back_best(model) and not hands_back_best(graph(raw.shape[1], apart))
    return answer(model, raw)


def slowly(raw: np.ndarray, count: int) -> np.ndarray:
    """The same by a loop: the best one that is left, of equal ones the first, until `count` are listed."""
    photos = []
    for photo in raw:
        left, listed = list(range(photo.shape[1])), []
        while left and len(listed) < count:
            best = left[0]
            for k in left[1:]:
                if max(photo[4:, k]) > max(photo[4:, best]):
                    best = k
            left.remove(best)
            listed.append(photo[:, best])
        photos.append(np.stack(listed, 1))
    return np.stack(photos)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("classes", [1, 7])
@pytest.mark.parametrize("count", [1, 5, 30, 99])
def test_it_lists_what_a_loop_lists_ties_in_their_order(classes: int, count: int, apart: bool) -> None:
    rng = np.random.default_rng(count)
    raw = rng.uniform(0, 300, (3, 4 + classes, 30)).astype(np.float32)
    raw[:, 4:] = rng.integers(-2, 3, raw[:, 4:].shape) / 2  # many ties
    assert np.array_equal(best_of(raw, count, apart), slowly(answer(graph(4 + classes, apart), raw), count))


def test_a_box_that_is_not_finite_stays_where_its_score_puts_it() -> None:
    raw = np.random.default_rng(0).uniform(0, 1, (1, 6, 9)).astype(np.float32)
    raw[0, 2, 3] = np.nan
    assert np.array_equal(best_of(raw, 9), slowly(raw, 9), equal_nan=True)


@pytest.mark.parametrize("row", [4, 6])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_handed_back_and_so_counted(row: int, value: float) -> None:
    raw = np.random.default_rng(0).uniform(0, 1, (1, 7, 50)).astype(np.float32)
    raw[0, row, 49] = value
    got = best_of(raw, 4)
    assert np.count_nonzero(~np.isfinite(got)) == 1
    others = np.delete(raw, 49, 2)
    assert np.array_equal(got[:, :, 1:], slowly(others, 3))


def test_more_are_kept_where_canvases_have_many() -> None:
    assert how_many(300, [10]) == 3000 < how_many(300, [10, 1600])


@pytest.mark.parametrize("classes", [1, 8])
@pytest.mark.parametrize(("low", "high"), [(-9, -3), (-9, 3), (5, 12)], ids=["faint", "spread", "near one"])
def test_candidates_that_nearly_tie_are_no_disagreement(low: float, high: float, classes: int) -> None:
    rng = np.random.default_rng(0)
    boxes, logits = rng.random((1, 4, 33600)), rng.uniform(low, high, (1, classes, 33600))
    given = {"images": np.concatenate([boxes, logits], 1).astype(np.float32)}
    whole, smaller = graph(4 + classes, apart=True), graph(4 + classes, apart=True)
    keep_best(smaller, 3500)
    everything, best = (onnxruntime.InferenceSession(m.SerializeToString()).run(None, given)[0][0] for m in (whole, smaller))
    order = np.argsort(-everything[4:].max(0), kind="stable")[:3500]
    assert not np.array_equal(everything[:, order], best)  # some rank otherwise, or round otherwise
    assert disagreement(everything, best) < 1e-6


@pytest.mark.parametrize(
    ("best", "expected"),
    [
        pytest.param([[1, 1, 2, 2, 0.9], [3, 3, 4, 4, 0.5]], 0.0, id="the best"),
        pytest.param([[3, 3, 4, 4, 0.5], [1, 1, 2, 2, 0.9]], 0.0, id="in another order"),
        pytest.param([[1, 1, 2, 2, 0.9], [5, 5, 6, 6, 0.2]], 0.3, id="one that is not among them"),
        pytest.param([[1, 1, 2, 2, 0.5], [3, 3, 4, 4, 0.9]], 0.4, id="scores of each other"),
        pytest.param([[1, 1, 2, 2, 0.9], [7, 7, 8, 8, 0.5]], np.inf, id="a box that is nowhere"),
        pytest.param([[1, 1, 2, 2, 0.9]] * 4, np.inf, id="more than there are"),
        pytest.param(np.zeros((0, 5)), 0.0, id="none"),
    ],
)
def test_what_differs_is_found(best: list, expected: float) -> None:
    everything = np.array([[5, 5, 6, 6, 0.2], [1, 1, 2, 2, 0.9], [3, 3, 4, 4, 0.5]], np.float32).T
    given = np.array(best, np.float32).reshape(-1, 5).T
    assert disagreement(everything, given) == pytest.approx(expected, abs=1e-6)
