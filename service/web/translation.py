"""Translation: from a library's score to the accuracy that the trials so far make one expect."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.optimize import isotonic_regression

from pareconv.storage.dots import Dot

_FEWEST = 3


@dataclass(frozen=True, slots=True)
class Translation:
    """A falling line through (score, accuracy); it says nothing beyond the worst score tried."""

    scores: tuple[float, ...]
    accuracies: tuple[float, ...]

    @classmethod
    def of(cls, dots: Sequence[Dot], teacher_accuracy: float) -> Self | None:
        """By isotonic regression over the complete trials; None where there are too few."""
        known = sorted(
            (dot.predicted, dot.accuracy)
            for dot in dots
            if dot.is_complete and dot.predicted is not None
        )
        if len(known) < _FEWEST:
            return None
        scores = [0.0, *(score for score, _ in known)]
        accuracies = [teacher_accuracy, *(accuracy for _, accuracy in known)]
        fitted = isotonic_regression(accuracies, increasing=False).x
        return cls(tuple(scores), tuple(float(each) for each in fitted))

    def accuracy(self, score: float) -> float | None:
        if score > self.scores[-1]:
            return None
        return float(np.interp(score, self.scores, self.accuracies))
