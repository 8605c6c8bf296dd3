"""The pipeline: a job through its stages, each of which goes on from what is stored."""

from collections.abc import Sequence
from typing import Any

from pareconv.models.errors import ModelError
from pareconv.search.errors import JobFailed, SearchError, TaskDied
from pareconv.search.preparing import prepare
from pareconv.search.reporting import filename, report
from pareconv.search.run import Profiled, Run
from pareconv.search.spec import JobSpec
from pareconv.search.study import Study
from pareconv.storage.candidates import Candidate
from pareconv.storage.job_states import Stage


def run_job(run: Run, database_url: str) -> None:
    """All that is left to do of a job.

    Raises SearchError where it cannot go on, Stop where it must not.
    """
    profiled = _profile(run)
    prepared = prepare(run, profiled)
    Study(run, profiled, prepared, database_url).search()
    run.advance(Stage.FINISH, 0)
    _finish(run, profiled)
    run.advance(Stage.FINISH, 1)


def _profile(run: Run) -> Profiled:
    profile, resolved = run.job.profile, run.job.resolved
    # Version 0.1.0 kept none of what libraries are found by.
    if profile is not None and resolved is not None and "data" in profile:
        return Profiled(JobSpec.model_validate(resolved), profile)
    run.advance(Stage.PROFILE, 0)

    def on_event(event: dict[str, Any]) -> None:
        if event["type"] == "progress":
            run.advance(Stage.PROFILE, event["done"])

    result = run.call("profile", {"spec": run.job.spec}, on_event)
    run.update(profile=result["profile"], resolved=result["resolved"])
    profiled = Profiled(JobSpec.model_validate(result["resolved"]), result["profile"])
    teacher = result["profile"]["teacher"]
    known = teacher["accuracy"]
    told = "not trained" if known is None else f"validation accuracy {known:.4f}"
    run.report(
        "profiled",
        f"teacher: {told}, {teacher['flops']:,} FLOPs, "
        f"{teacher['params']:,} parameters; {len(result['profile']['blocks'])} blocks",
        data=teacher,
    )
    return profiled


def _finish(run: Run, profiled: Profiled) -> None:
    """Finish the most accurate of the front; JobFailed if there were some and none could be."""
    objective = profiled.spec.search.objectives[1]
    front = run.stores.candidates.front(run.job.id, cost=objective)
    best = sorted(front, key=lambda point: (-(point.accuracy or 0), point.flops))
    chosen = best[: profiled.spec.finish.finalists]
    if chosen:
        _test_teacher(run, profiled)
    failures = []
    for position, candidate in enumerate(chosen):
        if not candidate.finalist:
            failures += _finish_one(run, profiled, chosen, position)
    if chosen and len(failures) == len(chosen):
        raise JobFailed(f"no finalist could be finished; the last one: {failures[-1]}")


def _test_teacher(run: Run, profiled: Profiled) -> None:
    teacher = profiled.profile["teacher"]
    if teacher["accuracy"] is not None and teacher["test_accuracy"] is None:
        measured = run.call("test_teacher", profiled.bench)
        run.update(profile=profiled.profile | {"teacher": teacher | measured})


def _finish_one(
    run: Run, profiled: Profiled, chosen: Sequence[Candidate], position: int
) -> list[str]:
    """Finish one of the chosen candidates; what went wrong, if something did."""

    def on_event(event: dict[str, Any]) -> None:
        run.advance(Stage.FINISH, (position + event["done"]) / len(chosen))

    candidate = chosen[position]
    others = [_tried(other) for other in chosen if other is not candidate]
    payload = _tried(candidate) | {"others": others}
    try:
        result = _call_twice(run, profiled.bench | payload, on_event)
    except (SearchError, ModelError) as error:
        run.report(
            "finish_failed",
            f"trial {candidate.number} could not be finished: {error}",
            level="error",
            data={"trial": candidate.number},
        )
        return [str(error)]
    _keep(run, profiled, candidate, result)
    return []


def _tried(candidate: Candidate) -> dict[str, Any]:
    return {"plan": candidate.plan, "checkpoint": candidate.checkpoint}


def _call_twice(run: Run, payload: dict[str, Any], on_event: Any) -> dict[str, Any]:
    """A process that dies may have been unlucky; one that dies twice was not."""
    try:
        return run.call("finish", payload, on_event)
    except TaskDied:
        return run.call("finish", payload, on_event)


def _keep(run: Run, profiled: Profiled, candidate: Candidate, result: dict[str, Any]) -> None:
    run.claim.check()
    for refused in result["refused"]:
        run.report(
            "file_refused",
            f"trial {candidate.number}: {refused['reason']}",
            level="warning",
            data={"trial": candidate.number, "format": refused["format"]},
        )
    for artifact in (*result["artifacts"], *report(run, profiled, candidate, result)):
        run.stores.artifacts.put(
            run.job.id,
            candidate.number,
            format=artifact["format"],
            sha256=artifact["sha256"],
            size_bytes=artifact["size_bytes"],
            filename=filename(run.job.id, candidate.number, artifact["format"]),
            details=artifact.get("details", {}),
        )
    run.stores.candidates.finish(
        run.job.id,
        candidate.number,
        finish_accuracy=result["finish_accuracy"],
        test_accuracy=result["test_accuracy"],
        compute=result["compute"],
    )
    run.report(
        "finalist",
        f"trial {candidate.number} finished: validation accuracy {result['finish_accuracy']:.4f}, "
        f"test accuracy {result['test_accuracy']:.4f}",
        data={"trial": candidate.number, "test_accuracy": result["test_accuracy"]},
    )
