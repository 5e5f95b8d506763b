"""Train the starter embedding on drawn packs alone, so that a classifier need not begin from random weights.

    python -m stage2_classifier.starter --out FILE [--minutes M] [--seed S] [--worlds N] [--force]

FILE (.safetensors, half precision, at most MOST bytes) holds the trunk and no head; `--pretrained starter` of
stage2_classifier.train means the one in this package, made by the command above with the defaults. The packs of many shops,
all of them look-alikes in families, are drawn once; ArcFace tells them apart on crops that are bridged to the shelf's domain.
Only drawings go in. A stopped run goes on by itself. What FILE gains on shops it never saw is measured at the end and said.
"""

from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import torch

from fusion.models import read_object
from fusion.views import crop
from runs import weights_file
from runs.command import Parser, run, say, say_progress
from runs.normalisation import of_backbone
from runs.output_file import refuse_no_file
from runs.record import digest, write_json
from stage1_detector.synthesis.catalogue import make_catalogue
from stage1_detector.synthesis.pack import SHAPES, Product, draw_pack, old_print
from stage2_classifier.augment import augmented
from stage2_classifier.config import ClassifierConfig, Columns
from stage2_classifier.crops import DETAIL, TYPICAL_ERROR, Region
from stage2_classifier.fit import TrainingCrops, fit
from stage2_classifier.model import build, build_trunk, load_pretrained, normalised, to_input

MOST = 10_000_000  # bytes; taken: what may be committed
WORLDS, PRODUCTS, FAMILIES = 8, 240, 48  # chosen: 1,920 products, five look-alikes a family
UNSEEN = 10_000  # chosen: worlds are numbered; those from here on are never trained on
TURNS = (-0.12, 0.0, 0.12)  # chosen: how far drums are turned, in shares of their width
DRAWN, RIM = 3, 0.12  # chosen: packs are drawn so many times larger, with so much white around, in shares of their side
STEPS = 150  # measured: training steps that one core does in a minute
CONFIG = ClassifierConfig(
    size=64, batch=48, lr=0.003, head="arcface", arc_margin=0.2, balance=0.0, bridge=0.9, colour=0.35, blur=0.3, erase=0.2,
    rotate=10.0, epochs=1, ema=0.995,
)  # fmt: skip


def products(number: int, seed: int) -> tuple[Product, ...]:
    """The products of world `number`."""
    return make_catalogue(PRODUCTS, FAMILIES, 0.3, np.random.default_rng((seed, number))).products


def packs(number: int, seed: int, first: int = 0) -> list[Region]:
    """All packs of world `number` as studio regions, labels from `first` on: as sold now (drums turned), and as before."""
    regions = []
    for label, product in enumerate(products(number, seed), first):
        turns = TURNS if SHAPES[product.family.shape].drum else (0.0,)
        regions += [pack(product, label, turn) for turn in turns] + [pack(old_print(product), label)]
    return regions


