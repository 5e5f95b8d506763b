"""Prototypes of a classifier's names among its embeddings: what a name looks like to it, from studio and shelf crops together.

A name that training shelves show seldom or never has a weak column in the classifier's head, but its studio photos have a place
among the embeddings (Snell et al. 2017, arXiv:1703.05175). Studio embeddings are moved by the mean step from studio to shelf of
the names that have both; a name with shelf crops is then moved towards their mean, the further the more there are.

`measure` keeps OUT/prototypes.npz beside a trained model, with the cosines of the held-out crops. `blend_in` writes the
prototypes into the model's graph, whose first output then holds the cosines after the logits; the sidecar says how they count
(`fusion.models.blended`).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fusion.models import Model, read_object
from runs.atomic_write import replacing
from stage2_classifier.crops import Image, Region
from stage2_classifier.neighbours import Floats, Labels, embed, embed_regions, unit
from stage2_classifier.prototype_blend import Blend

NAME = "prototypes.npz"  # beside the model
MOST_CROPS = 8  # chosen: shelf crops of a name that are embedded; a mean of unit vectors hardly moves after that many
STUDIO_COUNTS = 4.0  # chosen: a name's studio photos count as so many shelf crops
NONE = -2.0  # derived: less than any cosine, for a name without a prototype
MATRIX, OFFSET = "studio_prototypes", "studio_prototypes_offset"  # initializers of the graph


class Prototypes(NamedTuple):
    """Of C names: unit prototypes (C, D), zeros for none; boxes (C,) on training shelves; cosines (N, C) of crops."""

    vectors: Floats
    counts: Labels
    cosines: Floats


# -- embeddings -> prototypes: pure ----------------------------------------------------------------------------------------


def means(vectors: Floats, labels: Labels, names: int) -> Floats:
    """The unit mean (names, D) of the unit `vectors` (N, D) of each label; zeros for a label without any.

    >>> means(np.array([[2, 0], [0, 3]], np.float32), np.array([1, 1]), 2).round(2).tolist()
    [[0.0, 0.0], [0.7099999785423279, 0.7099999785423279]]
    """
    sums = np.zeros((names, vectors.shape[1]), np.float32)
    np.add.at(sums, labels, unit(vectors))
    return unit(sums)


def joined(studio: Floats, shelf: Floats, counts: Labels) -> Floats:
    """Prototypes (C, D) from studio and shelf means (C, D), zeros where a name has none, and its `counts` (C,) of shelf boxes.

    >>> studio, shelf = np.array([[1, 0], [0, 1]], np.float32), np.zeros((2, 2), np.float32)
    >>> joined(studio, shelf, np.array([0, 0])).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    with_studio, with_shelf = studio.any(1), shelf.any(1)
    both = with_studio & with_shelf
    step = (shelf[both] - studio[both]).mean(0) if both.any() else np.zeros(studio.shape[1], np.float32)  # (D,)
    moved = unit(studio + step) * with_studio[:, None]  # (C, D)
    share = np.where(with_studio, counts / (counts + STUDIO_COUNTS), 1.0)[:, None] * with_shelf[:, None]  # (C, 1)
    return unit(((1 - share) * moved + share * shelf).astype(np.float32))


def cosines_to(prototypes: Floats, vectors: Floats) -> Floats:
    """Cosines (N, C) of `vectors` (N, D) and unit `prototypes` (C, D); NONE for a name without a prototype."""
    return np.asarray(unit(vectors) @ prototypes.T + NONE * ~prototypes.any(1), np.float32)


# -- a trained classifier -> prototypes.npz ---------------------------------------------------------------------------------


def measure(folder: Path, regions: Sequence[Region], held_out: Image, names: int, rng: np.random.Generator) -> Prototypes:
    """Prototypes by the model in FOLDER of what it was trained on, `regions`, and cosines of crops `held_out` (N, S, S, 3)."""
    model = Model(folder / "model.onnx")
    shelf = [r for r in regions if not r.studio and r.label < names]
    counts = np.bincount([r.label for r in shelf], minlength=names)
    few = at_most(shelf, MOST_CROPS, rng)
    kinds = [embed_regions(model, kind) for kind in ([r for r in regions if r.studio], few)]
    vectors = joined(*[means(kind.vectors, kind.labels, names) for kind in kinds], counts)
    return Prototypes(vectors, counts, cosines_to(vectors, embed(model, held_out)))


