"""How a job scales out: `python -m benchmarks.scale`.

Trials are replaced by a task that sleeps (`benchmarks/standin.py`); all else is as in any job: the
coordinator with its sampler, the executor and its processes, the stores, the dashboard's study.

- Throughput: trials that take five seconds, on 1 to 16 processes, or on a Ray cluster with as many.
- Cost: trials that take no time, one after another. How long the coordinator takes for each, from
  one to the next, in a job that has 10, 1,000 and 10,000 of them: asking, a task's way there and
  back, telling the sampler, and writing. The job is given them (`benchmarks/filling.py`).
"""

import argparse
import os
import secrets
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import optuna
import psycopg
from rich.console import Console
from rich.table import Table
from sqlalchemy import make_url

from benchmarks import standin
from benchmarks.filling import fill
from benchmarks.ray_cluster import running_cluster
from benchmarks.record import Record
from pareconv.search.executors.local import Local
from pareconv.search.executors.settings import ExecutorSettings
from pareconv.search.run import Executor
from pareconv.search.worker import Worker
from pareconv.storage.candidates import Candidate, CandidateStore
from pareconv.storage.database import Database
from pareconv.storage.job_states import JobStatus
from pareconv.storage.jobs import JobStore
from pareconv.storage.settings import Settings

Row = dict[str, Any]

_ADDRESS = "PARECONV_RAY_ADDRESS"
_WORKERS = (1, 2, 4, 8, 16)
_SECONDS = 5.0
_TRIALS_EACH = 6
_BEFORE, _WINDOW = (10, 1000, 10_000), 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executors", nargs="+", default=("local", "ray"))
    parser.add_argument("--databases", nargs="+", default=("sqlite", "postgresql"))
    parser.add_argument("--workers", nargs="+", type=int, default=_WORKERS)
    parser.add_argument("--before", nargs="*", type=int, default=_BEFORE)
    parser.add_argument("--server", default="postgresql://root@127.0.0.1:5432/postgres")
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    record = Record("scale", ("measured", "executor", "database", "workers", "before"))
    is_with_ray = "ray" in arguments.executors
    with _cluster(max(arguments.workers)) if is_with_ray else nullcontext():
        _measure(arguments, record)
    Console().print(throughput(record.rows))
    Console().print(cost(record.rows))


def _measure(arguments: argparse.Namespace, record: Record) -> None:
    for database in arguments.databases:
        for executor in arguments.executors:
            for workers in arguments.workers:
                place = {"executor": executor, "database": database, "workers": workers}
                if not record.has(measured="throughput", **place):
                    with _database(database, arguments.server) as url:
                        record.add(row := place | _throughput(url, executor, workers))
                    print(row, flush=True)
        missing = [n for n in arguments.before if not _has_cost(record, database, n)]
        if missing:
            with _database(database, arguments.server) as url:
                for row in _costs(url, missing):
                    record.add(row := {"database": database} | row)
                    print(row, flush=True)


def throughput(rows: Sequence[Row]) -> Table:
    """Trials per second, and how many times that of one process."""
    shown = Table("executor", "database", "processes", "trials", "trials per second", "times one")
    for row in sorted(rows, key=lambda row: (row["database"], row["executor"], row["workers"])):
        if row["measured"] == "throughput":
            one = _one(rows, row)
            shown.add_row(
                row["executor"],
                row["database"],
                str(row["workers"]),
                str(row["trials"]),
                f"{row['throughput']:.2f}",
                f"{row['throughput'] / one:.1f}" if one else "",
            )
    shown.caption = f"trials that sleep for {_SECONDS:g} s"
    return shown


def cost(rows: Sequence[Row]) -> Table:
    """Milliseconds of the coordinator for a trial."""
    shown = Table(
        "database", "trials before", "median", "slowest", "processor time, begun and ended"
    )
    for row in sorted(rows, key=lambda row: (row["database"], row["before"])):
        if row["measured"] == "cost":
            shown.add_row(
                row["database"],
                f"{row['before']:,}",
                f"{row['cost_ms']:.0f} ms",
                f"{row['slowest_ms']:.0f} ms",
                f"{row['cpu_ms']:.0f} ms",
            )
    shown.caption = (
        f"{_WINDOW} trials that take no time, from one to the next; processor time is the median "
        "of the coordinator's own"
    )
    return shown


def _one(rows: Sequence[Row], row: Row) -> float | None:
    alike = ("measured", "executor", "database")
    for each in rows:
        if each["workers"] == 1 and all(each[key] == row[key] for key in alike):
            return float(each["throughput"])
    return None


def _has_cost(record: Record, database: str, before: int) -> bool:
    return record.has(measured="cost", database=database, before=before)


