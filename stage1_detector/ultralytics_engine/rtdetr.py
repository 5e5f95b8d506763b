"""ultralytics' RT-DETR, made fit for shelves: as many queries as the photos need, and dense output for export.

Zhao et al. 2024, DETRs Beat YOLOs on Real-time Object Detection, arXiv:2304.08069. It sees photos stretched to a square, in
training as at judgment. From random weights its mAP stays near zero for 40 to 50 epochs, which is normal.
"""

from typing import Any

import torch
from ultralytics.models.rtdetr.train import RTDETRTrainer
from ultralytics.nn.modules import RTDETRDecoder
from ultralytics.nn.tasks import RTDETRDetectionModel, yaml_model_load

QUERIES = 300  # taken: the paper's; the fewest used here
POINTS_AND_HEADS = 4, 8  # taken: of the decoder in ultralytics; its arguments before the number of layers
HIDDEN = 256  # taken: the width of the decoder in ultralytics' YAMLs

RANDOM_START = "an RT-DETR of random weights finds next to nothing for 40 to 50 epochs: that is normal, let it run"
STRIDES = 8, 16, 32  # taken: of the maps whose cells its queries are chosen from, in ultralytics' YAMLs


def candidates(size: int) -> int:
    """How many cells queries are chosen from on a canvas of `size` x `size` pixels, a multiple of 32.

    Where there are fewer than queries, ultralytics takes them all, in training as in the exported graph (a test holds it).

    >>> candidates(64), candidates(320)
    (84, 2100)
    """
    return sum((size // stride) ** 2 for stride in STRIDES)


def limit_in_words(size: int, fullest: int) -> str:
    """That a photo of `fullest` products has more than can be found at `size`, and what helps; empty where it has not.

    >>> limit_in_words(64, 84)
    ''
    """
    if fullest <= (most := candidates(size)):
        return ""
    return f"an RT-DETR at {size} px finds at most {most} products on a photo, the fullest has {fullest}; a larger --size helps"


def with_queries(cfg: str | dict[str, Any], queries: int, layers: int = 0) -> dict[str, Any]:
    """A model's description, given as the content or the name of its YAML, with so many queries, and decoder layers if not 0.

    >>> with_queries("rtdetr-l.yaml", 900)["head"][-1][2:]
    ['RTDETRDecoder', ['nc', 256, 900]]
    """
    model = dict(cfg if isinstance(cfg, dict) else yaml_model_load(cfg))
    *before, (source, repeats, module, arguments) = model["head"]
    rest = [*POINTS_AND_HEADS, layers] if layers else arguments[3:]
    return model | {"head": [*before, [source, repeats, module, [arguments[0], HIDDEN, queries, *rest]]]}


class Trainer(RTDETRTrainer):
    """ultralytics' trainer with `queries` queries."""

    queries = QUERIES

    def get_model(
        self, cfg: str | dict[str, Any] | None = None, weights: torch.nn.Module | None = None, verbose: bool = True
    ) -> RTDETRDetectionModel:
        """The network from `cfg`, with those of `weights` that fit."""
        assert cfg is not None
        return super().get_model(with_queries(cfg, self.queries), weights, verbose)


class Dense(torch.nn.Module):
    """The network with all its queries as output, (B, 4 + C, Q): cx cy w h in pixels of the canvas, then sigmoid scores.

    ultralytics keeps the best of queries x classes instead, which discards the other class scores of a query.
    """

    def __init__(self, model: torch.nn.Module, size: int) -> None:
        super().__init__()
        self.model, self.size = model, size
        head = model.model[-1]
        assert isinstance(head, RTDETRDecoder)
        head.export = True
        head.postprocess = lambda boxes, scores: torch.cat([boxes, scores], -1)  # (B, Q, 4 + C)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, size, size) -> (B, 4 + C, Q)."""
        output = self.model(images)  # (B, Q, 4 + C), boxes as fractions of the canvas
        return torch.cat([output[..., :4] * self.size, output[..., 4:]], -1).permute(0, 2, 1)
