"""Compressing in this process: a module and images that are in memory, through the whole pipeline.

The job is as any other, in a home of its own; only it and what it keeps there are ours.
"""

import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from torch import nn

from pareconv.models.plan import Plan
from pareconv.models.teachers.architecture import Architecture
from pareconv.models.teachers.lending import lent
from pareconv.search.checkpoints import save_weights
from pareconv.search.data.handed import splits_of, write
from pareconv.search.errors import InvalidSpec
from pareconv.search.front import Front, front_of
from pareconv.search.local import Place, done
from pareconv.search.spec import JobSpec, is_reference_to_dataset
from pareconv.search.stores import Stores
from pareconv.search.teachers import blaming
from pareconv.search.watching import showing
from pareconv.search.workbench import put_away
from pareconv.storage.files import FileStore
from pareconv.storage.settings import Settings

Json = dict[str, Any]

# Fields of the spec that the other arguments say, and which.
_SAID = {
    "teacher": {"architecture": "model", "weights": "model", "normalize": "normalize"},
    "dataset": {"source": "data"},
}

_ALONE = threading.Lock()  # the settings of a process are one


def compress(
    model: nn.Module,
    data: object,
    budget: Mapping[str, Any] | str | int | None = None,
    *,
    normalize: Mapping[str, Any] | str = "auto",
    home: str | Path | None = None,
    progress: bool = True,
    **sections: Any,
) -> Front:
    """The front of cheaper networks for a trained classifier, found in this process.

    `model` takes [N, 3, S, S] and gives scores [N, K]; it can be traced by torch.fx, and stays as
    it is. `data` is a path or source as in a job spec ("digits", "images.zip"), a torch Dataset or
    DataLoader of (image, label), or several of them: a mapping of train, validation and test, or
    a tuple in that order; train alone is needed. Their images are PIL, uint8 tensors [3, H, W] or
    [1, H, W], or floats from 0 to 1, neither augmented nor normalised: `normalize` says how the
    model wants them, "imagenet", "cifar10" or means and deviations; "auto" computes them. `budget`
    is that of the spec, where "50%" or a number is of FLOPs. `sections` are the other sections of
    the spec: `search={"trials": 20}`, `distill`, `finish`, `library`, `plan`, `seed`, `device`, and
    what is left of `teacher` and `dataset`.

    `home` is a folder for the database, libraries and exports: a later call finds its libraries
    there, goes on where the same call was interrupted, and answers at once where it has ended.
    Without one nothing is kept.

    Raises pydantic.ValidationError (a ValueError) or InvalidSpec, which name the field, for what
    cannot work, and JobFailed. One call runs at a time; others wait. Ctrl-C ends it.
    """
    with ExitStack() as stack:
        stack.enter_context(_ALONE)
        if home is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="pareconv-"))
        settings = _settings(Path(folder if home is None else home))
        for each in (settings.in_force(), torch.random.fork_rng(devices=[]), _quietly()):
            stack.enter_context(each)
        with blaming("model"):
            known = stack.enter_context(lent(model))
        files = FileStore.of(settings)
        given = _Given(known, files, _sections(sections))
        spec = given.spec(given.source(data, settings.home), budget, normalize)
        stores = Stores.open(settings)
        stack.callback(stores.database.close)
        stack.callback(put_away)
        with showing(is_shown=progress) as shown:
            job = done(Place(stores, settings.database, shown), spec)
        return front_of(job, stores, files, known, is_kept=home is not None)


def _settings(home: Path) -> Settings:
    """Whatever the environment says is a server's; the caller may read all that it can."""
    home = home.expanduser().absolute()
    home.mkdir(parents=True, exist_ok=True)
    return Settings(
        home=home,
        database_url=None,
        artifacts_url=None,
        quota_bytes=None,
        allowed_roots=(Path(home.anchor),),
        trust_programs=False,
    )


@contextmanager
def _quietly() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def _sections(sections: Json) -> Json:
    """With those as dicts that are added to; InvalidSpec where they say what an argument does."""
    added_to = ("teacher", "dataset", "finish")
    for name in added_to:
        if not isinstance(sections.get(name, {}), Mapping):
            raise InvalidSpec(name, f"is a {type(sections[name]).__name__}; give a dict")
    dicts = {name: dict(sections.get(name, {})) for name in added_to}
    for section, said in _SAID.items():
        for field in said.keys() & dicts[section].keys():
            raise InvalidSpec(f"{section}.{field}", f"give it as the argument {said[field]!r}")
    if isinstance(plan := sections.get("plan"), Plan):
        dicts["plan"] = plan.to_json()
    return sections | dicts


@dataclass(frozen=True)
class _Given:
    """What the caller holds in memory, as files that a spec can name."""

    known: Architecture
    files: FileStore
    sections: Json

    def source(self, data: object, home: Path) -> str:
        if isinstance(data, str | Path):
            is_source = isinstance(data, str) and is_reference_to_dataset(data)
            return str(data) if is_source else f"file:{Path(data).expanduser().absolute()}"
        splits = splits_of(data)
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            archive = Path(scratch, "images.npz")
            write(splits, archive)
            return self._kept(self.files.put(archive))

    def spec(
        self,
        source: str,
        budget: Mapping[str, Any] | str | int | None,
        normalize: Mapping[str, Any] | str,
    ) -> JobSpec:
        assert self.known.classes is not None  # of a module
        weights = save_weights(self.known.build(self.known.classes), self.files)
        teacher = {"num_classes": self.known.classes} | self.sections["teacher"]
        teacher |= {"architecture": self.known.name, "weights": self._kept(weights)}
        return JobSpec.model_validate(
            self.sections
            | {
                "teacher": teacher | {"normalize": normalize},
                "dataset": self.sections["dataset"] | {"source": source},
                "budget": {"flops": budget} if isinstance(budget, str | int) else budget,
                "finish": self._finish(),
            }
        )

    def _finish(self) -> Json:
        """The weights of finalists come back from their safetensors files."""
        finish: Json = self.sections["finish"]
        formats = finish.get("formats", [])
        if isinstance(formats, list | tuple) and "safetensors" not in formats:
            formats = [*formats, "safetensors"]
        return finish | {"formats": formats}

    def _kept(self, sha256: str) -> str:
        return f"file:{self.files.local_path(sha256)}"
