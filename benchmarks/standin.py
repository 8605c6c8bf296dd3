"""Tasks that take a set time and know their answer: what a job asks for, without any network.

PARECONV_STANDIN_SECONDS is what a trial takes.
"""

import os
import time
from collections.abc import Callable
from itertools import count
from random import Random
from typing import Any

from pareconv.models.cost_table import Cost, CostTable
from pareconv.models.plan import KEEP, Option, Plan
from pareconv.search.spec import JobSpec

Json = dict[str, Any]

SECONDS = "PARECONV_STANDIN_SECONDS"

ARCHITECTURE = "cifar_resnet20"

_BLOCKS, _STEPS = 9, 8  # as many as a ResNet-20 has blocks; 9 options each
_HASH = "0" * 64


def spec(trials: int) -> Json:
    """A job of so many trials, and nothing after them."""
    return {
        "name": f"{trials} trials",
        "teacher": {"architecture": ARCHITECTURE},
        "dataset": {"source": "digits"},
        "budget": {"flops": 60_000},
        "library": None,
        "search": {"trials": trials, "repeats": 0, "patience": None},
        "finish": {"finalists": 0},
        "device": "cpu",
    }


def table() -> CostTable:
    options = {Option.of("svd", ratio=step / (_STEPS + 1)): step for step in range(1, _STEPS + 1)}
    saved = {
        option: Cost(-900 * (_STEPS + 1 - step), -90 * (_STEPS + 1 - step))
        for option, step in options.items()
    }
    blocks = [f"layer{1 + place // 3}.{place % 3}" for place in range(_BLOCKS)]
    return CostTable(Cost(100_000, 10_000), dict.fromkeys(blocks, {KEEP: Cost()} | saved))


def _accuracy(plan: Plan) -> float:
    """The more a block saves the worse, the first ones the most; and noise of the plan's own."""
    changes = table().changes
    lost = sum(
        0.01 * (1 + place) * (changes[block][plan.get(block, KEEP)].flops / 8000) ** 2
        for place, block in enumerate(changes)
    )
    return 0.9 - lost + Random(plan.key).gauss(0, 0.005)


def _profile(payload: Json, _emit: Callable[[Json], None]) -> Json:
    asked, space = JobSpec.model_validate(payload["spec"]), table()
    known = {"accuracy": 0.9, "accuracy_stderr": 0.01, "test_accuracy": 0.9}
    return {
        "resolved": asked.to_json(),
        "latencies": None,
        "profile": {
            "teacher": space.teacher.to_json() | known,
            "budget": {"flops": asked.budget.flops, "params": None},
            "blocks": [{"name": name} for name in space.changes],
            "classes": ["cat", "dog"],
            "images": {"train": 80, "validation": 10, "test": 20},
            "table": space.to_json(),
            "weights": _HASH,
            "data": _HASH,
            "versions": {"svd": 1},
        },
    }


def _evaluate(payload: Json, _emit: Callable[[Json], None]) -> Json:
    seconds = float(os.environ[SECONDS])
    time.sleep(seconds)
    return measured(Plan.from_json(payload["plan"]), seconds)


def measured(plan: Plan, seconds: float) -> Json:
    """What a trial of that plan results in."""
    accuracy = _accuracy(plan)
    looks = zip(count(1), (0.06, 0.03, 0.0))
    return {
        "accuracy": accuracy,
        "accuracy_stderr": 0.005,
        "loss": 1 - accuracy,
        "seconds": seconds,
        "images": 300,
        "compute": 1000.0,
        "rungs": [
            {"images": 100 * place, "accuracy": accuracy - lacking, "stderr": 0.005}
            for place, lacking in looks
        ],
        "checkpoint": _HASH,
        "reason": None,
    }


def _ready(payload: Json, _emit: Callable[[Json], None]) -> Json:
    """A process that is there and has loaded this."""
    time.sleep(payload["seconds"])
    return {"process": os.getpid()}


TASKS = {"profile": _profile, "evaluate": _evaluate, "ready": _ready}
