"""Jobs run in this process, on a database of their own, and what they cost."""

import os
import threading
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.setting import SHARED
from pareconv.models.cost_table import CostTable
from pareconv.models.plan import Plan
from pareconv.search.answers import Answers
from pareconv.search.executors.inline import Inline
from pareconv.search.preparing import Prepared
from pareconv.search.run import Executor, Profiled
from pareconv.search.spec import JobSpec
from pareconv.search.stores import Stores
from pareconv.search.tasks import TASKS
from pareconv.search.workbench import Workbench, set_up
from pareconv.search.worker import Worker
from pareconv.storage.candidates import Candidate
from pareconv.storage.files import FileStore
from pareconv.storage.job_states import TERMINAL, JobStatus
from pareconv.storage.libraries import Entry, Library
from pareconv.storage.settings import Settings


@dataclass(frozen=True)
class Done:
    """A job that ended well, its candidates, its library, and the workbench it was done on."""

    profiled: Profiled
    candidates: list[Candidate]
    front: list[Candidate]
    library: Library | None
    entries: list[Entry]
    bench: Workbench
    files: FileStore

    @property
    def compute(self) -> float:
        """Forward passes of one image through the teacher, the whole library included."""
        built = self.library.compute if self.library else 0.0
        return built + sum(each.compute or 0.0 for each in self.candidates)

    @property
    def prepared(self) -> Prepared:
        """What its library holds of its space."""
        return Prepared(CostTable.from_json(self.profiled.profile["table"]), self.entries)

    @property
    def best(self) -> Candidate:
        return max(self.front, key=lambda each: each.accuracy or 0.0)


def profile(home: Path, spec: dict[str, Any]) -> tuple[Profiled, Workbench]:
    """The first stage alone, and a workbench on which nothing was done yet."""
    _settle(home)
    result = TASKS["profile"]({"spec": spec}, lambda _: None)
    profiled = Profiled(JobSpec.model_validate(result["resolved"]), result["profile"])
    return profiled, unasked(set_up(profiled.spec, profiled.profile["weights"]))


def unasked(bench: Workbench) -> Workbench:
    """The same workbench, its teacher not asked about any view yet: a former row in this process
    may have done so.
    """
    return replace(bench, answers=Answers(bench.teacher, bench.answers.taps))


def run(home: Path, spec: dict[str, Any], executor: Executor | None = None) -> Done:
    """Do the job in `home`, where libraries are found again; RuntimeError if it fails."""
    _settle(home)
    settings = Settings()
    stores = Stores.open(settings)
    worker = Worker(settings, executor or Inline(), threading.Event())
    with closing(stores.database):
        for job in stores.jobs.page(1000)[0]:
            if job.status not in TERMINAL:  # a row was interrupted: it is made anew
                stores.jobs.cancel(job.id)
        id = stores.jobs.create(JobSpec.model_validate(spec).to_json())[0].id
        while stores.jobs.get(id).status is JobStatus.QUEUED:
            worker.work_once()
        job = stores.jobs.get(id)
        if job.status is not JobStatus.SUCCEEDED or job.resolved is None or job.profile is None:
            raise RuntimeError(f"job {id} in {home}: {job.status}, {job.error}")
        profiled = Profiled(JobSpec.model_validate(job.resolved), job.profile)
        return Done(
            profiled,
            stores.candidates.all(id),
            stores.candidates.front(id),
            stores.libraries.get(job.library_id) if job.library_id else None,
            stores.libraries.entries(job.library_id) if job.library_id else [],
            set_up(profiled.spec, job.profile["weights"]),
            FileStore(settings.artifacts),
        )


def _settle(home: Path) -> None:
    roots = os.pathsep.join(str(root.resolve()) for root in (SHARED, home.parent))
    os.environ |= {"PARECONV_HOME": str(home), "PARECONV_ALLOWED_ROOTS": roots}


def reopen(home: Path, profiled: Profiled) -> tuple[Workbench, FileStore]:
    """The workbench of a job that was done in `home`, in whatever process, and its files."""
    _settle(home)
    bench = unasked(set_up(profiled.spec, profiled.profile["weights"]))
    return bench, FileStore(Settings().artifacts)


def plan_of(candidate: Candidate) -> Plan:
    return Plan.from_json(candidate.plan)
