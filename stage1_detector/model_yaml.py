"""A model YAML of the user's own, which counts by what it holds: the package's are told apart by its version."""

import re
from pathlib import Path

from runs import record


def own_file(model: str) -> Path | None:
    """The file that ultralytics builds `model` from where that is the user's; None where it is one that the package carries.

    It also takes a file of that name without the letter of the size, as yolov8.yaml for yolov8n.yaml.

    >>> own_file("yolov8n.yaml"), own_file("")
    (None, None)
    """
    without_size = re.sub(r"(\d+)([nslmx])(.+)?$", r"\1\3", model)  # taken: ultralytics.nn.tasks.yaml_model_load
    return next((path for path in (Path(model), Path(without_size)) if path.is_file()), None)


def setting(model: str) -> str:
    """`model` as settings compare it: of a user's own file with what that holds."""
    file = own_file(model)
    return model if file is None else f"{model} sha256:{record.fingerprint(file)}"
