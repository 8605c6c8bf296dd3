"""Training: one loop for teachers, brief trials and finalists.

Knows no method and no network by name.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pareconv.search.data.batches import batch_sizes
from pareconv.search.decay import scaled
from pareconv.search.distillation.base import Method
from pareconv.search.distillation.course import Batch, Course
from pareconv.search.distillation.setting import Setting
from pareconv.search.errors import Diverged
from pareconv.search.optimizers import OPTIMIZERS, Decay
from pareconv.search.precision import channels_last
from pareconv.search.spec import Optimizer

_WARM_UP = 0.05  # of the steps
_STEPS_PER_REPORT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A short linear warm-up to the learning rate, then one cosine to zero.

    `images` counts training images, repeats included: the length of the training. They come from
    the first `pool` views, in the order of the method: usually each once before one is shown again.
    With `scale_decay` layers
    that were rebuilt get less of the weight decay. `averaging` is the share of the steps over which
    an exponential moving average of the weights looks back; 0 keeps none.
    """

    images: int
    pool: int
    batch_size: int
    optimizer: Optimizer
    lr: float
    weight_decay: float
    scale_decay: bool = False
    averaging: float = 0.0


Progress = Callable[[float, float], None]  # share done 0..1, mean loss since the last report


class Training:
    """Teaches the student of its setting in place, as far as it is asked to; between two calls of
    `run` the student may be looked at.
    """

    def __init__(
        self,
        setting: Setting,
        method: Method,
        recipe: Recipe,
        *,
        progress: Progress | None = None,
    ) -> None:
        self._student, self._views = setting.student.eval(), setting.views
        self._progress = progress
        self._course = method.course(setting)
        self._taught = channels_last(nn.ModuleList([*self._course.networks, *self._course.extras]))
        self._batches = self._course.order(
            recipe.images, recipe.pool, recipe.batch_size, setting.seed
        )
        self._steps = len(batch_sizes(recipe.images, recipe.batch_size))
        self._optimizers = OPTIMIZERS[recipe.optimizer](
            self._taught, recipe.lr, _decay(recipe, self._course, setting)
        )
        course = _warm_up_then_cosine(self._steps)
        self._schedules = [
            torch.optim.lr_scheduler.LambdaLR(each, course) for each in self._optimizers
        ]
        self._average = _average(self._course.deployed, recipe.averaging * self._steps)
        self._seed = setting.seed
        self._step = 0
        self.images = 0  # shown so far
        self._losses: list[Tensor] = []

    @property
    def deployed(self) -> nn.Module:
        """What the student becomes: with averaged weights and statistics, where the recipe keeps an
        average.
        """
        return self._course.deployed if self._average is None else self._average.module

    def compute(self, ratio: Callable[[nn.Module], float]) -> float:
        """What it took so far beside the teacher's answers, in forward passes of one image through
        a network to which those of others have this `ratio`.
        """
        course = self._course
        trained, onlooking = (sum(map(ratio, each)) for each in (course.networks, course.onlookers))
        looked_at = course.looked_at * ratio(self._student)
        return (3 * trained + onlooking) * (self.images - course.untaught) + looked_at

    def run(self, share: float = 1.0) -> float:
        """Train until that share of the steps is done; the student is in eval mode afterwards.

        Returns the mean loss of the last steps. Raises Diverged as soon as a report finds the loss
        not finite; asking more often would make the device wait for every step.
        """
        until = round(share * self._steps)
        self._taught.train()
        mean = math.nan
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed + self._step)  # dropout draws from the global generator
            for numbers in islice(self._batches, until - self._step):
                self._losses.append(self._learn(numbers))
                self._step += 1
                self.images += len(numbers)
                if self._step % _STEPS_PER_REPORT == 0 or self._step == until:
                    mean = self._report()
        self._taught.eval()
        return mean

    def _learn(self, numbers: Tensor) -> Tensor:
        images, labels = self._views[numbers]
        done = self._step / self._steps
        terms = self._course.terms(Batch(numbers, images, labels, done))
        loss = torch.stack(list(terms.values())).sum()
        self._taught.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in self._optimizers:
            optimizer.step()
        for schedule in self._schedules:
            schedule.step()
        self._course.after_step((self._step + 1) / self._steps)
        if self._average is not None:
            self._average.update_parameters(self._course.deployed)
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
            self._progress(self._step / self._steps, mean)
        return mean


def _decay(recipe: Recipe, course: Course, setting: Setting) -> Decay:
    """Scaled in all networks that are built as the student is."""
    if not recipe.scale_decay or setting.answers is None:
        return Decay(recipe.weight_decay)
    less = scaled(setting.student, setting.answers.teacher, recipe.weight_decay)
    shapes = _shapes(setting.student)
    return Decay(
        recipe.weight_decay,
        {
            network.get_parameter(name): decay
            for network in course.networks
            if _shapes(network) == shapes
            for name, decay in less.items()
        },
    )


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in network.named_parameters()}


def _average(network: nn.Module, steps: float) -> AveragedModel | None:
    if steps <= 1:
        return None
    decay = 1 - 1 / steps
    averaging = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    return AveragedModel(network, multi_avg_fn=averaging, use_buffers=True)


def _warm_up_then_cosine(steps: int) -> Callable[[int], float]:
    warm_up = max(1, round(_WARM_UP * steps))

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))

    return factor
