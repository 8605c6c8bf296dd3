"""Answers: what the teacher says to each view, asked once for all students that see it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from pareconv.models.cutting import cut, entry, result
from pareconv.search.data.batches import Split
from pareconv.search.evaluation import evaluate
from pareconv.search.precision import channels_last, fast

_MOST_BYTES = 2 * 2**30


@dataclass(frozen=True, slots=True)
class Answer:
    """Logits [B, K] of a network for a batch, and its `features`: what comes out at its taps."""

    logits: Tensor
    features: tuple[Tensor, ...]

    def __getitem__(self, chosen: Tensor) -> "Answer":
        chosen = chosen.to(self.logits.device)
        return Answer(self.logits[chosen], tuple(each[chosen] for each in self.features))

    def beside(self, other: "Answer") -> "Answer":
        """Both, one batch after the other."""
        features = zip(self.features, other.features, strict=True)
        logits = torch.cat([self.logits, other.logits])
        return Answer(logits, tuple(torch.cat(pair) for pair in features))


class Listener:
    """A network with taps: nodes of its graph whose values are looked at."""

    def __init__(self, network: fx.GraphModule, taps: Sequence[str]) -> None:
        self._watched = channels_last(cut(network, [entry(network)], [*taps, result(network)]))

    def __call__(self, images: Tensor) -> Answer:
        with fast(images.device):
            *features, logits = self._watched(images)
        return Answer(logits.float(), tuple(features))


class Answers:
    """The teacher's answers by the number of the view. `asked` counts the images it looked at.

    Kept are those of the first views, as many as fit into two gibibytes; those of later ones are
    asked for anew each time.
    """

    def __init__(self, teacher: fx.GraphModule, taps: Sequence[str]) -> None:
        self.taps = tuple(taps)
        self.teacher = teacher.eval()
        self._listener = Listener(teacher, taps)
        self._kept: Answer | None = None
        self._known = torch.zeros(0, dtype=torch.bool)
        self.asked = 0

    def __call__(self, numbers: Tensor, images: Tensor) -> Answer:
        """The answer to `images` [B, 3, S, S], the views of these `numbers` (on the CPU)."""
        if self._kept is None:
            return self._asked(numbers, images)
        is_within = numbers < len(self._known)
        is_known = is_within.clone()
        is_known[is_within] = self._known[numbers[is_within]]
        unknown, known = (~is_known).nonzero().squeeze(1), is_known.nonzero().squeeze(1)
        if not len(unknown):
            return self._kept[numbers]
        asked = self._asked(numbers[unknown], images[unknown.to(images.device)])
        if not len(known):
            return asked
        back = torch.cat([unknown, known]).argsort()
        return asked.beside(self._kept[numbers[known]])[back]

    @property
    def room(self) -> int:
        """To how many of the first views the answers can be kept; known after the first."""
        return len(self._known)

    def accuracy(self, split: Split) -> float:
        """The teacher's on `split`, whose images count as asked."""
        self.asked += len(split)
        return evaluate(self.teacher, split).accuracy

    def _asked(self, numbers: Tensor, images: Tensor) -> Answer:
        answer = self._ask(images)
        self._note(numbers, answer)
        return answer

    def _note(self, numbers: Tensor, answer: Answer) -> None:
        """Keep the answer as far as there is room."""
        if self._kept is None:
            self._make_room(answer)
        assert self._kept is not None
        places = (numbers < len(self._known)).nonzero().squeeze(1)
        numbers, answer = numbers[places], answer[places]
        self._known[numbers] = True
        target = numbers.to(answer.logits.device)
        self._kept.logits[target] = answer.logits
        for kept, features in zip(self._kept.features, answer.features, strict=True):
            kept[target] = features.to(kept.dtype)

    def _make_room(self, answer: Answer) -> None:
        """Memory is taken up as it is filled, at least on the CPU."""
        parts = (answer.logits, *answer.features)
        views = _MOST_BYTES // sum(part[0].nbytes for part in parts)
        self._known = torch.zeros(views, dtype=torch.bool)
        logits, *features = (_empty_like(part, views) for part in parts)
        self._kept = Answer(logits, tuple(features))

    def _ask(self, images: Tensor) -> Answer:
        self.asked += len(images)
        with torch.no_grad():
            return self._listener(images)


def _empty_like(part: Tensor, views: int) -> Tensor:
    """In the layout in which the teacher gives it: a sum taken in another order is another number,
    and what was asked before must not be told from what is asked now.
    """
    layout = torch.channels_last if part.dim() == 4 else torch.contiguous_format
    shape = (views, *part.shape[1:])
    return torch.empty(shape, dtype=part.dtype, device=part.device, memory_format=layout)
