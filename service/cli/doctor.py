"""The doctor: whether everything a job needs works on this machine, and what to do if not."""

import json
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

import typer

from pareconv.service.cli.connection import AsJson, write_json
from pareconv.service.cli.failures import Failed
from pareconv.service.cli.serving import Home
from pareconv.service.figures import counted, size_of
from pareconv.storage.errors import StorageError
from pareconv.storage.settings import Settings

_TORCH_SECONDS = 300
_FEW_BYTES, _MANY_BYTES = 1_000_000_000, 5_000_000_000
_ASK_TORCH = """
import json, torch, torchvision
torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"cuda": cuda, "threads": torch.get_num_threads()}))
"""
_REINSTALL = "install both anew from one index: pip install --force-reinstall torch torchvision"

Outcome = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found, and the remedy where that is not as it should be."""

    check: str
    outcome: Outcome
    found: str
    remedy: str = ""


def doctor(*, home: Home = None, as_json: AsJson = False) -> None:
    """Check versions, device, database, files and disk on this machine.

    Example: pareconv doctor
    """
    findings = examine(Settings() if home is None else Settings(home=home))
    if as_json:
        write_json(findings)
    else:
        _print(findings)
    failed = [finding.check for finding in findings if finding.outcome == "failed"]
    if failed:
        raise Failed(f"not as it should be: {', '.join(failed)}")


def examine(settings: Settings) -> list[Finding]:
    """Every check on these settings, in the order in which one would repair."""
    return [
        Finding("python", "ok", platform.python_version()),
        *_torch(),
        _tried("database", lambda: _database(settings), "check PARECONV_DATABASE_URL"),
        _tried(
            "artifacts", lambda: _artifacts(settings), "check PARECONV_ARTIFACTS_URL and rights"
        ),
        _tried("disk", lambda: _disk(settings), "check PARECONV_HOME"),
        _allowed_roots(settings),
    ]


def _torch() -> list[Finding]:
    try:
        found = f"torch {version('torch')}, torchvision {version('torchvision')}"
    except PackageNotFoundError as error:
        return [Finding("torch", "failed", f"{error.name} is not installed", _REINSTALL)]
    wanted = wanted_torch(requires("torchvision") or [])
    if wanted is not None and wanted != version("torch").partition("+")[0]:
        return [Finding("torch", "failed", f"{found}, which wants torch {wanted}", _REINSTALL)]
    return _imported(found)


def wanted_torch(requirements: list[str]) -> str | None:
    """The one release of torch that these requirements of torchvision allow."""
    pinned = (re.match(r"torch\s*\(?==\s*([\w.]+)", each) for each in requirements)
    return next((match[1] for match in pinned if match), None)


def _imported(found: str) -> list[Finding]:
    """Import both in a process of their own: this one must not load them, nor crash with them."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _ASK_TORCH],
            capture_output=True,
            text=True,
            timeout=_TORCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        reason = f"{found}: the import takes over {_TORCH_SECONDS} s"
        return [Finding("torch", "failed", reason, "look at the load and the disk of this machine")]
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return [Finding("torch", "failed", f"{found}: {last}", _REINSTALL)]
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    device = ", ".join(answer["cuda"]) or f"cpu, {counted(answer['threads'], 'thread')}"
    return [Finding("torch", "ok", found), Finding("device", "ok", device)]


def _tried(check: str, look: Callable[[], Finding], remedy: str) -> Finding:
    try:
        return look()
    except (StorageError, OSError, ImportError, ValueError) as error:
        return Finding(check, "failed", str(error), remedy)


def _database(settings: Settings) -> Finding:
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import make_url

    from pareconv.storage.database import Database

    url = make_url(settings.database)
    where = url.render_as_string(hide_password=True)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        return Finding("database", "ok", f"{where}, not there yet: `pareconv serve` makes it")
    database = Database(settings.database)
    try:
        revision = database.revision()
    finally:
        database.close()
    config = Config()
    config.set_main_option("script_location", "pareconv.storage:migrations")
    scripts = ScriptDirectory.from_config(config)
    known = [each.revision for each in scripts.walk_revisions()]
    if revision is None:
        return Finding("database", "ok", f"{where}, empty: the first `pareconv serve` sets it up")
    if revision not in known:
        remedy = "upgrade pareconv, or name another database in PARECONV_DATABASE_URL"
        return Finding("database", "failed", f"{where}, of a newer version ({revision})", remedy)
    if revision != scripts.get_current_head():
        found = f"{where}, of an older version ({revision})"
        return Finding("database", "failed", found, "run `pareconv db upgrade`")
    return Finding("database", "ok", f"{where}, revision {revision}")


def _artifacts(settings: Settings) -> Finding:
    from pareconv.storage.files import FileStore

    FileStore.of(settings).check()
    return Finding("artifacts", "ok", f"{settings.artifacts}, writable")


def _disk(settings: Settings) -> Finding:
    folder = next(each for each in (settings.home, *settings.home.parents) if each.is_dir())
    free = shutil.disk_usage(folder).free
    found = f"{size_of(free)} free at {folder}"
    if free >= _MANY_BYTES:
        return Finding("disk", "ok", found)
    outcome: Outcome = "warning" if free >= _FEW_BYTES else "failed"
    return Finding("disk", outcome, found, "free some, or set PARECONV_HOME to a larger disk")


def _allowed_roots(settings: Settings) -> Finding:
    missing = [str(root) for root in settings.allowed_roots if not root.is_dir()]
    if missing:
        remedy = "make them, or mend PARECONV_ALLOWED_ROOTS"
        return Finding("allowed roots", "failed", f"no such folder: {', '.join(missing)}", remedy)
    there = ", ".join(map(str, settings.allowed_roots)) or "none: jobs use uploads only"
    return Finding("allowed roots", "ok", there)


def _print(findings: list[Finding]) -> None:
    for finding in findings:
        colour = {"ok": "green", "warning": "yellow", "failed": "red"}[finding.outcome]
        outcome = typer.style(f"{finding.outcome:<8}", fg=colour)
        typer.echo(f"{outcome}{finding.check:<14} {finding.found}")
        if finding.remedy:
            typer.echo(f"{'':<23}{finding.remedy}")
