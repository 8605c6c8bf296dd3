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

_BLOCKS, _STEPS = 9, 8  # as many as a ResNet-20 has blocks; 9 options each
_HASH = "0" * 64


def spec(trials: int) -> Json:
    """A job of so many trials, and nothing after them."""
    return {
        "name": f"{trials} trials",
        "teacher": {"architecture": "cifar_resnet20"},
        "dataset": {"source": "digits"},
        "budget": {"flops": 60_000},
        "library": None,
        "search": {"trials": trials, "repeats": 0, "patience": None},
        "finish": {"finalists": 0},
        "device": "cpu",
    }


def _table() -> CostTable:
    options = {Option.of("svd", ratio=step / (_STEPS + 1)): step for step in range(1, _STEPS + 1)}
    saved = {
        option: Cost(-900 * (_STEPS + 1 - step), -90 * (_STEPS + 1 - step))
        for option, step in options.items()
    }
    blocks = [f"layer{1 + place // 3}.{place % 3}" for place in range(_BLOCKS)]
    return CostTable(Cost(100_000, 10_000), dict.fromkeys(blocks, {KEEP: Cost()} | saved))


def _accuracy(plan: Plan) -> float:
    """The more a block saves the worse, the first ones the most; and noise of the plan's own."""
    table = _table()
    lost = sum(
        0.01 * (1 + place) * (table.changes[block][plan.get(block, KEEP)].flops / 8000) ** 2
        for place, block in enumerate(table.changes)
    )
    return 0.9 - lost + Random(plan.key).gauss(0, 0.005)


def _profile(payload: Json, _emit: Callable[[Json], None]) -> Json:
    asked, table = JobSpec.model_validate(payload["spec"]), _table()
    known = {"accuracy": 0.9, "accuracy_stderr": 0.01, "test_accuracy": 0.9}
    return {
        "resolved": asked.to_json(),
        "latencies": None,
        "profile": {
            "teacher": table.teacher.to_json() | known,
            "budget": {"flops": asked.budget.flops, "params": None},
            "blocks": [{"name": name} for name in table.changes],
            "classes": ["cat", "dog"],
            "images": {"train": 80, "validation": 10, "test": 20},
            "table": table.to_json(),
            "weights": _HASH,
            "data": _HASH,
            "versions": {"svd": 1},
        },
    }


def _evaluate(payload: Json, _emit: Callable[[Json], None]) -> Json:
    seconds = float(os.environ[SECONDS])
    time.sleep(seconds)
    accuracy = _accuracy(Plan.from_json(payload["plan"]))
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
