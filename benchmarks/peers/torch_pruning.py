"""Torch-Pruning 1.6.1: channels ranked by magnitude over all layers (DepGraph, arXiv 2301.12900).

The criterion was chosen on the ResNet-20 teacher by validation accuracy in % (2,000 images, one
seed, standard error up to 1.1) with 50, 30 and 15 % of the FLOPs left, inner channels pruned in 200
steps; first with batch norms recalibrated, then after 10,000 images of distillation at a learning
rate of 0.02. `layer` ranks the channels in each layer, `all` over all layers, as mean-normalised
scores.

| criterion        | recalibrated   | distilled      |
|------------------|----------------|----------------|
| group L1, layer  | 54.2 21.5  9.7 | 82.8 70.6 51.1 |
| group L1, all    | 69.5 18.8 13.2 | 86.1 68.6 41.1 |
| group L2, layer  | 54.2 24.8 13.0 | 81.6 70.6 49.2 |
| group L2, all    | 55.2 23.5 10.3 | 84.9 71.2 42.4 |
| median, layer    | 46.2 26.6 10.9 | 81.2 70.2 39.6 |
| BN scale, all    | 54.1 17.4 11.3 | 83.5 63.4 43.1 |
| LAMP, all        | 27.2 16.0 10.9 | 74.9 56.5 43.8 |
| Taylor, layer    | 46.8 17.1 14.7 | 81.1 60.4 46.2 |
| Taylor, all      | 49.2 16.6 14.1 | 82.7 61.7 40.8 |
| Hessian, layer   | 46.3 18.4 11.6 | 80.2 62.8 46.0 |
| Hessian, all     | 44.6 18.2 11.3 | 79.6 60.3 42.2 |

Gradients were those of 512 images. The squared ones of the Hessian were summed here, as
`accumulate_grad` of 1.6.1 keeps those of the last image alone. GroupNormPruner differs from group
L2 by a penalty during tens of epochs of training before the pruning, which was not tried.

Ranked over all layers, some layers lose nearly every channel; with a floor under every width the
order changes. After 20,000 images at 0.01:

| group L2                             | distilled      |
|--------------------------------------|----------------|
| inner channels, layer                | 85.7 78.1 55.5 |
| inner channels, all, floor           | 88.6 79.0 52.5 |
| residual stream too, all, floor      | 86.4 75.8 60.4 |

The stream is left whole: a student with a narrower one cannot be taught by the features of its
teacher, and with all compute that counts for more. At 15 % of the FLOPs 80.2 % of 1,000 validation
images with `features`, 77.0 % with the stream pruned and `kd`.
"""

import copy

import torch_pruning as tp
from torch import Tensor, nn

from benchmarks.peers.pruned import Pruned
from pareconv.models.cost import count

# From the whole network to nothing, as in the authors' CIFAR experiments: less than one inner
# channel a step, after which importances are taken anew.
_STEPS = 400
# Every layer keeps this share of the width that it would keep if all were narrowed alike.
_FLOOR = 0.75


def prune(teacher: nn.Module, batch: tuple[Tensor, Tensor], flops: int) -> Pruned:
    """The first network within `flops`, as fvcore counts them, on the way down from `teacher`.

    `teacher` is a CIFAR ResNet or its graph, of which the inner channels of the blocks are pruned;
    `batch` shows what an image looks like. The criterion needs no gradient, so that nothing is
    spent. Raises ValueError for a limit that is not reached.
    """
    example = batch[0][:1]
    network = copy.deepcopy(teacher).eval().requires_grad_(True)
    # FLOPs fall with the width of the inner channels.
    width = flops / count(teacher, *example.shape).flops
    pruner = tp.BasePruner(
        network,
        example,
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        global_pruning=True,
        pruning_ratio=1.0,
        max_pruning_ratio=1 - _FLOOR * width,
        iterative_steps=_STEPS,
        ignored_layers=_ends_of_stream(network),
    )
    for _ in range(_STEPS):
        if count(network, *example.shape).flops <= flops:
            return Pruned(network, forward_images=0.0)
        pruner.step()
    raise ValueError(f"Torch-Pruning finds no network within {flops:,} FLOPs; allow more")


def _ends_of_stream(network: nn.Module) -> list[nn.Module]:
    """The layers that write into the residual stream, and the last one."""
    writers = [module for name, module in network.named_modules() if name.endswith(".conv2")]
    return [network.conv1, *writers, network.linear]
