"""Who may import whom, and that what the service imports brings neither torch nor Optuna."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("models", "storage", "search", "service")
TORCH_FREE = {
    "pareconv.models.bundle",
    "pareconv.models.cost_table",
    "pareconv.models.errors",
    "pareconv.models.plan",
    "pareconv.search.accuracy_drop",
    "pareconv.search.assumptions",
    "pareconv.search.costs",
    "pareconv.search.data.torchvision_table",
    "pareconv.search.errors",
    "pareconv.search.executors.child",
    "pareconv.search.prediction",
    "pareconv.search.section",
    "pareconv.search.solver",
    "pareconv.search.spec",
    "pareconv.search.stages",
}
OURS = {
    "models": ("pareconv.models",),
    "storage": ("pareconv.storage",),
    "search": ("pareconv.models", "pareconv.storage", "pareconv.search"),
    "service": ("pareconv.service", "pareconv.storage", *TORCH_FREE),
}
NEVER = {
    "models": {"optuna", "sqlalchemy", "alembic", "fastapi", "starlette", "uvicorn"},
    "storage": {"torch", "torchvision", "optuna", "fastapi", "starlette", "uvicorn"},
    "search": {"fastapi", "starlette", "uvicorn"},
    "service": {"torch", "torchvision", "optuna"},
}
# The mounted dashboard, which loads Optuna when it is first asked for.
DASHBOARD = (Path("service/dashboard.py"), "optuna")


def files_of(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    return files


def imports_of(path):
    """Dotted names of every import of a file, those in functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            # `from pareconv.storage import leases` imports a module too.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_under(name, roots):
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def imports():
    for package in PACKAGES:
        for path in files_of(package):
            for name in imports_of(path):
                yield package, path.relative_to(ROOT), name


def test_each_package_imports_of_ours_only_what_it_may():
    broken = [
        f"{path} imports {name}"
        for package, path, name in imports()
        if name.startswith("pareconv.") and not is_under(name, OURS[package])
    ]
    assert broken == []


def test_no_package_imports_what_it_must_never():
    broken = [
        f"{path} imports {name}"
        for package, path, name in imports()
        if name.split(".")[0] in NEVER[package] and (path, name.split(".")[0]) != DASHBOARD
    ]
    assert broken == []


def test_our_packages_are_imported_by_their_whole_names():
    broken = [
        f"{path} imports {name}" for _, path, name in imports() if name.split(".")[0] in PACKAGES
    ]
    assert broken == []


def test_no_package_has_code_of_its_own():
    inits = [path for package in PACKAGES for path in files_of(package) if path.stem == "__init__"]
    assert {path.parent.relative_to(ROOT).parts[0] for path in inits} == set(PACKAGES)
    assert [path for path in inits if path.read_text().strip()] == []


def modules_of(package):
    for path in files_of(package):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if "migrations" not in parts and path.stem not in {"__init__", "__main__"}:
            yield ".".join(("pareconv", *parts))


SCRIPT = """
import importlib, sys
importlib.import_module(sys.argv[1])
print(*sorted({"torch", "torchvision", "optuna"} & set(sys.modules)))
"""


@pytest.mark.parametrize("module", [*sorted(TORCH_FREE), "pareconv.service.app"])
def test_what_the_service_imports_loads_neither_torch_nor_optuna(module):
    assert loaded_with(module) == ""


def test_the_command_line_starts_without_what_only_a_server_needs():
    """Loading them would take a command longer than its work."""
    needed = {"sqlalchemy", "alembic", "fastapi", "numpy", "onnxruntime", "plotly"}
    script = f"import sys, pareconv.service.cli.app; print(*sorted({needed} & set(sys.modules)))"
    assert run(script, "") == ""


def test_no_module_of_storage_loads_torch_or_optuna():
    """All in one process, as none of them does."""
    every = list(modules_of("storage"))
    assert "pareconv.storage.jobs" in every
    script = "\n".join(f"import {module}" for module in every)
    assert run(f"{script}\n{SCRIPT}", "pareconv.storage.jobs") == ""


def test_the_check_sees_what_is_loaded():
    assert loaded_with("pareconv.search.seeds") == ""
    assert "torch" in loaded_with("pareconv.models.graph")


def loaded_with(module):
    return run(SCRIPT, module)


def run(script, module):
    done = subprocess.run(
        [sys.executable, "-c", script, module], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()
