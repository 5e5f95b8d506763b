"""Fit everything to one data set: models trained on all labelled photos, and a gate from models that did not see the photo.

`procedure` is what is done, `cross_fit` the run folders of the folds, `pooled` what is measured on all photos together, `refit`
the models that ship. Knows nothing about time or zips.
"""
