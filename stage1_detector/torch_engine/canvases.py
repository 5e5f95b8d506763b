"""Photos as canvases for training: the View of judgment, then augmentation, in batches that worker processes prepare."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from fusion.views import Image, Shape, View, letterbox
from photos.data import Photo, read_image
from photos.learnt import learnt_image
from photos.photo_file import photo_kind
from runs.distributed import SINGLE_PROCESS, Distributed
from runs.normalisation import IMAGENET_MEAN, IMAGENET_STD, Normalisation, of_backbone
from runs.training_errors import refuse_lost_worker
from stage1_detector.config import STRIDE, Config, LoopConfig, TorchvisionConfig, TransformerConfig
from stage1_detector.engine import synthetic_per_epoch
from stage1_detector.torch_engine.augment import augmented, transform, visible_boxes
from stage1_detector.torch_engine.canvas_cache import CanvasCache
from stage1_detector.torch_engine.schedules import SCHEDULES

WORKERS = min(4, cv2.getNumberOfCPUs())
SHRINKS = (8, 4, 2)  # of a side, as JPEG decoders offer them: the coarsest first
TIMEOUT = 900  # chosen: seconds that a batch may take a worker, before the training stops and says so
Sample = tuple[np.ndarray, np.ndarray, np.ndarray]
PixelBatch = tuple[np.ndarray, list[dict[str, np.ndarray]]]  # canvases uint8 (B, H, W, 3), and boxes and labels of each
Batch = tuple[torch.Tensor, list[dict[str, torch.Tensor]]]


class InputFormat(NamedTuple):
    """How a network takes photos: how they fill its canvas, and the mean and spread of each channel, of values in [0, 1]."""

    shape: Shape = "rectangle"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    @property
    def normalisation(self) -> Normalisation:
        """The mean and spread."""
        return Normalisation(self.mean, self.std)

    def of(self, config: Config) -> "InputFormat":
        """This format with the mean and spread of the backbone's weights, where `config` has a backbone of timm's."""
        if not isinstance(config, TorchvisionConfig | TransformerConfig):
            return self
        return self._replace(**of_backbone(config.backbone)._asdict())


IMAGENET_FORMAT = InputFormat()


class Canvases:
    """Photos that a detector learns from; `synthetic` ones join as `config.synthetic_ratio` says, others each epoch.

    `agnostic` gives every box the same label. A canvas is the photo's own rectangle only where all photos are of one size.
    Canvases are kept from epoch to epoch as far as `config.cache_mb` goes; they are the same pixels as those made anew.
    """

    def __init__(
        self,
        photos: tuple[Photo, ...],
        synthetic: tuple[Photo, ...],
        config: LoopConfig,
        agnostic: bool,
        input_format: InputFormat = IMAGENET_FORMAT,
    ) -> None:
        self.photos, self.n_real, self.config, self.agnostic = (*photos, *synthetic), len(photos), config, agnostic
        self.n_synthetic = synthetic_per_epoch(config, len(photos), len(synthetic))
        self.transform = transform(config)
        one_size = len({(photo.width, photo.height) for photo in self.photos}) == 1
        square = input_format.shape == "rectangle" and not one_size  # a batch is one tensor
        self.input_format = input_format._replace(shape="square") if square else input_format
        self.cache = CanvasCache(self._shapes(), config.cache_mb)

    def _shapes(self) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Index and long side, and height and width, of all canvases that an epoch may ask for: those of full size first."""
        sizes = range(self.config.size, 0, -STRIDE)
        low, high = (_on_stride(scale * self.config.size) for scale in SCHEDULES[self.config.schedule].scales)
        for size in [size for size in sizes if low <= size <= high]:
            for index in range(len(self.photos)):
                view = self.view(index, size)
                yield (index, size), (view.height, view.width)

    def view(self, index: int, size: int) -> View:
        """How photo `index` fills a canvas of long side `size`."""
        photo = self.photos[index]
        view = letterbox(photo.width, photo.height, size, self.input_format.shape, STRIDE)
        return replace(view, averaged=self.config.shrinking == "average")

    def __len__(self) -> int:
        """Photos of an epoch."""
        return self.n_real + self.n_synthetic

    def batches_of_epoch(self, batch: int, epoch: int) -> Iterator[list[int]]:
        """The epoch's batches of photo indices, in random order; the last may be smaller than `batch`."""
        rng = np.random.default_rng((self.config.seed, epoch))
        synthetic = self.n_real + rng.permutation(len(self.photos) - self.n_real)[: self.n_synthetic]
        indices = rng.permutation(np.concatenate([np.arange(self.n_real), synthetic])).tolist()
        for start in range(0, len(indices), batch):
            yield indices[start : start + batch]

    def sample(self, index: int, size: int, plain: bool, seed: int) -> Sample:
        """Photo `index` on a canvas of `size`, uint8 (H, W, 3), its boxes (N, 4) there and its labels (N,).

        Boxes of which too little is left on the canvas are dropped, in `plain` samples too: a side of 0 has no finite loss.
        """
        photo = self.photos[index]
        view = self.view(index, size)
        canvas = self.cache.canvas(index, size, lambda: drawn(photo, view, self.config.max_shrink))
        boxes, labels = view.to_canvas(photo.boxes), np.zeros_like(photo.labels) if self.agnostic else photo.labels
        if not plain:
            return augmented(canvas, boxes, labels, self.transform, seed)
        _, kept = visible_boxes(boxes, view.width, view.height)
        return canvas, boxes[kept], labels[kept]

    def size(self, epoch: int, number: int) -> int:
        """The long side of batch `number`: the schedule's scales, in multiples of the stride."""
        low, high = SCHEDULES[self.config.schedule].scales
        scale = np.random.default_rng((self.config.seed, epoch, number)).uniform(low, high)
        return _on_stride(scale * self.config.size)


