"""The options that describe a job: each is one field of the job spec. Knows no server."""

import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import reduce, wraps
from pathlib import Path
from typing import Annotated, Any, get_args

from typer import Option

from pareconv.search.assumptions import Assumption
from pareconv.search.spec import JobSpec
from pareconv.service.cli.failures import BadInput
from pareconv.service.typed_values import (
    names,
    names_or_auto,
    number_or_text,
    object_or_text,
    whole_or_text,
)

Json = dict[str, Any]

_TEACHER, _DATA, _BUDGET, _SEARCH, _FINISH = "Teacher", "Data", "Budget", "Search", "Finish"


def _option(*names: str, panel: str, help: str, metavar: str | None = None) -> Any:
    return Option(*names, help=help, metavar=metavar, rich_help_panel=panel)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecOptions:
    """One field per option; None is one that was not given, so that the server's default holds."""

    teacher: Annotated[
        str | None,
        _option(
            "--teacher",
            panel=_TEACHER,
            metavar="NAME|PATH.onnx",
            help="Architecture, such as cifar_resnet20, or a network as an ONNX file.",
        ),
    ] = None
    weights: Annotated[
        str | None,
        _option(
            "--weights",
            panel=_TEACHER,
            metavar="PATH|teacher:ID|default",
            help="State dict or safetensors, uploaded when the server cannot read it; "
            "left out: the teacher is trained first.",
        ),
    ] = None
    num_classes: Annotated[
        int | None, _option("--num-classes", panel=_TEACHER, help="Classes of the head.")
    ] = None
    normalize: Annotated[
        str | None,
        _option(
            "--normalize",
            panel=_TEACHER,
            metavar="auto|imagenet|cifar10|JSON",
            help="Input statistics that the teacher was trained with; of your own as "
            '{"mean": [R, G, B], "std": [R, G, B]}.',
        ),
    ] = None
    train_epochs: Annotated[
        float | None,
        _option("--train-epochs", panel=_TEACHER, help="Epochs for a teacher without weights."),
    ] = None
    data: Annotated[
        str | None,
        _option(
            "--data",
            panel=_DATA,
            metavar="PATH|NAME",
            help="Image folder, zip, tar or .npz, uploaded when the server cannot read it; or "
            "digits, dataset:ID, or a data set of torchvision, as cifar10:PATH.",
        ),
    ] = None
    image_size: Annotated[
        str | None, _option("--image-size", panel=_DATA, help="Side in pixels, or auto.")
    ] = None
    augment: Annotated[
        str | None,
        _option(
            "--augment",
            panel=_DATA,
            metavar="auto|none|crop|crop-flip",
            help="Random views of the training images.",
        ),
    ] = None
    budget_flops: Annotated[
        str | None,
        _option("--budget-flops", panel=_BUDGET, help="Multiply-adds, or a share such as 50%."),
    ] = None
    budget_params: Annotated[
        str | None,
        _option("--budget-params", panel=_BUDGET, help="Parameters, or a share such as 50%."),
    ] = None
    budget_latency: Annotated[
        str | None,
        _option("--budget-latency", panel=_BUDGET, help="Milliseconds, or a share such as 60%."),
    ] = None
    latency_runtime: Annotated[
        str | None,
        _option(
            "--latency-runtime",
            panel=_BUDGET,
            metavar="onnxruntime|torch",
            help="What runs the student.",
        ),
    ] = None
    latency_batch: Annotated[
        int | None, _option("--latency-batch", panel=_BUDGET, help="Images at once.")
    ] = None
    latency_threads: Annotated[
        int | None, _option("--latency-threads", panel=_BUDGET, help="Threads of the CPU.")
    ] = None
    latency_table: Annotated[
        str | None,
        _option(
            "--latency-table",
            panel=_BUDGET,
            metavar="latency:ID",
            help="A table that `pareconv measure` brought from the device.",
        ),
    ] = None
    accuracy_drop: Annotated[
        float | None,
        _option(
            "--accuracy-drop",
            panel=_BUDGET,
            metavar="POINTS",
            help="The least costly student that loses at most so many percent points.",
        ),
    ] = None
    trials: Annotated[int | None, _option("--trials", panel=_SEARCH, help="Candidates to try.")] = (
        None
    )
    operators: Annotated[
        str | None,
        _option("--operators", panel=_SEARCH, metavar="A,B", help="Operators that may be used."),
    ] = None
    granularity: Annotated[
        str | None,
        _option(
            "--granularity", panel=_SEARCH, metavar="block|conv", help="What one choice covers."
        ),
    ] = None
    trial_time_limit: Annotated[
        float | None,
        _option(
            "--trial-time-limit",
            panel=_SEARCH,
            metavar="SECONDS",
            help="A trial that takes longer has failed.",
        ),
    ] = None
    library_rungs: Annotated[
        int | None,
        _option(
            "--library-rungs",
            panel=_SEARCH,
            help="Rounds in which the options of blocks are trained; 0 takes the least time.",
        ),
    ] = None
    distill_epochs: Annotated[
        float | None,
        _option("--distill-epochs", panel=_SEARCH, help="Epochs that a candidate is trained."),
    ] = None
    finish_epochs: Annotated[
        float | None,
        _option("--finish-epochs", panel=_FINISH, help="Epochs that a finalist is trained."),
    ] = None
    finalists: Annotated[
        int | None,
        _option("--finalists", panel=_FINISH, help="Points of the front to finish."),
    ] = None
    formats: Annotated[
        str | None,
        _option(
            "--formats",
            panel=_FINISH,
            metavar="A,B",
            help="Of pt2, onnx, onnx-int8, safetensors, report.",
        ),
    ] = None
    time_limit: Annotated[
        float | None,
        Option("--time-limit", metavar="SECONDS", help="A job that takes longer has failed."),
    ] = None
    name: Annotated[str | None, Option("--name", help="A label for people.")] = None
    seed: Annotated[int | None, Option("--seed", help="Of every random choice.")] = None
    device: Annotated[
        str | None, Option("--device", metavar="auto|cpu|cuda", help="Where to run.")
    ] = None
    spec: Annotated[
        Path | None,
        Option("--spec", metavar="FILE.json", help="A job spec; the options override it."),
    ] = None

    def to_spec(self) -> Json:
        """The job spec; paths in it are still as they were typed. Raises BadInput."""
        spec = {} if self.spec is None else _read(self.spec)
        for path, value in self._given():
            *parents, leaf = path.split(".")
            part = spec
            for parent in parents:
                if part.get(parent) is None:
                    part[parent] = {}
                part = part[parent]
                if not isinstance(part, dict):
                    raise BadInput(f"{parent}: in {self.spec} it is {part!r}, not an object")
            part[leaf] = value
        return spec

    def _given(self) -> Iterator[tuple[str, Any]]:
        for option, path, read in _FIELDS:
            value = getattr(self, option)
            if value is not None:
                yield path, read(value)


