"""Measurements: commands that write their figures to experiments/results, from which the tables in the docs are made."""
