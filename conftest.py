"""What pytest leaves out where an extra is not installed: modules that it would import for their doctests."""

import importlib.util

NEEDS = {"scaling": ("ray", "pyarrow", "fsspec")}
collect_ignore_glob = [
    f"{folder}/*.py" for folder, names in NEEDS.items() if any(importlib.util.find_spec(name) is None for name in names)
]
