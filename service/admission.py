"""Admission: the way from a submission to a queued job. A refused one leaves nothing behind."""

import hashlib
import json
import re
from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import Depends

from pareconv.search.errors import InvalidSpec
from pareconv.search.spec import JobSpec
from pareconv.service.dependencies import InjectedIntake, InjectedStores, InjectedTasks
from pareconv.service.errors import IdempotencyKeyReused
from pareconv.service.intake import Intake
from pareconv.service.stores import Stores
from pareconv.service.subject import label
from pareconv.service.submission import Submission
from pareconv.service.tasks import Tasks
from pareconv.storage.errors import Conflict
from pareconv.storage.jobs import Job
from pareconv.storage.uploads import Kind


class Admission:
    """Validate, store the files, inspect, and only then create: in this order."""

    def __init__(self, stores: Stores, tasks: Tasks, intake: Intake) -> None:
        self._stores = stores
        self._tasks = tasks
        self._intake = intake

    def admit(
        self, submission: Submission, idempotency_key: str | None = None, *, priority: int = 0
    ) -> Job:
        """The queued job; for a key that came before with the same request, the first job.

        Raises what validation, intake and inspection refuse, and IdempotencyKeyReused.
        """
        with ExitStack() as undoing:
            spec = self._spec(submission, undoing)
            if (first := self._first(spec, idempotency_key)) is not None:
                return first
            self._inspect(spec, submission)
            job = self._create(spec, idempotency_key, priority)
            undoing.pop_all()
            return job

    def inspect(self, submission: Submission) -> dict[str, Any]:
        """What a job would find. Files that came along are kept no longer than that.

        Raises what validation, intake and inspection refuse.
        """
        with ExitStack() as undoing:
            return self._inspect(self._spec(submission, undoing), submission)

    def _inspect(self, spec: JobSpec, submission: Submission) -> dict[str, Any]:
        """InvalidSpec speaks of files that came along by their names."""
        try:
            return self._tasks.inspect(spec, self._stores.access)
        except InvalidSpec as error:
            message = error.message
            for kind, sent in submission.files.items():
                message = sent.filename.join(re.split(rf"\b{kind}:\w+", message))
            raise InvalidSpec(error.field, message) from error

    def _spec(self, submission: Submission, undoing: ExitStack) -> JobSpec:
        """With its files stored, until `undoing` is closed."""
        # Files may be huge: what is wrong with the spec itself is said before they are stored.
        submission.spec(dict.fromkeys(submission.files, "pending"))
        ids: dict[Kind, str] = {}
        for kind, sent in submission.files.items():
            received = self._intake.take(kind, sent)
            undoing.callback(self._intake.discard, received)
            ids[kind] = received.upload.id
        return submission.spec(ids)

    def _first(self, spec: JobSpec, idempotency_key: str | None) -> Job | None:
        """A repeated request is answered even where it would be refused by now."""
        if idempotency_key is None:
            return None
        try:
            return self._stores.jobs.find(idempotency_key, _hash(spec))
        except Conflict as error:
            raise IdempotencyKeyReused(str(error)) from error

    def _create(self, spec: JobSpec, idempotency_key: str | None, priority: int) -> Job:
        try:
            job, is_new = self._stores.jobs.create(
                spec.to_json(),
                name=spec.name or label(spec, self._stores),
                idempotency_key=idempotency_key,
                request_hash=_hash(spec) if idempotency_key else None,
                priority=priority,
            )
        except Conflict as error:
            raise IdempotencyKeyReused(str(error)) from error
        if is_new:
            self._stores.events.append(job.id, "queued", "waits for a worker")
        return job


def _hash(spec: JobSpec) -> str:
    return hashlib.sha256(json.dumps(spec.to_json(), sort_keys=True).encode()).hexdigest()


async def _admission(
    stores: InjectedStores, tasks: InjectedTasks, intake: InjectedIntake
) -> Admission:
    return Admission(stores, tasks, intake)


InjectedAdmission = Annotated[Admission, Depends(_admission)]
