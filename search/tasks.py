"""Tasks: what a child process can be asked to do, by name. JSON in, JSON out; each stands alone."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from pareconv.models.convolutions.registry import OPERATORS
from pareconv.models.cost_table import CostTable
from pareconv.models.plan import Plan
from pareconv.models.teachers.architectures import architectures
from pareconv.models.teachers.exported_program import check_program, is_program
from pareconv.models.teachers.model_file import require_trust
from pareconv.models.teachers.onnx_file.reading import is_onnx
from pareconv.models.teachers.onnx_file.teacher import OnnxTeacher, check_onnx
from pareconv.models.teachers.weights import is_safetensors, read_weights
from pareconv.search.contents import Contents
from pareconv.search.data.preview import preview
from pareconv.search.data.sources import Source, opened
from pareconv.search.distillation.registry import METHODS
from pareconv.search.evaluation import evaluate
from pareconv.search.finishing import Tried, finish
from pareconv.search.inspection import inspect
from pareconv.search.latencies import bundle
from pareconv.search.library import LibraryBuilder
from pareconv.search.profiling import profile
from pareconv.search.references import References
from pareconv.search.report.facts import ReportFacts
from pareconv.search.report.page import render
from pareconv.search.rungs import Rung
from pareconv.search.spec import JobSpec
from pareconv.search.trial import Trial, run_trial
from pareconv.search.wanted import Wanted
from pareconv.search.workbench import Workbench, set_up
from pareconv.storage.access import NOTHING, Access
from pareconv.storage.files import FileStore
from pareconv.storage.settings import Settings

Json = dict[str, Any]

# Of batch norms: kept with the weights, but counted by nobody as parameters.
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
Emit = Callable[[Json], None]


def _catalog(_payload: Json, _emit: Emit) -> Json:
    """Every architecture, operator and method that a spec may name."""
    shown = ("name", "family", "source", "min_size", "default_size", "pretrained")
    return {
        "architectures": [{key: getattr(each, key) for key in shown} for each in architectures()],
        "operators": [OPERATORS[name].describe() for name in sorted(OPERATORS)],
        "methods": [method.describe() for method in METHODS.values()],
    }


def _inspect(payload: Json, _emit: Emit) -> Json:
    with _references(payload) as references:
        return inspect(JobSpec.model_validate(payload["spec"]), references).to_json()


def _bundle(payload: Json, _emit: Emit) -> Json:
    with _references(payload) as references:
        found = inspect(JobSpec.model_validate(payload["spec"]), references)
    parts = bundle(found.spec, found.space, found.network, found.shape, Path(payload["path"]))
    return {"parts": parts}


def _check_teacher(payload: Json, _emit: Emit) -> Json:
    path = Path(payload["path"])
    if is_onnx(path):
        return {"format": "onnx"} | _network(check_onnx(path))
    if is_program(path):
        require_trust(path, trusted=Settings().trust_programs)
        return {"format": "pt2"} | _network(check_program(path))
    return _weights(path)


def _network(found: OnnxTeacher) -> Json:
    return {
        "parameters": sum(value.numel() for value in found.network.parameters()),
        "classes": found.classes,
        "image_size": found.ends.size,
        "opset": found.opset,
        "producer": found.producer,
        "difference": found.difference,
        "norms_restored": found.norms_restored,
        "channels_last": found.ends.channels_last,
        "softmax": found.ends.softmax,
    }


def _weights(path: Path) -> Json:
    weights = read_weights(path)
    return {
        "format": "safetensors" if is_safetensors(path) else "torch",
        "tensors": len(weights),
        "parameters": sum(
            value.numel() for name, value in weights.items() if not name.endswith(_STATISTICS)
        ),
    }


def _check_dataset(payload: Json, _emit: Emit) -> Json:
    source = Source("file", Path(payload["path"]))
    with opened(source, scratch=Settings().home / "cache") as originals:
        shown = preview(originals)
        found = Contents.of(originals, 0)
    return {
        "classes": list(found.classes),
        "train": found.train,
        "validation": found.validation,
        "test": found.test,
        "train_counts": dict(zip(found.classes, found.train_counts, strict=True)),
        "image_size": shown.image_size,
        "normalize": {"mean": shown.mean, "std": shown.std},
        "thumbnails": [{"class": name, "jpeg": image} for name, image in shown.thumbnails],
    }


def _profile(payload: Json, emit: Emit) -> Json:
    with _references(payload) as references:
        return profile(JobSpec.model_validate(payload["spec"]), references, emit)


def _library(payload: Json, emit: Emit) -> Json:
    table = CostTable.from_json(payload["table"])
    wanted = [Wanted(**each) for each in payload["wanted"]]
    LibraryBuilder(_bench(payload), table, _files(), emit).build(wanted)
    return {}


def _evaluate(payload: Json, _emit: Emit) -> Json:
    trial = Trial(
        Plan.from_json(payload["plan"]),
        payload["library"],
        [Rung.from_json(rung) for rung in payload["bar"]],
        payload["attempt"],
    )
    return run_trial(_bench(payload), trial, _files())


def _finish(payload: Json, emit: Emit) -> Json:
    others = [Tried.from_json(other) for other in payload["others"]]
    bench = _bench(payload).finishing_as(payload["asked"])
    return finish(bench, Tried.from_json(payload), others, _files(), emit)


def _report(payload: Json, _emit: Emit) -> Json:
    page = render(ReportFacts.model_validate(payload)).encode()
    sha256, size_bytes = _files().put_stream(BytesIO(page))
    return {"format": "report", "sha256": sha256, "size_bytes": size_bytes}


def _test_teacher(payload: Json, _emit: Emit) -> Json:
    bench = _bench(payload)
    return {"test_accuracy": evaluate(bench.teacher, bench.test).accuracy}


def _references(payload: Json) -> References:
    """What the spec of the payload names, as far as who asks may see it."""
    return References(Settings(), Access(**payload.get("access", NOTHING.to_json())))


def _bench(payload: Json) -> Workbench:
    return set_up(JobSpec.model_validate(payload["spec"]), payload["weights"])


def _files() -> FileStore:
    return FileStore.of(Settings())


TASKS: dict[str, Callable[[Json, Emit], Json]] = {
    "catalog": _catalog,
    "inspect": _inspect,
    "bundle": _bundle,
    "check_teacher": _check_teacher,
    "check_dataset": _check_dataset,
    "profile": _profile,
    "library": _library,
    "evaluate": _evaluate,
    "finish": _finish,
    "report": _report,
    "test_teacher": _test_teacher,
}
