"""Checks of graphs: the provider is CUDA's, FP16 answers as float32, cuDNN's search for algorithms, and IO binding."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

from experiments.figures.records import Estimate, Measured
from experiments.gpu import random_networks, sessions
from experiments.gpu.scale import CPU, Work
from submission import graphs

CROPPED = 0.8  # chosen: of a canvas's height, the shape that cuDNN has not seen; cut to a multiple of the stride
COARSE = 5  # chosen: times the difference of the same graphs on a CPU; rounding differs by less, a defect by more


def files(work: Work, place: int) -> tuple[Path, Path]:
    """The float32 and the FP16 file of the detector at `place`; of the classifier at the place after the last."""
    folder = work.out / "models"
    if place == len(work.scale.detectors):
        return random_networks.classifier_files(work.scale, folder)
    return random_networks.detector_files(work.scale.detectors[place], work.scale, folder)


def provider(work: Work) -> Iterator[Measured]:
    """run.py's sessions are on CUDA, and so are the nodes of its first detector."""
    full, _ = files(work, 0)
    sessions.refuse_fallback(full, work)
    found = sessions.placement(full, random_networks.textured(1, work.scale.size), work)
    sessions.refuse_heavy_on_cpu(full, found, work)
    graph = f"{full.stem} in float32 at {work.scale.size} px, onnxruntime {onnxruntime.__version__}"
    setting = f"{graph}: {found.in_words}; a count, so no interval"
    yield Measured("gpu.nodes_on_gpu", Estimate(found.share_on_gpu, sum(found.nodes.values())), "share", setting)


def half(place: int, work: Work) -> Iterator[Measured]:
    """FP16 against float32 of the network at `place`: differences, where nodes run, milliseconds."""
    full, smaller = files(work, place)
    for path in (full, smaller):
        sessions.refuse_fallback(path, work)
    scale, is_classifier = work.scale, place == len(work.scale.detectors)
    family = "timm" if is_classifier else scale.detectors[place].family
    side, count = (scale.crop_size, scale.crop_batch) if is_classifier else (scale.size, 1)
    canvases, key = random_networks.textured(count, side), f"gpu.half.{full.stem}"
    of_full, of_half = (sessions.session(path, work.provider) for path in (full, smaller))
    feed = {of_full.get_inputs()[0].name: canvases}
    on_cpu = difference(family, [sessions.session(path, CPU) for path in (full, smaller)], canvases)
    found = sessions.placement(smaller, canvases, work)
    setting = f"{full.stem}, {count} x {side} px, both graphs on {work.provider}; FP16: {found.in_words}"
    for name, value in difference(family, [of_full, of_half], canvases).items():
        text = f"{setting}; {on_cpu[name]:.3g} where both run on the CPU; the largest difference, so no interval"
        yield Measured(f"{key}.{name}", Estimate(value, count), "px" if name == "boxes_px" else "score", work.setting(text))
        refuse_coarse(f"{full.stem}: {name}", value, on_cpu[name], ranked=family in graphs.RANKED)
    sessions.refuse_heavy_on_cpu(smaller, found, work)
    calls = [partial(one.run, None, feed) for one in (of_full, of_half)]
    ratio, full_ms, half_ms = sessions.ratio_of_turns(*calls, scale.repeats)
    yield Measured(f"{key}.float_over_half", ratio, "ratio", work.setting(f"{setting}; float32 {full_ms} ms"))
    yield Measured(f"{key}.ms", half_ms, "ms", work.setting(f"{setting}; plain session.run of FP16, transfers in it"))


def difference(family: str, pair: list[onnxruntime.InferenceSession], canvases: np.ndarray) -> dict[str, float]:
    """Largest differences of the first outputs of two sessions, as `submission.graphs` measures them for --half."""
    feed = {pair[0].get_inputs()[0].name: canvases}
    return graphs.output_difference(family, *(np.asarray(one.run(None, feed)[0], np.float64) for one in pair))


def refuse_coarse(what: str, value: float, on_cpu: float, ranked: bool) -> None:
    """Raises ValueError where FP16 is no number, or so far from float32 that rounding does not explain it.

    What rounding does to these weights, the same two graphs tell on a CPU; what --half allows is always allowed. In a family
    that ranks before its last layers FP16 ranks otherwise, by however much: it must only be a number.
    """
    allowed = max(COARSE * on_cpu, graphs.BOX_PX if "boxes" in what else graphs.SCORE)
    if not np.isfinite(value) or (value > allowed and not ranked):
        raise ValueError(f"{what}: FP16 and float32 differ by {value:.3g}, on a CPU by {on_cpu:.3g}, allowed {allowed:.3g}")


def search(work: Work) -> Iterator[Measured]:
    """cuDNN's HEURISTIC choice of algorithms against its default, EXHAUSTIVE: the first run at a new shape, and later runs."""
    _, smaller = files(work, 0)
    sessions.refuse_fallback(smaller, work)
    canvas = random_networks.textured(1, work.scale.size)
    other = canvas[:, : int(work.scale.size * CROPPED) // 32 * 32]  # (1, H, W, 3)
    names, runs = ("HEURISTIC", "EXHAUSTIVE"), []
    setting = f"{smaller.stem} at {work.scale.size} px"
    for name in names:
        one = sessions.session(smaller, work.provider, search=name)
        runs.append(partial(one.run, None, {one.get_inputs()[0].name: canvas}))
        runs[-1]()
        started = time.perf_counter()
        one.run(None, {one.get_inputs()[0].name: other})
        first = Estimate(time.perf_counter() - started, 1)
        text = f"{setting}, cuDNN's search {name}: the first run at a second shape; one run, so no interval"
        yield Measured(f"gpu.search.first_s.{name.lower()}", first, "s", work.setting(text))
    ratio, heuristic, exhaustive = sessions.ratio_of_turns(*runs, work.scale.repeats)
    text = f"{setting}: HEURISTIC {heuristic} ms, EXHAUSTIVE {exhaustive} ms, in turns"
    yield Measured("gpu.search.heuristic_over_exhaustive", ratio, "ratio", work.setting(text))


def binding(work: Work) -> Iterator[Measured]:
    """Plain session.run against IO binding with an input that stays in the GPU's memory and is overwritten."""
    _, smaller = files(work, 0)
    sessions.refuse_fallback(smaller, work)
    canvas, device = random_networks.textured(1, work.scale.size), "cpu" if work.rehearsed else "cuda"
    one = sessions.session(smaller, work.provider)
    name, output = one.get_inputs()[0].name, one.get_outputs()[0].name
    held = onnxruntime.OrtValue.ortvalue_from_numpy(canvas, device, 0)
    bound = one.io_binding()
    bound.bind_ortvalue_input(name, held)
    bound.bind_output(output, device, 0)

    def run_bound() -> np.ndarray:
        held.update_inplace(canvas)
        one.run_with_iobinding(bound)
        return np.asarray(bound.copy_outputs_to_cpu()[0])

    plain = partial(one.run, [output], {name: canvas})
    difference = float(np.abs(plain()[0] - run_bound()).max())
    if not difference <= graphs.BOX_PX:
        raise ValueError(f"{smaller.stem}: IO binding answers otherwise than session.run, by {difference:.3g}")
    ratio, plain_ms, bound_ms = sessions.ratio_of_turns(plain, run_bound, work.scale.repeats)
    text = f"{smaller.stem} at {work.scale.size} px, canvas in and answer out each time: plain {plain_ms}, bound {bound_ms} ms"
    yield Measured("gpu.binding.plain_over_bound", ratio, "ratio", work.setting(text))
