"""The documents: what they name exists, and what exists is in them."""

import json
import re
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pareconv.models.convolutions.registry import OPERATORS
from pareconv.search.distillation.registry import METHODS
from pareconv.search.executors.settings import ExecutorSettings
from pareconv.search.spec import JobSpec
from pareconv.service.app import create_app
from pareconv.service.cli.app import app as command_line
from pareconv.service.errors import TABLE
from pareconv.service.settings import ServiceSettings

ROOT = Path(__file__).parent.parent
PAGES = [
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("docs/howto/*.md"),
]  # docs/reference/ is made of the code
DOCUMENTS = ("README.md", "CHANGELOG.md", *sorted(str(p.relative_to(ROOT)) for p in PAGES))
PACKAGES = ("models", "search", "service", "storage")

# Addresses of the server that its OpenAPI document leaves out.
UNLISTED = frozenset({"/", "/docs", "/openapi.json", "/dashboard"})

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
CALL = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) (/[\w{}/<>.-]*)")
CURL = re.compile(r"\bcurl\b.*?(?:https?://[\w.:-]+|\$\{?server\}?)(/[\w$/{}.-]*)?(?=[?\s\"']|$)")
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


def text_of(document: str) -> str:
    return (ROOT / document).read_text()


def code_of(document: str) -> list[str]:
    """Fenced blocks by line, and code spans: prose may use the same words freely."""
    text = text_of(document)
    lines = (block.splitlines() for _, block in FENCE.findall(text))
    return [*chain.from_iterable(lines), *SPAN.findall(FENCE.sub("", text))]


def shape(path: str) -> str:
    """The path with every parameter alike: `{job_id}`, `{id}`, `<id>` and `$job`."""
    return re.sub(r"\{[^}]*\}|<[^>]*>|\$\w+", "{}", path).rstrip("/") or "/"


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """Every method and path of the API, parameters alike."""
    settings = ServiceSettings(home=tmp_path_factory.mktemp("home"))
    paths = create_app(settings).openapi()["paths"]
    return {(method.upper(), shape(path)) for path, item in paths.items() for method in item}


def documented_calls(document: str) -> Iterator[tuple[str, str]]:
    for method, path in CALL.findall(text_of(document)):
        yield method, shape(path)


def test_there_is_something_to_read() -> None:
    assert {"docs/operators.md", "docs/rest.md", "docs/how-it-works.md", "docs/settings.md"} < set(
        DOCUMENTS
    )
    for document in DOCUMENTS:
        assert text_of(document).startswith("# "), f"{document} has no title"


