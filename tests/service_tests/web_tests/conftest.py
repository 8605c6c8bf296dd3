"""Jobs as their workers would leave them, for the pages to show. Trains nothing."""

import io
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from pareconv.models.cost_table import CostTable
from pareconv.models.plan import Plan
from pareconv.service.stores import Stores
from pareconv.storage.candidates import CandidateState
from pareconv.storage.jobs import Job, JobStatus, Stage
from pareconv.storage.tables import CandidateRow, JobRow

SPEC: dict[str, Any] = {
    "name": "digits",
    "teacher": {"architecture": "cifar_resnet8"},
    "dataset": {"source": "digits"},
    "budget": {"flops": "50%"},
    "search": {"objectives": ["accuracy", "flops"]},
}
OPTIONS = {"svd(ratio=0.5)": 0.5, "shift": 0.2, "group(groups=4)": 0.3}
BLOCKS = {f"layer{number}.0": 1_000_000 * number for number in (1, 2, 3)}
TIMED = {"device": "a processor", "runtime": "onnxruntime", "batch": 1, "threads": 1}
TIMED |= {"teacher_ms": 0.9, "teacher_spread_ms": 0.02, "student_ms": 0.42}
TIMED |= {"student_spread_ms": 0.01, "versions": {}}
WHOLE = {"flops": 7_000_000, "adds": 0, "params": 70_000}


def profile() -> dict[str, Any]:
    """Of a teacher with three blocks and one convolution that stays."""
    options = [
        {
            "name": block,
            "options": [
                {"option": "keep", "flops": 0, "params": 0, "adds": 0},
                *(
                    {
                        "option": option,
                        "flops": -int(cost * (1 - share)),
                        "params": -int(cost * (1 - share)) // 100,
                        "adds": 0,
                    }
                    for option, share in OPTIONS.items()
                ),
            ],
        }
        for block, cost in BLOCKS.items()
    ]
    return {
        "teacher": WHOLE | {"accuracy": 0.95, "accuracy_stderr": 0.01, "test_accuracy": 0.94},
        "budget": {"flops": 3_500_000, "params": None, "latency_ms": None},
        "blocks": [
            {
                "name": block,
                "convs": [f"{block}.conv1"],
                "cost": {"flops": cost, "params": cost // 100, "adds": 0},
            }
            for block, cost in BLOCKS.items()
        ],
        "left_out": [{"name": "conv1", "reason": "it has 3 input channels"}],
        "table": {"teacher": WHOLE, "blocks": options},
    }


class Seeds:
    """Makes jobs in these stores."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def library(self) -> str:
        """A library of every option; one of them is not scored yet."""
        made = self._stores.libraries.open(
            key="1" * 64,
            architecture="cifar_resnet8",
            teacher="2" * 64,
            data="3" * 64,
            recipe={},
            teacher_cost=WHOLE,
        )
        entries: list[Any] = [
            {
                "block": block,
                "option": option,
                "version": 1,
                "rungs": 1,
                "settled": True,
                "images": 5000,
                "loss": 0.2,
                "flops": -int(cost * (1 - share)),
                "params": -int(cost * (1 - share)) // 100,
                "adds": 0,
                "weights": "4" * 64,
            }
            | ({} if (block, option) == ("layer3.0", "shift") else {"score": (1 - share) / 4})
            for block, cost in BLOCKS.items()
            for option, share in OPTIONS.items()
        ]
        self._stores.libraries.claim(made.id, "w", 60)
        self._stores.libraries.put(made.id, "w", entries, 1.0)
        front = [
            {"plan": {"layer1.0": "shift"}, "score": score, "params": 50_000, "adds": 0}
            | {"flops": int(7_000_000 * (1 - score))}
            for score in (0.1, 0.3, 0.5)
        ]
        self._stores.libraries.set_front(made.id, "w", front)
        self._stores.libraries.release(made.id, "w")
        return made.id

    def job(self, name: str | None = "digits", **values: Any) -> Job:
        """A queued job whose row then gets these values."""
        made, _ = self._stores.jobs.create(SPEC | {"name": name}, name=name)
        self._stores.events.append(made.id, "queued", "waits for a worker")
        if values:
            with self._stores.database.session() as session:
                session.execute(update(JobRow).where(JobRow.id == made.id).values(**values))
        return self._stores.jobs.get(made.id)

    def searched(self, trials: int = 12, name: str = "searched") -> Job:
        """A job that has succeeded with so many trials, one in five stopped, one finished."""
        now = datetime.now(UTC)
        made = self.job(
            name,
            status=JobStatus.SUCCEEDED,
            stage=Stage.FINISH,
            progress=1.0,
            profile=profile(),
            library_id=self.library(),
            started_at=now - timedelta(hours=1),
            finished_at=now,
        )
        states = [*[CandidateState.COMPLETE] * 4, CandidateState.STOPPED]
        table, draw = CostTable.from_json(profile()["table"]), random.Random(0)
        with self._stores.database.session() as session:
            for number in range(trials):
                plan = Plan(
                    {block: draw.choice([*options]) for block, options in table.changes.items()}
                )
                cost = table.cost(plan)
                accuracy = 0.6 + 0.3 * cost.flops / WHOLE["flops"] - abs(draw.gauss(0, 0.05))
                session.add(
                    CandidateRow(
                        job_id=made.id,
                        number=number,
                        state=states[number % 5],
                        plan=plan.to_json(),
                        flops=cost.flops,
                        adds=0,
                        params=cost.params,
                        accuracy=accuracy,
                        accuracy_stderr=0.01,
                        loss=0.3,
                        seconds=2.5,
                        images=1000,
                        compute=1e4,
                        predicted=1 - accuracy,
                        rungs=[],
                        evaluations=2 if number % 7 == 0 else 1,
                        finalist=False,
                        latencies=[],
                        created_at=now,
                        finished_at=now,
                    )
                )
        best = self._stores.candidates.front(made.id)[-1].number
        reached = {"finish_accuracy": 0.93, "test_accuracy": 0.92}
        self._stores.candidates.finish(made.id, best, **reached, compute=1e5, latencies=[TIMED])
        for format in ("onnx", "pt2", "report"):
            sha256, size = self._stores.files.put_stream(io.BytesIO(b"a file of a student"))
            file = {"format": format, "filename": f"student.{format}", "sha256": sha256}
            self._stores.artifacts.put(made.id, best, **file, size_bytes=size)
        return self._stores.jobs.get(made.id)

    def failed(self) -> Job:
        return self.job(
            "a data set with a broken image, in a job with a long name that has to wrap somewhere",
            status=JobStatus.FAILED,
            stage=Stage.PROFILE,
            progress=0.05,
            started_at=datetime.now(UTC) - timedelta(minutes=3),
            finished_at=datetime.now(UTC),
            error={
                "type": "/problems/invalid-request",
                "title": "The request is not valid",
                "detail": "dataset.source: cat/1.png cannot be read; replace it",
                "errors": [{"field": "dataset.source", "message": "cat/1.png cannot be read"}],
            },
        )


@pytest.fixture(scope="session")
def seeds_of() -> type[Seeds]:
    return Seeds
