"""What a server bears: `python -m benchmarks.load`.

Fifty clients poll the front of a study of ten thousand trials that goes on, beside real jobs; a
thousand jobs wait and are listed; two hundred clients follow the events of one job. The clients are
processes of their own.
"""

import argparse
import asyncio
import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing import get_context
from statistics import median, quantiles
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.big_study import OWNER, add_trial, big_study, deployed, resolved
from benchmarks.deployment import Deployment, spec
from benchmarks.record import Record
from pareconv.search.stores import Stores
from pareconv.storage.job_states import JobStatus

Row = dict[str, Any]

_CLIENTS, _LISTENERS, _PROCESSES = 50, 200, 2
_JOBS, _EVENTS = 1000, 100
_POLL_SECONDS = 1.0
_WARM_UP_SECONDS = 20.0
_TRIAL_SECONDS = 2.0  # between two new trials of the study that is polled
_EVENT_SECONDS = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long fronts are polled")
    parser.add_argument("--only", choices=list(LOADS), help="one of them alone")
    parser.add_argument("--backend", choices=["sqlite", "postgresql"], help="on that one alone")
    arguments = parser.parse_args()
    record = Record("load", ("load", "backend"))
    backends = [arguments.backend] if arguments.backend else ["sqlite", "postgresql"]
    for backend in backends:
        for name, load in LOADS.items():
            if arguments.only in {None, name}:
                row = load(backend, arguments.seconds)
                record.add({"load": name, "backend": backend, "p99_ratio_to_healthz": None, **row})
    Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """What was asked, and how it was borne."""
    shown = Table("load", "database", "clients", "answers", "errors", "p50", "p99",
                  "p99 of `/healthz`", "ratio", "memory of the server")  # fmt: skip
    for row in rows:
        ratio, health = row["p99_ratio_to_healthz"], row.get("healthz_p99_ms")
        memory = row.get("rss_mb")
        shown.add_row(
            row["load"],
            row["backend"],
            str(row["clients"]),
            f"{row['answers']:,}",
            str(row["errors"]),
            f"{row['p50_ms']:.1f} ms",
            f"{row['p99_ms']:.1f} ms",
            "" if health is None else f"{health:.1f} ms",
            "" if ratio is None else f"{ratio:.2f}",
            "" if memory is None else f"{memory[0]:.0f} to {memory[-1]:.0f} MB",
        )
    return shown


@dataclass
class Heard:
    """What clients of one process got: seconds by address, and what went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def add(self, other: "Heard") -> None:
        for name, found in other.seconds.items():
            self.seconds.setdefault(name, []).extend(found)
        self.errors += other.errors


def polling(backend: str, seconds: float) -> Row:
    """The front of a study that grows, beside jobs that are really worked on."""
    with deployed(backend, workers=1, prepare=big_study) as (deployment, stores, study):
        stop = threading.Event()
        others = [
            threading.Thread(target=_grow, args=(stores, study, stop)),
            threading.Thread(target=_keep_busy, args=(deployment, stop)),
        ]
        for each in others:
            each.start()
        _until(lambda: _count(stores, JobStatus.RUNNING) > 1)
        with ProcessPoolExecutor(_PROCESSES, get_context("spawn")) as pool:
            share = [_CLIENTS // _PROCESSES] * _PROCESSES
            asked = [
                pool.submit(_poll, deployment.client.url, study, number, seconds)
                for number in share
            ]
            time.sleep(_WARM_UP_SECONDS)
            memory = [_resident(deployment)]
            while not all(each.done() for each in asked):
                time.sleep(2)
                memory.append(_resident(deployment))
            heard = Heard()
            for each in asked:
                heard.add(each.result())
        stop.set()
        for each in others:
            each.join()
        succeeded = _count(stores, JobStatus.SUCCEEDED)
        trials = len(stores.candidates.all(study))
    front, health = heard.seconds["front"], heard.seconds["healthz"]
    return {
        "clients": _CLIENTS,
        "seconds": seconds,
        "trials": trials,
        "answers": len(front) + len(health),
        "errors": len(heard.errors),
        "what_went_wrong": sorted(set(heard.errors))[:5],
        **_spread(front),
        "healthz_p50_ms": _spread(health)["p50_ms"],
        "healthz_p99_ms": _spread(health)["p99_ms"],
        "p99_ratio_to_healthz": round(_spread(front)["p99_ms"] / _spread(health)["p99_ms"], 2),
        "jobs_succeeded_meanwhile": succeeded,
        "rss_mb": memory,
    }


def listing(backend: str, _seconds: float) -> Row:
    """A thousand jobs that wait: the first page against the last."""
    with deployed(backend, workers=0) as (deployment, stores, _):
        for seed in range(_JOBS):
            stores.jobs.create(resolved(seed), name=f"waits {seed}")
        cursors, cursor, seen = [None], None, 0
        while True:
            page = deployment.client.jobs.page(limit=20, cursor=cursor)
            seen += len(page.items)
            cursor = page.next
            if cursor is None:
                break
            cursors.append(cursor)
        pages: dict[str, list[float]] = {"first": [], "last": []}
        for _turn in range(50):
            for name, at in (("first", cursors[0]), ("last", cursors[-1])):
                started = time.perf_counter()
                deployment.client.jobs.page(limit=20, cursor=at)
                pages[name].append(time.perf_counter() - started)
    return {
        "clients": 1,
        "jobs": _JOBS,
        "answers": len(cursors) + 100,
        "errors": _JOBS - seen,
        **_spread(pages["first"] + pages["last"]),
        "first_page_ms": round(1000 * median(pages["first"]), 2),
        "last_page_ms": round(1000 * median(pages["last"]), 2),
    }


def listening(backend: str, _seconds: float) -> Row:
    """Two hundred clients follow one job: each must hear of everything, once and in order."""
    with deployed(backend, workers=0) as (deployment, stores, _):
        job = stores.jobs.create(resolved(0))[0].id
        stores.jobs.claim(OWNER, 3600)
        threads: list[int] = []
        with ProcessPoolExecutor(_PROCESSES, get_context("spawn")) as pool:
            asked = [
                pool.submit(_listen, deployment.client.url, job, _LISTENERS // _PROCESSES)
                for _process in range(_PROCESSES)
            ]
            time.sleep(10)
            written = []
            for number in range(_EVENTS):
                written.append(stores.events.append(job, "trial", f"trial {number}").seq)
                threads.append(deployment.processes("api")[0].num_threads())
                time.sleep(_EVENT_SECONDS)
            stores.jobs.transition(job, JobStatus.SUCCEEDED, owner=OWNER)
            written += [event.seq for event in stores.events.newest(job, 1)]  # its end
            heard = [each for future in asked for each in future.result()]
    delays = [delay for _, found in heard for delay in found]
    wrong = [seqs for seqs, _ in heard if seqs != written]
    return {
        "clients": len(heard),
        "answers": len(delays),
        "errors": len(wrong) + _LISTENERS - len(heard),
        **_spread(delays),
        "threads": max(threads),
    }


LOADS: dict[str, Callable[[str, float], Row]] = {
    "fronts": polling,
    "jobs that wait": listing,
    "events": listening,
}


def _grow(stores: Stores, study: str, stop: threading.Event) -> None:
    chance = random.Random(1)
    while not stop.wait(_TRIAL_SECONDS):
        add_trial(stores, study, chance)
        stores.jobs.renew(study, OWNER, 3600)


def _keep_busy(deployment: Deployment, stop: threading.Event) -> None:
    """One small job is worked on, another waits, all the time."""
    seed = 0
    while not stop.is_set():
        if len(deployment.client.jobs.page(status="queued").items) < 1:
            seed += 1
            deployment.client.jobs.create(spec(seed))
        stop.wait(1)


def _count(stores: Stores, status: JobStatus) -> int:
    return len(stores.jobs.page(1000, status=status)[0])


def _until(is_so: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"it was not so after {seconds:.0f} s")
        time.sleep(0.2)


def _resident(deployment: Deployment) -> float:
    """Megabytes of the server's own process."""
    (process,) = deployment.processes("api")
    return round(process.memory_info().rss / 1e6, 1)


