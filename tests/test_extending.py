"""Adding an operator or a method, as the how-tos have it: what their pages say to write is written
into a copy of the packages, and the tests of every operator and method are run there.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("models", "search", "service", "storage")
FILE = re.compile(r"^```python\n# (\S+/\w+\.py)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TESTS = re.compile(r"^python -m (pytest tests/.*)$", re.MULTILINE)
# Where the class goes in its list.
OPERATOR = ("models/convolutions/registry.py", "Depthwise, Partial", "Depthwise, Cross, Partial")
METHOD = (
    "search/distillation/methods.py",
    "    SparseMatching,\n",
    "    SparseMatching,\n    Similarity,\n",
)
JOB = """
import torch
from torch import nn
from pareconv.search.pipeline import compress

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
    nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 2),
)
images = torch.zeros(200, 3, 8, 8)
images[::2, :, ::2] = 1
images[1::2, :, :, ::2] = 1
images += torch.rand(200, 3, 8, 8) / 3
data = torch.utils.data.TensorDataset((images / images.max()), torch.arange(200) % 2)
optimizer = torch.optim.Adam(network.parameters(), 0.01)
for _ in range(60):
    loss = nn.functional.cross_entropy(network(images / images.max()), torch.arange(200) % 2)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
[student, *_] = compress(
    network, data, "90%", progress=False, device="cpu",
    normalize={"mean": (0, 0, 0), "std": (1, 1, 1)},
    search={"trials": 1, "operators": ["cross"]}, library={"rungs": 0},
    distill={"epochs": 1}, finish={"finalists": 0},
)
print(student.plan)
"""


def extended(folder: Path, page: str, place: tuple[str, str, str]) -> dict[str, str]:
    """The environment in which the packages have what the page adds."""
    packages = folder / "pareconv"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, packages / name, ignore=shutil.ignore_patterns("__pycache__"))
    [(path, code)] = FILE.findall((ROOT / "docs" / "howto" / page).read_text())
    (packages / path).write_text(code)
    registry, before, after = place
    written = (packages / registry).read_text()
    assert before in written
    module = path.removesuffix(".py").replace("/", ".")
    [name] = re.findall(r"^class (\w+)", code, re.MULTILINE)
    imported = f"from pareconv.{module} import {name}\n"
    (packages / registry).write_text(imported + written.replace(before, after))
    return os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}


def run(environment: dict[str, str], *arguments: str) -> str:
    """What Python prints with these arguments; AssertionError where it fails."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def arguments_of(page: str) -> list[str]:
    [command] = TESTS.findall((ROOT / "docs" / "howto" / page).read_text())
    return ["-m", *command.split(), "-q", "-p", "no:cacheprovider"]


@pytest.fixture(scope="module")
def with_operator(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return extended(tmp_path_factory.mktemp("operator"), "operator.md", OPERATOR)


def test_the_operator_of_the_page_keeps_the_contract(with_operator: dict[str, str]) -> None:
    passed = re.search(r"(\d+) passed", run(with_operator, *arguments_of("operator.md")))
    assert passed is not None
    assert int(passed[1]) > 10


def test_a_job_uses_the_operator_of_the_page(with_operator: dict[str, str]) -> None:
    assert "cross" in run(with_operator, "-c", JOB)


def test_the_method_of_the_page_keeps_the_contract(tmp_path: Path) -> None:
    environment = extended(tmp_path, "method.md", METHOD)
    passed = re.search(r"(\d+) passed", run(environment, *arguments_of("method.md")))
    assert passed is not None
    assert int(passed[1]) > 10
