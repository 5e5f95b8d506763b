"""A classifier for scikit-learn's calibrators whose logits are its input."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class Fixed(ClassifierMixin, BaseEstimator):
    """A classifier whose input is its logits, or its one logit: what scikit-learn's calibrators want to have."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.classes_ = np.arange(width)

    def fit(self, x: np.ndarray, y: np.ndarray) -> "Fixed":
        return self

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        return x if self.width > 2 else x[:, 0]

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x.argmax(1)

    def __sklearn_is_fitted__(self) -> bool:
        return True
