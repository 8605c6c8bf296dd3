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


def load(name: str) -> dict[str, Any]:
    """What was recorded under that name: `rows`, and how they came to be."""
    content: dict[str, Any] = json.loads(_path(name).read_text())
    return content


class Record:
    """The rows of one benchmark, told apart by the values of `keys`."""

    def __init__(self, name: str, keys: tuple[str, ...]) -> None:
        self._path = _path(name)
        self._keys = keys
        self._commit = _commit()  # now, not when a row comes: by then files may have changed
        self.rows: list[Row] = load(name)["rows"] if self._path.exists() else []

    def has(self, **values: Any) -> bool:
        """Whether a row of these values is there."""
        return any(all(row[key] == value for key, value in values.items()) for row in self.rows)

    def add(self, row: Row) -> None:
        """Write a row, in the place of a former one of the same keys. It keeps its commit."""
        row = {"commit": self._commit, **row}
        identity = [row[key] for key in self._keys]
        others = [each for each in self.rows if [each[key] for key in self._keys] != identity]
        self.rows = sorted([*others, row], key=lambda each: [str(each[key]) for key in self._keys])
        content = {
            "command": " ".join(["python", "-m", *_module_and_arguments()]),
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


def _path(name: str) -> Path:
    return RESULTS / f"{name}.json"


def _module_and_arguments() -> list[str]:
    return [f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]]


def _commit() -> str:
    """Of the code: that other benchmarks have written their results changes nothing."""
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", f":!{RESULTS}")
    return _git("describe", "--always") + ("-dirty" if changed else "")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()
