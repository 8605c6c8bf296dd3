"""How the documentation becomes a site: `make docs`. The pages on REST calls and commands are
written here, from the program itself.
"""

import logging
import re
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

project = "Pareconv"
copyright = "the authors of Pareconv"
version = release = version_of("pareconv")
extensions = ["myst_nb"]
nb_execution_mode = "off"  # tests/test_notebook.py runs it
html_theme = "furo"
html_title = "Pareconv"
html_show_sourcelink = False
exclude_patterns = ["_build"]
myst_heading_anchors = 3
nitpicky = True
suppress_warnings = ["myst.header"]  # operators.md has two titles, which is what it is about

_REFERENCE = Path(__file__).parent / "reference"


logging.getLogger("alembic").setLevel(logging.WARNING)


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", lambda _: _write_reference())
    app.connect("env-before-read-docs", lambda app, _env, _names: _refuse_names_of_sphinx(app))
    app.connect("build-finished", lambda app, error: error or _require_no_network(app.outdir))


def _write_reference() -> None:
    _REFERENCE.mkdir(exist_ok=True)
    for name, content in (("calls", _calls()), ("commands", _commands())):
        path = _REFERENCE / f"{name}.md"
        if not path.exists() or path.read_text() != content:
            path.write_text(content)


def _refuse_names_of_sphinx(app: Sphinx) -> None:
    """Sphinx writes pages of these names itself, over ours."""
    if taken := {"search", "genindex"} & app.project.docnames:
        raise ExtensionError(f"docs/{taken.pop()}.md would be lost: give it another name")


def _require_no_network(built: Path) -> None:
    """ExtensionError where a page loads something from elsewhere."""
    loaded = re.compile(r'<(?:script|img|link)\b[^>]*\b(?:src|href)="(?:https?:)?//[^"]+"')
    for page in built.rglob("*.html"):
        if found := loaded.search(page.read_text()):
            raise ExtensionError(f"{page.name} needs the network: {found[0]}")


def _calls() -> str:
    """Every call of the API, from its OpenAPI document."""
    from pareconv.service.app import create_app

    document = create_app().openapi()
    parts = ["# Calls", "From the OpenAPI document, which a server gives at `/openapi.json`."]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += _call(method.upper(), path, operation)
    return "\n\n".join(parts) + "\n"


def _call(method: str, path: str, operation: dict[str, Any]) -> list[str]:
    parts = [f"## `{method} {path}`", f"{operation['summary']}."]
    if told := operation.get("description"):
        parts.append(told)
    rows = [
        (f"`{each['name']}`", each["in"], " ".join(each.get("description", "").split()))
        for each in operation.get("parameters", [])
    ]
    if rows:
        parts.append(_table(("parameter", "in", "meaning"), rows))
    answers = [
        (code, " ".join(answer.get("description", "").split()))
        for code, answer in sorted(operation["responses"].items())
    ]
    return [*parts, _table(("status", "when"), answers)]


def _commands() -> str:
    """Every command, from the program that has them."""
    import typer
    from typer.cli import get_docs_for_click

    from pareconv.service.cli.app import app

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="pareconv")
    told: str = get_docs_for_click(obj=command, ctx=context, name="pareconv", title="Commands")
    return told


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    cells = [[each.replace("|", "\\|") for each in row] for row in lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)
