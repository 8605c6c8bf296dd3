"""Imbalance: a data set with classes of very different sizes, made of one where they are alike.

Knows labels alone. Which images stay is drawn with numpy's RandomState, as in splits.py.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from pareconv.search.data.images import Images
from pareconv.search.data.rows import some

_LEAST = 2  # images of a class: one on each side of the split


def long_tail(counts: Sequence[int], imbalance: float) -> list[int]:
    """How many images stay of classes with so many each: of number k of K, the share
    imbalance^(k / (K - 1)) of the largest, as in long-tailed CIFAR (Cui et al. 2019, arXiv
    1901.05555).
    """
    shares = imbalance ** np.linspace(0, 1, len(counts))
    wanted = (int(max(counts) * share) for share in shares)
    return [min(count, max(_LEAST, number)) for count, number in zip(counts, wanted, strict=True)]


def thinned(images: Images, imbalance: float, seed: int) -> Images:
    """The same with a long-tailed training split; the test split stays as it is."""
    labels = images.train_labels.numpy()
    random = np.random.RandomState(seed)
    counts = np.bincount(labels, minlength=len(images.classes)).tolist()
    kept = [
        random.permutation(np.flatnonzero(labels == label))[:number]
        for label, number in enumerate(long_tail(counts, imbalance))
    ]
    chosen = torch.from_numpy(np.sort(np.concatenate(kept)))
    return replace(
        images,
        train_images=some(images.train_images, chosen),
        train_labels=images.train_labels[chosen],
    )