def pack(product: Product, label: int, turn: float = 0.0) -> Region:
    """One pack on white, its longer side DETAIL x the crop's."""
    side = round(DETAIL * CONFIG.size)
    picture = draw_pack(product, round(DRAWN * side / max(1.0, product.family.aspect)), turn=turn)  # (H, W, 4)
    scale = side / max(picture.shape[:2])
    size = max(2, round(picture.shape[1] * scale)), max(2, round(picture.shape[0] * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)  # (h, w, 4)
    rim = round(RIM * side)
    image = np.full((size[1] + 2 * rim, size[0] + 2 * rim, 3), 255, np.uint8)
    mask = cv2.copyMakeBorder(small[..., 3], rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=0)
    inside = image[rim:-rim, rim:-rim]
    inside[small[..., 3] > 127] = small[small[..., 3] > 127][:, :3]
    box = np.array([rim, rim, rim + size[0], rim + size[1]], np.float32)
    return Region(image, box, label, True, mask)


def train(out: Path, minutes: float, seed: int, worlds: int, force: bool = False) -> None:
    """Train for `minutes` of one core and write the trunk to OUT; what is there, made with the same settings, is reused."""
    refuse_no_file("--out", out, "starter.safetensors")
    settings = {"minutes": minutes, "seed": seed, "worlds": worlds, "config": asdict(CONFIG), "steps": STEPS}
    done = out.with_suffix(".json")
    if done.is_file() and out.is_file() and not force:
        if read_object(done).get("settings") != settings:
            raise ValueError(f"--out: got {out}, which was made with other settings; pass --force to replace it")
        say(f"starter: reuses {out}")
        return
    regions = [region for number in range(worlds) for region in packs(number, seed, number * PRODUCTS)]
    say(f"starter: drew {len(regions)} packs of {worlds * PRODUCTS} products")
    steps = -(-len(regions) // CONFIG.batch)
    config = replace(CONFIG, seed=seed, epochs=max(1, round(minutes * STEPS / steps)), min_steps=0)
    checkpoint = out.with_name(f"{out.stem}.{digest(settings)}.pt")
    model = build(config, Columns(worlds * PRODUCTS))
    crops = TrainingCrops(regions, np.array(TYPICAL_ERROR))
    fitted = fit(model, crops, config, checkpoint, lambda line: say_progress(f"starter: {line}"), checkpoint.is_file())
    write(fitted.model.trunk, out)
    metrics = {"recall1": unseen_recall(out, seed), "recall1_random": unseen_recall(None, seed)}
    say("starter: on shops it never saw, " + ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    write_json(done, {"settings": settings, "metrics": metrics})
    checkpoint.unlink()


def write(trunk: torch.nn.Module, out: Path) -> None:
    """Write the weights of `trunk` to OUT in half precision. Raises ValueError if they are more than MOST bytes."""
    weights_file.write_half_precision(trunk, out, MOST)


def unseen_recall(weights: Path | None, seed: int, worlds: int = 3) -> float:
    """The share of shelf-like crops whose nearest studio photo is of the same product, in shops that were not trained on.

    `weights` None: a trunk of random weights. Each shop's products are told apart among themselves.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        trunk = build_trunk(CONFIG).eval()
    if weights is not None:
        load_pretrained(trunk, weights)
    return float(np.mean([one_recall(trunk, UNSEEN + number, seed) for number in range(worlds)]))


def one_recall(trunk: torch.nn.Module, number: int, seed: int) -> float:
    """`unseen_recall` in world `number`: old prints on white against bridged crops of what is sold now."""
    regions, rng = packs(number, seed), np.random.default_rng((seed, number, 1))
    last = {region.label: i for i, region in enumerate(regions)}  # the old print
    studio = np.stack([crop(r.image, r.box, CONFIG.size, CONFIG.margin) for r in (regions[i] for i in last.values())])
    shown = np.setdiff1d(np.arange(len(regions)), list(last.values()))
    shelf = augmented(regions, shown, np.array(TYPICAL_ERROR), CONFIG, [rng] * len(shown))
    nearest = (directions(trunk, shelf) @ directions(trunk, studio).T).argmax(1)
    return float(np.mean(np.array(list(last))[nearest] == [regions[i].label for i in shown]))


@torch.no_grad()
def directions(trunk: torch.nn.Module, crops: np.ndarray, batch: int = 64) -> np.ndarray:
    """Unit embeddings (N, D) of uint8 crops (N, H, W, 3)."""
    by = of_backbone(CONFIG.model)
    parts = [trunk(normalised(to_input(crops[i : i + batch]), by)) for i in range(0, len(crops), batch)]
    return torch.nn.functional.normalize(torch.cat(parts), dim=1).numpy()


def body(argv: list[str] | None) -> None:
    """Read the arguments and train. Raises ValueError for what the user can mend."""
    p = Parser(prog="python -m stage2_classifier.starter", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--out", type=Path, required=True, help="weights file to write, .safetensors")
    p.add_argument("--minutes", type=float, default=25.0, help="of one core; sets the number of steps")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--worlds", type=int, default=WORLDS, help=f"shops to draw, {PRODUCTS} products each")
    p.add_argument("--force", action="store_true", help="replace what is there")
    args = p.parse_args(argv)
    for name, got, lowest in (("--minutes", args.minutes, 0), ("--seed", args.seed, 0), ("--worlds", args.worlds, 1)):
        if not lowest <= got < UNSEEN:
            raise ValueError(f"{name}: got {got}, allowed {lowest} to {UNSEEN - 1}")
    if args.out.suffix != ".safetensors" or not args.out.parent.is_dir():
        raise ValueError(f"--out: got {args.out}, must be a .safetensors file in a folder that is there")
    train(args.out, args.minutes, args.seed, args.worlds, args.force)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


if __name__ == "__main__":
    raise SystemExit(main())