def _on_stride(size: float) -> int:
    """The multiple of STRIDE, at least one, that is nearest to `size`."""
    return max(STRIDE, round(size / STRIDE) * STRIDE)


def drawn(photo: Photo, view: View, max_shrink: int = 1) -> Image:
    """The photo as it is learnt from on the canvas of `view`, uint8 (H, W, 3).

    Without regions to ignore it is decoded at down to 1 / `max_shrink` (1, 2, 4 or 8) of its size, where that has as many
    pixels as the canvas shows.
    The map is the same: coordinates name edges, so those of the decoded pixels are the photo's divided by that number, also
    where the sides of the photo are no multiple of it.
    """
    scale = np.linalg.norm(view.matrix[:, :2], axis=0).max()  # canvas pixels for one of the photo
    shrink = next((number for number in SHRINKS if number <= max_shrink and scale * number <= 1), 1)
    whole = photo.width % shrink == 0 == photo.height % shrink  # of JPEGs alone OpenCV rounds up what is left over
    if shrink == 1 or len(photo.ignored) or not (whole or photo_kind(photo.path) == "JPEG"):
        return view.warp(learnt_image(photo))
    image = read_image(photo.path, photo.width, photo.height, shrink)
    return replace(view, matrix=view.matrix * (shrink, shrink, 1)).warp(image)


class EpochBatches(Dataset[PixelBatch]):
    """One epoch's batches, each the canvases (B, H, W, 3) and their targets: this process's shard of each.

    `batches` are the photo indices of each batch; `plain` ones are not augmented. Everything is of numpy: workers send arrays
    through a pipe, but tensors through /dev/shm, which a container may have little of.
    """

    def __init__(
        self,
        canvases: Canvases,
        batches: list[list[int]],
        epoch: int,
        plain: bool,
        distributed: Distributed = SINGLE_PROCESS,
    ) -> None:
        self.canvases, self.batches, self.epoch, self.plain, self.distributed = canvases, batches, epoch, plain, distributed

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> PixelBatch:
        canvases, batch = self.canvases, self.batches[number]
        size = canvases.config.size if self.plain else canvases.size(self.epoch, number)
        seed = int(np.random.default_rng((canvases.config.seed, self.epoch, number)).integers(2**31))
        samples = [canvases.sample(batch[k], size, self.plain, seed + k) for k in self.distributed.shard(len(batch))]
        pixels = np.stack([canvas for canvas, _, _ in samples])  # (B, H, W, 3)
        return pixels, [{"boxes": boxes, "labels": labels} for _, boxes, labels in samples]

    def photo_names(self, number: int) -> list[str]:
        """The file names of the photos of a batch, of all processes."""
        return [self.canvases.photos[index].path.name for index in self.batches[number]]


def load_batches(dataset: EpochBatches, device: torch.device, workers: int = WORKERS) -> Iterator[Batch]:
    """The batches of `dataset` on `device`, normalised, (B, 3, H, W), prepared by `workers` processes.

    Raises OSError where a worker is gone, or has no batch ready in TIMEOUT seconds.
    """
    generator = torch.Generator().manual_seed(0)  # the loader would draw its workers' seeds from the global one
    workers, input_format = workers if len(dataset) > 1 else 0, dataset.canvases.input_format
    loader = DataLoader(
        dataset, None, num_workers=workers, collate_fn=unchanged, generator=generator, timeout=TIMEOUT if workers else 0
    )
    for pixels, targets in from_workers(iter(loader)):
        images = normalised(torch.from_numpy(pixels).to(device), input_format)
        yield images, [{name: torch.from_numpy(value).to(device) for name, value in t.items()} for t in targets]


def unchanged(batch: PixelBatch) -> PixelBatch:
    """The batch as it is, in place of the loader's conversion to tensors."""
    return batch


def from_workers(batches: Iterator[PixelBatch]) -> Iterator[PixelBatch]:
    """`batches`; what the loader says of a worker that is gone, or slow, becomes an OSError of one line."""
    while True:
        try:
            batch = next(batches)
        except StopIteration:
            return
        except RuntimeError as error:
            refuse_lost_worker(error)
            raise
        yield batch


def normalised(pixels: torch.Tensor, input_format: InputFormat) -> torch.Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W), as `fusion.models.normalise` does at judgment: a test holds them equal."""
    mean, std = (torch.tensor(values, device=pixels.device) for values in (input_format.mean, input_format.std))
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()
