"""Why nearest neighbours among studio photos fail: how far studio embeddings lie from shelf ones, in figures and a picture.

    python -m experiments.studies.domain_gap --data D [D ...] --runs R [R ...] --classifier NAME --set SET --out OUT [--record]

Each R holds folds.json of its D and a trained classifier R/NAME; several pairs are seeds of one SET. Galleries are the studio
photos and the training crops, queries the studio photos (all but the query itself are its gallery) and the test crops.
OUT/SET.png shows both kinds of embedding of the first pair, lines joining the two places of a product.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from photos import folds
from photos.data import read
from photos.studio import studio_folder
from runs import record
from runs.command import run, say
from stage2_classifier.crops import shelf_regions, studio_regions
from stage2_classifier.neighbours import AT, Embedded, Floats, embed_regions, load_embedder, recall_at, search, unit, vote

VOTERS = 5  # chosen: neighbours whose vote names a query
TURNS = 5  # chosen: parts of the products, each in turn unseen by the classifier that tells the domains apart
SHOWN = 1500  # chosen: shelf crops in the picture, at most
PLOTS = ("tsne", "pca")


@dataclass(frozen=True)
class Domains:
    """Unit embeddings of one set: the studio photos, and the shelf crops of the training and of the test part."""

    studio: Embedded
    train: Embedded
    test: Embedded
    names: int

    @property
    def pairings(self) -> dict[str, tuple[Embedded, Embedded, bool]]:
        """Gallery, queries, and whether these are the same photos, for each line of the table."""
        moved = replace(self.studio, vectors=unit(self.studio.vectors + self.step))
        return {
            "studio_to_shelf": (self.studio, self.test, False),
            "shelf_to_shelf": (self.train, self.test, False),
            "studio_to_studio": (self.studio, self.studio, True),
            "moved_studio_to_shelf": (moved, self.test, False),
        }

    @property
    def step(self) -> Floats:
        """From studio to shelf, (D,): the mean over products that have both; what a mere translation could undo."""
        both = np.intersect1d(self.studio.labels, self.train.labels)
        if len(both) == 0:
            raise ValueError("domain_gap: no product has both a studio photo and a box in the training part, need one")
        return np.asarray((centres(self.train, both) - centres(self.studio, both)).mean(0), np.float32)


# -- measures: pure --------------------------------------------------------------------------------------------------------


def centres(embedded: Embedded, labels: Sequence[int] | np.ndarray) -> np.ndarray:
    """The mean vector of each of `labels`, (L, D)."""
    return np.stack([embedded.vectors[embedded.labels == label].mean(0) for label in labels])


def recalls(gallery: Embedded, queries: Embedded, same: bool, n_names: int) -> dict[str, float]:
    """recall1, recall5, recall10 and the accuracy of VOTERS' vote; with `same`, no query is its own neighbour."""
    rows, distances = search(gallery.vectors, queries.vectors, max(VOTERS, *AT) + same)
    if same:
        rows, distances = without_self(rows, distances)
    names = gallery.labels[rows]  # (Q, K)
    voted = vote(names[:, :VOTERS], distances[:, :VOTERS], n_names).argmax(1)
    return {f"recall{k}": recall_at(names, queries.labels, k) for k in AT} | {"vote": float((voted == queries.labels).mean())}


