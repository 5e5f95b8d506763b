"""What pytest leaves out where an extra is not installed: modules that it would import for their doctests."""

import importlib.util

SCALE = ("ray", "pyarrow", "fsspec")
NEEDS = {"scaling/*.py": SCALE, "experiments/performance/worker_steps.py": SCALE}
collect_ignore_glob = [
    modules for modules, names in NEEDS.items() if any(importlib.util.find_spec(name) is None for name in names)
]
