"""Block-wise distillation: every option of a block learns to imitate the teacher's block on the
teacher's own activations.

All options of several blocks share each pass of the teacher. The loss is the squared error over the
energy of the target (Puzzle, Bercovich et al. 2024, arXiv 2411.19146), so that it compares across
blocks.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx
from torch.nn.modules.batchnorm import _BatchNorm

from pareconv.models.blocks import Block
from pareconv.models.cutting import cut, cut_block, entry
from pareconv.models.plan import Option
from pareconv.models.rewriting import rebuild
from pareconv.search.data.batches import batch_sizes
from pareconv.search.data.views import Views
from pareconv.search.imitation import relative_error


@dataclass(frozen=True, eq=False)
class Apprentice:
    """One option of one block as a network of its own, which learns: the block's input in,
    `(output,)` out. Its modules have the teacher's names.
    """

    block: Block
    option: Option
    network: fx.GraphModule


def apprentices(
    teacher: fx.GraphModule, wanted: Sequence[tuple[Block, Option]], sample: Tensor
) -> list[Apprentice]:
    """Untaught ones, their layers started from those they replace and fitted on the `sample`."""
    found = []
    for (block, option), made in zip(wanted, rebuild(teacher, wanted, sample), strict=True):
        network = copy.deepcopy(cut_block(teacher, block))
        made.apply(network)
        found.append(Apprentice(block, option, network.requires_grad_(True)))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """One rung: Adam with one cosine over `images` views from number `first` on."""

    first: int
    images: int
    batch_size: int
    lr: float


def teach(
    teacher: fx.GraphModule,
    learners: Sequence[Apprentice],
    views: Views,
    lessons: Lessons,
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Train all of them at once, each on the inputs and outputs of its block in `teacher`.

    `progress` is told the share that is done after each step.
    """
    blocks = {learner.block.name: learner.block for learner in learners}
    names = dict.fromkeys(name for block in blocks.values() for name in (block.input, block.output))
    watched = cut(teacher, [entry(teacher)], list(names)).eval()
    parameters = [parameter for learner in learners for parameter in learner.network.parameters()]
    sizes = batch_sizes(lessons.images, lessons.batch_size)
    optimizer = torch.optim.Adam(parameters, lr=lessons.lr, foreach=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(sizes))
    for learner in learners:
        for part in learner.network.eval().modules():
            # All else as in the teacher, which has no dropout.
            part.training = isinstance(part, _BatchNorm)
    first = lessons.first
    for size in sizes:
        images, _ = views[torch.arange(first, first + size)]
        first += size
        with torch.no_grad():
            seen = dict(zip(names, watched(images), strict=True))
        optimizer.zero_grad(set_to_none=True)
        for learner in learners:
            # Each graph is freed before the next is made: memory holds one option at a time.
            (output,) = learner.network(seen[learner.block.input])
            relative_error(output, seen[learner.block.output]).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        progress((first - lessons.first) / lessons.images)
