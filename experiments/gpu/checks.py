"""All checks, in order of worth: what is done when time runs out is what matters most."""

from functools import partial

from experiments.gpu.graphs_on_gpu import binding, half, provider, search
from experiments.gpu.judged_run import judged_run
from experiments.gpu.scale import Check
from experiments.gpu.trainings import memory, training_speed, whole_fit

CHECKS = (
    Check("provider", provider, 30),
    Check("half_yolo", partial(half, 0), 20),
    Check("run", judged_run, 150),
    Check("train_yolo", partial(training_speed, 0), 60),
    Check("memory", memory, 60),
    Check("half_classifier", partial(half, 3), 30),
    Check("half_rtdetr", partial(half, 2), 30),
    Check("half_yolo26", partial(half, 1), 30),
    Check("fit", whole_fit, 150),
    Check("train_rtdetr", partial(training_speed, 2), 60),
    Check("search", search, 30),
    Check("binding", binding, 20),
)