def without_self(rows: np.ndarray, distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours (Q, K) of the gallery's own rows -> (Q, K - 1), without the row itself, or the last where it is not listed.

    >>> without_self(np.array([[0, 2], [2, 1], [0, 1]]), np.array([[0.0, 0.1], [0.0, 0.0], [0.0, 0.1]]))[0].tolist()
    [[2], [2], [0]]
    """
    own = rows == np.arange(len(rows))[:, None]
    own[~own.any(1), -1] = True
    shape = (len(rows), rows.shape[1] - 1)
    return rows[~own].reshape(shape), distances[~own].reshape(shape)


def domain_auc(studio: Embedded, shelf: Embedded) -> float:
    """How well a logistic regression tells the domains apart on products it has not seen: area under the ROC, 0.5 by chance."""
    x = np.concatenate([studio.vectors, shelf.vectors])
    y = np.repeat([1, 0], [len(studio.labels), len(shelf.labels)])
    products = np.concatenate([studio.labels, shelf.labels])
    turns = GroupKFold(min(TURNS, len(np.unique(products))))
    model = LogisticRegression(class_weight="balanced", max_iter=2000)
    scores = cross_val_predict(model, x, y, groups=products, cv=turns, method="decision_function")
    return float(roc_auc_score(y, scores))


def gap(studio: Embedded, shelf: Embedded) -> float:
    """The mean distance of a product's studio centre from its shelf centre, over the spread of shelf crops about theirs.

    Below 1 a studio photo lies where the product's own shelf crops lie. Products without both are left out.
    """
    both = np.intersect1d(studio.labels, shelf.labels)
    studio_centres, shelf_centres = centres(studio, both), centres(shelf, both)
    own = np.isin(shelf.labels, both)
    spread = shelf.vectors[own] - shelf_centres[np.searchsorted(both, shelf.labels[own])]  # (M, D)
    return float(np.linalg.norm(studio_centres - shelf_centres, axis=1).mean() / np.sqrt((spread**2).sum(1).mean()))


def measure(domains: Domains) -> dict[str, float]:
    """Every figure of one set: WAY.recall1 ... for each way, auc, gap, and moved_gap once the mean step is undone."""
    figures = {f"{way}.{k}": v for way, parts in domains.pairings.items() for k, v in recalls(*parts, domains.names).items()}
    moved = domains.pairings["moved_studio_to_shelf"][0]
    figures["auc"] = domain_auc(domains.studio, domains.train)
    return figures | {"gap": gap(domains.studio, domains.train), "moved_gap": gap(moved, domains.train)}


# -- the picture -----------------------------------------------------------------------------------------------------------


def flat(vectors: Floats, plot: str) -> np.ndarray:
    """(N, D) -> (N, 2), by `plot`, one of PLOTS."""
    if plot == "pca":
        return PCA(2, random_state=0).fit_transform(vectors)
    return TSNE(2, perplexity=min(30, (len(vectors) - 1) / 3), init="pca", random_state=0).fit_transform(vectors)


def draw(domains: Domains, plot: str, title: str, path: Path, rng: np.random.Generator) -> None:
    """Both kinds of embedding in one plane, a line from each product's studio centre to its shelf centre: PATH (.png)."""
    pick = rng.permutation(len(domains.train.labels))[:SHOWN]
    shelf = Embedded(domains.train.vectors[pick], domains.train.labels[pick])
    points = flat(np.concatenate([domains.studio.vectors, shelf.vectors]), plot)  # (N, 2)
    n = len(domains.studio.labels)
    ends = [Embedded(points[:n], domains.studio.labels), Embedded(points[n:], shelf.labels)]
    both = np.intersect1d(ends[0].labels, ends[1].labels)
    picture = Figure(figsize=(8, 7), layout="constrained")
    axes = picture.add_subplot()
    axes.plot(*np.stack([centres(end, both) for end in ends]).transpose(2, 0, 1), color="0.6", linewidth=0.6, zorder=1)
    axes.scatter(*points[n:].T, s=6, color="tab:blue", alpha=0.4, label=f"shelf crops ({len(shelf.labels)})", zorder=2)
    axes.scatter(*points[:n].T, s=22, color="tab:orange", marker="^", label=f"studio photos ({n})", zorder=3)
    axes.legend(loc="best")
    axes.set(title=title, xticks=[], yticks=[])
    picture.savefig(path, dpi=120)


# -- the command -----------------------------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = argparse.ArgumentParser(prog="python -m experiments.studies.domain_gap", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, nargs="+", required=True, help="data sets")
    p.add_argument("--runs", type=Path, nargs="+", required=True, help="their run folders, in the same order")
    p.add_argument("--classifier", required=True, help="its folder in each run folder, such as classifier_shelf")
    p.add_argument("--set", required=True, help="what the pairs are called in the figures' keys, such as drawn")
    p.add_argument("--studio", type=Path, help="folder of studio photos; default D/NM_NGD_product_images")
    p.add_argument("--plot", choices=PLOTS, default="tsne")
    p.add_argument("--out", type=Path, required=True, help="where the picture and the JSON go")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results/knn.SET.json")
    return p


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, measure pair by pair, draw, print the table, record."""
    args = parser().parse_args(argv)
    if len(args.data) != len(args.runs):
        raise ValueError(f"--runs: got {len(args.runs)} folders for {len(args.data)} of --data, need one for each")
    args.out.mkdir(parents=True, exist_ok=True)
    results, crops = [], 0
    for i, (data, runs) in enumerate(zip(args.data, args.runs, strict=True)):
        domains = embedded(data, runs, args.classifier, args.studio)
        results.append(measure(domains))
        crops += len(domains.test.labels)
        say(f"{runs}: recall@1 studio to shelf {results[-1]['studio_to_shelf.recall1']:.3f}, "
            f"shelf to shelf {results[-1]['shelf_to_shelf.recall1']:.3f}")  # fmt: skip
        if i == 0:
            title = f"{args.set}: embeddings of {args.classifier} by {args.plot}"
            draw(domains, args.plot, title, args.out / f"{args.set}.png", np.random.default_rng(0))
    record.write_json(args.out / f"{args.set}.json", results)
    show(results, args.set)
    if args.record:
        command = records.command("studies.domain_gap", argv)
        setting = f"{len(results)} sets, {crops} test crops, embeddings of {args.classifier}"
        say(f"figures: {records.write(f'knn.{args.set}', as_records(results, args.set, setting, command))}")


def embedded(data: Path, runs: Path, classifier: str, studio: Path | None) -> Domains:
    """The embeddings of one set."""
    dataset = read(data)
    parts = folds.load(runs / "folds.json", dataset)
    model = load_embedder(runs / classifier / "model.onnx")
    size = model.sidecar.size
    regions = [studio_regions(studio_folder(data, studio), dataset.categories, size)]
    regions += [shelf_regions(parts.labelled(part), size) for part in ("train", "test")]
    embeddings = [embed_regions(model, r) for r in regions]
    return Domains(*[replace(e, vectors=unit(e.vectors)) for e in embeddings], len(dataset.categories))


def mean_of(results: list[dict[str, float]], key: str) -> records.Estimate:
    """The mean over sets of one figure."""
    return over_seeds([result[key] for result in results])


def show(results: list[dict[str, float]], title: str) -> None:
    """Print the table and the gap."""
    table = Table(title=f"{title}: {len(results)} sets, means and 95 % intervals by t over sets")
    columns = [*[f"recall{k}" for k in AT], "vote"]
    for column in ("gallery to queries", *columns):
        table.add_column(column, justify="left" if " " in column else "right", no_wrap=True)
    for way in dict.fromkeys(key.partition(".")[0] for key in results[0] if "." in key):
        table.add_row(way, *[str(mean_of(results, f"{way}.{column}")) for column in columns])
    Console(width=130).print(table)
    auc, apart, moved = (mean_of(results, key) for key in ("auc", "gap", "moved_gap"))
    say(f"the domains told apart on unseen products: AUC {auc}")
    say(f"distance of a product's two centres over the shelf's spread: {apart}, with the mean step undone {moved}")


def as_records(results: list[dict[str, float]], name: str, setting: str, command: str) -> list[dict[str, Any]]:
    """knn.SET.WAY.recall1 and .vote, knn.SET.domain_auc, .gap and .moved_gap."""
    setting += "; one set, so no interval" if len(results) == 1 else ""
    units = {"recall1": "recall", "vote": "accuracy", "auc": "AUC", "gap": "ratio", "moved_gap": "ratio"}
    rows = []
    for key in results[0]:
        unit_of = units.get(key.rpartition(".")[2])
        if unit_of:
            whole_key = f"knn.{name}.{'domain_auc' if key == 'auc' else key}"
            rows.append(records.figure(whole_key, mean_of(results, key), unit_of, setting, command))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
