"""Compressing in this process: a module and images that are in memory, through the whole pipeline.

The job is as any other, in a home of its own; only it and what it keeps there are ours.
"""

import secrets
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from torch import fx, nn

from pareconv.models.graph import canonical
from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.student import load_student
from pareconv.models.teachers.architecture import Architecture
from pareconv.models.teachers.lending import lent
from pareconv.search.checkpoints import restore_weights, save_weights
from pareconv.search.claim import LEASE_SECONDS, Claim, Stop
from pareconv.search.data.handed import splits_of, write
from pareconv.search.errors import InvalidSpec, JobFailed
from pareconv.search.executors.inline import Inline
from pareconv.search.front import Figures, Front, Student
from pareconv.search.pipeline import run_job
from pareconv.search.run import Profiled
from pareconv.search.spec import JobSpec, Normalize, is_reference_to_dataset
from pareconv.search.stores import Stores
from pareconv.search.teachers import blaming
from pareconv.search.watching import Bar, Watched, bar
from pareconv.search.workbench import put_away
from pareconv.search.worker import problem
from pareconv.storage.candidates import Candidate
from pareconv.storage.errors import StorageError
from pareconv.storage.files import FileStore
from pareconv.storage.job_states import RESUMABLE, JobStatus
from pareconv.storage.jobs import Job
from pareconv.storage.settings import Settings

Json = dict[str, Any]

_WAIT_SECONDS = 0.5

# Fields of the spec that the other arguments say, and which.
_SAID = {
    "teacher": {"architecture": "model", "weights": "model", "normalize": "normalize"},
    "dataset": {"source": "data"},
}

_ALONE = threading.Lock()  # the settings of a process are one


def compress(
    model: nn.Module,
    data: object,
    budget: Mapping[str, Any] | str | int | None = None,
    *,
    normalize: Mapping[str, Any] | str = "auto",
    home: str | Path | None = None,
    progress: bool = True,
    **sections: Any,
) -> Front:
    """The front of cheaper networks for a trained classifier, found in this process.

    `model` takes [N, 3, S, S] and gives scores [N, K]; it can be traced by torch.fx, and stays as
    it is. `data` is a path or source as in a job spec ("digits", "images.zip"), a torch Dataset or
    DataLoader of (image, label), or several of them: a mapping of train, validation and test, or
    a tuple in that order; train alone is needed. Their images are PIL, uint8 tensors [3, H, W] or
    [1, H, W], or floats from 0 to 1, neither augmented nor normalised: `normalize` says how the
    model wants them, "imagenet", "cifar10" or means and deviations; "auto" computes them. `budget`
    is that of the spec, where "50%" or a number is of FLOPs. `sections` are the other sections of
    the spec: `search={"trials": 20}`, `distill`, `finish`, `library`, `plan`, `seed`, `device`, and
    what is left of `teacher` and `dataset`.

    `home` is a folder for the database, libraries and exports: a later call finds its libraries
    there, goes on where the same call was interrupted, and answers at once where it has ended.
    Without one nothing is kept.

    Raises pydantic.ValidationError (a ValueError) or InvalidSpec, which name the field, for what
    cannot work, and JobFailed. One call runs at a time; others wait. Ctrl-C ends it.
    """
    with ExitStack() as stack:
        stack.enter_context(_ALONE)
        if home is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pareconv-"))
        settings = _settings(Path(folder if home is None else home))
        for each in (settings.in_force(), torch.random.fork_rng(devices=[]), _quietly()):
            stack.enter_context(each)
        with blaming("model"):
            known = stack.enter_context(lent(model))
        files = FileStore(settings.artifacts)
        given = _Given(known, files, _sections(sections))
        spec = given.spec(given.source(data, settings.home), budget, normalize)
        stores = Stores.open(settings)
        stack.callback(stores.database.close)
        stack.callback(put_away)
        with bar(is_shown=progress) as shown:
            job = _ended(_Local(stores, settings.database, shown), spec)
        return _front(job, stores, files, known, is_kept=home is not None)