def _throughput(url: str, executor: str, workers: int) -> Row:
    trials = _TRIALS_EACH * workers
    with _executor(executor, workers, _SECONDS) as running:
        _warm(running)
        done = _job(url, running, trials)
    seconds = (
        max(each.finished_at for each in done if each.finished_at) - done[0].created_at
    ).total_seconds()
    return {
        "measured": "throughput",
        "before": 0,
        "trials": trials,
        "seconds": seconds,
        "throughput": trials / seconds,
    }


def _costs(url: str, before: Sequence[int]) -> Iterator[Row]:
    """Of jobs that are given so many trials of random plans, and go on from there."""
    with _executor("local", 1, 0.0) as running:
        _warm(running)
        for number in before:
            found = _begun(url, number)
            clock = _Clock(running)
            done = _ended(url, found, clock, number + _WINDOW)
            starts = [each.created_at for each in done[number:]]
            steps = [1000 * (after - start).total_seconds() for start, after in pairwise(starts)]
            yield {
                "measured": "cost",
                "executor": "local",
                "workers": 1,
                "before": number,
                "trials": _WINDOW,
                "cost_ms": median(steps),
                "slowest_ms": max(steps),
                "cpu_ms": median(1000 * (after - start) for start, after in pairwise(clock.times)),
            }


class _Clock:
    """An executor that notes how much time this process had of the processor at every trial."""

    slots = 1

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.times: list[float] = []

    def call(self, task: str, *arguments: Any, **options: Any) -> Row:
        if task == "evaluate":
            self.times.append(process_time())
        return self._executor.call(task, *arguments, **options)


def _begun(url: str, number: int) -> str:
    """The id of a job that has tried so many plans, and may try more."""
    database = Database(url)
    database.migrate()
    jobs = JobStore(database)
    id = jobs.create(standin.spec(number + _WINDOW))[0].id
    job = jobs.claim("scale", 60.0)
    assert job is not None
    profiled = standin.TASKS["profile"]({"spec": job.spec}, lambda _: None)
    jobs.update(id, owner="scale", profile=profiled["profile"], resolved=profiled["resolved"])
    fill(url, id, number)
    jobs.release(id, "scale")
    database.close()
    return id


def _job(url: str, executor: Executor, trials: int) -> list[Candidate]:
    """The candidates of a job of so many trials."""
    database = Database(url)
    database.migrate()
    id = JobStore(database).create(standin.spec(trials))[0].id
    database.close()
    return _ended(url, id, executor, trials)


def _ended(url: str, id: str, executor: Executor, trials: int) -> list[Candidate]:
    """The candidates of the job once it has succeeded; RuntimeError if it does not."""
    settings = Settings(database_url=url)
    worker = Worker(settings, executor, threading.Event())
    worker.work_once()
    database = Database(url)
    job, found = JobStore(database).get(id), CandidateStore(database).all(id)
    database.close()
    if job.status is not JobStatus.SUCCEEDED or len(found) != trials:
        raise RuntimeError(f"job {id}: {job.status}, {len(found)} trials, {job.error}")
    return found


@contextmanager
def _executor(name: str, workers: int, seconds: float) -> Iterator[Executor]:
    variables = {standin.SECONDS: str(seconds)}
    if name == "local":
        with Local([variables] * workers, tasks=standin.__name__) as local:
            yield local
        return
    from pareconv.search.executors.ray import Ray

    settings = ExecutorSettings(executor="ray", ray_address=os.environ[_ADDRESS], slots=workers)
    with Ray(settings, variables, tasks=standin.__name__) as ray:
        yield ray


@contextmanager
def _cluster(processors: int) -> Iterator[None]:
    """Ray on so many processors for all rows: a process knows one token."""
    options = (f"--num-cpus={processors}", "--num-gpus=0", "--object-store-memory=100000000")
    with running_cluster(*options, path=str(Path.cwd())) as cluster:
        os.environ |= {**cluster.environment, _ADDRESS: cluster.address}
        yield


def _warm(executor: Executor) -> None:
    """Have every process there before the clock starts."""
    processes: set[int] = set()
    with ThreadPoolExecutor(executor.slots) as pool:
        while len(processes) < executor.slots:
            asked = [
                pool.submit(executor.call, "ready", {"seconds": 2.0}) for _ in range(executor.slots)
            ]
            processes |= {each.result()["process"] for each in asked}


@contextmanager
def _database(kind: str, server: str) -> Iterator[str]:
    """The URL of a database of its own, which is gone afterwards."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/scale.db"
        return
    name = f"pareconv_scale_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


if __name__ == "__main__":
    main()
