"""Scoring: how well a block is imitated, and what replacing it alone does to the whole network.

The score of an option is KL(teacher || teacher with that one block replaced), as in Puzzle
(Bercovich et al. 2024, arXiv 2411.19146, section 3.2) and LANA (Molchanov et al. 2022, arXiv
2107.10624). Batch norms of the block take the statistics of the images on which its loss was
measured; those after it keep the teacher's, which measures a small change more sharply
(docs/how-it-works.md). As many images are looked at as the standard error asks for, the same ones
for all options of a block: what tells them apart is the difference on an image.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, groupby, repeat

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from pareconv.models.blocks import Block
from pareconv.models.cutting import cut, cut_tail, entry, result
from pareconv.search.blockwise import Apprentice
from pareconv.search.evaluation import gathering
from pareconv.search.imitation import relative_error
from pareconv.search.panel import Panel

_BATCH = 128  # also over how many images a batch norm takes its statistics
_PARTS = 32, 32, 64  # of the panel at first; then in batches
_EXACT = 0.2  # a standard error that is a smaller share of the score asks for no more images


@dataclass(frozen=True, slots=True)
class Score:
    """Mean KL divergence, in nats, over N images of a panel, and its standard error as if they were
    drawn independently: spread out evenly as they are, they tell no less.
    """

    kl: float
    stderr: float
    images: int

    @property
    def is_exact(self) -> bool:
        """Whether more images would tell nothing that matters."""
        return self.stderr <= _EXACT * self.kl


def measure_losses(
    teacher: fx.GraphModule, learners: Sequence[Apprentice], images: Tensor
) -> list[float]:
    """Relative error of each one's output on held-out `images` [N, 3, S, S], normalised.

    Leaves their batch norms on the statistics of these images.
    """
    blocks = _blocks(learners)
    names = dict.fromkeys(name for block in blocks for name in (block.input, block.output))
    sums = torch.zeros(len(learners), device=images.device)
    with torch.no_grad(), gathering([learner.network for learner in learners]):
        for batch in _batches(images):
            seen = _values(teacher, names, batch)
            for place, learner in enumerate(learners):
                (output,) = learner.network(seen[learner.block.input])
                target = seen[learner.block.output]
                sums[place] += relative_error(output, target).sum()
    found: list[float] = (sums / len(images)).tolist()
    return found


@torch.no_grad()
def measure_scores(
    teacher: fx.GraphModule, learners: Sequence[Apprentice], panel: Panel
) -> Iterator[Score]:
    """The score of one after the other as the `panel` of held-out images has it; their batch norms
    are those that `measure_losses` left.

    Those of a block that follow each other look at part after part of the panel until most of them
    are exact. The teacher is asked once for all of them; what it knows up to a block is not
    computed again.
    """
    tails = {block: cut_tail(teacher, block) for block in _blocks(learners)}
    answer = result(teacher)
    wanted = dict.fromkeys(
        name for block, (names, _) in tails.items() for name in (block.input, *names[1:])
    ) | {answer: None}
    for network in (*(each.network for each in learners), *(tail for _, tail in tails.values())):
        network.eval()
    sizes = _part_sizes(len(panel))
    parts = list(
        zip(torch.split(panel.images, sizes), torch.split(panel.weights, sizes), strict=True)
    )

    @cache
    def seen(part: int) -> dict[str, Tensor]:
        return _values(teacher, wanted, parts[part][0])

    def divergence(learner: Apprentice, part: int) -> Tensor:
        known, (names, tail) = seen(part), tails[learner.block]
        (output,) = learner.network(known[learner.block.input])
        (logits,) = tail(output, *(known[name] for name in names[1:]))
        target = known[answer].log_softmax(1)
        each = F.kl_div(logits.log_softmax(1), target, reduction="none", log_target=True)
        weighted: Tensor = parts[part][1] * each.sum(1)
        return weighted

    for _, group in groupby(learners, lambda each: each.block):
        members = list(group)
        found: list[list[Tensor]] = [[] for _ in members]
        scores: list[Score] = []
        for part in range(len(parts)):
            for learner, values in zip(members, found, strict=True):
                values.append(divergence(learner, part))
            scores = [_score(torch.cat(values)) for values in found]
            if 2 * sum(score.is_exact for score in scores) > len(scores):
                break
        yield from scores


def _part_sizes(total: int) -> list[int]:
    sizes: list[int] = []
    for size in chain(_PARTS, repeat(_BATCH)):
        if not total:
            return sizes
        sizes.append(min(size, total))
        total -= sizes[-1]
    raise AssertionError  # the sizes never end


def _score(divergences: Tensor) -> Score:
    count = len(divergences)
    stderr = float(divergences.std()) / math.sqrt(count)
    return Score(float(divergences.mean()), stderr, count)


def _blocks(learners: Sequence[Apprentice]) -> list[Block]:
    return list(dict.fromkeys(learner.block for learner in learners))


def _values(
    teacher: fx.GraphModule, names: Mapping[str, None], images: Tensor
) -> dict[str, Tensor]:
    part = cut(teacher, [entry(teacher)], list(names)).eval()
    return dict(zip(names, part(images), strict=True))


def _batches(images: Tensor) -> Iterator[Tensor]:
    """Of nearly equal size, so that each weighs the same in the statistics."""
    yield from images.tensor_split(math.ceil(len(images) / _BATCH))
