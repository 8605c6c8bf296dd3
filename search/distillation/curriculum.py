"""Curriculum: an early snapshot of the student says which images come first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pareconv.search.data.batches import batch_sizes, shuffled
from pareconv.search.distillation.base import Method, Parameter
from pareconv.search.distillation.course import Batch, Course
from pareconv.search.distillation.methods import INDEPENDENT
from pareconv.search.distillation.setting import Setting
from pareconv.search.precision import fast
from pareconv.search.seeds import derived
from pareconv.search.spec import ParameterValue

_BATCH = 500  # images that are scored at once


@dataclass(frozen=True)
class Curriculum(Method):
    """The terms of another method, the images from easy to hard.

    Until the share `warm_up` of the training they come in random order. Then the student as it is
    scores the images by its cross-entropy, and the next phase trains on the easiest share
    `easiest` of them, in random order; at the end of each phase they are scored anew and the share
    grows, evenly, to all of them in the last of `phases`.

    Instance-level sequence learning, Zhao et al. 2021, arXiv 2106.10885: of it the abstract alone
    could be read, which has a snapshot of an early epoch find the order. Score, phases and shares
    are a reading of ours.
    """

    name = "curriculum"
    summary = "wraps another method: easy images first, as a snapshot of the student finds them"
    formula = "of the wrapped method; phase r shows the easiest q_r by CE(z_snapshot, y), q_r -> 1"
    cost = "that of the wrapped method, and a forward pass of the student for each image and phase"
    source = "Zhao et al. 2021, arXiv 2106.10885 (abstract; the phases are a reading of it)"
    when = "Long trainings of students that start from little; it costs images, scored each phase."
    parameters = (
        Parameter(
            "method",
            "kd",
            None,
            None,
            "the wrapped method, whose parameters stand beside these",
            tuple(INDEPENDENT),
        ),
        Parameter("phases", 4, 1, 100, "how many, after the warm-up"),
        Parameter("easiest", 0.4, 0.01, 1.0, "share of the images in the first phase"),
        Parameter("warm_up", 0.1, 0.0, 1.0, "share of the training in random order"),
    )

    wrapped: Method
    phases: int
    easiest: float
    warm_up: float

    @property
    def online(self) -> bool:
        return self.wrapped.online

    @classmethod
    def complete(cls, given: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
        own = super().complete(given)
        return own | INDEPENDENT[str(own["method"])].complete(given)

    @classmethod
    def of(cls, given: Mapping[str, ParameterValue]) -> Self:
        own: dict[str, Any] = {**super().complete(given)}
        wrapped = INDEPENDENT[own.pop("method")].of(given)
        return cls(wrapped, **own)

    @classmethod
    def refusals(cls, given: Mapping[str, ParameterValue]) -> dict[str, str]:
        names = {each.name for each in cls.parameters}
        own = {name: value for name, value in given.items() if name in names}
        rest = {name: value for name, value in given.items() if name not in names}
        reasons = super().refusals(own)
        if "method" not in reasons:
            reasons |= INDEPENDENT[str(given.get("method", "kd"))].refusals(rest)
        return reasons

    def misfit(self, image_size: int) -> str | None:
        return self.wrapped.misfit(image_size)

    def course(self, setting: Setting) -> Course:
        return _CurriculumCourse(self, setting)


class _CurriculumCourse(Course):
    def __init__(self, method: Curriculum, setting: Setting) -> None:
        self._wrapped = method.wrapped.course(setting)
        super().__init__(self._wrapped.networks)
        self._method, self._views = method, setting.views
        self._scored = 0

    @property
    def extras(self) -> Sequence[nn.Module]:
        return self._wrapped.extras

    @property
    def onlookers(self) -> Sequence[nn.Module]:
        return self._wrapped.onlookers

    @property
    def untaught(self) -> int:
        return self._wrapped.untaught

    @property
    def deployed(self) -> nn.Module:
        return self._wrapped.deployed

    @property
    def looked_at(self) -> int:
        return self._scored + self._wrapped.looked_at

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        return self._wrapped.terms(batch)

    def after_step(self, done: float) -> None:
        self._wrapped.after_step(done)

    def order(self, images: int, pool: int, batch_size: int, seed: int) -> Iterator[Tensor]:
        sizes = batch_sizes(images, batch_size)
        start = round(self._method.warm_up * len(sizes))
        yield from islice(shuffled(images, pool, batch_size, seed), start)
        bounds = torch.linspace(start, len(sizes), self._method.phases + 1).round().int().tolist()
        shares = torch.linspace(self._method.easiest, 1, self._method.phases).tolist()
        for phase, (first, last) in enumerate(pairwise(bounds)):
            if first < last:
                chosen = self._easiest(shares[phase] if len(shares) > 1 else 1.0, pool)
                shown = sum(sizes[first:last])
                for places in shuffled(shown, len(chosen), batch_size, derived(seed, phase)):
                    yield chosen[places]

    def _easiest(self, share: float, pool: int) -> Tensor:
        """The numbers of those of the first `pool` views whose images are the easiest."""
        seen = torch.arange(min(pool, len(self._views.split)))
        order = self._views.indices(seen)[self._difficulties(seen).argsort()]
        is_easy = torch.zeros(len(self._views.split), dtype=torch.bool)
        is_easy[order[: max(2, round(share * len(order)))]] = True
        return is_easy[self._views.indices(torch.arange(pool))].nonzero().squeeze(1)

    def _difficulties(self, numbers: Tensor) -> Tensor:
        """The student's cross-entropy on each of these views."""
        student = self.networks[0]
        is_training = student.training
        student.eval()
        losses = []
        for some in torch.split(numbers, _BATCH):
            images, labels = self._views[some]
            with torch.no_grad(), fast(images.device):
                logits = student(images)
            losses.append(F.cross_entropy(logits.float(), labels, reduction="none").cpu())
        student.train(is_training)
        self._scored += len(numbers)
        return torch.cat(losses)
