"""The contract of a course: one training by a method, as the training loop sees it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, fx, nn

from pareconv.search.data.batches import shuffled


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
    """Who takes part in a training, what each step shows, and what it minimises.

    `networks` are trained, from images to logits; the first is the student.
    """

    def __init__(self, networks: Sequence[fx.GraphModule]) -> None:
        self.networks = tuple(networks)

    @property
    def extras(self) -> Sequence[nn.Module]:
        """What else is trained along, and never deployed: heads, projections."""
        return ()

    @property
    def onlookers(self) -> Sequence[nn.Module]:
        """Networks that answer each batch and are not trained."""
        return ()

    @property
    def deployed(self) -> nn.Module:
        """What the student becomes: a network with the names of its weights."""
        return self.networks[0]

    @property
    def looked_at(self) -> int:
        """At how many images of the student it has looked outside of the steps."""
        return 0

    @property
    def untaught(self) -> int:
        """How many of the images shown taught no network, but extras alone."""
        return 0

    def order(self, images: int, pool: int, batch_size: int, seed: int) -> Iterator[Tensor]:
        """The numbers of the views of each batch, from the first `pool` views and `images` in all,
        in batches of the sizes of `batch_sizes`. Each is asked for when the step before it is done.
        """
        return shuffled(images, pool, batch_size, seed)

    @abstractmethod
    def terms(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses, each averaged over the batch; their sum is minimised."""

    def after_step(self, done: float) -> None:
        """What happens once the weights have moved; that share of the training is done then."""
        return
