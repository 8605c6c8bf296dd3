"""What a deployment survives: `python -m benchmarks.faults`.

Server, worker, task and database connections are killed at random moments of small real jobs; eight
processes claim the same jobs; a worker is stopped past its lease and woken; the database is away;
the disk is full.
"""

import argparse
import random
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import psycopg
from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, text

from benchmarks.deployment import Deployment, Gate, database_of, spec
from benchmarks.record import Record
from benchmarks.tally import tally_of
from pareconv.search.stores import Stores
from pareconv.storage.database import Database
from pareconv.storage.errors import StorageError
from pareconv.storage.job_states import TERMINAL, JobStatus, Stage
from pareconv.storage.jobs import Job, JobStore
from pareconv.storage.settings import Settings

Row = dict[str, Any]

_AT_ONCE = 2
_UNDISTURBED = 4
_PAUSE_SECONDS = (2.0, 10.0)
_AWAKE_SECONDS = 20.0
_AWAY_SECONDS = 30.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="on each back end")
    parser.add_argument("--only", choices=list(FAULTS), help="one of them alone")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    record = Record("faults", ("fault", "backend"))
    for backend in ("sqlite", "postgresql"):
        for name, fault in FAULTS.items():
            if arguments.only in {None, name} and (name, backend) not in _NOT_ON:
                record.add({"fault": name, "backend": backend, **fault(backend, arguments)})
    Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """What was done to whom, and what became of it."""
    shown = Table("fault", "database", "faults", "jobs", "resumed", "not succeeded", "trials",
                  "given up", "lost", "doubled", "disagreements",
                  "seconds lost per fault")  # fmt: skip
    for row in rows:
        lost = row.get("seconds_lost_per_kill")
        shown.add_row(
            row["fault"],
            row["backend"],
            str(row["kills"]),
            str(row["jobs"]),
            str(row.get("jobs_resumed", "")),
            str(row["jobs_not_succeeded"]),
            str(row["trials"]),
            str(row.get("trials_given_up", "")),
            str(row["trials_lost"]),
            str(row["trials_doubled"]),
            str(len(row["disagreements"])),
            "" if lost is None else f"{lost:.1f}",
        )
    shown.caption = (
        "resumed: jobs that failed, as a task of theirs was killed twice; given up: trials whose "
        "process was killed twice, which is the rule; "
        "lost: trials that the spec asked for and that are nowhere; doubled: plans that ended well "
        "twice, or jobs that two had; disagreements between candidates, Optuna's trials and files"
    )
    return shown


def kills(backend: str, arguments: argparse.Namespace) -> Row:
    """Jobs go in, two at a time, while somebody kills; those that failed are resumed in peace; then
    all must be there, once.
    """
    chance, count = random.Random(0), arguments.kills
    with tempfile.TemporaryDirectory() as folder, database_of(backend, Path(folder)) as url:
        settings = Settings(home=Path(folder), database_url=url)
        with Deployment(settings) as deployment:
            stores = Stores.open(settings)
            undisturbed = _undisturbed(deployment, stores)
            started = time.monotonic()
            done: Counter[str] = Counter()
            jobs: list[str] = []
            while done.total() < count:
                while len(_unfinished(stores, jobs)) < _AT_ONCE:
                    jobs.append(_submit(deployment, len(jobs)))
                time.sleep(chance.uniform(*_PAUSE_SECONDS))
                victim = chance.choice(("api", "worker", "task", "connection"))
                done[victim] += _kill(victim, deployment, url, chance)
            _until(lambda: not _unfinished(stores, jobs))
            seconds = time.monotonic() - started
            # Where the same task was killed twice, which a user sees and resumes.
            failed = [job for job in jobs if stores.jobs.get(job).status is JobStatus.FAILED]
            for job in failed:
                deployment.client.jobs.get(job).resume()
            _until(lambda: not _unfinished(stores, jobs))
            tally = tally_of(stores, settings, jobs)
            stores.database.close()
    return {
        "kills": done.total(),
        "killed": dict(done),
        "jobs_resumed": len(failed),
        **vars(tally),
        "seconds": round(seconds, 1),
        "seconds_undisturbed_per_job": round(undisturbed, 2),
        "seconds_lost_per_kill": round((seconds - undisturbed * len(jobs)) / done.total(), 2),
    }


def _undisturbed(deployment: Deployment, stores: Stores) -> float:
    """Seconds that a job takes, one after the other."""
    started = time.monotonic()
    jobs = [_submit(deployment, 1000 + seed) for seed in range(_UNDISTURBED)]
    _until(lambda: not _unfinished(stores, jobs))
    return (time.monotonic() - started) / len(jobs)


def _submit(deployment: Deployment, seed: int) -> str:
    """A job, once, however often the server has to be asked."""
    key = f"fault-{seed}"
    jobs = deployment.client.jobs
    return deployment.insist(lambda: jobs.create(spec(seed), idempotency_key=key)).id


def _unfinished(stores: Stores, jobs: Iterable[str]) -> list[Job]:
    found = [stores.jobs.get(job) for job in jobs]
    return [job for job in found if job.status not in TERMINAL]


def _until(is_so: Callable[[], bool], seconds: float = 1800) -> None:
    deadline = time.monotonic() + seconds
    while not _answered(is_so):
        if time.monotonic() > deadline:
            raise TimeoutError(f"it was not so after {seconds:.0f} s")
        time.sleep(0.5)


def _answered(is_so: Callable[[], bool]) -> bool:
    try:
        return is_so()
    except StorageError:  # the database is away
        return False


