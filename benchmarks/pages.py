"""How long the page of a job takes to be seen, and what it weighs: `python -m benchmarks.pages`.

A Chromium without a window opens the page of a job of ten trials and of one of ten thousand, in
turns, each time with an empty cache.
"""

import shutil
import time
from statistics import median
from typing import Any

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.table import Table

from benchmarks.big_study import big_study, deployed
from benchmarks.record import Record
from pareconv.search.stores import Stores

Row = dict[str, Any]

_TRIALS = (10, 10_000)
_TURNS = 10


def main() -> None:
    record = Record("pages", ("trials",))
    jobs: dict[int, str] = {}

    def prepare(stores: Stores) -> str:
        jobs.update({trials: big_study(stores, trials) for trials in _TRIALS})
        return ""

    with (
        deployed("sqlite", workers=0, prepare=prepare) as (deployment, _, _),
        sync_playwright() as playwright,
    ):
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        pages = {each: f"{deployment.client.url}/ui/jobs/{job}" for each, job in jobs.items()}
        turns = [
            {each: _opened(browser, page) for each, page in pages.items()}
            for _ in range(1 + _TURNS)
        ]
        browser.close()
    for trials in _TRIALS:
        record.add(_row(trials, [turn[trials] for turn in turns[1:]]))  # one to warm up
    Console().print(table(record.rows))


def _row(trials: int, opened: list[dict[str, float]]) -> Row:
    row: Row = {"trials": trials, "turns": len(opened)}
    row |= {name: round(median(each[name] for each in opened), 1) for name in opened[0]}
    return row | {"slowest_view_ms": round(max(each["view_ms"] for each in opened), 1)}


def table(rows: list[Row]) -> Table:
    """Medians over the turns."""
    shown = Table("trials", "first paint", "front and table", "the slowest", "chart", "script heap")
    for row in sorted(rows, key=lambda each: each["trials"]):
        times = (row["paint_ms"], row["view_ms"], row["slowest_view_ms"], row["chart_ms"])
        told = (f"{each:.0f} ms" for each in times)
        shown.add_row(f"{row['trials']:,}", *told, f"{row['heap_mb']:.0f} MB")
    shown.caption = (
        "from the click, with an empty cache; the heap after the chart is drawn and garbage is "
        "collected"
    )
    return shown


def _opened(browser: Browser, address: str) -> dict[str, float]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    started = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.locator("#front-table tbody tr").first.wait_for()
    view = time.perf_counter() - started
    page.locator("#chart .main-svg").first.wait_for()
    chart = time.perf_counter() - started
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime")
    session = context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    heap = session.send("Runtime.getHeapUsage")["usedSize"]
    context.close()
    return {
        "paint_ms": float(paint),
        "view_ms": 1000 * view,
        "chart_ms": 1000 * chart,
        "heap_mb": heap / 1e6,
    }


if __name__ == "__main__":
    main()
