"""Measurements: commands that write their figures to experiments/results, from which the README's tables are made."""