def _kill(victim: str, deployment: Deployment, url: str, chance: random.Random) -> bool:
    """Whether there was somebody to kill."""
    if victim == "connection":
        if url.startswith("sqlite"):
            return False
        with psycopg.connect(url, autocommit=True) as connection:
            found = connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "ORDER BY random() LIMIT 1"
            ).fetchall()
        return bool(found)
    processes = deployment.processes(victim)  # type: ignore[arg-type]
    if not processes:
        return False
    chance.choice(processes).kill()
    return True


def claims(backend: str, _: argparse.Namespace) -> Row:
    """A thousand jobs, and eight processes that take whatever they can get."""
    jobs, processes = 1000, 8
    with tempfile.TemporaryDirectory() as folder, database_of(backend, Path(folder)) as url:
        database = Database(url)
        database.migrate()
        store = JobStore(database)
        for _ in range(jobs):
            store.create({})
        with ProcessPoolExecutor(processes) as pool:
            claimed = list(pool.map(_claim_all, [url] * processes, range(processes)))
        ids = [id for each in claimed for id in each]
        database.close()
    return {
        "kills": len(ids),
        "jobs": jobs,
        "jobs_not_succeeded": jobs - len(set(ids)),
        "trials": 0,
        "trials_lost": 0,
        "trials_doubled": len(ids) - len(set(ids)),
        "disagreements": [],
        "by_process": [len(each) for each in claimed],
    }


def _claim_all(url: str, number: int) -> list[str]:
    database = Database(url)
    store = JobStore(database)
    found = []
    while (job := store.claim(f"process {number}", 600.0)) is not None:
        found.append(job.id)
    database.close()
    return found


def sleeper(backend: str, _: argparse.Namespace) -> Row:
    """A worker is stopped in the middle of a search until another has done its job, then woken: it
    must write nothing.
    """
    with tempfile.TemporaryDirectory() as folder, database_of(backend, Path(folder)) as url:
        settings = Settings(home=Path(folder), database_url=url)
        with Deployment(settings, workers=2) as deployment:
            stores = Stores.open(settings)
            job = _submit(deployment, 0)
            _until(lambda: stores.jobs.get(job).stage is Stage.SEARCH)
            owner = stores.jobs.get(job).lease_owner
            (asleep,) = (
                each for each in deployment.processes("worker") if f":{each.pid}:" in str(owner)
            )
            asleep.suspend()
            try:
                _until(lambda: not _unfinished(stores, [job]))
                taker = stores.jobs.get(job)
                before = _written(url)
            finally:
                asleep.resume()
            time.sleep(_AWAKE_SECONDS)
            tally = tally_of(stores, settings, [job])
            if before != _written(url):
                tally.disagreements.append("the worker that was woken has written something")
            if taker.claims != 2:
                tally.disagreements.append(f"the job was claimed {taker.claims} times")
            stores.database.close()
    return {"kills": 1, **vars(tally)}


def database_away(backend: str, _: argparse.Namespace) -> Row:
    """Nobody reaches the database for half a minute, in the middle of two jobs."""
    with (
        tempfile.TemporaryDirectory() as folder,
        database_of(backend, Path(folder)) as url,
        Gate(url) as gate,
        Deployment(Settings(home=Path(folder), database_url=gate.url)) as deployment,
    ):
        settings = Settings(home=Path(folder), database_url=url)
        stores = Stores.open(settings)
        jobs = [_submit(deployment, seed) for seed in range(2)]
        _until(lambda: stores.jobs.get(jobs[0]).stage is Stage.SEARCH)
        gate.close()
        time.sleep(_AWAY_SECONDS)
        is_told = not deployment.client.is_ready()
        gate.open()
        _until(lambda: not _unfinished(stores, jobs))
        tally = tally_of(stores, settings, jobs)
        stores.database.close()
    if not is_told:
        tally.disagreements.append("the server said that it was ready")
    return {"kills": 1, **vars(tally)}


def disk_full(backend: str, _: argparse.Namespace) -> Row:
    """The artifacts' file system is full, and gets room once the job has failed. Needs root."""
    with tempfile.TemporaryDirectory() as folder, database_of(backend, Path(folder)) as url:
        artifacts = Path(folder, "artifacts")
        artifacts.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", artifacts], check=True)
        try:
            settings = Settings(home=Path(folder), database_url=url, artifacts_url=str(artifacts))
            with Deployment(settings) as deployment:
                stores = Stores.open(settings)
                job = _submit(deployment, 0)
                _until(lambda: not _unfinished(stores, [job]))
                failed = stores.jobs.get(job)
                subprocess.run(["mount", "-o", "remount,size=100m", artifacts], check=True)
                deployment.client.jobs.get(job).resume()
                _until(lambda: not _unfinished(stores, [job]))
                tally = tally_of(stores, settings, [job])
                stores.database.close()
        finally:
            subprocess.run(["umount", "--lazy", artifacts], check=True)
    reason = str((failed.error or {}).get("detail"))
    if failed.status is not JobStatus.FAILED or "space" not in reason:
        tally.disagreements.append(f"on a full disk the job {failed.status}: {reason}")
    return {"kills": 1, **vars(tally), "reason": reason}


FAULTS: dict[str, Callable[[str, argparse.Namespace], Row]] = {
    "claims": claims,
    "kills": kills,
    "sleeper": sleeper,
    "database away": database_away,
    "disk full": disk_full,
}
_NOT_ON = {("database away", "sqlite")}


def _written(url: str) -> dict[str, list[Any]]:
    """Every row that is about jobs."""
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        found = {
            name: [tuple(row) for row in connection.execute(text(f"SELECT * FROM {name}"))]
            for name in ("jobs", "job_events", "candidates", "artifacts", "trials", "trial_values")
        }
    engine.dispose()
    return found


if __name__ == "__main__":
    main()
