"""The teacher's terms: each equals a slow loop of its formula, adds up over parts of a batch, and moves the student alone."""

import math
from itertools import permutations

import pytest
import torch
from torch.nn.functional import interpolate

from stage1_detector.distillation import losses
from stage1_detector.distillation.losses import LossSum, Pairs

EMPTY = torch.zeros(0, 4)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def some_boxes(*shape: int, seed: int = 0) -> torch.Tensor:
    """Boxes (*shape, 4) cx cy w h in fractions."""
    return torch.cat([0.2 + 0.6 * draw(*shape, 2, seed=seed), 0.05 + 0.25 * draw(*shape, 2, seed=seed + 1)], -1)


def corners(box: torch.Tensor) -> list[float]:
    x, y, w, h = box.tolist()
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def overlaps(one: torch.Tensor, other: torch.Tensor) -> tuple[float, float]:
    """IoU and GIoU of two boxes."""
    a, b = corners(one), corners(other)
    shared = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return shared / union, shared / union - (hull - union) / hull


# --- where products are


@pytest.mark.parametrize(("height", "width"), [(4, 4), (3, 7), (1, 1)])
def test_a_cell_is_inside_by_its_centre_or_as_the_home_of_a_boxs_centre(height: int, width: int) -> None:
    boxes = [EMPTY, some_boxes(3), torch.tensor([[0.37, 0.61, 0.01, 0.01], [1.0, 1.0, 0.1, 0.1]]), torch.full((1, 4), 0.5)]
    mask = losses.foreground_mask(boxes, height, width)
    assert mask.shape == (4, 1, height, width) and mask[0].sum() == 0
    for photo, of in enumerate(boxes):
        for row in range(height):
            for column in range(width):
                x, y, wanted = (column + 0.5) / width, (row + 0.5) / height, False
                for box in of:
                    x0, y0, x1, y1 = corners(box)
                    home = (min(int(box[0] * width), width - 1), min(int(box[1] * height), height - 1))
                    wanted |= (x0 <= x <= x1 and y0 <= y <= y1) or home == (column, row)
                assert mask[photo, 0, row, column] == wanted, (photo, row, column)


def test_no_photos_have_no_cells() -> None:
    assert losses.foreground_mask([], 2, 3).shape == (0, 1, 2, 3)


# --- maps


@pytest.mark.parametrize("size", [(4, 6), (8, 3)], ids=["the same", "another"])
def test_the_feature_term_is_its_formula(size: tuple[int, int]) -> None:
    mine, theirs = draw(3, 5, 4, 6), 7 * draw(3, 5, *size, seed=1) - 2
    mask = losses.foreground_mask([some_boxes(2), EMPTY, some_boxes(1, seed=5)], 4, 6)
    part = losses.feature_loss(mine, theirs, mask)
    wanted = interpolate(theirs, (4, 6), mode="bilinear", align_corners=False)
    total, count = 0.0, 0
    for photo, _, row, column in torch.nonzero(mask).tolist():
        t = wanted[photo, :, row, column].tolist()
        mean = sum(t) / 5
        spread = math.sqrt(sum((v - mean) ** 2 for v in t) / 5 + 1e-5)
        total += sum((float(mine[photo, c, row, column]) - (t[c] - mean) / spread) ** 2 for c in range(5)) / 5
        count += 1
    assert float(part.total) == pytest.approx(total, rel=1e-5) and part.count == count > 0


def test_the_scale_of_the_teachers_map_is_no_ones_to_learn() -> None:
    mine, theirs, mask = draw(1, 5, 4, 4), draw(1, 5, 4, 4, seed=1), torch.ones(1, 1, 4, 4)
    one, other = (losses.feature_loss(mine, value, mask) for value in (theirs, 30 * theirs + 4))
    assert float(one.total) == pytest.approx(float(other.total), rel=1e-3)


def test_where_no_products_are_nothing_is_to_learn() -> None:
    mine = draw(2, 5, 4, 4).requires_grad_()
    part = losses.feature_loss(mine, draw(2, 5, 4, 4, seed=1), losses.foreground_mask([EMPTY, EMPTY], 4, 4))
    part.total.backward()
    assert part.total == part.count == 0 and mine.grad.abs().sum() == 0


# --- who learns from whom


def told(pairs: Pairs) -> list[tuple[int, int, int]]:
    return sorted(zip(*(one.tolist() for one in pairs), strict=True))


