"""A small Conditional DETR of random weights."""

import torch

from stage1_detector.config import TransformerConfig
from stage1_detector.nets import conditional_detr
from stage1_detector.nets.conditional_detr import Net

SMALL = TransformerConfig(
    backbone="test_resnet", width=16, queries=20, encoder_layers=1, decoder_layers=3, size=96, epochs=1, dropout=0.0
)


def built(config: TransformerConfig = SMALL, names: tuple[str, ...] = ("a", "b")) -> Net:
    """The same network each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return conditional_detr.build(config, (), list(names))
