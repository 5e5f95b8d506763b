"""One-off studies: each answers one question and writes its figures to experiments/results."""
