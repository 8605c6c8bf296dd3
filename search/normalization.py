"""Normalisation: which statistics of its input a network was trained with, found by trying."""

from dataclasses import dataclass, replace

from pareconv.search.evaluation import Accuracy, evaluate
from pareconv.search.spec import PRESETS, Normalize
from pareconv.search.workbench import Workbench

OWN = "the training images' own"
_IMAGES = 256
_CUSTOMARY = {name: Normalize(**preset) for name, preset in PRESETS.items()} | {
    "pixels from 0 to 1": Normalize(mean=(0, 0, 0), std=(1, 1, 1)),
    "pixels from -1 to 1": Normalize(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    "pixels from 0 to 255": Normalize(mean=(0, 0, 0), std=(1 / 255, 1 / 255, 1 / 255)),
}


@dataclass(frozen=True, slots=True)
class Normalization:
    """The statistics with which the teacher is right most often, and its accuracy with each."""

    name: str
    chosen: Normalize
    accuracies: dict[str, Accuracy]
    images: int

    def __str__(self) -> str:
        best = sorted(self.accuracies.items(), key=lambda each: -each[1].accuracy)
        told = ", ".join(f"{name} {found.accuracy:.1%}" for name, found in best)
        first = self.accuracies[self.name]
        close = [
            name
            for name, found in best
            if name != self.name and first.accuracy - found.accuracy <= first.stderr
        ]
        doubt = (
            f"too close to be told from {' and '.join(close)}: " if close else "where it is known, "
        )
        return (
            f"normalised by {self.name}: {told} of {self.images:,} validation images; "
            f"{doubt}say it by teacher.normalize (--normalize)"
        )


def normalization(bench: Workbench) -> Normalization:
    """The training images' own statistics, by which `bench` normalises, against customary ones, on
    a few validation images. Where two are as accurate the own come first.
    """
    own = bench.spec.teacher.normalize
    assert isinstance(own, Normalize)  # resolved
    known = {OWN: own} | _CUSTOMARY
    shown = bench.held_out(_IMAGES)
    accuracies = {
        name: evaluate(bench.teacher, replace(shown, mean=each.mean, std=each.std))
        for name, each in known.items()
    }
    best = max(accuracies, key=lambda name: accuracies[name].accuracy)
    return Normalization(best, known[best], accuracies, len(shown))