def test_by_index_the_kth_is_like_the_kth_where_the_teacher_is_sure() -> None:
    probs = draw(2, 6, 3)
    wanted = [(b, k, k) for b in range(2) for k in range(6) if max(probs[b, k].tolist()) > 0.7]
    assert told(losses.match_by_index(probs, 0.7)) == wanted and 0 < len(wanted) < 12
    assert told(losses.match_by_index(probs, 1.0)) == []


def cost(mine: torch.Tensor, logits: torch.Tensor, theirs: torch.Tensor, label: int) -> float:
    """DETR's, of one of the student's with one of the teacher's."""
    apart = sum(abs(a - b) for a, b in zip(mine.tolist(), theirs.tolist(), strict=True))
    return -2 / (1 + math.exp(-float(logits[label]))) + 5 * apart - 2 * overlaps(mine, theirs)[1]


def kept(theirs: torch.Tensor, probs: torch.Tensor, floor: float) -> list[int]:
    """Greedy: the surest first, without its doubles."""
    sure, left = probs.amax(1).tolist(), []
    for k in sorted(range(len(sure)), key=lambda k: -sure[k]):
        if sure[k] > floor and all(overlaps(theirs[k], theirs[j])[0] <= losses.DUPLICATE_IOU for j in left):
            left.append(k)
    return left


@pytest.mark.parametrize(("mine", "theirs"), [(5, 3), (3, 5), (4, 4), (1, 1)], ids=["more", "fewer", "as many", "one"])
def test_by_cost_is_the_matching_of_least_cost_of_all(mine: int, theirs: int) -> None:
    boxes, taught, logits, probs = (
        some_boxes(2, mine),
        some_boxes(2, theirs, seed=7),
        4 * draw(2, mine, 2) - 2,
        draw(2, theirs, 2),
    )
    pairs, floor = losses.match_by_cost(boxes, logits, taught, probs, 0.3), 0.3
    for photo in range(2):
        there, labels = kept(taught[photo], probs[photo], floor), probs[photo].argmax(1).tolist()

        def whole(rows: tuple[int, ...], columns: tuple[int, ...], photo: int = photo, labels: list[int] = labels) -> float:
            return sum(
                cost(boxes[photo, i], logits[photo, i], taught[photo, j], labels[j]) for i, j in zip(rows, columns, strict=True)
            )

        n = min(mine, len(there))
        best = min(whole(rows, columns) for rows in permutations(range(mine), n) for columns in permutations(there, n))
        found = [(i, j) for b, i, j in told(pairs) if b == photo]
        assert len({i for i, _ in found}) == len({j for _, j in found}) == len(found) == n
        assert whole(*zip(*found, strict=True) if found else ((), ())) == pytest.approx(best, abs=1e-5)


def test_of_doubles_the_surer_teaches() -> None:
    taught = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.51, 0.5, 0.2, 0.2], [0.2, 0.2, 0.1, 0.1], [0.8, 0.8, 0.1, 0.1]]])
    probs = torch.tensor([[[0.6, 0.1], [0.1, 0.9], [0.3, 0.2], [0.05, 0.1]]])
    pairs = losses.match_by_cost(some_boxes(1, 5), torch.zeros(1, 5, 2), taught, probs, 0.1)
    assert sorted(pairs.teacher.tolist()) == [1, 2]


def test_a_teacher_who_is_sure_of_nothing_pairs_nothing() -> None:
    found = losses.match_by_cost(some_boxes(2, 5), torch.zeros(2, 5, 2), some_boxes(2, 4), 0.1 * draw(2, 4, 2), 0.1)
    assert told(found) == []
    assert told(losses.match_by_cost(some_boxes(0, 5), torch.zeros(0, 5, 2), some_boxes(0, 4), draw(0, 4, 2), 0.1)) == []


def test_a_photo_of_which_the_teacher_knows_nothing_takes_part_in_no_pair() -> None:
    probs = torch.stack([torch.zeros(4, 2), draw(4, 2)])
    assert {
        b for b, _, _ in told(losses.match_by_cost(some_boxes(2, 5), torch.zeros(2, 5, 2), some_boxes(2, 4), probs, 0.1))
    } == {1}


# --- predictions

PAIRS = Pairs(torch.tensor([0, 0, 1]), torch.tensor([4, 1, 0]), torch.tensor([2, 0, 3]))
NO_PAIRS = Pairs(*(torch.zeros(0, dtype=torch.long),) * 3)


def test_the_class_term_is_its_formula() -> None:
    logits, probs = 6 * draw(2, 5, 3) - 3, draw(2, 4, 3, seed=1)
    part, total, count = losses.class_loss(logits, probs, PAIRS), 0.0, 0.0
    for b, i, k in told(PAIRS):
        s, p = torch.sigmoid(logits[b, i]).tolist(), probs[b, k].tolist()
        total += max(p) * sum(-p[c] * math.log(s[c]) - (1 - p[c]) * math.log(1 - s[c]) for c in range(3))
        count += max(p)
    assert float(part.total) == pytest.approx(total, rel=1e-5) and float(part.count) == pytest.approx(count)


