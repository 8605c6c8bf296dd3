"""A server with a study of thousands of trials, which nothing trained."""

import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.deployment import Deployment, database_of, spec
from pareconv.search.spec import JobSpec
from pareconv.search.stores import Stores
from pareconv.storage.settings import Settings

OWNER = "benchmark"
_BLOCKS, _OPTIONS = 9, ("keep", "shift", "ghost(ratio=0.5)", "svd(ratio=0.25)", "svd(ratio=0.5)")


@contextmanager
def deployed(
    backend: str, *, workers: int, prepare: Callable[[Stores], str] = lambda _: ""
) -> Iterator[tuple[Deployment, Stores, str]]:
    """A server, and the stores; `prepare` is done before any worker looks."""
    with tempfile.TemporaryDirectory() as folder, database_of(backend, Path(folder)) as url:
        settings = Settings(home=Path(folder), database_url=url)
        stores = Stores.open(settings)
        try:
            prepared = prepare(stores)
            with Deployment(settings, workers=workers) as deployment:
                yield deployment, stores, prepared
        finally:
            stores.database.close()


def resolved(seed: int) -> dict[str, Any]:
    """A small real job's spec, as it is stored."""
    return JobSpec.model_validate(spec(seed)).to_json()


def big_study(stores: Stores, trials: int = 10_000) -> str:
    """A job of ours with so many trials; of ten thousand some two hundred are on its front."""
    job = stores.jobs.create(resolved(0), name="polled")[0].id
    stores.jobs.claim(OWNER, 3600)
    teacher = {"flops": 10**7, "params": 10**5, "adds": 0}
    teacher |= {"accuracy": 0.95, "accuracy_stderr": 0.01, "test_accuracy": None}
    budget = {"flops": 10**7, "params": None}
    stores.jobs.update(job, owner=OWNER, profile={"teacher": teacher, "budget": budget})
    chance = random.Random(0)
    for _ in range(trials):
        add_trial(stores, job, chance)
    return job


def add_trial(stores: Stores, job: str, chance: random.Random) -> None:
    plan = {f"layer{n}": chance.choice(_OPTIONS) for n in range(_BLOCKS)}
    share = chance.uniform(0.1, 1.0)
    candidate = stores.candidates.create(
        job, plan, flops=int(share * 10**7), adds=0, params=int(share * 10**5)
    )
    stores.candidates.complete(
        job,
        candidate.number,
        accuracy=0.95 - 0.2 * (1 - share) ** 2 - chance.expovariate(20),
        accuracy_stderr=0.01,
        loss=0.3,
        seconds=2.0,
        images=5000,
        compute=9000.0,
        rungs=[{"images": n, "accuracy": 0.8, "stderr": 0.01} for n in (500, 1500, 5000)],
        checkpoint=None,
    )