def _spread(seconds: list[float]) -> dict[str, float]:
    cuts = quantiles(seconds, n=100, method="inclusive")
    return {"p50_ms": round(1000 * cuts[49], 2), "p99_ms": round(1000 * cuts[98], 2)}


def _poll(url: str, job: str, clients: int, seconds: float) -> Heard:
    return asyncio.run(_poll_together(url, job, clients, seconds))


async def _poll_together(url: str, job: str, clients: int, seconds: float) -> Heard:
    heard = Heard({"front": [], "healthz": []})
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as http:
        begins = time.monotonic() + _WARM_UP_SECONDS
        until = begins + seconds
        await asyncio.gather(
            *(
                _client(http, job, (begins, until), heard, knows_tags=n % 2 == 1)
                for n in range(clients)
            )
        )
    return heard


async def _client(
    http: httpx.AsyncClient,
    job: str,
    measured: tuple[float, float],
    heard: Heard,
    *,
    knows_tags: bool,
) -> None:
    """Asks for both once a second, out of step with the others; half of them send the tag back."""
    chance, tag = random.Random(id(object())), None
    begins, until = measured
    while time.monotonic() < until:
        for name, path in (("front", f"/jobs/{job}/pareto"), ("healthz", "/healthz")):
            await asyncio.sleep(chance.uniform(0, _POLL_SECONDS))
            known = {"if-none-match": tag} if knows_tags and tag and name == "front" else {}
            started = time.perf_counter()
            try:
                answer = await http.get(path, headers=known)
            except httpx.HTTPError as error:
                heard.errors.append(repr(error))
                continue
            if time.monotonic() >= begins:
                heard.seconds[name].append(time.perf_counter() - started)
            if answer.status_code not in {200, 304}:
                heard.errors.append(f"{path}: {answer.status_code}")
            tag = answer.headers.get("etag", tag)


def _listen(url: str, job: str, clients: int) -> list[tuple[list[int], list[float]]]:
    return asyncio.run(_listen_together(url, job, clients))


async def _listen_together(url: str, job: str, clients: int) -> list[tuple[list[int], list[float]]]:
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        return await asyncio.gather(*(_follow(http, job) for _ in range(clients)))


async def _follow(http: httpx.AsyncClient, job: str) -> tuple[list[int], list[float]]:
    """The numbers of the events that came, and the seconds from when each was written."""
    seqs, delays = [], []
    headers = {"accept": "text/event-stream"}
    async with http.stream("GET", f"/jobs/{job}/events", headers=headers) as response:
        async for line in response.aiter_lines():
            if line.startswith("data:"):
                event = json.loads(line.removeprefix("data:"))
                seqs.append(event["seq"])
                delays.append(time.time() - _moment(event))
    return seqs, delays


def _moment(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["created_at"]).timestamp()


if __name__ == "__main__":
    main()
