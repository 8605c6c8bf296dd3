"""Whatever the API's own description allows, and what it does not, sent to a real server:
`python -m benchmarks.openapi`.

schemathesis makes requests from the OpenAPI document. No answer may be a 5xx, have a status that
the document does not tell, or a body that it does not describe.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.record import Record
from pareconv.service.demo import running_server

Row = dict[str, Any]

_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
_SLOWEST_SECONDS = 120  # an inspection, beside others


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    record = Record("openapi", ("seed",))
    record.add(_row(arguments.seconds, arguments.seed))
    Console().print(table(record.rows))


def table(rows: list[Row]) -> Table:
    """How much was asked, and what was wrong."""
    shown = Table("seed", "calls of the API", "requests", "faults", "not answered", "seconds")
    for row in rows:
        shown.add_row(*(f"{row[name]:,}" for name in ("seed", "operations", "requests", "faults")),
                      f"{row['errors']:,}", f"{row['seconds']:.0f}")  # fmt: skip
    shown.caption = (
        "a fault is a 5xx, a status, header or body that the document does not describe, or a "
        "method that should not be there"
    )
    return shown


def _row(seconds: int, seed: int) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        home, report = Path(folder, "home"), Path(folder, "report.json")
        with running_server(home, workers=0) as client:
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "schemathesis.cli", "run"),
                    *(f"{client.url}/openapi.json", "--phases", "examples,coverage,fuzzing"),
                    *("--checks", ",".join(_CHECKS), "--continue-on-failure"),
                    *("--max-time", str(seconds), "--request-timeout", str(_SLOWEST_SECONDS)),
                    *("--seed", str(seed), "--warnings", "off"),
                    *("--report", "json", "--report-json-path", str(report)),
                ],
                check=False,
            )
        if not report.exists():
            raise SystemExit(f"schemathesis ended with {done.returncode} and told nothing")
        told = json.loads(report.read_text())
    return {
        "seed": seed,
        "operations": told["operations"]["tested"],
        "requests": told["test_cases"]["generated"],
        "faults": told["test_cases"]["with_failures"],
        "errors": told["test_cases"]["errored"],
        "kinds": sorted({str(each.get("title", each)) for each in told["failures"]}),
        "seconds": round(told["running_time"], 1),
        "schemathesis": told["schemathesis_version"],
    }


if __name__ == "__main__":
    main()
