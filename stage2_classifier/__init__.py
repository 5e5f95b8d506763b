"""Stage 2: a crop classifier that names what stage 1 found, and the calibration that says how far to trust it."""
