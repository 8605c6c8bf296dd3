"""Evaluation: how good a network is on a split, and batch norm statistics made right for it."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pareconv.search.data.batches import Split, eval_batches

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Top-1 accuracy 0..1 over N images, its binomial standard error, the mean cross-entropy."""

    accuracy: float
    stderr: float
    loss: float

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def evaluate(network: nn.Module, split: Split) -> Accuracy:
    """Accuracy of `network` in eval mode on all images of `split`."""
    network.eval()
    correct = torch.zeros((), dtype=torch.int64, device=split.labels.device)
    loss = torch.zeros((), device=split.labels.device)
    with torch.inference_mode():
        for images, labels in eval_batches(split, _BATCH):
            logits = network(images)
            correct += (logits.argmax(1) == labels).sum()
            loss += F.cross_entropy(logits, labels, reduction="sum")
    accuracy = int(correct) / len(split)
    stderr = math.sqrt(accuracy * (1 - accuracy) / len(split))
    return Accuracy(accuracy, stderr, float(loss) / len(split))


def confusion(network: nn.Module, split: Split, classes: int) -> Tensor:
    """How many images of each class `network` in eval mode takes for each: int64 [classes, classes]
    on the CPU, a row for each true class. The diagonal's share of all is the accuracy.
    """
    network.eval()
    counts = torch.zeros(classes * classes, dtype=torch.int64, device=split.labels.device)
    with torch.inference_mode():
        for images, labels in eval_batches(split, _BATCH):
            places = labels * classes + network(images).argmax(1)
            counts += places.bincount(minlength=classes * classes)
    return counts.view(classes, classes).cpu()


def chance(split: Split) -> float:
    """The accuracy of always guessing the most frequent class."""
    return int(split.labels.bincount().max()) / len(split)


def recalibrate(network: nn.Module, split: Split) -> None:
    """Set every batch norm's statistics to those of the images of `split`; eval mode afterwards."""
    # Every batch weighs the same in the statistics, so they should be of one size.
    size = math.ceil(len(split) / math.ceil(len(split) / _BATCH))
    with torch.no_grad(), gathering([network]):
        for images, _ in eval_batches(split, size):
            if len(images) > 1:  # one alone has no spread
                network(images)


@contextmanager
def gathering(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Batch norms normalise by the batch and gather its statistics from nothing; all else is in
    eval mode. Afterwards everything is.
    """
    norms = [
        part for network in networks for part in network.modules() if isinstance(part, _BatchNorm)
    ]
    momenta = [norm.momentum for norm in norms]
    for network in networks:
        network.eval()
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum
