"""The settings of both stages in a fit, by the user's wishes and by what the photos are like."""

import math
from dataclasses import replace
from pathlib import Path

from fitting.procedure import Procedure
from fitting.survey import Survey
from fitting.wishes import Wishes
from stage1_detector import recipes as detector_recipes
from stage1_detector.config import Config
from stage1_detector.pretrained import start as detector_start
from stage2_classifier import config as classifier_config
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.pretrained import with_best_backbone

SMALL_CROP = 64  # chosen: pixels; for products that are no larger on their photos, and where time is short
BRIDGE = 0.5  # measured: studio photos joined so lifted a score from 0.793 to 0.803 on shelves with names never seen (issue 19)
WARM_EPOCHS = 15  # chosen: from ImageNet weights 10 epochs named more crops rightly than 30 of the default backbone (issue 19)
# Measured at equal minutes, on videos of the same shop and of another one (`experiments.studies.namers`, namer.* in
# docs/results.md). The epochs make a training about as long as one on the default's crops. Only where photos hold few products:
# such a crop takes 2.5 times as long to name, and 250 dense photos are not to take minutes of a judge without a GPU. Not with
# less than half of these epochs: on `trash` 2 and 4 of them named no better than 8 and 10 on the default's crops.
LARGE_CROP, LARGE_EPOCHS, LARGE_STEPS, SPARSE = 160, 7, 260, 20
WARM_STEPS = 600  # chosen: half of the recipe's least; 300 steps on books reach det mAP50 0.81 from the starter, 0.50 without


def detector_of(wishes: Wishes, size: int) -> Config:
    """The detector's settings: those of the recipe `small`, which the starter's weights are of."""
    config = replace(detector_recipes.small(), size=size, seed=wishes.seed)
    config = replace(config, model=wishes.model) if wishes.model else config
    config = replace(config, min_steps=WARM_STEPS) if has_start(config, wishes.pretrained) else config
    return replace(config, epochs=wishes.epochs, min_steps=0) if wishes.epochs else config


def has_start(config: Config, pretrained: str) -> bool:
    """Whether a detector starts from weights that are there; `auto` has none for a network that the starter is not of."""
    return pretrained != "none" and detector_start(Path(pretrained), config).path is not None


def classifier_of(survey: Survey, wishes: Wishes, both: bool, large: bool = False) -> ClassifierConfig:
    """The classifier's settings: the recipe `small`, small crops for small products, `large` ones if wished, studio bridged."""
    config = replace(classifier_config.small(), seed=wishes.seed, bridge=BRIDGE if both else 0.0)
    size = wishes.crop_size or (SMALL_CROP if survey.crop_side <= SMALL_CROP else config.size)
    config = replace(config, size=size, model=wishes.classifier or config.model)
    if wishes.start_of_crops in ("auto", "imagenet") and not wishes.classifier:
        config = warm(with_best_backbone(config), large and not wishes.crop_size)
    if one_name(survey, both):
        config = replace(config, epochs=1, min_steps=0)
    return replace(config, epochs=wishes.crop_epochs, min_steps=0) if wishes.crop_epochs else config


def both_of(survey: Survey, wishes: Wishes, studio: bool, large: bool) -> tuple[ClassifierConfig, ClassifierConfig | None]:
    """The classifier's settings, and a second one's where it is wished for: then each takes half of its epochs.

    None is planned without a wish: at equal minutes two named no better than one on large crops (namer.* in docs/results.md).
    """
    first = classifier_of(survey, wishes, studio, large)
    if not wishes.second_classifier or one_name(survey, studio):
        return first, None
    second = replace(classifier_config.small(), model=wishes.second_classifier, size=first.size, bridge=first.bridge)
    second = replace(second, seed=(first.seed + 1) % 2**32)
    if wishes.crop_epochs:
        return first, replace(second, epochs=first.epochs, min_steps=0)
    return halved(first), halved(second)


def halved(config: ClassifierConfig) -> ClassifierConfig:
    """The same for half of the epochs and of the steps that it makes at least."""
    return replace(config, epochs=math.ceil(config.epochs / 2), min_steps=config.min_steps // 2)


def warm(config: ClassifierConfig, large: bool) -> ClassifierConfig:
    """`config` with the epochs of a start from ImageNet, and `large` crops if wished; as it is where it has no such start."""
    if config.model == classifier_config.small().model:
        return config
    sizes = {"size": LARGE_CROP, "epochs": LARGE_EPOCHS, "min_steps": LARGE_STEPS} if large else {"epochs": WARM_EPOCHS}
    return replace(config, **sizes)


def shows_large(survey: Survey) -> bool:
    """Whether large crops pay: the median product fills them, and photos hold few."""
    return survey.crop_side >= LARGE_CROP and survey.boxes <= SPARSE * survey.photos


def with_small_crops(procedure: Procedure, survey: Survey, wishes: Wishes) -> Procedure:
    """The same with crops of SMALL_CROP at most, unless the user has said how large they are."""
    if wishes.crop_size:
        return procedure
    first, second = both_of(replace(survey, crop_side=0.0), wishes, procedure.crops == "both", False)
    return replace(procedure, classifier=first, second=second)


def one_name(survey: Survey, both: bool) -> bool:
    """Whether crops show one product alone: then there is nothing to learn about names, and the time is the detector's."""
    return survey.names == 1 and not (both and survey.studio_names > 1)
