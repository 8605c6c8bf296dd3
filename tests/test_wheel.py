"""The wheel: complete, free of tests, and at home beside a user's own `models` and `search`."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("models", "search", "service", "storage")
THEIR_OWN = 'raise RuntimeError("the {} of the user")\n'


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: a build leaves folders behind, and takes in what an earlier one left."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in (*PACKAGES, "tests"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", built, source)
    run(sys.executable, *build, cwd=built)
    [wheel] = built.glob("*.whl")
    return wheel


def run(
    *command: str | Path,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    timeout_seconds: float = 300,
) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    return ran


def test_it_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = {
        f"pareconv/{path.relative_to(ROOT).as_posix()}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == ours
    assert {f"pareconv/{package}/py.typed" for package in PACKAGES} < packed
    assert "pareconv/storage/migrations/versions/0001_first.py" in packed
    assert not any("test" in Path(name).parts[1] for name in packed)


def test_its_metadata_names_version_licence_and_command(wheel: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    folder = f"pareconv-{version}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{folder}/METADATA").decode()
        commands = archive.read(f"{folder}/entry_points.txt").decode()
        licence = archive.read(f"{folder}/licenses/LICENSE")
    assert f"\nVersion: {version}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "pareconv = pareconv.service.cli.app:main" in commands
    assert licence == (ROOT / "LICENSE").read_bytes()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel, and what it depends on from this one."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv.parent)
    python = venv / "bin" / "python"
    install = ("install", "--quiet", "--no-deps", "--no-index", wheel)
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=venv.parent)
    [packages] = venv.glob("lib/python*/site-packages")
    # A folder that a .pth file names is searched, but its own .pth files, and with them the
    # editable Pareconv, are not read.
    places = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    (packages / "dependencies.pth").write_text("\n".join(places))
    return venv / "bin"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's folder whose packages have the names of ours, and say so when they are imported.

    Its `queue.py` stands for any file that hides a library's from a process that looks there first.
    """
    folder = tmp_path / "own"
    for name in PACKAGES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(THEIR_OWN.format(name))
    (folder / "queue.py").write_text(THEIR_OWN.format("queue"))
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Without settings, paths or activation of the outer environment."""
    foreign = ("PARECONV_", "PYTHON", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"PARECONV_HOME": str(tmp_path / "home")}


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_it_works_beside_folders_of_the_same_names(
    installed: Path, own: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    where = "import pareconv.models; print(pareconv.models.__file__)"
    found = run(installed / "python", "-c", where, cwd=own, environment=environment)
    assert Path(found.stdout.strip()).is_relative_to(installed.parent)

    found = run(installed / "pareconv", "doctor", cwd=own, environment=environment)
    assert "failed" not in found.stdout

    home = tmp_path / "demo home"
    demo = (installed / "pareconv", "demo", "--home", home)
    run(*demo, cwd=own, environment=environment, timeout_seconds=2000)
    assert {path.suffix for path in (home / "demo").iterdir()} >= {".pt2", ".onnx", ".safetensors"}
    # The demo leaves the user's own database alone.
    assert not (tmp_path / "home" / "pareconv.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_the_users_own_stay_theirs(
    name: str, installed: Path, own: Path, environment: dict[str, str]
) -> None:
    ran = subprocess.run(
        [installed / "python", "-c", f"import {name}"],
        cwd=own,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"RuntimeError: the {name} of the user" in ran.stderr
