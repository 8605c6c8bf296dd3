"""The contract of a course: one training by a method, as the training loop sees it."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from pareconv.models.teachers.initialisation import he_initialise
from pareconv.search.answers import Answers
from pareconv.search.seeds import derived


@dataclass(frozen=True, eq=False)
class Setting:
    """What a method makes its course of: the student, the answers of a trained teacher where there
    is one, a few training images [N, 3, S, S], normalised, how many there are of each class [K],
    and the seed of whatever is random in it.
    """

    student: fx.GraphModule
    answers: Answers | None
    sample: Tensor
    class_counts: Tensor
    seed: int

    def standard(self) -> fx.GraphModule:
        """The teacher's network, the weights of its layers drawn anew."""
        assert self.answers is not None
        return self._anew(self.answers.teacher, "standard")

    def twin(self, number: int) -> fx.GraphModule:
        """The student's network, its weights drawn anew for each `number`."""
        return self._anew(self.student, "twin", number)

    def _anew(self, network: fx.GraphModule, *purpose: object) -> fx.GraphModule:
        drawn = copy.deepcopy(network).requires_grad_(True)
        with self.chance(*purpose):
            for module in drawn.modules():
                if reset := getattr(module, "reset_parameters", None):
                    reset()
            he_initialise(drawn)
        return drawn

    @contextmanager
    def chance(self, *purpose: object) -> Iterator[None]:
        """Within it random numbers depend on the seed and `purpose` alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived(self.seed, *purpose))
            yield


@dataclass(frozen=True, slots=True)
class Batch:
    """B training images: the numbers of their views (int64 [B], on the CPU), the views themselves
    [B, 3, S, S], and labels [B]; and the share of the training that is done, 0..1.
    """

    numbers: Tensor
    images: Tensor
    labels: Tensor
    done: float


class Course(ABC):
    """Who takes part in a training, and what each step minimises.

    `networks` are trained, from images to logits; the first is the student, which is deployed.
    """

    def __init__(self, networks: Sequence[fx.GraphModule]) -> None:
        self.networks = tuple(networks)

    @property
    def extras(self) -> Sequence[nn.Module]:
        """What else is trained along, and never deployed: heads, projections."""
        return ()

    @abstractmethod
    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses, each averaged over the batch; their sum is minimised."""
