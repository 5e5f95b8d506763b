"""Detectors composed of timm's, torchvision's and transformers' parts: what they compute and lose, how they are built and read.

Knows nothing about the loop that trains them.
"""
