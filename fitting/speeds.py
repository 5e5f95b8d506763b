"""How fast a machine is, as measured, and what each part of a fit costs there: curves over sizes, not a table of machines."""

from dataclasses import dataclass

from fitting.procedure import SHARES, SHOWN
from fitting.survey import Survey

VALIDATIONS = 10  # derived: stage1_detector.engine.VALIDATIONS_PER_RUN
VIEWS = 2  # taken: stage2_classifier.gate.ensemble.default_ensemble looks at each photo and at its mirror image
FOUND = 1.5  # chosen: boxes found and named on a photo, for each product on it
# of the gate's fits, one thread: measured 91 s on 50 photos of 4,250 boxes with a detector that names, 18 s on 17,804 boxes
# where the classifier alone names and only the order is fitted, 2 s on 20 photos of 180 boxes
GATE_SECONDS, GATE_BOX_SECONDS, ORDER_BOX_SECONDS = 2.0, 0.02, 0.001
# measured, one thread: fitting the naming floor took 50 s on 194 photos of 17,804 boxes, 2.4 s on 38 of 115, 0.6 s on 20 of
# 180; whether sizes count 14 s, 0.5 s and 0.2 s
NAMING_PHOTO_SECONDS, NAMING_BOX_SECONDS = 0.06, 0.0022
SIZES_PHOTO_SECONDS, SIZES_BOX_SECONDS = 0.012, 0.0007
# measured, one thread: whether prototypes count took 14.5 s on 17,804 held-out crops, 2.0 s on 921
PROTOTYPE_SECONDS, PROTOTYPE_BOX_SECONDS = 1.0, 0.0008
EXPORT_SECONDS = 3.0  # chosen: of a detector
FIGURES_SECONDS = 4.0  # measured: 5 s in all on 20 photos, two busy cores; the bootstrap of what it is worth
SCENE_SECONDS = 0.15  # chosen: comparing a photo with its likes
ENDING_SECONDS = 4.0  # measured: 3.3 s and 5.3 s in all on 3 photos, one core; packing, checking, the sandbox's start
# measured: 3 s on 38 judged photos, 8 s on 50 of many boxes, 12 s on 194 of 17,804, one core (experiments.performance)
REPORT_SECONDS, REPORT_PHOTO_SECONDS = 3.0, 0.06
# of what the models say of the photos left out, all of it in memory at once: a row of float32 over all names for each box
TAIL = 50  # taken: stage1_detector.engine.max_det keeps so many boxes of a photo besides FOUND times the fullest one's products
COPIES = 4  # chosen: of it at once, while boxes to name and sizes are decided on: three or four were counted


def evidence_gb(found: Survey, aware: bool) -> float:
    """GB of memory that the gate's fits need at most, for the photos judged; a detector that names (`aware`) has rows too.

    >>> from fitting.survey import Survey
    >>> evidence_gb(Survey(5000, 0, 445000, 150, 356, 0, 100.0, 4000, 0.03, 250), aware=False)
    7.832
    """
    boxes = found.photos * (TAIL + FOUND * found.fullest)
    return boxes * found.categories * 4 * (COPIES + aware) / 1e9


@dataclass(frozen=True)
class Curve:
    """Seconds against the side of a picture in pixels: `fixed` + `per_pixel` * side^2.

    >>> Curve.through((320, 0.1), (640, 0.4)).at(480)
    0.225
    """

    fixed: float
    per_pixel: float

    @classmethod
    def through(cls, *points: tuple[int, float]) -> "Curve":
        """The curve through one point (then all of it grows with the pixels) or through two; never falling, never below 0."""
        (side, seconds), (other, more) = points[0], points[-1]
        if side == other:
            return cls(0.0, seconds / side**2)
        slope = max(0.0, (more - seconds) / (other**2 - side**2))
        fixed = seconds - slope * side**2
        return cls(fixed, slope) if fixed >= 0 else cls(0.0, more / other**2)

    def at(self, side: int) -> float:
        """Seconds at this side."""
        return self.fixed + self.per_pixel * side**2


