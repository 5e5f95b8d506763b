"""The settings of both stages in a fit, by the user's wishes and by what the photos are like."""

from dataclasses import replace

from fitting.procedure import Procedure
from fitting.survey import Survey
from fitting.wishes import Wishes
from stage1_detector import recipes as detector_recipes
from stage1_detector.config import Config
from stage2_classifier import config as classifier_config
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.pretrained import with_best_backbone

SMALL_CROP = 64  # chosen: pixels; for products that are no larger on their photos, and where time is short
BRIDGE = 0.5  # measured: studio photos joined so lifted a score from 0.793 to 0.803 on shelves with names never seen (issue 19)
WARM_EPOCHS = 15  # chosen: from ImageNet weights 10 epochs named more crops rightly than 30 of the default backbone (issue 19)
WARM_STEPS = 600  # chosen: half of the recipe's least; 300 steps on books reach det mAP50 0.81 from the starter, 0.50 without


def detector_of(wishes: Wishes, size: int) -> Config:
    """The detector's settings: those of the recipe `small`, which the starter's weights are of."""
    config = replace(detector_recipes.small(), size=size, seed=wishes.seed)
    config = replace(config, model=wishes.model) if wishes.model else config
    config = config if wishes.pretrained == "none" else replace(config, min_steps=WARM_STEPS)
    return replace(config, epochs=wishes.epochs, min_steps=0) if wishes.epochs else config


def classifier_of(survey: Survey, wishes: Wishes, both: bool) -> ClassifierConfig:
    """The classifier's settings: those of the recipe `small`, small crops for small products, studio photos bridged."""
    config = replace(classifier_config.small(), seed=wishes.seed, bridge=BRIDGE if both else 0.0)
    size = wishes.crop_size or (SMALL_CROP if survey.crop_side <= SMALL_CROP else config.size)
    config = replace(config, size=size, model=wishes.classifier or config.model)
    if wishes.pretrained == "auto" and not wishes.classifier:
        config = with_best_backbone(config)
        config = replace(config, epochs=WARM_EPOCHS) if config.model != classifier_config.small().model else config
    if one_name(survey, both):
        config = replace(config, epochs=1, min_steps=0)
    return replace(config, epochs=wishes.crop_epochs, min_steps=0) if wishes.crop_epochs else config


def with_small_crops(procedure: Procedure, wishes: Wishes) -> Procedure:
    """The same with crops of SMALL_CROP at most, unless the user has said how large they are."""
    size = procedure.classifier.size if wishes.crop_size else min(SMALL_CROP, procedure.classifier.size)
    return replace(procedure, classifier=replace(procedure.classifier, size=size))


def one_name(survey: Survey, both: bool) -> bool:
    """Whether crops show one product alone: then there is nothing to learn about names, and the time is the detector's."""
    return survey.names == 1 and not (both and survey.studio_names > 1)
