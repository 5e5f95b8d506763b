"""Fit the gate: evidence collected on held-out photos, policies calibrated, and one chosen by nested cross-validation."""