@dataclass(frozen=True)
class Speeds:
    """What was measured on this machine, in seconds.

    Attributes:
        learn: the detector's training, a photo and epoch, by the canvas.
        find: the look of a detector in training at a photo, reading it included, by the canvas.
        find_exported: that of the exported one, by onnxruntime, which need not have the GPU that torch has.
        detector_start: what a detector's training takes besides its epochs: start, export, parity.
        step: the classifier's training, a step of one batch, by the crop.
        name: the look of a classifier in training at a crop.
        name_exported: that of the exported one.
        classifier_start: what a classifier's training takes besides its steps and crops.
        read: reading a photo.
        memory_gb: free memory.
        device: where the trainings run: cpu, or the name of a GPU.
        second: a step of a second classifier, as a multiple of the first's.
        second_canvas: of measuring the detector with a second canvas, which was left out to save time; 0: it was not.
    """

    learn: Curve
    find: Curve
    find_exported: Curve
    detector_start: float
    step: Curve
    name: float
    name_exported: float
    classifier_start: float
    read: float
    memory_gb: float
    device: str
    second: float = 1.0
    second_canvas: float = 0.0

    def detector(self, size: int, epochs: int, train: int, valid: int) -> float:
        """A detector's training on so many photos, scored on so many."""
        looks = min(VALIDATIONS, epochs) * self.find.at(size) + self.find_exported.at(size)  # once more when it is exported
        return self.detector_start + epochs * train * self.learn.at(size) + valid * looks

    def classifier(self, size: int, steps: float, photos: int, crops: int) -> float:
        """A classifier's training of so many steps, with so many photos read and so many held-out crops named."""
        return self.classifier_start + photos * self.read + steps * self.step.at(size) + crops * self.name

    def start(self, size: int, found: Survey, folds: int) -> float:
        """How much of its start the detector keeps: some photos are looked at under each share, and the models written anew."""
        return len(SHARES) * min(found.photos, SHOWN * folds) * self.find.at(size) + (folds + 1) * EXPORT_SECONDS

    def evidence(self, size: int, found: Survey, detectors: int, classifiers: int = 1) -> float:
        """What the models say of every photo, each looked at once by the models that did not learn from it."""
        looks = found.photos * VIEWS * self.find_exported.at(size) * detectors
        return looks + found.photos * self.read + classifiers * FOUND * found.boxes * self.name_exported

    def gate(self, found: Survey, aware: bool) -> float:
        """The gate's fits: of policies where a detector names too (`aware`), else of the order of boxes alone."""
        return GATE_SECONDS + (GATE_BOX_SECONDS if aware else ORDER_BOX_SECONDS) * found.boxes

    def naming(self, found: Survey) -> float:
        """Fitting which boxes are named: all photos are decided anew under each candidate."""
        return NAMING_PHOTO_SECONDS * found.photos + NAMING_BOX_SECONDS * found.boxes

    def sizes(self, found: Survey) -> float:
        """Whether the sizes of boxes may change names: likewise, under each weight."""
        return SIZES_PHOTO_SECONDS * found.photos + SIZES_BOX_SECONDS * found.boxes

    def prototypes(self, found: Survey) -> float:
        """Whether prototypes of names count: all held-out crops are decided anew under each blend."""
        return PROTOTYPE_SECONDS + PROTOTYPE_BOX_SECONDS * found.boxes

    def figures(self, size: int, found: Survey, detectors: int, classifiers: int = 1) -> float:
        """What the whole is worth: names of the true boxes, and the models that ship on the test part."""
        looks = found.test_photos * (self.read + VIEWS * self.find_exported.at(size) * detectors)
        return FIGURES_SECONDS + found.photos * self.read + classifiers * found.boxes * self.name_exported + looks

    def ending(self, size: int, photos: int) -> float:
        """Packing and checking the zip, and running it on so many photos in the sandbox."""
        return ENDING_SECONDS + photos * (self.read + VIEWS * self.find_exported.at(size))

    def report(self, judged: Survey) -> float:
        """The page that comes after the zip, of so many photos judged."""
        return REPORT_SECONDS + REPORT_PHOTO_SECONDS * judged.photos

    def scenes(self, found: Survey) -> float:
        """Finding which photos show one shelf."""
        return (found.photos + found.test_photos) * (self.read + SCENE_SECONDS)
