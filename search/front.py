"""The front in memory: what `compress` gives back. Networks, and what is known of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

from torch import fx

from pareconv.models.graph import canonical
from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.student import load_student
from pareconv.models.teachers.architecture import Architecture
from pareconv.search.checkpoints import restore_weights
from pareconv.search.run import Profiled
from pareconv.search.spec import JobSpec, Normalize
from pareconv.search.stores import Stores
from pareconv.storage.candidates import Candidate
from pareconv.storage.files import FileStore
from pareconv.storage.jobs import Job


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one network. Accuracies are from 0 to 1, `accuracy` on the validation split; costs are for
    one image; `latency_ms` is there where the budget says where it counts.
    """

    accuracy: float | None
    test_accuracy: float | None
    flops: int
    adds: int
    params: int
    latency_ms: float | None


@dataclass(frozen=True, kw_only=True)
class Student(Figures):
    """A member of the front.

    `network` takes [N, 3, S, S], normalised as for the teacher; it is in eval mode on the CPU and
    has the weights of its finish where it is a `finalist`, else those of its trial, with which
    `accuracy` was measured (the mean where it was evaluated again). `files` are the exports of a
    finalist by format, kept where there is a home.
    """

    trial: int
    plan: Plan
    network: fx.GraphModule = field(repr=False)
    accuracy_stderr: float | None
    finalist: bool
    finish_accuracy: float | None
    files: Mapping[str, Path] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Front(Sequence[Student]):
    """The students that no other one beats, cheapest first, beside their teacher.

    `normalize` and `image_size` are what all of them take; `answer` is the student that a
    `budget.accuracy_drop` asked for, if there is one within it.
    """

    students: tuple[Student, ...]
    teacher: Figures
    classes: tuple[str, ...]
    normalize: Mapping[str, Sequence[float]]
    image_size: int
    answer: Student | None

    @overload
    def __getitem__(self, index: int) -> Student: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Student, ...]: ...

    def __getitem__(self, index: int | slice) -> Student | tuple[Student, ...]:
        return self.students[index]

    def __len__(self) -> int:
        return len(self.students)

    def __str__(self) -> str:
        """A table."""
        return "\n".join(self._lines())

    __repr__ = __str__

    def _lines(self) -> Iterator[str]:
        titles = f"{'trial':>7} {'FLOPs':>13} {'':>6} {'params':>11}"
        yield f"{titles} {'validation':>10} {'finished':>8} {'test':>6}"
        yield _line("teacher", self.teacher, self.teacher, None)
        for each in self.students:
            yield _line(str(each.trial), each, self.teacher, each.finish_accuracy)


def _line(name: str, of: Figures, teacher: Figures, finished: float | None) -> str:
    cost, whole = of.flops + of.adds, teacher.flops + teacher.adds
    costs = f"{name:>7} {cost:13,} {cost / whole:6.0%} {of.params:11,}"
    reached = (of.accuracy, finished, of.test_accuracy)
    brief, longer, test = (f"{each:.1%}" if each is not None else "" for each in reached)
    return f"{costs} {brief:>10} {longer:>8} {test:>6}".rstrip()


def front_of(
    job: Job, stores: Stores, files: FileStore, known: Architecture, *, is_kept: bool
) -> Front:
    """The front of a job that has succeeded, whose teacher's network is `known` by name."""
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
