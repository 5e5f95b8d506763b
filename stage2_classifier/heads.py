"""Heads: an embedding becomes logits. Linear, cosine, ArcFace and sub-centre ArcFace. Knows nothing about crops or backbones.

All but the linear one compare directions: logits = scale x the cosine of the embedding and the nearest of a name's K centres.
In training arcface and subcentre add an angle to that of the true names, so that names end up that far apart; at judgment there
is no margin. A mixed crop has several true names: each with a target above 0 gets the whole margin.
"""

from functools import reduce

import torch
from torch.nn import functional

from stage2_classifier.config import ClassifierConfig, Columns


def cosines(embedding: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
    """(B, D), (K, C, D) -> (B, C): the cosine to the nearest of a name's K centres (sub-centre ArcFace, Deng et al. 2020)."""
    directions = functional.normalize(centres, dim=2)  # (K, C, D)
    return torch.einsum("bd,kcd->bkc", functional.normalize(embedding, dim=1), directions).amax(1)  # (B, C)


def with_margin(cosine: torch.Tensor, targets: torch.Tensor, margins: torch.Tensor) -> torch.Tensor:
    """cos(theta + m) where `targets` (B, C) > 0, else cos(theta); `margins` (C,) radians (Deng et al. 2019, ArcFace, eq. 3).

    Past theta + m = pi, where the cosine would rise again, it goes on falling, as cos(theta) - m sin(m): the authors' code.
    """
    sine = (1 - cosine.square()).clamp_min(1e-12).sqrt()  # (B, C)
    shifted = cosine * margins.cos() - sine * margins.sin()  # cos(theta + m)
    penalised = torch.where(cosine > -margins.cos(), shifted, cosine - margins * margins.sin())
    return torch.where(targets > 0, penalised, cosine)


class Linear(torch.nn.Linear):
    """An ordinary linear layer: (B, D) -> (B, C)."""

    def forward(self, embedding: torch.Tensor, targets: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, C); the targets are ignored."""
        return super().forward(embedding)


class Cosine(torch.nn.Module):
    """Centres (K, C, D) and their margins (C,), by `config.head`; a column that is not a single product has no margin."""

    def __init__(self, config: ClassifierConfig, columns: Columns, dim: int) -> None:
        super().__init__()
        self.scale = config.head_scale
        count = config.subcentres if config.head == "subcentre" else 1
        self.centres = torch.nn.Parameter(torch.randn(count, columns.width, dim) * dim**-0.5)  # (K, C, D)
        margins = torch.full((columns.width,), 0.0 if config.head == "cosine" else config.arc_margin)
        margins[columns.names :] = 0.0
        if columns.unknown is not None:
            margins[columns.unknown] = 0.0
        self.register_buffer("margins", margins)

    def forward(self, embedding: torch.Tensor, targets: torch.Tensor | None = None) -> torch.Tensor:
        """Logits (B, C); with `targets` (B, C) >= 0, in training, those of the true names are lowered by their margin."""
        cosine = cosines(embedding, self.centres)
        return self.scale * (cosine if targets is None else with_margin(cosine, targets, self.margins))

    def prototypes(self) -> list[torch.Tensor]:
        """K matrices (D, C): unit centres x scale, so that logits = max_k(unit(embedding) @ P_k)."""
        return [self.scale * functional.normalize(centres, dim=1).T.contiguous() for centres in self.centres.detach()]


Head = Linear | Cosine


def make_head(config: ClassifierConfig, columns: Columns, dim: int) -> Head:
    """The head `config.head` on embeddings of `dim` numbers."""
    return Linear(dim, columns.width) if config.head == "linear" else Cosine(config, columns, dim)


class Deployed(torch.nn.Module):
    """What judgment runs: crops (B, 3, H, W) -> logits (B, C), embedding (B, D). A cosine head becomes its `prototypes`."""

    def __init__(self, trunk: torch.nn.Module, head: Head) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head if isinstance(head, Linear) else None
        matrices = [] if isinstance(head, Linear) else head.prototypes()
        self.prototypes = torch.nn.ParameterList([torch.nn.Parameter(m, requires_grad=False) for m in matrices])

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (B, C) and the embedding (B, D) that they are computed from."""
        embedding = self.trunk(images)  # (B, D)
        if self.head is not None:
            return self.head(embedding), embedding
        unit = functional.normalize(embedding, dim=1)
        return reduce(torch.maximum, [unit @ matrix for matrix in self.prototypes]), embedding