def test_the_changelog_begins_with_this_version() -> None:
    version = tomllib.loads(text_of("pyproject.toml"))["project"]["version"]
    entries = re.findall(r"^## \[?v?(\d+\.\d+\.\d+)", text_of("CHANGELOG.md"), re.MULTILINE)
    assert entries[:1] == [version]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_make_targets_exist(document: str) -> None:
    rules = re.findall(r"^([a-z][\w -]*):", text_of("Makefile"), re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    assert {"setup", "demo", "test"} <= targets
    named = {t for code in code_of(document) for t in re.findall(r"\bmake ([a-z][\w-]*)", code)}
    assert named <= targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(document: str) -> None:
    known = set(typer.main.get_command(command_line).commands)  # type: ignore[attr-defined]
    assert {"serve", "submit", "demo"} <= known
    pattern = r"(?:^|[\s/])pareconv ([a-z]+)"
    named = {name for code in code_of(document) for name in re.findall(pattern, code)}
    assert named <= known


@pytest.mark.parametrize("document", DOCUMENTS)
def test_options_exist(document: str) -> None:
    """Of a command, wherever one is shown with them."""
    commands = typer.main.get_command(command_line).commands  # type: ignore[attr-defined]
    shown = "\n".join(code_of(document)).replace("\\\n", " ")
    for name, rest in re.findall(r"(?:^|[\s/])pareconv ([a-z]+)\b([^\n#;|&]*)", shown):
        known = {each for parameter in commands[name].params for each in parameter.opts}
        known |= {
            o
            for each in getattr(commands[name], "commands", {}).values()
            for parameter in each.params
            for o in parameter.opts
        }
        given = set(re.findall(r"(?<=\s)--[a-z-]+", rest))
        assert given <= known, f"pareconv {name}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_variables_exist(document: str) -> None:
    names = ServiceSettings.model_fields | ExecutorSettings.model_fields
    fields = {f"PARECONV_{name.upper()}" for name in names}
    sources = chain.from_iterable((ROOT / folder).rglob("*.py") for folder in (*PACKAGES, "tests"))
    read = re.compile(r'"(PARECONV_[A-Z][A-Z_]+)"')
    known = fields | {name for path in sources for name in read.findall(path.read_text())}
    assert set(re.findall(r"PARECONV_[A-Z][A-Z_]*[A-Z]", text_of(document))) <= known


@pytest.mark.parametrize("document", DOCUMENTS)
def test_calls_exist(document: str, operations: set[tuple[str, str]]) -> None:
    named = {(method, path) for method, path in documented_calls(document) if path not in UNLISTED}
    assert named <= operations


@pytest.mark.parametrize("document", DOCUMENTS)
def test_curl_asks_for_what_exists(document: str, operations: set[tuple[str, str]]) -> None:
    known = {path for _, path in operations} | UNLISTED
    asked = {shape(path) for code in code_of(document) for path in CURL.findall(code)}
    # A format or a trial may be spelt out, as in /jobs/$job/students/7/onnx.
    patterns = [re.compile(re.escape(path).replace(r"\{\}", "[^/]+")) for path in known]
    assert [path for path in asked if not any(p.fullmatch(path) for p in patterns)] == []


def test_every_call_is_documented_with_an_example(operations: set[tuple[str, str]]) -> None:
    assert operations <= set(documented_calls("docs/rest.md"))
    asked = [shape(path) for code in code_of("docs/rest.md") for path in CURL.findall(code)]
    for _, path in operations:
        pattern = re.compile(re.escape(path).replace(r"\{\}", "[^/]+"))
        assert any(pattern.fullmatch(each) for each in asked), f"no curl for {path}"


def test_every_problem_is_documented() -> None:
    rows = re.findall(r"^\| (\d{3}) \| ([^|]+) \|", text_of("docs/rest.md"), re.MULTILINE)
    documented = {(int(status), slug) for status, slugs in rows for slug in SPAN.findall(slugs)}
    assert {(row.status, row.slug) for row in TABLE.values()} <= documented


def specs_of(document: str) -> Iterator[dict[str, Any]]:
    """Every JSON with a teacher, data and a budget, alone or between the quotes of a command."""
    for _, block in FENCE.findall(text_of(document)):
        for body in re.findall(r"(?:^|')(\{[^']*\})", block):
            spec = json.loads(body)
            if {"teacher", "dataset", "budget"} <= set(spec):
                yield spec


@pytest.mark.parametrize("document", DOCUMENTS)
def test_specs_are_valid(document: str) -> None:
    for spec in specs_of(document):
        spec["dataset"].setdefault("source", "dataset:the-part-data")
        JobSpec.model_validate(spec)


def test_each_way_to_send_a_spec_is_shown() -> None:
    assert len(list(specs_of("docs/rest.md"))) == 4  # as JSON, as multipart, inspected, timed


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    folder = (ROOT / document).parent
    assert [link for link in LINK.findall(text_of(document)) if not (folder / link).exists()] == []


@pytest.mark.parametrize("name", ServiceSettings.model_fields)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", text_of("docs/settings.md"), re.MULTILINE))
    default = ServiceSettings.model_fields[name].default
    shown = "none" if default in (None, ()) else f"`{str(default).lower()}`"
    assert rows[f"PARECONV_{name.upper()}"] == shown


def section(document: str, title: str) -> str:
    """What stands under the heading ## `title`."""
    parts = text_of(document).split(f"\n## `{title}`\n")
    assert len(parts) == 2, f"{document} has {len(parts) - 1} sections {title}"
    return re.split(r"^#", parts[1], maxsplit=1, flags=re.MULTILINE)[0].replace(r"\|", "|")


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_is_documented(name: str) -> None:
    operator, written = OPERATORS[name], section("docs/operators.md", name)
    assert f"| formula | `{operator.formula}` |" in written
    assert f"| cost | `{operator.cost}` |" in written
    assert f"| when | {operator.when} |" in written
    assert f"| source | {operator.source} |" in written
    for hyper in operator.hyper:
        bounds = f"{hyper.low} to {hyper.high}"
        tried = f"the search tries {', '.join(map(str, hyper.grid))}"
        assert re.search(rf"`{hyper.name}`[^;|]*, {bounds}; {tried}[ ;]", written)
    assert ("hyper-parameters | none" in written) == (not operator.hyper)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_documented(name: str) -> None:
    method, written = METHODS[name], section("docs/operators.md", name)
    assert f"| formula | `{method.formula}` |" in written
    assert f"| cost | {method.cost} |" in written
    assert f"| when | {method.when} |" in written
    assert f"| source | {method.source} |" in written
    for parameter in method.parameters:
        bounds = rf"{parameter.low} to {parameter.high}, {parameter.default} by default"
        if parameter.low is None:
            bounds = rf"`{str(parameter.default).lower()}` by default"
        assert re.search(rf"`{parameter.name}`[^;|]* {bounds}", written)
    assert ("hyper-parameters | none" in written) == (not method.parameters)


def test_nothing_is_documented_that_is_not_registered() -> None:
    titles = re.findall(r"^## `(\w+)`$", text_of("docs/operators.md"), re.MULTILINE)
    assert titles == [*sorted(OPERATORS), *sorted(METHODS)]