def at_most(regions: Sequence[Region], most: int, rng: np.random.Generator) -> list[Region]:
    """At most so many of `regions` of each label, drawn by `rng`."""
    taken: dict[int, int] = {}
    kept = []
    for i in rng.permutation(len(regions)):
        label = regions[i].label
        taken[label] = taken.get(label, 0) + 1
        if taken[label] <= most:
            kept.append(regions[i])
    return kept


def write(folder: Path, prototypes: Prototypes) -> None:
    """Write FOLDER/prototypes.npz: a kill leaves the old file or the new one."""
    with replacing(folder / NAME) as (unfinished,), unfinished.open("wb") as file:
        np.savez(file, **prototypes._asdict())


def read(folder: Path) -> Prototypes:
    """What `write` wrote. Raises ValueError where there is no such file."""
    if not (folder / NAME).is_file():
        raise ValueError(f"{folder / NAME}: no such file; remove {folder} and train it again")
    with np.load(folder / NAME) as arrays:
        return Prototypes(*(arrays[field] for field in Prototypes._fields))


# -- prototypes -> graph ---------------------------------------------------------------------------------------------------


def blend_in(folder: Path, blend: Blend | None) -> None:
    """Write the prototypes of FOLDER into its model.onnx, and how they count into its sidecar; again, it changes the latter.

    None: a model without prototypes stays as it is, of another the prototypes no longer count. Raises ValueError for a model
    without an output `embedding`, or without prototypes.npz.
    """
    path = folder / "model.onnx"
    graph, side = onnx.load(str(path)), read_object(path.with_suffix(".json"))
    has = any(tensor.name == MATRIX for tensor in graph.graph.initializer)
    if blend is None and not has:
        return
    prototypes = read(folder)
    new = graph if has else with_cosines(graph, path, prototypes.vectors)
    weights = [0.0] * len(prototypes.counts) if blend is None else blend.weights(prototypes.counts)
    side |= {"prototype_temperature": 1.0 if blend is None else blend.temperature, "prototype_weights": weights}
    with replacing(path, path.with_suffix(".json")) as (model_file, sidecar_file):
        onnx.save(new, str(model_file))
        sidecar_file.write_text(json.dumps(side, indent=1) + "\n")


def with_cosines(graph: onnx.ModelProto, path: Path, vectors: Floats) -> onnx.ModelProto:
    """A copy of `graph` whose first output has, after the logits, the cosines to `vectors` (C, D), as by `cosines_to`."""
    new = onnx.ModelProto()
    new.CopyFrom(graph)
    outputs = [output.name for output in new.graph.output]
    if "embedding" not in outputs:
        raise ValueError(f"{path}: got outputs {', '.join(outputs)}, need 'embedding'; remove {path.parent} and train it again")
    for node in new.graph.node:
        node.input[:] = ["head" if name == outputs[0] else name for name in node.input]
        node.output[:] = ["head" if name == outputs[0] else name for name in node.output]
    offset = np.asarray(NONE * ~vectors.any(1), np.float32)  # (C,)
    constants = {MATRIX: np.ascontiguousarray(vectors.T), OFFSET: offset, "shortest": np.array(1e-12, np.float32)}
    new.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    new.graph.node.extend(
        [
            helper.make_node("ReduceL2", ["embedding"], ["length"], axes=[1], keepdims=1),
            helper.make_node("Max", ["length", "shortest"], ["safe_length"]),
            helper.make_node("Div", ["embedding", "safe_length"], ["direction"]),
            helper.make_node("MatMul", ["direction", MATRIX], ["products"]),
            helper.make_node("Add", ["products", OFFSET], ["cosines"]),
            helper.make_node("Concat", ["head", "cosines"], [outputs[0]], axis=1),
        ]
    )
    old = new.graph.output[0]
    width = old.type.tensor_type.shape.dim[1].dim_value
    old.CopyFrom(
        helper.make_tensor_value_info(outputs[0], TensorProto.FLOAT, ["batch", width + len(vectors) if width else None])
    )
    onnx.checker.check_model(new)
    return new


def without(regions: Sequence[Region], labels: set[int]) -> list[Region]:
    """`regions` without the shelf crops of `labels`."""
    return [r for r in regions if r.studio or r.label not in labels]
