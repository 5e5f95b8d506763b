"""Detectors composed of timm's, torchvision's and transformers' parts: their networks and losses, built, saved and loaded.

Knows nothing about the loop that trains them.
"""
