"""Reporting: what the database knows of a student that was just finished, and its report."""

from collections.abc import Container, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from pareconv.models.cost_table import Cost, CostTable
from pareconv.models.errors import ModelError
from pareconv.models.plan import KEEP, Plan
from pareconv.search.errors import SearchError
from pareconv.search.report.facts import ReportFacts
from pareconv.search.run import Profiled, Run
from pareconv.search.spec import EXTENSIONS
from pareconv.storage.candidates import Candidate, CandidateState

Json = dict[str, Any]


def filename(job_id: str, trial: int, format: Any) -> str:
    """What a downloaded file is called."""
    return f"{job_id}-{trial}.{EXTENSIONS[format]}"


def report(run: Run, profiled: Profiled, candidate: Candidate, result: Json) -> list[Json]:
    """The stored page, if one is asked for, of a candidate and the `result` of its finish. A
    failure is an event: the student is no worse for it.
    """
    if "findings" not in result:
        return []
    try:
        facts = _facts(run, profiled, candidate, result)
        return [run.call("report", facts.to_json())]
    except (SearchError, ModelError, ValueError) as error:
        run.report(
            "report_failed",
            f"trial {candidate.number} has no report: {error}",
            level="warning",
            data={"trial": candidate.number},
        )
        return []


def _facts(run: Run, profiled: Profiled, candidate: Candidate, result: Json) -> ReportFacts:
    spec, found = profiled.spec, result["findings"]
    # As it is now: the teacher was tested after the run began.
    profile = run.stores.jobs.get(run.job.id).profile or profiled.profile
    front = run.stores.candidates.front(run.job.id, cost=spec.search.objectives[1])
    teacher: Json = profile["teacher"]
    numbers = {each.number for each in front}
    tried = run.stores.candidates.all(run.job.id)
    complete = [each for each in tried if each.state is CandidateState.COMPLETE]
    return ReportFacts.model_validate(
        {
            "job": run.job.id,
            "name": run.job.name or run.job.id,
            "trial": candidate.number,
            "written_at": datetime.now(UTC),
            "spec": spec.to_json(),
            "limits": profile["budget"],
            "teacher": {"cost": teacher} | teacher,
            "student": {
                "cost": _cost(candidate),
                "accuracy": candidate.accuracy,
                "accuracy_stderr": candidate.accuracy_stderr,
                "evaluations": candidate.evaluations,
                "finish_accuracy": result["finish_accuracy"],
                "test_accuracy": result["test_accuracy"],
            },
            "trials": [_trial(each, numbers) for each in complete],
            "untold": len(tried) - len(complete),
            "blocks": list(_blocks(profile, found["blocks"], Plan.from_json(candidate.plan))),
            "classes": profile["classes"],
            "images": profile["images"],
            "latency": [_latency(each) for each in result["latencies"]],
            "files": [_file(run.job.id, candidate.number, each) for each in result["artifacts"]],
            "refused": result["refused"],
            "data": profile["data"],
            "weights": profile["weights"],
            "normalized": profile.get("normalized"),
            **{
                name: found[name]
                for name in ("operators", "confusion", "curve", "versions", "device")
            },
        }
    )


def _cost(candidate: Candidate) -> Json:
    shown = ("flops", "params", "adds", "latency_ms")
    return {name: getattr(candidate, name) for name in shown}


def _latency(timed: Json) -> Json:
    shown = ("runtime", "batch", "threads", "teacher_ms", "student_ms")
    return {name: timed[name] for name in shown} | {"spread": 2 * timed["student_spread_ms"]}


def _trial(candidate: Candidate, front: Container[int]) -> Json:
    return {
        "trial": candidate.number,
        "cost": _cost(candidate),
        "accuracy": candidate.accuracy,
        "predicted": candidate.predicted,
        "on_front": candidate.number in front,
    }


def _file(job_id: str, trial: int, artifact: Json) -> Json:
    details: Json = artifact["details"]
    return details | {
        "format": artifact["format"],
        "filename": filename(job_id, trial, artifact["format"]),
        "sha256": artifact["sha256"],
        "size_bytes": artifact["size_bytes"],
    }


def _blocks(profile: Json, measured: Iterable[Json], plan: Plan) -> Iterator[Json]:
    """Those that a plan may change, in the order of the network."""
    table = CostTable.from_json(profile["table"])
    for block in measured:
        if block["name"] in table.changes:
            option = plan.get(block["name"], KEEP)
            before = Cost.from_json(block["cost"])
            change = table.change(block["name"], option)
            yield {
                "name": block["name"],
                "option": str(option),
                "before": before.to_json(),
                "after": (before + change).to_json(),
                "rebuilt": block["rebuilt"],
                "saved_ms": None if change.latency_ms is None else -change.latency_ms,
            }
