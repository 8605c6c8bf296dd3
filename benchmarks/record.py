"""A benchmark's results: one JSON file, written again after every row, so that a run goes on where
it was stopped.
"""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("torch", "torchvision", "optuna", "fvcore", "scipy", "numpy")

Row = dict[str, Any]


class Record:
    """The rows of one benchmark, told apart by the values of `keys`."""

    def __init__(self, name: str, keys: tuple[str, ...]) -> None:
        self._path = RESULTS / f"{name}.json"
        self._keys = keys
        self.rows: list[Row] = (
            json.loads(self._path.read_text())["rows"] if self._path.exists() else []
        )

    def has(self, **values: Any) -> bool:
        """Whether a row of these values is there."""
        return any(all(row[key] == value for key, value in values.items()) for row in self.rows)

    def add(self, row: Row) -> None:
        """Write a row, in the place of a former one of the same keys."""
        identity = [row[key] for key in self._keys]
        others = [each for each in self.rows if [each[key] for key in self._keys] != identity]
        self.rows = sorted([*others, row], key=lambda each: [str(each[key]) for key in self._keys])
        content = {
            "command": " ".join(["python", "-m", *_module_and_arguments()]),
            "commit": _commit(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": {"processor": _processor(), "cores": os.cpu_count()},
            "versions": {"python": platform.python_version()}
            | {package: version(package) for package in _PACKAGES},
            "rows": self.rows,
        }
        RESULTS.mkdir(exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        temporary.replace(self._path)


def _module_and_arguments() -> list[str]:
    return [f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]]


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return described.stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
