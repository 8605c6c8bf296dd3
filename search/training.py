"""Training: one loop for teachers, brief trials and finalists.

Knows no method and no network by name.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pareconv.search.data.batches import Batch, Split, batch_sizes, train_batches
from pareconv.search.distillation.base import Lesson, Method
from pareconv.search.errors import Diverged
from pareconv.search.spec import Augment

_MOMENTUM = 0.9
_WARM_UP = 0.05  # of the steps
_STEPS_PER_REPORT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """SGD with Nesterov momentum, a short linear warm-up, then one cosine to zero.

    `images` counts training images, repeats included: the length of the training.
    """

    images: int
    batch_size: int
    lr: float
    weight_decay: float
    augment: Augment
    seed: int


Progress = Callable[[float, float], None]  # share done 0..1, mean loss since the last report


def train(
    student: nn.Module,
    teacher: nn.Module | None,
    split: Split,
    method: Method,
    recipe: Recipe,
    *,
    progress: Progress | None = None,
) -> float:
    """Teach `student` in place and leave it in eval mode; return the mean loss of the last steps.

    `teacher` is only looked at, in eval mode and without gradients. Raises Diverged as soon as a
    report finds the loss not finite; asking more often would make the device wait for every step.
    """
    sizes = batch_sizes(recipe.images, recipe.batch_size)
    optimizer = torch.optim.SGD(
        student.parameters(),
        lr=recipe.lr,
        momentum=_MOMENTUM,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_up_then_cosine(len(sizes)))
    batches = train_batches(
        split,
        recipe.batch_size,
        images_total=recipe.images,
        augment=recipe.augment,
        seed=recipe.seed,
    )
    student.train()
    losses: list[Tensor] = []
    mean = math.nan
    for step, batch in enumerate(batches, start=1):
        losses.append(_step(student, teacher, batch, method, optimizer))
        schedule.step()
        if step % _STEPS_PER_REPORT == 0 or step == len(sizes):
            mean = _finite_mean(losses, step)
            losses.clear()
            if progress is not None:
                progress(step / len(sizes), mean)
    student.eval()
    return mean


def _step(
    student: nn.Module,
    teacher: nn.Module | None,
    batch: Batch,
    method: Method,
    optimizer: torch.optim.Optimizer,
) -> Tensor:
    images, labels = batch
    shown = None
    if method.needs_teacher and teacher is not None:
        with torch.no_grad():
            shown = teacher.eval()(images)
    terms = method.terms(Lesson(student(images), labels, shown))
    loss = torch.stack(list(terms.values())).sum()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.detach()


def _warm_up_then_cosine(steps: int) -> Callable[[int], float]:
    warm_up = max(1, round(_WARM_UP * steps))

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))

    return factor


def _finite_mean(losses: list[Tensor], step: int) -> float:
    mean = float(torch.stack(losses).mean())
    if not math.isfinite(mean):
        raise Diverged(
            f"the training loss became {mean} within {step} steps; a lower learning rate may help"
        )
    return mean
