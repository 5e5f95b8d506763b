"""From trained models to one zip that the judge runs offline: the entry point, the limits as data, the packer, the checks."""
