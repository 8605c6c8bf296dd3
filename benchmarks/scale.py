"""How a job scales out: `python -m benchmarks.scale`.

Trials are replaced by a task that sleeps (`benchmarks/standin.py`); all else is as in any job: the
coordinator with its sampler, the executor and its processes, the stores, the dashboard's study.

- Throughput: trials that take five seconds, on 1 to 16 processes, or on a Ray cluster with as many.
- Cost: trials that take no time, one after another. How long the coordinator takes for each, from
  one to the next, after 10, 1,000 and 10,000 trials: asking, a task's way there and back, telling
  the sampler, and writing.
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
from typing import Any

import optuna
import psycopg
from rich.console import Console
from rich.table import Table
from sqlalchemy import make_url

from benchmarks import standin
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
    shown = Table("database", "trials before", "median", "slowest of the trials")
    for row in sorted(rows, key=lambda row: (row["database"], row["before"])):
        if row["measured"] == "cost":
            shown.add_row(
                row["database"],
                f"{row['before']:,}",
                f"{row['cost_ms']:.0f} ms",
                f"{row['slowest_ms']:.0f} ms",
            )
    shown.caption = f"{_WINDOW} trials that take no time, from one to the next"
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
    with _executor("local", 1, 0.0) as running:
        done = _job(url, running, max(before) + _WINDOW + 1)
    starts = [each.created_at for each in done]
    steps = [1000 * (later - earlier).total_seconds() for earlier, later in pairwise(starts)]
    for number in before:
        window = steps[number : number + _WINDOW]
        yield {
            "measured": "cost",
            "executor": "local",
            "workers": 1,
            "before": number,
            "cost_ms": median(window),
            "slowest_ms": max(window),
        }


def _job(url: str, executor: Executor, trials: int) -> list[Candidate]:
    """The candidates of a job of so many trials; RuntimeError if it fails."""
    settings = Settings()
    database = Database(url)
    database.migrate()
    jobs = JobStore(database)
    id = jobs.create(standin.spec(trials))[0].id
    worker = Worker(settings.model_copy(update={"database_url": url}), executor, threading.Event())
    worker.work_once()
    job = jobs.get(id)
    found = CandidateStore(database).all(id)
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
