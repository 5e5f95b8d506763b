"""Data sets and a machine as plans see them."""

from fitting.speeds import Curve, Speeds
from fitting.survey import Survey

# About what was measured on two cores without a GPU.
SPEEDS = Speeds(
    learn=Curve.through((320, 0.1), (640, 0.4)), find=Curve.through((320, 0.05), (640, 0.15)),
    find_exported=Curve.through((320, 0.05), (640, 0.15)), detector_start=15.0,
    step=Curve.through((64, 0.15), (96, 0.33)), name=0.003, name_exported=0.003,
    classifier_start=12.0, read=0.05, memory_gb=10.0, device="cpu",
)  # fmt: skip
FRIDGE = Survey(20, 5, 180, 9, 8, 0, 22.0, 1200, 0.045, 123)
CONTEST = Survey(95, 0, 8500, 150, 356, 12, 15.0, 4000, 0.03, 250, 340, 1700)
VIDEO = Survey(187, 60, 575, 9, 19, 0, 25.0, 960, 0.129, 327)
STRIPS = Survey(144, 0, 1127, 12, 10, 0, 103.0, 640, 0.056, 89)
SETS = {"a fridge": FRIDGE, "a contest": CONTEST, "a video": VIDEO, "strips": STRIPS}