def _settings(home: Path) -> Settings:
    """Whatever the environment says is a server's; the caller may read all that it can."""
    home = home.expanduser().absolute()
    home.mkdir(parents=True, exist_ok=True)
    return Settings(
        home=home,
        database_url=None,
        artifacts_url=None,
        allowed_roots=(Path(home.anchor),),
        trust_programs=False,
    )


@contextmanager
def _quietly() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _sections(sections: Json) -> Json:
    """With those as dicts that are added to; InvalidSpec where they say what an argument does."""
    added_to = ("teacher", "dataset", "finish")
    for name in added_to:
        if not isinstance(sections.get(name, {}), Mapping):
            raise InvalidSpec(name, f"is a {type(sections[name]).__name__}; give a dict")
    dicts = {name: dict(sections.get(name, {})) for name in added_to}
    for section, said in _SAID.items():
        for field in said.keys() & dicts[section].keys():
            raise InvalidSpec(f"{section}.{field}", f"give it as the argument {said[field]!r}")
    if isinstance(plan := sections.get("plan"), Plan):
        dicts["plan"] = plan.to_json()
    return sections | dicts


@dataclass(frozen=True)
class _Given:
    """What the caller holds in memory, as files that a spec can name."""

    known: Architecture
    files: FileStore
    sections: Json

    def source(self, data: object, home: Path) -> str:
        if isinstance(data, str | Path):
            is_source = isinstance(data, str) and is_reference_to_dataset(data)
            return str(data) if is_source else f"file:{Path(data).expanduser().absolute()}"
        splits = splits_of(data)
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            archive = Path(scratch, "images.npz")
            write(splits, archive)
            return self._kept(self.files.put(archive))

    def spec(
        self,
        source: str,
        budget: Mapping[str, Any] | str | int | None,
        normalize: Mapping[str, Any] | str,
    ) -> JobSpec:
        assert self.known.classes is not None  # of a module
        weights = save_weights(self.known.build(self.known.classes), self.files)
        teacher = {"num_classes": self.known.classes} | self.sections["teacher"]
        teacher |= {"architecture": self.known.name, "weights": self._kept(weights)}
        return JobSpec.model_validate(
            self.sections
            | {
                "teacher": teacher | {"normalize": normalize},
                "dataset": self.sections["dataset"] | {"source": source},
                "budget": {"flops": budget} if isinstance(budget, str | int) else budget,
                "finish": self._finish(),
            }
        )

    def _finish(self) -> Json:
        """The weights of finalists come back from their safetensors files."""
        finish = self.sections["finish"]
        formats = finish.get("formats", [])
        if isinstance(formats, list | tuple) and "safetensors" not in formats:
            formats = [*formats, "safetensors"]
        return finish | {"formats": formats}

    def _kept(self, sha256: str) -> str:
        return f"file:{self.files.local_path(sha256)}"


@dataclass(frozen=True)
class _Local:
    """Where the job is worked on, and shown."""

    stores: Stores
    database_url: str
    bar: Bar


def _ended(local: _Local, spec: JobSpec) -> Job:
    """The job after all that is left to do of it: nothing, where the same was done before."""
    jobs = local.stores.jobs
    job = _same(local.stores, spec.to_json()) or jobs.create(spec.to_json(), name=spec.name)[0]
    if job.status in RESUMABLE:
        job = jobs.resume(job.id)
    if job.status is not JobStatus.SUCCEEDED:
        _work(local, job.id)
    return jobs.get(job.id)


def _same(stores: Stores, spec: Json) -> Job | None:
    """The newest job of the same spec: its files are named by what is in them."""
    cursor = None
    while True:
        page, cursor = stores.jobs.page(100, cursor)
        for job in page:
            if job.spec == spec:
                return job
        if cursor is None:
            return None


