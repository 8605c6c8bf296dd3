"""Teaching: the training that a part of the spec asks for, on a workbench."""

from torch import fx

from pareconv.search.distillation.registry import method
from pareconv.search.evaluation import evaluate
from pareconv.search.seeds import derived
from pareconv.search.spec import Distill
from pareconv.search.training import Progress, Recipe, Training
from pareconv.search.workbench import Workbench

_WEIGHT_DECAY = 5e-4

# Of a batch of 64; measured in docs/search.md. A student that starts close to its teacher is moved
# away by a large one, one that starts far away gets nowhere with a small one.
_LEAST_LR, _MOST_LR = 0.005, 0.03


def training_of(
    bench: Workbench,
    student: fx.GraphModule,
    distill: Distill,
    *purpose: object,
    lr_per_gap: float,
    averaging: float = 0.0,
    progress: Progress | None = None,
) -> Training:
    """`student`, about to be taught as `distill` says, in an order of its own for each
    `purpose`.

    A learning rate that is `auto` is `lr_per_gap` times the accuracy that the student lacks now.
    """
    assert isinstance(distill.batch_size, int)  # resolved
    assert isinstance(distill.views, int)
    images = max(2, round(distill.epochs * len(bench.train)))
    recipe = Recipe(
        images=images,
        pool=min(images, distill.views),
        batch_size=distill.batch_size,
        optimizer=distill.optimizer,
        lr=_lr(bench, student, distill, lr_per_gap),
        weight_decay=_WEIGHT_DECAY,
        seed=derived(bench.spec.seed, *purpose),
        averaging=averaging,
    )
    return Training(
        student,
        bench.views,
        bench.answers,
        method(distill.method).of(distill.parameters),
        recipe,
        progress=progress,
    )


def first_look(bench: Workbench, distill: Distill) -> int:
    """At how many images of the student an `auto` learning rate looks beforehand."""
    return len(bench.probe) if distill.lr == "auto" else 0


def _lr(bench: Workbench, student: fx.GraphModule, distill: Distill, lr_per_gap: float) -> float:
    if distill.lr != "auto":
        return distill.lr
    assert isinstance(distill.batch_size, int)  # resolved
    gap = bench.teacher_skill - evaluate(student, bench.probe).accuracy
    return min(max(lr_per_gap * gap, _LEAST_LR), _MOST_LR) * distill.batch_size / 64
