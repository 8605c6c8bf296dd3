"""Teaching: the training that a part of the spec asks for, on a workbench."""

from dataclasses import dataclass

from torch import fx

from pareconv.search.distillation.registry import method
from pareconv.search.distillation.setting import Others, Setting, nobody
from pareconv.search.evaluation import evaluate
from pareconv.search.seeds import derived
from pareconv.search.spec import Distill
from pareconv.search.training import Progress, Recipe, Training
from pareconv.search.workbench import Workbench

_WEIGHT_DECAY = 5e-4

# Of a batch of 64; measured in docs/how-it-works.md. A student that starts close to its teacher is
# moved away by a large one, one that starts far away gets nowhere with a small one.
_LEAST_LR, MOST_LR = 0.005, 0.03


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a stage teaches: a learning rate that is `auto` is `lr_per_gap` times the accuracy
    that the student lacks before it. `averaging` is that of the recipe.
    """

    lr_per_gap: float
    averaging: float = 0.0


def training_of(
    bench: Workbench,
    student: fx.GraphModule,
    distill: Distill,
    *purpose: object,
    pace: Pace,
    others: Others = nobody,
    progress: Progress | None = None,
) -> Training:
    """`student`, about to be taught as `distill` says, in an order of its own for each `purpose`,
    maybe with the `others` of its front.
    """
    assert isinstance(distill.batch_size, int)  # resolved
    assert isinstance(distill.views, int)
    images = max(2, round(distill.epochs * len(bench.train)))
    recipe = Recipe(
        images=images,
        pool=min(images, distill.views),
        batch_size=distill.batch_size,
        optimizer=distill.optimizer,
        lr=_lr(bench, student, distill, pace.lr_per_gap),
        weight_decay=_WEIGHT_DECAY,
        scale_decay=distill.scale_weight_decay,
        averaging=pace.averaging,
    )
    seed = derived(bench.spec.seed, *purpose)
    setting = Setting(student, bench.views, bench.answers, seed, others)
    taught = method(distill.method).of(distill.parameters)
    return Training(setting, taught, recipe, progress=progress)


def first_look(bench: Workbench, distill: Distill) -> int:
    """At how many images of the student an `auto` learning rate looks beforehand."""
    return len(bench.probe) if distill.lr == "auto" else 0


def _lr(bench: Workbench, student: fx.GraphModule, distill: Distill, lr_per_gap: float) -> float:
    if distill.lr != "auto":
        return distill.lr
    assert isinstance(distill.batch_size, int)  # resolved
    gap = bench.teacher_skill - evaluate(student, bench.probe).accuracy
    return rate(min(max(lr_per_gap * gap, _LEAST_LR), MOST_LR), distill.batch_size)


def rate(of_64: float, batch_size: int) -> float:
    """The learning rate for batches of that size, where it is `of_64` for 64 images."""
    return of_64 * batch_size / 64
