"""Training: one loop for teachers, brief trials and finalists.

Knows no method and no network by name.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pareconv.search.answers import Answers
from pareconv.search.data.batches import shuffled
from pareconv.search.data.views import Views
from pareconv.search.distillation.base import Method
from pareconv.search.distillation.course import Batch, Setting
from pareconv.search.errors import Diverged
from pareconv.search.optimizers import OPTIMIZERS
from pareconv.search.precision import channels_last
from pareconv.search.spec import Optimizer

_WARM_UP = 0.05  # of the steps
_STEPS_PER_REPORT = 20
_SAMPLE = 2  # images, from which a method sees shapes


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A short linear warm-up to the learning rate, then one cosine to zero.

    `images` counts training images, repeats included: the length of the training. They come from
    the first `pool` views, each shown once before one is shown again. `averaging` is the share of
    the steps over which an exponential moving average of the weights looks back; 0 keeps none.
    """

    images: int
    pool: int
    batch_size: int
    optimizer: Optimizer
    lr: float
    weight_decay: float
    seed: int
    averaging: float = 0.0


Progress = Callable[[float, float], None]  # share done 0..1, mean loss since the last report


class Training:
    """Teaches `student` in place, as far as it is asked to; between two calls of `run` the student
    may be looked at.

    `answers` are the teacher's to the `views`, None where there is no teacher.
    """

    def __init__(
        self,
        student: fx.GraphModule,
        views: Views,
        answers: Answers | None,
        method: Method,
        recipe: Recipe,
        *,
        progress: Progress | None = None,
    ) -> None:
        self.student = student
        self._views, self._progress = views, progress
        sample, _ = views[torch.arange(_SAMPLE)]
        counts = views.split.labels.bincount()
        self._course = method.course(Setting(student, answers, sample, counts, recipe.seed))
        self._taught = channels_last(nn.ModuleList([*self.networks, *self._course.extras]))
        self._batches = list(shuffled(recipe.images, recipe.pool, recipe.batch_size, recipe.seed))
        self._optimizers = OPTIMIZERS[recipe.optimizer](
            self._taught, recipe.lr, recipe.weight_decay
        )
        course = _warm_up_then_cosine(len(self._batches))
        self._schedules = [
            torch.optim.lr_scheduler.LambdaLR(each, course) for each in self._optimizers
        ]
        self._average = _average(student, recipe.averaging * len(self._batches))
        self._seed = recipe.seed
        self._step = 0
        self.images = 0  # shown so far
        self._losses: list[Tensor] = []

    @property
    def networks(self) -> tuple[fx.GraphModule, ...]:
        """All that are trained, the student first."""
        return self._course.networks

    @property
    def averaged(self) -> nn.Module:
        """The student with averaged weights and statistics; itself where no average is kept."""
        return self.student if self._average is None else self._average.module

    def run(self, share: float = 1.0) -> float:
        """Train until that share of the steps is done; the student is in eval mode afterwards.

        Returns the mean loss of the last steps. Raises Diverged as soon as a report finds the loss
        not finite; asking more often would make the device wait for every step.
        """
        until = round(share * len(self._batches))
        self._taught.train()
        mean = math.nan
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed + self._step)  # dropout draws from the global generator
            for numbers in self._batches[self._step : until]:
                self._losses.append(self._learn(numbers))
                self._step += 1
                self.images += len(numbers)
                if self._step % _STEPS_PER_REPORT == 0 or self._step == until:
                    mean = self._report()
        self._taught.eval()
        return mean

    def _learn(self, numbers: Tensor) -> Tensor:
        images, labels = self._views[numbers]
        done = self._step / len(self._batches)
        terms = self._course.terms(Batch(numbers, images, labels, done))
        loss = torch.stack(list(terms.values())).sum()
        self._taught.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self._optimizers:
            optimizer.step()
        for schedule in self._schedules:
            schedule.step()
        if self._average is not None:
            self._average.update_parameters(self.student)
        return loss.detach()

    def _report(self) -> float:
        mean = float(torch.stack(self._losses).mean())
        self._losses.clear()
        if not math.isfinite(mean):
            raise Diverged(
                f"the training loss became {mean} within {self._step} steps; "
                "a lower learning rate may help"
            )
        if self._progress is not None:
            self._progress(self._step / len(self._batches), mean)
        return mean


def _average(student: fx.GraphModule, steps: float) -> AveragedModel | None:
    if steps <= 1:
        return None
    decay = 1 - 1 / steps
    averaging = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(student, multi_avg_fn=averaging, use_buffers=True)


def _warm_up_then_cosine(steps: int) -> Callable[[int], float]:
    warm_up = max(1, round(_WARM_UP * steps))

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))

    return factor
