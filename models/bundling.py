"""Bundling: the parts of a network that are to be timed elsewhere, written as a bundle."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from torch import fx

from pareconv.models.bundle import FORM, MANIFEST
from pareconv.models.latency import Conditions, Part, groups
from pareconv.models.runtimes import Value, onnx_model


def write_bundle(
    path: Path,
    network: fx.GraphModule,
    shape: tuple[int, int, int, int],
    wanted: Sequence[Part],
    conditions: Conditions,
) -> None:
    """Write the parts of a canonical `network` for images of `shape` (1, C, H, W) as ONNX models of
    the batch of the `conditions`.
    """
    described, count = [], 0
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:

        def write(part: fx.GraphModule, value: Value) -> str:
            nonlocal count
            name, count = f"{count}.onnx", count + 1
            archive.writestr(name, onnx_model(part, value))
            return name

        for group in groups(network, shape, wanted, conditions):
            kept = write(group.kept, group.value)
            files: list[str | None] = [write(each, group.value) for each in group.rebuilt]
            described.append(
                {
                    "kept": kept,
                    "parts": [
                        {
                            "key": part.key,
                            "option": str(part.option),
                            "shape": part.shape,
                            "file": file,
                        }
                        for part, file in zip(group.parts, files or [None], strict=True)
                    ],
                }
            )
        manifest = {
            "form": FORM,
            "batch": conditions.batch,
            "threads": conditions.threads,
            "groups": described,
        }
        archive.writestr(MANIFEST, json.dumps(manifest, indent=1))
