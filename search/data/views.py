"""Views: the training images as training shows them, each view fixed by its number.

What is fixed can be asked about once: the teacher's answers to a view are the same for every
student that sees it.
"""

import torch
from torch import Tensor

from pareconv.search.data.augment import Moves, move
from pareconv.search.data.batches import Split, normalize
from pareconv.search.spec import Augment


class Views:
    """An endless sequence of random views: pass after pass through the shuffled split.

    View n shows the same image, moved in the same way, whenever it is asked for.
    """

    def __init__(self, split: Split, augment: Augment, seed: int) -> None:
        self.split = split
        self._augment = augment
        self._generator = torch.Generator().manual_seed(seed)
        self._orders: list[Tensor] = []
        self._moves: list[Moves] = []

    def __getitem__(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """The views of these `numbers` (int64 [B], on the CPU): images [B, 3, S, S] normalised, and
        labels [B].
        """
        passes = numbers // len(self.split)
        first = int(passes.min())
        if first == int(passes.max()):
            return self._within(first, numbers % len(self.split))
        # A batch may run over the end of a pass: each part of it, and back in the order asked for.
        members = [(passes == each).nonzero().squeeze(1) for each in set(passes.tolist())]
        parts = [self[numbers[places]] for places in members]
        images, labels = (torch.cat(column) for column in zip(*parts, strict=True))
        order = torch.cat(members).argsort().to(images.device)
        return images[order], labels[order]

    def _within(self, number: int, places: Tensor) -> tuple[Tensor, Tensor]:
        while len(self._orders) <= number:
            side = self.split.images.shape[-1]
            self._orders.append(torch.randperm(len(self.split), generator=self._generator))
            self._moves.append(Moves.draw(self._augment, len(self.split), side, self._generator))
        chosen = self._orders[number][places].to(self.split.images.device)
        images = normalize(self.split.images[chosen], self.split.mean, self.split.std)
        images = move(images, self._moves[number][places])
        return images.contiguous(memory_format=torch.channels_last), self.split.labels[chosen]
