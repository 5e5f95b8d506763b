"""Names by the nearest neighbours of a crop's embedding: a baseline, measured.

    python -m stage2_classifier.neighbours --data D --runs R --classifier NAME [--studio DIR] [--part test] [--k 5]

Two galleries answer for the shelf crops of one part: the studio photos, and the shelf crops of the training part. The table
goes to R/NAME/knn_METRIC_PART.json too. faiss searches exactly; at judgment there is no faiss, and no kNN.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from fusion.models import Model
from fusion.views import crop
from photos import folds
from photos.repairs import read_and_tell
from photos.studio import STUDIO, studio_folder
from runs import record
from runs.command import Parser, run, say
from runs.first_command import refuse_untrained
from stage2_classifier.crops import Image, Region, shelf_regions, studio_regions

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
METRICS = ("cosine", "l2")
AT = (1, 5, 10)  # taken from the issue: recall is given at these k
OUTPUT = "embedding"  # the graph's second output: the pooled features before the head
NEAR = 1e-6  # chosen: no neighbour is nearer than this, so that a copy of the query does not get an infinite vote


@dataclass(frozen=True)
class Embedded:
    """Embeddings (N, D) float32, not normalised, and the name of each, an index (N,)."""

    vectors: Floats
    labels: Labels


class Voting(NamedTuple):
    """How neighbours name a query: how many vote, and by which distance they are nearest."""

    k: int = 5
    metric: str = "cosine"


@dataclass(frozen=True)
class Row:
    """One line of the table: which gallery names which queries, how many of each, recall at AT, accuracy of the vote of k."""

    gallery: str
    queries: str
    n_gallery: int
    n_queries: int
    recall: dict[int, float]
    vote: float


# -- search, votes, recall: pure -------------------------------------------------------------------------------------------


def unit(vectors: Floats) -> Floats:
    """Rows of (N, D) at length 1; a row of zeros stays.

    >>> unit(np.array([[3, 4], [0, 0]], np.float32)).round(1).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1), np.float32)


def search(gallery: Floats, queries: Floats, k: int, metric: str = "cosine") -> tuple[Labels, Floats]:
    """The `k` nearest of `gallery` (G, D) to each of `queries` (Q, D): their rows and distances, (Q, min(k, G)), nearest first.

    Distances are 1 - cosine, in [0, 2], or Euclidean. Raises ValueError for another metric, an empty gallery, or k < 1.

    >>> rows, distances = search(np.eye(2, dtype=np.float32), np.array([[3, 0]], np.float32), 5)
    >>> rows.tolist(), distances.tolist()
    ([[0, 1]], [[0.0, 1.0]])
    """
    if metric not in METRICS:
        raise ValueError(f"--metric: got {metric!r}, allowed: {', '.join(METRICS)}")
    if len(gallery) == 0 or k < 1:
        raise ValueError(f"search: got a gallery of {len(gallery)} and k {k}, both must be at least 1")
    cosine = metric == "cosine"
    gallery, queries = (unit(v) if cosine else np.asarray(v, np.float32) for v in (gallery, queries))
    import faiss

    index = {"cosine": faiss.IndexFlatIP, "l2": faiss.IndexFlatL2}[metric](gallery.shape[1])
    index.add(np.ascontiguousarray(gallery))
    values, rows = index.search(np.ascontiguousarray(queries), min(k, len(gallery)))  # (Q, k) each
    return rows, np.asarray(np.maximum(1 - values, 0) if cosine else np.sqrt(np.maximum(values, 0)), np.float32)


def vote(names: Labels, distances: Floats, n_names: int) -> Floats:
    """Probabilities (Q, `n_names`): each neighbour votes for its name with 1 / distance; `names`, `distances` are (Q, k).

    >>> vote(np.array([[0, 1, 1]]), np.array([[0.25, 0.5, 0.5]], np.float32), 3).tolist()
    [[0.5, 0.5, 0.0]]
    """
    weights = 1 / np.maximum(distances.astype(np.float64), NEAR)  # (Q, k)
    votes = np.zeros((len(names), n_names))
    np.add.at(votes, (np.arange(len(names))[:, None], names), weights)
    return np.asarray(votes / votes.sum(1, keepdims=True), np.float32)


def knn_probabilities(
    gallery: Floats, labels: Labels, queries: Floats, n_names: int, k: int = 5, metric: str = "cosine"
) -> Floats:
    """Probabilities (Q, `n_names`) of `queries` (Q, D) by their k nearest of `gallery` (G, D), whose names are `labels` (G,).

    They stand in for a classifier's, so that kNN can be a row of the ablation.
    """
    rows, distances = search(gallery, queries, k, metric)
    return vote(labels[rows], distances, n_names)


def recall_at(names: Labels, truth: Labels, k: int) -> float:
    """The share of queries whose name, `truth` (Q,), is among those of their k nearest, `names` (Q, K); 0 without queries.

    >>> recall_at(np.array([[4, 2], [3, 3]]), np.array([2, 1]), 1), recall_at(np.array([[4, 2], [3, 3]]), np.array([2, 1]), 2)
    (0.0, 0.5)
    """
    recalled = (names[:, :k] == truth[:, None]).any(1)
    return float(recalled.mean()) if len(recalled) else 0.0


