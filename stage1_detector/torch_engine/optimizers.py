"""The optimiser of our own loop: parameters in groups by rate and weight decay."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import timm.optim
import torch
from torch import nn

from stage1_detector.config import LoopConfig

MOMENTUM = 0.9  # taken: of SGD, the field's
DEPTHS = 12  # taken: how many layers mmdetection tells apart in a ConvNeXt


def make_optimizer(net: nn.Module, config: LoopConfig) -> torch.optim.Optimizer:
    """The optimiser, with a group of parameters for each rate and weight decay that `config` asks for."""
    groups = parameter_groups(net, config)
    if config.optimizer == "SGD":
        return torch.optim.SGD(groups, config.lr, momentum=MOMENTUM)
    return {"AdamW": torch.optim.AdamW, "Adam": torch.optim.Adam}[config.optimizer](groups, config.lr)


def parameter_groups(net: Any, config: LoopConfig) -> Iterator[dict[str, Any]]:
    """Parameters by rate: the body's at backbone_lr x lr and, of its DEPTHS equal parts, the k-th from its end at layer_decay^k
    of that (Clark et al. 2020, arXiv:2003.10555); norms and biases do not decay.
    """
    body = list(net.body.parameters())
    own, deep = {id(parameter) for parameter in body}, config.layer_decay < 1
    for k, part in enumerate(np.array_split(np.arange(len(body)), DEPTHS if deep else 1)[::-1]):
        rate = config.lr * config.backbone_lr * config.layer_decay**k
        yield from decayed([body[i] for i in part], rate, config)
    yield from decayed([p for p in net.parameters() if id(p) not in own], config.lr, config)


def decayed(parameters: list[nn.Parameter], rate: float, config: LoopConfig) -> Iterator[dict[str, Any]]:
    """Groups of parameters of one rate: those that decay, and norms and biases, which do not."""
    for group in timm.optim.param_groups_weight_decay(nn.ParameterList(parameters), config.weight_decay):
        yield {"params": group["params"], "weight_decay": group["weight_decay"], "lr": rate}
