"""Views: the training images as training shows them, each view fixed by its number.

What is fixed can be asked about once: the teacher's answers to a view are the same for every
student that sees it.
"""

import torch
from torch import Tensor

from pareconv.search.data.augment import Moves, move
from pareconv.search.data.batches import Split, normalize
from pareconv.search.seeds import derived
from pareconv.search.spec import Augment


class Views:
    """An endless sequence of random views: pass after pass through the shuffled split.

    View n shows the same image, moved in the same way, whenever it is asked for.
    """

    def __init__(self, split: Split, augment: Augment, seed: int) -> None:
        self.split = split
        self._augment, self._seed = augment, seed
        self._generator = torch.Generator().manual_seed(seed)
        self._order = torch.empty(0, dtype=torch.int64)
        self._moves = Moves.none(0)
        self._others: dict[int, Moves] = {}

    def __getitem__(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """The views of these `numbers` (int64 [B], on the CPU): images [B, 3, S, S] normalised, and
        labels [B].
        """
        chosen = self.indices(numbers).to(self.split.images.device)
        return self._shown(chosen, self._moves[numbers]), self.split.labels[chosen]

    def moved_again(self, numbers: Tensor, variant: int) -> Tensor:
        """The images of these views [B, 3, S, S], moved in another way for each `variant`."""
        chosen = self.indices(numbers).to(self.split.images.device)
        moves = self._others.get(variant, Moves.none(0))
        while len(moves) <= int(numbers.max()):
            seed = derived(self._seed, variant, len(moves))
            moves = moves.followed_by(self._drawn(torch.Generator().manual_seed(seed)))
        self._others[variant] = moves
        return self._shown(chosen, moves[numbers])

    def indices(self, numbers: Tensor) -> Tensor:
        """Which image of the split each of these views is of: int64 [B]."""
        while len(self._order) <= int(numbers.max()):
            order = torch.randperm(len(self.split), generator=self._generator)
            self._order = torch.cat([self._order, order])
            self._moves = self._moves.followed_by(self._drawn(self._generator))
        return self._order[numbers]

    def _drawn(self, generator: torch.Generator) -> Moves:
        """For one pass."""
        return Moves.draw(self._augment, len(self.split), self.split.images.shape[-1], generator)

    def _shown(self, chosen: Tensor, moves: Moves) -> Tensor:
        images = normalize(self.split.images[chosen], self.split.mean, self.split.std)
        return move(images, moves).contiguous(memory_format=torch.channels_last)
