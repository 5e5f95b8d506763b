"""Which anchors and proposals of a photo a Faster R-CNN learns from: torchvision's draw, the same whoever shares the batch."""

import torch
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler

from runs.distributed import SINGLE_PROCESS, Distributed

Masks = tuple[list[torch.Tensor], list[torch.Tensor]]
SEEDS = 2**31  # chosen: more than an epoch has steps, so that hardly any two have one seed


class PhotoSampler(BalancedPositiveNegativeSampler):
    """torchvision's sampler with a generator for each photo of the batch, which depends on the photo's place in it alone.

    `distributed` are the processes that share the batch: photos of lower ranks come first. `sampled` counts what the last call
    took: torchvision's losses are means over it.
    """

    distributed: Distributed = SINGLE_PROCESS
    sampled = 0

    def __call__(self, matched_idxs: list[torch.Tensor]) -> Masks:
        """Masks (A,) of the positives and of the negatives taken from each photo; as torchvision's, of matches (A,)."""
        before = self.distributed.count_before(len(matched_idxs))
        seed = int(torch.randint(SEEDS, ()))  # the same in all processes: an epoch begins with the same generators
        positives, negatives = [], []
        for place, matched in enumerate(matched_idxs, before):
            with torch.random.fork_rng(devices=[matched.device] if matched.is_cuda else []):
                torch.manual_seed(seed + place)
                positive, negative = super().__call__([matched])
            positives += positive
            negatives += negative
        self.sampled = sum(int(mask.sum()) for mask in (*positives, *negatives))
        return positives, negatives
