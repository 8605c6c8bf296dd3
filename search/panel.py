"""The panel: the held-out images on which options are scored, drawn by importance sampling.

What a change does to a network shows on the images that the network is not sure about: most are
answered as before, and a plain mean over a few is ruled by whichever doubtful ones are among them.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from pareconv.search.data.batches import Split, eval_batches, normalize

_BATCH = 250
# The part of the chances that is the same for all, as a multiple of the part by entropy: it bounds
# every weight by 1.3 / 0.3 (a defensive mixture: Owen 2013, Monte Carlo theory, methods and
# examples, 9.11).
_EVEN = 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Images [N, 3, S, S], normalised. The mean over them of `weights` [N] times a value estimates
    the mean value over all that they were drawn from, without bias; so does the mean over the
    first few.
    """

    images: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.images)


def draw(teacher: fx.GraphModule, split: Split, size: int, seed: int) -> Panel:
    """At most `size` images of `split`, each with a chance that goes with the entropy of the
    teacher's answer to it. An image of which much is expected may be there more than once.
    """
    if size >= len(split):
        weights = torch.ones(len(split), device=split.images.device)
        return Panel(normalize(split.images[:], split.mean, split.std), weights)
    entropy = _entropies(teacher, split).double().cpu()
    chance = entropy + _EVEN * entropy.mean() + torch.finfo(entropy.dtype).tiny
    chance /= chance.sum()
    # Evenly spaced from certain to doubtful, which spreads them better than independent draws.
    order = chance.argsort()
    offset = torch.rand(1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    places = torch.searchsorted(chance[order].cumsum(0), (torch.arange(size) + offset) / size)
    chosen = order[places.clamp(max=len(split) - 1)][_spread(size)]
    weights = 1 / (len(split) * chance[chosen])
    return Panel(
        normalize(split.images[chosen], split.mean, split.std),
        weights.to(split.images.device, torch.float32),
    )


def _spread(size: int) -> Tensor:
    """All places below `size` in an order whose beginnings are spread evenly: by the golden ratio
    (a Kronecker sequence).
    """
    golden = (math.sqrt(5) - 1) / 2
    return (torch.arange(size, dtype=torch.float64) * golden % 1).argsort().argsort()


def _entropies(teacher: fx.GraphModule, split: Split) -> Tensor:
    """Of the teacher's answer to each image, in nats: [N]."""
    teacher.eval()
    with torch.no_grad():
        logits = torch.cat([teacher(images) for images, _ in eval_batches(split, _BATCH)])
    entropies: Tensor = torch.special.entr(logits.softmax(1)).sum(1)
    return entropies
