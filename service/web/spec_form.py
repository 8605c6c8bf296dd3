"""The submit form: between its flat fields, named by their dotted path, and a job spec. Pure."""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, Literal

from pareconv.service.typed_values import names_or_auto, number_or_text, object_or_text

Json = dict[str, Any]
Values = dict[str, Any]
Kind = Literal["text", "number", "words", "choices", "statistics"]

_READ: dict[Kind, Callable[[Any], Any]] = {
    "text": str,
    "number": number_or_text,
    "words": names_or_auto,
    "choices": list,
    "statistics": object_or_text,
}
FIELDS: dict[str, Kind] = {
    "name": "text",
    "teacher.architecture": "text",
    "teacher.weights": "text",
    "teacher.normalize": "statistics",
    "teacher.training.epochs": "number",
    "dataset.source": "text",
    "dataset.image_size": "number",
    "dataset.augment": "text",
    "search.trials": "number",
    "search.operators": "words",
    "search.granularity": "text",
    "search.time_limit_s": "number",
    "library.rungs": "number",
    "library.images": "number",
    "distill.method": "text",
    "distill.epochs": "number",
    "finish.method": "text",
    "finish.epochs": "number",
    "finish.finalists": "number",
    "finish.formats": "choices",
    "seed": "number",
    "device": "text",
}
FORMATS = ("pt2", "onnx", "onnx-int8", "safetensors", "report")
# A limit counts where `use` names it; sliders are in percent of the teacher's cost.
LIMITS = ("flops", "params", "latency", "accuracy_drop")
DEFAULTS: Values = {
    "use": ["flops"],
    "budget.flops": "50",
    "budget.params": "50",
    "budget.latency": "60",
    "budget.latency.runtime": "onnxruntime",
    "budget.accuracy_drop": "1",
    "search.objective": "flops",
    "finish.formats": ["pt2", "onnx", "safetensors", "report"],
}


def values_of_form(form: Any) -> Values:
    """The fields as they were sent; `form` has `get` and `getlist`. What is not there is empty."""
    names = [*FIELDS, *DEFAULTS, "from"]
    lists = {"use", "finish.formats"}
    return {
        name: [str(each) for each in form.getlist(name)]
        if name in lists
        else str(form.get(name) or "").strip()
        for name in names
    }


def values_of_spec(spec: Mapping[str, Any], teacher: Mapping[str, Any] | None = None) -> Values:
    """What the form shows for a spec; absolute limits become shares of the `teacher`'s cost."""
    whole = teacher or {}
    values: Values = dict.fromkeys((*FIELDS, "from"), "") | DEFAULTS
    for path, kind in FIELDS.items():
        found = _at(spec, path)
        if found is not None:
            values[path] = list(found) if kind == "choices" else _text(found)
    budget = spec.get("budget")
    if budget is not None:
        values["use"] = [name for name in LIMITS if budget.get(name) is not None]
        for name in ("flops", "params"):
            if (limit := budget.get(name)) is not None:
                values[f"budget.{name}"] = _percent(limit, whole.get(name))
        if (latency := budget.get("latency")) is not None:
            values["budget.latency"] = _percent(latency["ms"], whole.get("latency_ms"))
            values["budget.latency.runtime"] = latency["runtime"]
        if (drop := budget.get("accuracy_drop")) is not None:
            values["budget.accuracy_drop"] = f"{drop:g}"
    if objectives := _at(spec, "search.objectives"):
        values["search.objective"] = objectives[1]
    return values


def spec_of(values: Values, base: Mapping[str, Any] | None = None) -> Json:
    """The spec that the fields say. What the form has no field for stays as `base` has it."""
    spec: Json = deepcopy(dict(base)) if base else {"teacher": {}, "dataset": {}}
    for path, kind in FIELDS.items():
        _put(spec, path, _parsed(values[path], kind))
    spec["budget"] = {name: _limit(name, values) for name in LIMITS if name in values["use"]}
    if base and base.get("plan") and not spec["budget"]:
        spec["budget"] = None
    if values["search.objective"]:
        spec.setdefault("search", {})["objectives"] = ["accuracy", values["search.objective"]]
    return spec


def _limit(name: str, values: Values) -> Any:
    given = values[f"budget.{name}"]
    if name == "accuracy_drop":
        return number_or_text(given)
    share = f"{given}%"
    if name != "latency":
        return share
    return {"ms": share, "runtime": values["budget.latency.runtime"] or "onnxruntime"}


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return json.dumps(value)
    return ", ".join(value) if isinstance(value, list) else str(value)


def _parsed(given: Any, kind: Kind) -> Any:
    """None where nothing was given."""
    return _READ[kind](given) if given else None


def _at(spec: Mapping[str, Any], path: str) -> Any:
    found: Any = spec
    for part in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


def _put(spec: Json, path: str, value: Any) -> None:
    """Set it, or take it away where it is None: then the default holds."""
    *sections, last = path.split(".")
    place = spec
    for section in sections:
        if not isinstance(place.get(section), dict):
            if value is None:
                return
            place[section] = {}
        place = place[section]
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value


def _percent(limit: int | float | str | None, whole: float | None) -> str:
    if isinstance(limit, str):
        return limit.strip().rstrip("%").strip()
    if limit is None or not whole:
        return "50"
    return f"{100 * limit / whole:.0f}"


def missing(values: Values) -> Sequence[str]:
    """The fields without which nothing can be inspected."""
    return [path for path in ("teacher.architecture", "dataset.source") if not values[path]]
