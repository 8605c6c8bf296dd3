"""The tutorial and the how-tos: every command runs, in a fresh folder and against a real server,
and prints what the page shows.

Numbers, plans and ids differ from machine to machine and are masked. With PARECONV_WRITE_PAGES=1
the pages are written anew, with what the commands print.
"""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pareconv.models.convolutions.registry import OPERATORS

DOCS = Path(__file__).parents[1] / "docs"
# They start a server themselves, or need none.
ALONE = ("tutorial.md", "flops.md", "howto/client.md")
HOWTOS = ("howto/model.md", "howto/data.md", "howto/latency.md")
SERVER = (
    "pareconv serve --home home --workers 0 > serve.log 2>&1 &",
    "curl --silent --retry 90 --retry-connrefused --retry-delay 1 http://127.0.0.1:8000/healthz",
)
SHOWN_PORT = 8000
DONE = "--done--"

BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"^```python\n(# (\w+\.py)\n.*?)^```$", re.DOTALL | re.MULTILINE)
ID = re.compile(r"\b[0-9a-z]{26}\b")
NUMBER = re.compile(r"\d+(:\d\d)*([.,]\d+)*(%|[kMG]?B\b|[kMG]\b| (s|min|h|d)\b)?")
PLAN = re.compile(rf"\b({'|'.join(OPERATORS)})\b(\([^)]*\))?( x#)?,?|\bx#,?")


class Terminal:
    """A shell in `folder` whose server has a port of its own: commands in, what is printed out."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self._port = listener.getsockname()[1]
        kept = {name: text for name, text in os.environ.items() if name[:9] != "PARECONV_"}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        port, server = str(self._port), f"http://127.0.0.1:{self._port}"
        told = {"PATH": path, "COLUMNS": "80", "PARECONV_PORT": port, "PARECONV_SERVER": server}
        self._shell = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=kept | told,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, command: str) -> list[str]:
        """The lines that it prints; AssertionError where it fails."""
        assert self._shell.stdin is not None
        typed = command.replace(f":{SHOWN_PORT}", f":{self._port}")
        self._shell.stdin.write(f"{typed}\ncode=$?; echo; echo {DONE} $code\n")
        self._shell.stdin.flush()
        lines = list(self._until_done())
        code, printed = lines.pop(), "\n".join(lines).rstrip()
        assert code == f"{DONE} 0", f"{command}\n{printed}\n{code}"
        return printed.replace(f":{self._port}", f":{SHOWN_PORT}").splitlines()

    def _until_done(self) -> Iterator[str]:
        assert self._shell.stdout is not None
        for line in self._shell.stdout:
            yield line.rstrip()
            if line.startswith(DONE):
                return
        yield "the shell ended"

    def close(self) -> None:
        """Also of the server, where no command stopped it."""
        try:
            self._shell.communicate("kill %1; wait\n", timeout=60)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._shell.pid, signal.SIGKILL)


@dataclass
class Typed:
    """A command of a page, and the lines that are shown below it."""

    command: str
    shown: list[str] = field(default_factory=list)


def typed(block: str) -> list[Typed]:
    commands: list[Typed] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            commands.append(Typed(line[2:]))
        elif commands[-1].command.endswith("\\"):
            commands[-1].command += "\n" + line
        else:
            commands[-1].shown.append(line)
    return commands


def masked(lines: list[str]) -> list[str]:
    """What does not depend on the machine: words in their order, alike lines only once."""
    kept: list[str] = []
    for line in lines:
        if "of the job is done" in line:  # told where nothing else is for a while
            continue
        text = NUMBER.sub("#", ID.sub("ID", line))
        if text.count(")") > text.count("("):  # the end of a processor's name
            continue
        text = re.sub(r"\(batch.*", "(a processor)", text)
        text = re.sub(r"(parts on) .*", r"\1 a processor", text)
        text = re.sub(r"trial #: (accuracy|stopped).*", "trial #", text)
        text = " ".join(PLAN.sub("", text).replace("─", "").split())
        text = re.sub(r"^# [#±. -]+$", "row", text)
        if text and text not in kept[-1:]:
            kept.append(text)
    return kept


@dataclass
class Reader:
    """Somebody who types what a page shows."""

    terminal: Terminal
    is_writing: bool
    ids: dict[str, str] = field(default_factory=dict)  # on the page -> of this run

    def follow(self, block: re.Match[str]) -> str:
        """The block with what its commands print here."""
        lines: list[str] = []
        for each in typed(block[0]):
            command = ID.sub(lambda found: self.ids[found[0]], each.command)
            printed = self.terminal.run(command)
            shown_ids, own_ids = (ID.findall("\n".join(t)) for t in (each.shown, printed))
            self.ids |= dict(zip(shown_ids, own_ids, strict=not self.is_writing))
            if not self.is_writing:
                assert masked(printed) == masked(each.shown), "\n".join(printed)
            lines += [f"$ {command}", *printed]
        return "\n".join(lines) + "\n"


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", [*ALONE, *HOWTOS])
def test_every_command_prints_what_the_page_shows(
    name: str, tmp_path: Path, terminal: Terminal
) -> None:
    page = (DOCS / name).read_text()
    for content, file in FILE.findall(page):
        (tmp_path / file).write_text(content)
    reader = Reader(terminal, is_writing=os.environ.get("PARECONV_WRITE_PAGES") == "1")
    if name in HOWTOS:
        for command in SERVER:
            terminal.run(command)

    written, blocks = BLOCK.subn(reader.follow, page)

    assert blocks
    if reader.is_writing:
        (DOCS / name).write_text(written)
