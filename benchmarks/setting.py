"""What the benchmarks compress: the ResNet-20 teacher on CIFAR-10 as JPEG, where they are there."""

import os
import sys
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("PARECONV_BENCH_DATA", Path(__file__).parents[2] / "shared"))
DATA = SHARED / "data" / "cifar10-jpeg.zip"
TEACHER = SHARED / "teachers" / "cifar_resnet20-cifar10jpeg.pt"


def require_data() -> None:
    """End with what is missing where data or teacher are not there."""
    for path in (DATA, TEACHER):
        if not path.exists():
            sys.exit(
                f"{path} is not there: set PARECONV_BENCH_DATA to a folder with "
                f"{DATA.relative_to(SHARED)} and {TEACHER.relative_to(SHARED)}"
            )


def spec(flops_ratio: float, seed: int, **parts: Any) -> dict[str, Any]:
    """The job spec of this teacher and budget; `parts` are its other sections."""
    return {
        "teacher": {
            "architecture": "cifar_resnet20",
            "weights": f"file:{TEACHER}",
            "normalize": "imagenet",
        },
        "dataset": {"source": f"file:{DATA}", "validation_fraction": 0.02},
        "budget": {"flops": f"{100 * flops_ratio:g}%"},
        "seed": seed,
        **parts,
    }