def _work(local: _Local, id: str) -> None:
    stores = local.stores
    owner = f"compress:{secrets.token_hex(8)}"
    job = _claimed(stores, id, owner)
    try:
        with Claim(stores.jobs, id, owner, threading.Event()) as claim:
            run_job(Watched(job, claim, stores, Inline(), local.bar), local.database_url)
        stores.jobs.succeed(id, owner=owner)
    except Stop as stop:
        _set_aside(stores, id, owner)
        raise JobFailed(f"{stop}; call again to go on") from stop
    except Exception as error:
        with suppress(StorageError):  # what went wrong is more than that it cannot be kept
            stores.jobs.transition(id, JobStatus.FAILED, owner=owner, error=problem(error))
        raise
    except BaseException:  # Ctrl-C
        _set_aside(stores, id, owner)
        raise


def _claimed(stores: Stores, id: str, owner: str) -> Job:
    """The job in our hands, as soon as a process that was killed has lost it.

    What else was left undone in this home is set aside; the same call goes on with it.
    """
    latest = time.monotonic() + 2 * LEASE_SECONDS
    while time.monotonic() < latest:
        job = stores.jobs.claim(owner, LEASE_SECONDS)
        if job is None:
            time.sleep(_WAIT_SECONDS)
        elif job.id == id:
            return job
        else:
            _set_aside(stores, job.id, owner)
    raise JobFailed("another process works on the same job in this home; let it end, or end it")


def _set_aside(stores: Stores, id: str, owner: str) -> None:
    with suppress(StorageError):  # lost meanwhile
        stores.jobs.cancel(id)
        stores.jobs.transition(id, JobStatus.CANCELLED, owner=owner)


def _front(
    job: Job, stores: Stores, files: FileStore, known: Architecture, *, is_kept: bool
) -> Front:
    assert job.resolved is not None  # it succeeded
    assert job.profile is not None
    profiled = Profiled(JobSpec.model_validate(job.resolved), job.profile)
    spec, teacher = profiled.spec, job.profile["teacher"]
    exports: dict[int, dict[str, str]] = {}
    for each in stores.artifacts.of_job(job.id):
        exports.setdefault(each.number, {})[each.format] = each.sha256

    def student(candidate: Candidate) -> Student:
        exported = exports.get(candidate.number, {})
        paths = {name: files.local_path(sha256) for name, sha256 in exported.items()}
        if candidate.finalist:
            network = load_student(paths["safetensors"])
        else:
            network = _tried(candidate, known, len(profiled.profile["classes"]), files)
        return Student(
            trial=candidate.number,
            plan=Plan.from_json(candidate.plan),
            network=network,
            accuracy=candidate.accuracy,
            accuracy_stderr=candidate.accuracy_stderr,
            finalist=candidate.finalist,
            finish_accuracy=candidate.finish_accuracy,
            test_accuracy=candidate.test_accuracy,
            flops=candidate.flops,
            adds=candidate.adds,
            params=candidate.params,
            latency_ms=candidate.latency_ms,
            files=paths if is_kept else {},
        )

    front = stores.candidates.front(job.id, cost=spec.search.objectives[1])
    students = tuple(map(student, front))
    drop = profiled.accuracy_drop
    found = drop.answer(stores.candidates.finalists(job.id)) if drop else None
    assert isinstance(spec.teacher.normalize, Normalize)  # resolved
    assert isinstance(spec.dataset.image_size, int)
    return Front(
        students=students,
        teacher=Figures(
            **{name: teacher.get(name) for name in Figures.__dataclass_fields__},
        ),
        classes=tuple(job.profile["classes"]),
        normalize=spec.teacher.normalize.model_dump(),
        image_size=spec.dataset.image_size,
        answer=next((each for each in students if found and each.trial == found.number), None),
    )


def _tried(
    candidate: Candidate, known: Architecture, num_classes: int, files: FileStore
) -> fx.GraphModule:
    """The student as its trial left it."""
    assert candidate.checkpoint is not None  # it is complete
    student = rewrite(canonical(known.build(num_classes)), Plan.from_json(candidate.plan))
    restore_weights(student, candidate.checkpoint, files)
    return student.eval()
