"""The optimiser of our own loop: parameters in groups by learning rate and weight decay."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import timm.optim
import torch
from torch import nn

from stage1_detector.config import LoopConfig

MOMENTUM = 0.9  # taken: of SGD, the field's
DEPTHS = 12  # taken: how many layers of a ConvNeXt mmdetection gives a rate of their own


def make_optimizer(learner: nn.Module, config: LoopConfig) -> torch.optim.Optimizer:
    """The optimiser, with a group of parameters for each learning rate and weight decay that `config` asks for."""
    groups = parameter_groups(learner, config)
    if config.optimizer == "SGD":
        return torch.optim.SGD(groups, config.lr, momentum=MOMENTUM)
    return {"AdamW": torch.optim.AdamW, "Adam": torch.optim.Adam}[config.optimizer](groups, config.lr)


def parameter_groups(learner: Any, config: LoopConfig) -> Iterator[dict[str, Any]]:
    """Parameters by learning rate: the feature extractor's at backbone_lr x lr and, of its DEPTHS equal parts, the k-th from
    its end at layer_decay^k of that (Clark et al. 2020, arXiv:2003.10555); all others at lr. Norms and biases do not decay.
    """
    extractor = list(learner.feature_extractor.parameters())
    extractor_ids, n_parts = {id(parameter) for parameter in extractor}, DEPTHS if config.layer_decay < 1 else 1
    for k, part in enumerate(np.array_split(np.arange(len(extractor)), n_parts)[::-1]):
        lr = config.lr * config.backbone_lr * config.layer_decay**k
        yield from weight_decay_groups([extractor[i] for i in part], lr, config)
    yield from weight_decay_groups([p for p in learner.parameters() if id(p) not in extractor_ids], config.lr, config)


def weight_decay_groups(parameters: list[nn.Parameter], lr: float, config: LoopConfig) -> Iterator[dict[str, Any]]:
    """Groups of parameters of one learning rate: those that decay, and norms and biases, which do not."""
    for group in timm.optim.param_groups_weight_decay(nn.ParameterList(parameters), config.weight_decay):
        yield {"params": group["params"], "weight_decay": group["weight_decay"], "lr": lr}
