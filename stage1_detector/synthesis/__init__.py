"""Photos that are made: a drawn shop, shelves composed of pictures of packages, facings of real photos that change places.

Knows nothing about detectors.
"""
