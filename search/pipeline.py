"""The pipeline: a job through its stages, each of which goes on from what is stored.

`compress` runs all of it in this process.
"""

from typing import TYPE_CHECKING, Any

from pareconv.search.finalists import Finalists
from pareconv.search.preparing import prepare
from pareconv.search.run import Profiled, Run
from pareconv.search.spec import JobSpec
from pareconv.search.study import Study
from pareconv.storage.access import Access
from pareconv.storage.job_states import Stage
from pareconv.storage.latencies import Latency, LatencyStore

if TYPE_CHECKING:
    from pareconv.search.compressing import compress

__all__ = ["compress", "run_job"]


def __getattr__(name: str) -> Any:
    """`compress` is loaded when it is asked for: it needs torch, which a worker leaves to its
    child process.
    """
    if name != "compress":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pareconv.search.compressing import compress

    return compress


def run_job(run: Run, database_url: str) -> None:
    """All that is left to do of a job.

    Raises SearchError where it cannot go on, Stop where it must not.
    """
    profiled = _profile(run)
    # Once it finishes it searches no more, and needs no library: somebody may have deleted it.
    if run.job.stage is not Stage.FINISH:
        prepared = prepare(run, profiled)
        Study(run, profiled, prepared, database_url).search()
    Finalists(run, profiled).finish()


def _profile(run: Run) -> Profiled:
    profile, resolved = run.job.profile, run.job.resolved
    # Version 0.1.0 kept none of what libraries are found by.
    if profile is not None and resolved is not None and "data" in profile:
        return Profiled(JobSpec.model_validate(resolved), profile)
    run.begin(Stage.PROFILE)

    def on_event(event: dict[str, Any]) -> None:
        if event["type"] == "progress":
            run.advance(Stage.PROFILE, event["done"])
        elif event["type"] == "inspected":
            for each in event["assumed"]:
                message = f"{each['field']}: {each['message']}"
                run.report("assumed", message, data={"field": each["field"]})
        elif event["type"] == "normalized":
            run.report("normalized", event["message"])

    # What the spec names was looked at when it was submitted, by a token that may be gone by now.
    access = Access(run.job.token_id, sees_all=True)
    result = run.call("profile", {"spec": run.job.spec, "access": access.to_json()}, on_event)
    if latencies := result["latencies"]:
        store = LatencyStore(run.stores.database, access)
        table = store.open(**latencies["subject"])
        store.put(table.id, [Latency(**each) for each in latencies["new"]])
    run.update(profile=result["profile"], resolved=result["resolved"])
    profiled = Profiled(JobSpec.model_validate(result["resolved"]), result["profile"])
    teacher = result["profile"]["teacher"]
    known = teacher["accuracy"]
    told = "not trained" if known is None else f"validation accuracy {known:.1%}"
    run.report(
        "profiled",
        f"teacher: {told}, {teacher['flops']:,} FLOPs, "
        f"{teacher['params']:,} parameters; {len(result['profile']['blocks'])} blocks",
        data=teacher,
    )
    return profiled
