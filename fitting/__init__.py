"""Fit everything to one data set: models trained on all labelled photos, and a gate from models that did not see the photo.

`procedure` is what is done and `run` does it: `cross_fit` deals the folds, `trainings` trains them and the models that ship,
`pooled` joins what is measured on all photos. Around it `session` plans (`survey`, `machine`, `plan`), keeps the minutes
(`time_keeper`, `ledger`) and packs the zip; `fit` is the command.
"""
