"""Augmentation: random views of a batch, on its device, with no loop over images.

Shapes: B images of side S, [B, 3, S, S].
"""

import torch
from torch import Tensor
from torch.nn import functional

from pareconv.search.spec import Augment


def augment(images: Tensor, kind: Augment, generator: torch.Generator) -> Tensor:
    """A random view of each image of [B, 3, S, S]; shape and dtype are kept.

    `crop` shifts by up to S / 8 pixels each way (4 at 32, as the CIFAR recipe of He et al. 2016
    has it), filling with zeros, the mean once images are normalised; `crop-flip` also mirrors with
    probability 1/2. The same state of `generator` gives the same views on every device.
    """
    if kind == "none":
        return images
    images = _crop(images, generator)
    return _flip(images, generator) if kind == "crop-flip" else images


def _crop(images: Tensor, generator: torch.Generator) -> Tensor:
    num_images, _, height, width = images.shape
    padding = max(1, width // 8)
    padded = functional.pad(images, (padding,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: [B, 3, shift, shift, S, S]
    shifts = torch.randint(0, 2 * padding + 1, (2, num_images), generator=generator)
    down, right = shifts.to(images.device)
    return windows[torch.arange(num_images, device=images.device), :, down, right]


def _flip(images: Tensor, generator: torch.Generator) -> Tensor:
    is_flipped = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(is_flipped.to(images.device).view(-1, 1, 1, 1), images.flip(-1), images)
