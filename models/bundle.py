"""A bundle: the parts of a network to be timed, as ONNX files in one zip, for a device elsewhere.
Needs onnxruntime alone, so that it can be measured where torch is not.

`bundle.json` holds the conditions and groups of parts that are compared, each with its files.
"""

import json
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pareconv.models.errors import ModelError
from pareconv.models.sessions import random_runner
from pareconv.models.timing import Measured, processor, take_turns

MANIFEST = "bundle.json"
FORM = 1  # of the bundle; raised when it changes


class BundleError(ModelError):
    """A file is no bundle that can be measured."""


class Bundle:
    """Open while entered. Raises BundleError for a file that is none."""

    def __init__(self, path: Path) -> None:
        try:
            self._archive = zipfile.ZipFile(path)
            self._manifest = json.loads(self._archive.read(MANIFEST))
        except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
            raise BundleError(f"{path} is no bundle: {error}") from error
        if self._manifest.get("form") != FORM:
            raise BundleError(
                f"{path} is a bundle of form {self._manifest.get('form')}, where {FORM} is known "
                "here; use the version of pareconv that made it"
            )

    def __enter__(self) -> "Bundle":
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def __len__(self) -> int:
        return sum(len(group["parts"]) for group in self._manifest["groups"])

    @property
    def subject(self) -> dict[str, Any]:
        """Of what the latencies are that are measured here."""
        return {
            "device": processor(),
            "runtime": "onnxruntime",
            "batch": self._manifest["batch"],
            "threads": self._manifest["threads"],
            "versions": {"onnxruntime": version("onnxruntime")},
        }

    def measure(self) -> Iterator[Measured]:
        """Part by part, those of a block in turns with the block as it is."""
        for group in self._manifest["groups"]:
            parts = group["parts"]
            files = [group["kept"], *(part["file"] for part in parts if part["file"])]
            runners = [
                random_runner(self._archive.read(file), self._manifest["threads"]) for file in files
            ]
            kept, *timings = take_turns(runners)
            for part, timing in zip(parts, timings or [kept], strict=True):
                yield Measured(
                    part["key"], part["option"], part["shape"], timing.ms, kept.ms, timing.spread_ms
                )
