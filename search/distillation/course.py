"""The contract of a course: one training by a method, as the training loop sees it."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from pareconv.search.answers import Answers
from pareconv.search.seeds import derived


@dataclass(frozen=True, eq=False)
class Setting:
    """What a method makes its course of: the student, the answers of a trained teacher where there
    is one, and the seed of whatever is random in it.
    """

    student: fx.GraphModule
    answers: Answers | None
    seed: int

    def untrained(self, number: int = 0) -> fx.GraphModule:
        """A network like the teacher, its weights drawn anew for each `number`."""
        assert self.answers is not None
        network = copy.deepcopy(self.answers.teacher).requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived(self.seed, "untrained", number))
            for module in network.modules():
                if reset := getattr(module, "reset_parameters", None):
                    reset()
        return network


@dataclass(frozen=True, slots=True)
class Batch:
    """B training images: the numbers of their views (int64 [B], on the CPU), the views themselves
    [B, 3, S, S], and labels [B].
    """

    numbers: Tensor
    images: Tensor
    labels: Tensor


class Course(ABC):
    """Who takes part in a training, and what each step minimises.

    `networks` are trained, from images to logits; the first is the student, which is deployed.
    """

    def __init__(self, networks: Sequence[fx.GraphModule]) -> None:
        self.networks = tuple(networks)

    @abstractmethod
    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses, each averaged over the batch; their sum is minimised."""