def _same(value: Any) -> Any:
    return value


_FIELDS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("name", "name", _same),
    ("teacher", "teacher.architecture", _same),
    ("weights", "teacher.weights", _same),
    ("num_classes", "teacher.num_classes", _same),
    ("normalize", "teacher.normalize", object_or_text),
    ("train_epochs", "teacher.training.epochs", _same),
    ("data", "dataset.source", _same),
    ("image_size", "dataset.image_size", whole_or_text),
    ("augment", "dataset.augment", _same),
    ("budget_flops", "budget.flops", whole_or_text),
    ("budget_params", "budget.params", whole_or_text),
    ("budget_latency", "budget.latency.ms", number_or_text),
    ("latency_runtime", "budget.latency.runtime", _same),
    ("latency_batch", "budget.latency.batch", _same),
    ("latency_threads", "budget.latency.threads", _same),
    ("latency_table", "budget.latency.table", _same),
    ("accuracy_drop", "budget.accuracy_drop", _same),
    ("trials", "search.trials", _same),
    ("operators", "search.operators", names_or_auto),
    ("granularity", "search.granularity", _same),
    ("trial_time_limit", "search.trial_time_limit_s", _same),
    ("time_limit", "time_limit_s", _same),
    ("library_rungs", "library.rungs", _same),
    ("distill_epochs", "distill.epochs", _same),
    ("finish_epochs", "finish.epochs", _same),
    ("finalists", "finish.finalists", _same),
    ("formats", "finish.formats", names),
    ("seed", "seed", _same),
    ("device", "device", _same),
)
# What a field of the spec is called on the command line.
_OPTION_OF = {path: f"--{option.replace('_', '-')}" for option, path, _ in _FIELDS} | {
    "teacher": "--teacher",
    "dataset": "--data",
    "budget": "--budget-flops",
}


def option_of(field: str) -> str | None:
    """The option that sets a field of the spec, or what is around it: `finish.formats.1` is one of
    the `--formats`.
    """
    sections = {"teacher", "dataset", "budget"}
    while field not in _OPTION_OF:
        field, _, inner = field.rpartition(".")
        if not inner or field in sections:
            return None
    return _OPTION_OF[field]


def told(assumption: Assumption) -> str:
    """An assumption, by the option that says otherwise."""
    option = _OPTION_OF.get(assumption.field)
    field = f"{option} ({assumption.field})" if option else assumption.field
    return f"Assumed: {field}: {assumption.message}."


# A spec that leaves everything open that can be.
_OPEN: Json = {
    "teacher": {"architecture": "any"},
    "dataset": {"source": "digits"},
    "budget": {"latency": {}},
}


def _told_defaults() -> dict[str, str]:
    """By option, what holds where it is left out, as it would be typed."""
    spec = JobSpec.model_validate(_OPEN).to_json()
    found = {
        option: reduce(lambda part, name: part[name], path.split("."), spec)
        for option, path, _ in _FIELDS
        if path not in {"teacher.architecture", "dataset.source"}
    }
    return {option: _typed(value) for option, value in found.items() if value is not None}


def _typed(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def with_spec_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the fields of SpecOptions as its own options; it gets them as `options`."""
    own = [
        each for each in inspect.signature(command).parameters.values() if each.name != "options"
    ]
    defaults = _told_defaults()
    given = []
    for each in fields(SpecOptions):
        _, option = get_args(each.type)
        option.show_default = defaults.get(each.name, False)
        given.append(
            inspect.Parameter(
                each.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=each.type
            )
        )

    @wraps(command)
    def flat(**values: Any) -> None:
        options = SpecOptions(**{each.name: values.pop(each.name) for each in given})
        command(options=options, **values)

    flat.__signature__ = inspect.Signature([*given, *own])  # type: ignore[attr-defined]
    return flat


def _read(path: Path) -> Json:
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"--spec: {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadInput(f"--spec: {path} is not JSON: {error}") from error
    if not isinstance(spec, dict):
        raise BadInput(f"--spec: {path} holds no JSON object; a job spec is one")
    return spec