def table_row(titles: tuple[str, str], gallery: Embedded, queries: Embedded, voting: Voting) -> Row:
    """Recall at AT and the accuracy of the vote, when `gallery` names `queries`; a name it lacks counts as missed."""
    rows, distances = search(gallery.vectors, queries.vectors, max(voting.k, *AT), voting.metric)
    names = gallery.labels[rows]  # (Q, K)
    width = int(max(gallery.labels.max(initial=0), queries.labels.max(initial=0))) + 1
    voted = vote(names[:, : voting.k], distances[:, : voting.k], width).argmax(1)
    right = float((voted == queries.labels).mean()) if len(voted) else 0.0
    recall = {at: recall_at(names, queries.labels, at) for at in AT}
    return Row(*titles, len(gallery.labels), len(queries.labels), recall, right)


# -- embeddings ------------------------------------------------------------------------------------------------------------


def load_embedder(path: Path) -> Model:
    """The classifier at PATH. Raises ValueError where its graph has no output `embedding`, or it is no classifier."""
    refuse_untrained(path.parent.parent, path.parent.name)
    model = Model(path)
    outputs = [output.name for output in model.session.get_outputs()]
    if model.sidecar.task != "classifier" or OUTPUT not in outputs:
        raise ValueError(
            f"{path}: got a {model.sidecar.task} with outputs {', '.join(outputs)}, need a classifier with {OUTPUT!r}; "
            "train it again with hylle train-classifier"
        )
    return model


def embed(model: Model, crops: Image, batch: int = 32) -> Floats:
    """Embeddings (N, D), not normalised, of uint8 crops (N, size, size, 3)."""
    steps = range(0, max(1, len(crops)), batch)  # no crops: one empty batch, whose shape still gives D
    return np.concatenate([model(crops[i : i + batch], OUTPUT) for i in steps])  # (N, D)


def logits_of(model: Model, crops: Image, batch: int = 32) -> Floats:
    """Logits (N, C) of uint8 crops (N, size, size, 3)."""
    return np.concatenate([model(crops[i : i + batch]) for i in range(0, max(1, len(crops)), batch)])


def embed_regions(model: Model, regions: Sequence[Region]) -> Embedded:
    """What the classifier sees of `regions`, cut as at judgment: by its size, margin and fit."""
    side = model.sidecar
    crops = [crop(r.image, r.box, side.size, side.margin, side.fit) for r in regions]
    stacked = np.stack(crops) if crops else np.zeros((0, side.size, side.size, 3), np.uint8)
    return Embedded(embed(model, stacked), np.array([r.label for r in regions], np.int64))


# -- the command -----------------------------------------------------------------------------------------------------------


def parser() -> Parser:
    """The command's arguments."""
    p = Parser(prog="python -m stage2_classifier.neighbours", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True, help="folder of photos and labels (COCO, YOLO, VOC or CSV)")
    p.add_argument("--runs", type=Path, required=True, help="run folder with folds.json and the classifier")
    p.add_argument("--classifier", required=True, help="its folder in the run folder, such as classifier_shelf")
    p.add_argument("--studio", type=Path, help="folder of studio photos; default D/NM_NGD_product_images")
    p.add_argument("--part", default="test", choices=("valid", "test"), help="whose crops are named")
    p.add_argument("--k", type=int, default=5, help="neighbours that vote")
    p.add_argument("--metric", default="cosine", help=f"one of {', '.join(METRICS)}")
    return p


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, embed, search, print the table and write it."""
    args = parser().parse_args(argv)
    if args.metric not in METRICS or args.k < 1:
        raise ValueError(f"--metric, --k: got {args.metric!r} and {args.k}, allowed: {', '.join(METRICS)}, and 1 or more")
    voting = Voting(args.k, args.metric)
    rows = measure(args.data, args.runs, args.classifier, args.studio, args.part, voting)
    show(rows, voting)
    path = args.runs / args.classifier / f"knn_{args.metric}_{args.part}.json"
    record.write_json(path, {"k": args.k, "rows": [asdict(row) for row in rows]})
    say(f"knn: {path}")


def measure(data: Path, runs: Path, classifier: str, studio: Path | None, part: str, voting: Voting) -> list[Row]:
    """Training crops, and studio photos where there are any, as the gallery for the crops of `part`."""
    dataset = read_and_tell(data)
    parts = folds.load(runs / "folds.json", dataset)
    model = load_embedder(runs / classifier / "model.onnx")
    size = model.sidecar.size
    queries = embed_regions(model, shelf_regions(parts.labelled(part), size))
    galleries = {"shelf": shelf_regions(parts.labelled("train"), size)}
    if studio is not None or (data / STUDIO).is_dir():
        galleries["studio"] = studio_regions(studio_folder(data, studio), dataset.categories, size)
    return [table_row((name, "shelf"), embed_regions(model, g), queries, voting) for name, g in galleries.items()]


def show(rows: list[Row], voting: Voting) -> None:
    """Print the table."""
    table = Table(title=f"nearest neighbours by {voting.metric}")
    for column in ("gallery", "queries", "n gallery", "n queries", *[f"recall@{at}" for at in AT], f"vote of {voting.k}"):
        table.add_column(column, justify="left" if column in ("gallery", "queries") else "right", no_wrap=True)
    for row in rows:
        shares = [f"{value:.3f}" for value in (*row.recall.values(), row.vote)]
        table.add_row(row.gallery, row.queries, str(row.n_gallery), str(row.n_queries), *shares)
    Console(width=120).print(table)


if __name__ == "__main__":
    raise SystemExit(main())
