"""Measurements: commands that write their figures to experiments/results, from which the tables of the documentation are made."""