def test_the_box_term_is_its_formula() -> None:
    boxes, taught, probs = some_boxes(2, 5), some_boxes(2, 4, seed=3), draw(2, 4, 3, seed=1)
    part, total, count = losses.box_loss(boxes, taught, probs, PAIRS), 0.0, 0.0
    for b, i, k in told(PAIRS):
        apart = (boxes[b, i] - taught[b, k]).abs().sum().item()
        weight = max(probs[b, k].tolist())
        total += weight * (5 * apart + 2 * (1 - overlaps(boxes[b, i], taught[b, k])[1]))
        count += weight
    assert float(part.total) == pytest.approx(total, rel=1e-4) and float(part.count) == pytest.approx(count)


def test_no_pairs_are_no_loss_and_no_gradient() -> None:
    boxes, logits = some_boxes(2, 5).requires_grad_(), draw(2, 5, 3).requires_grad_()
    for part in (
        losses.class_loss(logits, draw(2, 4, 3), NO_PAIRS),
        losses.box_loss(boxes, some_boxes(2, 4), draw(2, 4, 3), NO_PAIRS),
    ):
        assert part.total == part.count == 0
        part.total.backward()
    assert boxes.grad.abs().sum() == logits.grad.abs().sum() == 0


def test_a_box_without_an_area_has_a_finite_gradient() -> None:
    boxes = torch.tensor([[[0.5, 0.5, 0.0, 0.0], [0.5, 0.5, -0.1, 0.2]]], requires_grad=True)
    pairs = Pairs(torch.tensor([0, 0]), torch.tensor([0, 1]), torch.tensor([0, 1]))
    part = losses.box_loss(boxes, some_boxes(1, 2), draw(1, 2, 1), pairs)
    part.total.backward()
    assert torch.isfinite(part.total) and torch.isfinite(boxes.grad).all() and (boxes.grad[..., 2:] != 0).all()


# --- all of them


def terms(of: slice, mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> dict[str, LossSum]:
    """Every loss of some photos of a batch."""
    mine, theirs = ({name: value[of] for name, value in one.items()} for one in (mine, theirs))
    truth = [[some_boxes(2), EMPTY, some_boxes(4, seed=9)][i] for i in range(3)][of]
    found = {}
    for name, pairs in (
        ("index", losses.match_by_index(theirs["probs"], 0.5)),
        ("cost", losses.match_by_cost(mine["boxes"], mine["logits"], theirs["boxes"], theirs["probs"], 0.5)),
    ):
        found[f"class {name}"] = losses.class_loss(mine["logits"], theirs["probs"], pairs)
        found[f"box {name}"] = losses.box_loss(mine["boxes"], theirs["boxes"], theirs["probs"], pairs)
    mask = losses.foreground_mask(truth, 4, 6)
    return found | {"feature": losses.feature_loss(mine["map"], theirs["map"], mask)}


def known(seed: int) -> dict[str, torch.Tensor]:
    probs = draw(3, 6, 2, seed=seed) * torch.tensor([1.0, 0.0, 1.0])[:, None, None]  # of one photo nothing
    made = {"boxes": some_boxes(3, 6, seed=seed), "probs": probs, "logits": 4 * draw(3, 6, 2, seed=seed) - 2}
    return made | {"map": draw(3, 5, 4, 6, seed=seed)}


@pytest.mark.parametrize("at", [1, 2])
def test_the_parts_of_a_batch_add_up_to_the_whole(at: int) -> None:
    whole, *halves = (terms(of, known(1), known(2)) for of in (slice(None), slice(0, at), slice(at, None)))
    for name, part in whole.items():
        total, count = (sum(float(half[name][i]) for half in halves) for i in (0, 1))
        assert float(part.total) == pytest.approx(total, rel=1e-5) and float(part.count) == pytest.approx(count), name
        assert part.total > 0, name


def test_only_the_student_is_moved() -> None:
    mine, theirs = known(1), known(2)
    for value in (*mine.values(), *theirs.values()):
        value.requires_grad_()
    held = {name: value.detach() for name, value in theirs.items()}
    sum(part.total for part in terms(slice(None), mine, held).values()).backward()
    assert all(mine[name].grad.abs().sum() > 0 for name in ("boxes", "logits", "map"))
    assert all(value.grad is None for value in theirs.values())
