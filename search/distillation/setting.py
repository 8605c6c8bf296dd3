"""The setting of a training: what a method makes its course of."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, fx, nn

from pareconv.models.cutting import cut, entry
from pareconv.models.graph import canonical
from pareconv.models.teachers.architectures import architecture
from pareconv.models.teachers.initialisation import he_initialise
from pareconv.search.answers import Answers
from pareconv.search.data.views import Views
from pareconv.search.seeds import derived

_SAMPLE = 2  # images, from which shapes are seen

Others = Callable[[], Sequence[fx.GraphModule]]


def nobody() -> Sequence[fx.GraphModule]:
    """No other students."""
    return ()


@dataclass(frozen=True, eq=False)
class Setting:
    """The student in eval mode, the training `views`, the answers of a trained teacher where there
    is one, the seed of whatever is random, and `others`, which loads the other students of the same
    front.
    """

    student: fx.GraphModule
    views: Views
    answers: Answers | None
    seed: int
    others: Others = nobody

    @cached_property
    def sample(self) -> Tensor:
        """A few training images [N, 3, S, S], normalised."""
        return self.views[torch.arange(_SAMPLE)][0]

    @cached_property
    def classes(self) -> int:
        """How many logits there are."""
        with torch.no_grad():
            return int(self.student(self.sample).shape[1])

    @property
    def class_counts(self) -> Tensor:
        """How many training images there are of each class [classes]."""
        return self.views.split.labels.bincount(minlength=self.classes)

    def standard(self) -> fx.GraphModule:
        """The teacher's network, the weights of its layers drawn anew."""
        assert self.answers is not None
        network = copy.deepcopy(self.answers.teacher).requires_grad_(True)
        return self._drawn_anew(network, list(network.modules()), "standard")

    def twin(self, number: int, shared_up_to: str | None = None) -> fx.GraphModule:
        """The student's network, its weights drawn anew for each `number`. The layers that the node
        `shared_up_to` needs are the student's own.
        """
        shared = [] if shared_up_to is None else self._layers_up_to(shared_up_to)
        kept: dict[int, Any] = {id(layer): layer for layer in shared}
        twin = copy.deepcopy(self.student, dict(kept)).requires_grad_(True)
        drawn = [module for module in twin.modules() if id(module) not in kept]
        return self._drawn_anew(twin, drawn, "twin", number)

    def of_the_zoo(self, name: str) -> fx.GraphModule:
        """The architecture of that name, untrained, for the same classes."""
        with self.chance("zoo", name):
            network = canonical(architecture(name).build(self.classes))
        return network.to(self.sample.device).requires_grad_(True)

    @contextmanager
    def chance(self, *purpose: object) -> Iterator[None]:
        """Within it random numbers depend on the seed and `purpose` alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived(self.seed, *purpose))
            yield

    def _layers_up_to(self, node: str) -> list[nn.Module]:
        part = cut(self.student, [entry(self.student)], [node])
        return [layer for module in _leaves(part) for layer in module.modules()]

    def _drawn_anew(
        self, network: fx.GraphModule, modules: Sequence[nn.Module], *purpose: object
    ) -> fx.GraphModule:
        with self.chance(*purpose):
            for module in modules:
                if reset := getattr(module, "reset_parameters", None):
                    reset()
            he_initialise(modules)
        return network


def _leaves(network: fx.GraphModule) -> list[nn.Module]:
    called = (node for node in network.graph.nodes if node.op == "call_module")
    return [network.get_submodule(str(node.target)) for node in called]
