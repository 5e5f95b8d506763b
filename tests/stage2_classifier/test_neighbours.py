"""Search against a slow loop, votes against scikit-learn's, recall by hand; embeddings of a graph, and the whole command."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from cosine_models import BLUE, GREEN, RED, SIZE, flat, save_classifier
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from fusion.models import Model
from photos import folds
from stage2_classifier import neighbours
from stage2_classifier.crops import cut

METRICS = ["cosine", "l2"]


def slowly(gallery: np.ndarray, query: np.ndarray, k: int, metric: str) -> list[tuple[int, float]]:
    """(row, distance) of the k nearest of `gallery` to one query, by a loop in double precision."""
    pairs = []
    for row, one in enumerate(gallery.astype(np.float64)):
        cosine = one @ query / np.linalg.norm(one) / np.linalg.norm(query)
        pairs.append((row, 1 - cosine if metric == "cosine" else float(np.linalg.norm(one - query))))
    return sorted(pairs, key=lambda pair: pair[1])[:k]


def cloud(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)


@pytest.mark.parametrize("metric", METRICS)
def test_no_queries_find_nothing(metric: str) -> None:
    rows, distances = neighbours.search(cloud(3, 0), cloud(0, 1), 2, metric)
    assert rows.shape == distances.shape == (0, 2)
    assert neighbours.knn_probabilities(cloud(3, 0), np.zeros(3, np.int64), cloud(0, 1), 4, 2, metric).shape == (0, 4)
    assert neighbours.recall_at(rows, np.zeros(0, np.int64), 1) == 0


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "k", [pytest.param(1, id="nearest"), pytest.param(5, id="five"), pytest.param(99, id="more than there are")]
)
def test_search_equals_the_slow_loop(metric: str, k: int) -> None:
    gallery, queries = cloud(40, 0), cloud(25, 1)
    rows, distances = neighbours.search(gallery, queries, k, metric)
    for query, found, far in zip(queries, rows, distances, strict=True):
        expected = slowly(gallery, query, k, metric)
        assert found.tolist() == [row for row, _ in expected]
        np.testing.assert_allclose(far, [d for _, d in expected], atol=1e-5)


@pytest.mark.parametrize(("metric", "theirs"), [("cosine", "cosine"), ("l2", "euclidean")])
def test_votes_equal_scikit_learns(metric: str, theirs: str) -> None:
    gallery, queries = cloud(60, 0), cloud(30, 1)
    labels = np.random.default_rng(2).integers(0, 7, 60)
    labels[:7] = np.arange(7)  # scikit-learn has a column for each name that it saw
    ours = neighbours.knn_probabilities(gallery, labels, queries, 7, 5, metric)
    model = KNeighborsClassifier(5, weights="distance", metric=theirs, algorithm="brute").fit(gallery, labels)
    np.testing.assert_allclose(ours, model.predict_proba(queries), atol=1e-4)
    assert ours.dtype == np.float32


def test_probabilities_have_a_column_for_names_that_the_gallery_lacks() -> None:
    made = neighbours.knn_probabilities(cloud(5, 0), np.array([0, 1, 0, 1, 0]), cloud(4, 1), 6, 3)
    assert made.shape == (4, 6)
    np.testing.assert_allclose(made.sum(1), 1, atol=1e-6)
    assert not made[:, 2:].any()


@pytest.mark.parametrize("metric", METRICS)
def test_a_copy_of_the_query_outvotes_the_others_and_stays_finite(metric: str) -> None:
    gallery = cloud(5, 0)
    made = neighbours.knn_probabilities(gallery, np.array([3, 1, 1, 1, 1]), gallery[:1], 4, 5, metric)
    assert np.isfinite(made).all() and made.argmax(1).tolist() == [3]


def test_length_matters_to_l2_alone() -> None:
    gallery = np.array([[10, 0], [0.6, 0.8]], np.float32)
    query = np.array([[1, 0]], np.float32)
    assert neighbours.search(gallery, query, 1, "cosine")[0].tolist() == [[0]]
    assert neighbours.search(gallery, query, 1, "l2")[0].tolist() == [[1]]


@pytest.mark.parametrize(
    ("gallery", "k", "metric", "message"),
    [
        pytest.param(cloud(3, 0), 1, "manhattan", "allowed: cosine, l2", id="another metric"),
        pytest.param(cloud(0, 0), 1, "cosine", "a gallery of 0", id="empty gallery"),
        pytest.param(cloud(3, 0), 0, "cosine", "k 0", id="no neighbours"),
    ],
)
def test_what_cannot_be_searched_is_refused(gallery: np.ndarray, k: int, metric: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        neighbours.search(gallery, cloud(2, 1), k, metric)


def test_a_row_counts_names_that_the_gallery_lacks_as_missed() -> None:
    gallery = neighbours.Embedded(np.eye(3, dtype=np.float32), np.array([0, 1, 2]))
    queries = neighbours.Embedded(np.array([[1, 0.1, 0], [0, 0.1, 1], [0, 1, 0]], np.float32), np.array([0, 1, 9]))
    row = neighbours.table_row(("a", "b"), gallery, queries, neighbours.Voting(1))
    assert row.recall == {1: pytest.approx(1 / 3), 5: pytest.approx(2 / 3), 10: pytest.approx(2 / 3)}
    assert (row.vote, row.n_gallery, row.n_queries) == (pytest.approx(1 / 3), 3, 3)


# -- embeddings and the command --------------------------------------------------------------------------------------------


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "eye" / "model.onnx"
    save_classifier(path, [np.stack([RED, GREEN, BLUE], 1)], [3, 7, 40])
    return path


@pytest.mark.parametrize("n", [pytest.param(0, id="none"), pytest.param(3, id="one batch"), pytest.param(5, id="two batches")])
def test_embeddings_are_those_of_the_graph(classifier: Path, n: int) -> None:
    crops = np.concatenate([flat(np.full(3, 0.1 * i)) for i in range(n)]) if n else flat(RED, 0)
    made = neighbours.embed(neighbours.load_embedder(classifier), crops, batch=3)
    assert made.shape == (n, 3)
    np.testing.assert_allclose(made, np.array([[0.1 * i - 0.5] * 3 for i in range(n)]).reshape(n, 3), atol=2e-3)


def test_regions_are_cut_as_the_sidecar_says(tmp_path: Path) -> None:
    photo = np.zeros((40, 40, 3), np.uint8)
    photo[10:30, 10:20] = 255
    region = cut(photo, np.array([10, 10, 20, 30], np.float32), 5, SIZE)
    values = []
    for fit in ("letterbox", "squash"):
        save_classifier(tmp_path / f"{fit}.onnx", [np.eye(3)], [1, 2, 3], fit=fit)
        embedded = neighbours.embed_regions(Model(tmp_path / f"{fit}.onnx"), [region])
        assert embedded.labels.tolist() == [5]
        values.append(float(embedded.vectors[0, 0]))
    np.testing.assert_allclose(values, [(0.5 + 114 / 255 - 0.5) / 2, 0.5], atol=2e-3)  # half is padding, or none


def test_a_model_without_embedding_is_refused(tmp_path: Path, classifier: Path) -> None:
    import onnx

    graph = onnx.load(str(classifier))
    del graph.graph.output[1]
    onnx.save(graph, str(classifier))
    with pytest.raises(ValueError, match="need a classifier with 'embedding'; train it again"):
        neighbours.load_embedder(classifier)


COLOURS = {"red tea": (220, 30, 30), "green tea": (30, 200, 40), "blue tea": (30, 40, 220)}


@pytest.fixture
def shop(tmp_path: Path, classifier: Path) -> Path:
    """Six shelf photos with a box of each colour, and a studio photo of each product, but the blue one shows green."""
    data, annotations = tmp_path / "shop", []
    (data / "images").mkdir(parents=True)
    for i in range(1, 7):
        image = np.full((60, 120, 3), 128, np.uint8)
        for j, (category, colour) in enumerate(zip((3, 7, 40), COLOURS.values(), strict=True)):
            image[10:50, 5 + 40 * j : 35 + 40 * j] = colour
            annotations.append({"id": 3 * i + j, "image_id": i, "category_id": category, "bbox": [5 + 40 * j, 10, 30, 40]})
        Image.fromarray(image).save(data / "images" / f"img_{i:05d}.jpg", quality=95)
    images = [{"id": i, "file_name": f"img_{i:05d}.jpg", "width": 120, "height": 60} for i in range(1, 7)]
    categories = [{"id": i, "name": name} for i, name in zip((3, 7, 40), COLOURS, strict=True)]
    (data / "annotations.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    for name in COLOURS:
        picture = np.full((50, 50, 3), 255, np.uint8)
        picture[10:40, 10:40] = COLOURS["green tea" if name == "blue tea" else name][::-1]
        (data / "NM_NGD_product_images" / name).mkdir(parents=True)
        cv2.imwrite(str(data / "NM_NGD_product_images" / name / "main.png"), picture)
    assert folds.main(["--data", str(data), "--out", str(classifier.parents[1]), "--groups", "photo"]) == 0
    return data


def test_the_command_measures_both_galleries(shop: Path, classifier: Path) -> None:
    runs = classifier.parents[1]
    words = ["--data", str(shop), "--runs", str(runs), "--classifier", "eye"]
    assert neighbours.main([*words, "--k", "1"]) == 0
    shelf, studio = json.loads((runs / "eye" / "knn_cosine_test.json").read_text())["rows"]
    assert (studio["gallery"], shelf["gallery"]) == ("studio", "shelf")
    assert studio["recall"]["1"] == pytest.approx(2 / 3) and shelf["recall"]["1"] == 1  # the blue product's picture is green
    assert (studio["n_gallery"], shelf["n_gallery"] % 3, studio["n_queries"] % 3) == (3, 0, 0)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(["--metric", "manhattan"], "allowed: cosine, l2", id="another metric"),
        pytest.param(["--k", "0"], "1 or more", id="no neighbours"),
        pytest.param(["--classifier", "none"], "model.onnx not found: train it first", id="no such classifier"),
        pytest.param(["--studio", "nowhere"], "must be a folder with one folder per product", id="no such studio"),
    ],
)
def test_mistakes_are_told_in_one_line(
    shop: Path, classifier: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    words = ["--data", str(shop), "--runs", str(classifier.parents[1]), "--classifier", "eye", *flags]
    capsys.readouterr()
    assert neighbours.main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
