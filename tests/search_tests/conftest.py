"""Real digits, a small network, and a small search space by hand, for the tests of the search."""

import os
import threading
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
import torch
from torch import Tensor, fx, nn

from pareconv.models.cost_table import Cost, CostTable
from pareconv.models.graph import canonical
from pareconv.models.plan import KEEP, Option, Plan
from pareconv.search.data.batches import Split, statistics
from pareconv.search.data.digits import load
from pareconv.search.data.images import Images
from pareconv.search.data.views import Views
from pareconv.search.distillation.labels import Labels
from pareconv.search.distillation.setting import Setting
from pareconv.search.resolving import resolve
from pareconv.search.spec import JobSpec
from pareconv.search.stores import Stores
from pareconv.search.training import Recipe, Training
from pareconv.search.workbench import Workbench, lay_out
from pareconv.search.worker import Worker
from pareconv.storage.candidates import CandidateState
from pareconv.storage.settings import Settings

SPEC = {
    "name": "digits",
    "teacher": {"architecture": "cifar_resnet8"},
    "dataset": {"source": "digits"},
    "budget": {"flops": 800},
    "search": {"trials": 6, "repeats": 0},
    "finish": {"finalists": 2},
}
LOSSES = {"ghost": 0.01, "shift": 0.02, "svd": 0.04}
A_HASH = "0" * 64


@pytest.fixture(autouse=True)
def _unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database or a store that is configured is not the tests' to touch."""
    for name in list(os.environ):
        if name.startswith("PARECONV_") and "TEST" not in name:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def digits() -> Images:
    """1,438 digits to train on and 359 to test on, 8 pixels a side."""
    return load(8)


@pytest.fixture(scope="session")
def digit_splits(digits) -> tuple[Split, Split]:
    """(train, test), normalised by their own statistics."""
    normalize = statistics(digits.train_images)
    return (
        Split(digits.train_images, digits.train_labels, *normalize),
        Split(digits.test_images, digits.test_labels, *normalize),
    )


def make_network(seed: int = 0) -> fx.GraphModule:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(3, 12, 3, padding=1, bias=False),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Conv2d(12, 24, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(96, 10),
        )
    return canonical(network)


@pytest.fixture
def small_network() -> Callable[[int], fx.GraphModule]:
    """Makes networks of two convolutions for 10 classes from a seed."""
    return make_network


@pytest.fixture(scope="session")
def taught_weights(digits) -> dict[str, Tensor]:
    """Of a small network that knows most of the digits."""
    split = Split(digits.train_images, digits.train_labels, *statistics(digits.train_images))
    network, views = make_network(9), Views(split, "crop", 0)
    recipe = Recipe(
        images=9000, pool=9000, batch_size=64, optimizer="sgd", lr=0.1, weight_decay=5e-4
    )
    Training(Setting(network, views, None, seed=0), Labels(), recipe).run()
    return network.state_dict()


@pytest.fixture
def new_bench(digits, taught_weights) -> Callable[..., Workbench]:
    """Makes workbenches of that network, with parts of the spec changed."""

    def make(**changes) -> Workbench:
        spec = JobSpec.model_validate(
            {
                "teacher": {"architecture": "cifar_resnet8"},  # a name; the network is given
                "dataset": {"source": "digits", "image_size": 8},
                "budget": {"flops": "50%"},
                "library": {"rungs": 1, "images": 128, "score_images": 64},
                "device": "cpu",
            }
            | changes
        )
        network = make_network()
        network.load_state_dict(taught_weights)
        return lay_out(resolve(spec, digits), network, digits)

    return make


@pytest.fixture(scope="session")
def table() -> CostTable:
    """Three blocks of four options each, 64 plans, of a teacher of 1,000 FLOPs and 900 parameters.

    `ghost` saves mostly FLOPs, `shift` mostly parameters.
    """
    changes = {
        KEEP: Cost(),
        Option.of("ghost"): Cost(flops=-200, params=-50),
        Option.of("shift"): Cost(flops=-50, params=-180),
        Option.of("svd", ratio=0.25): Cost(flops=-240, params=-200),
    }
    return CostTable(Cost(1000, 900), dict.fromkeys(("a", "b", "c"), changes))


def accuracy_of(plan):
    return 0.9 - sum(LOSSES[option.operator] for option in Plan.from_json(plan).values())


class Scripted:
    """An executor that answers by formula, in no time. `on_trial` may raise for a plan, or take its
    time; `measured` may answer a trial otherwise. Of several `slots` each answers in a thread.
    """

    slots = 1

    def __init__(self, table):
        self.table = table
        self.built = []
        self.tried = []
        self.limits = {}
        self.finished, self.reported, self.refused = [], [], []
        self.on_trial = self.on_finish = self.on_report = self.on_profile = self.on_library = (
            lambda *_: None
        )
        self.measured = lambda _: {}

    def call(self, task, payload, *, timeout_seconds=None, on_event=None, poll=None):
        self.limits[task] = timeout_seconds
        poll()
        return getattr(self, task)(payload, on_event, poll)

    def profile(self, payload, on_event, poll):
        self.on_profile()
        spec = JobSpec.model_validate(payload["spec"])
        on_event({"type": "inspected", "assumed": []})
        on_event({"type": "progress", "done": 0.5, "loss": 1.0})
        teacher = self.table.teacher.to_json() | {
            "accuracy": 0.9,
            "accuracy_stderr": 0.01,
            "test_accuracy": None,
        }
        return {
            "resolved": spec.to_json(),
            "latencies": None,
            "profile": {
                "teacher": teacher,
                "budget": {"flops": spec.budget.flops, "params": spec.budget.params},
                "blocks": [{"name": name} for name in self.table.changes],
                "classes": ["cat", "dog"],
                "images": {"train": 80, "validation": 10, "test": 20},
                "table": self.table.to_json(),
                "weights": A_HASH,
                "data": A_HASH,
                "versions": dict.fromkeys(LOSSES, 1),
            },
        }

    def library(self, payload, on_event, poll):
        table = CostTable.from_json(payload["table"])
        for each in payload["wanted"]:
            self.on_library(each, poll)
            option = Option.parse(each["option"])
            score = LOSSES[option.operator]
            entry = {
                "block": each["block"],
                "option": each["option"],
                "version": 1,
                "rungs": 2,
                "settled": False,
                "images": 100,
                "loss": 2 * score,
                "score": score,
                "score_stderr": 0.001,
                "score_images": 64,
                **table.change(each["block"], option).to_json(),
                "weights": A_HASH,
            }
            on_event({"type": "entries", "entries": [entry], "compute": 10.0})
            self.built.append((each["block"], each["option"]))
        on_event({"type": "progress", "done": 1.0})
        return {}

    def evaluate(self, payload, on_event, poll):
        plan = payload["plan"]
        self.tried.append(plan)
        self.on_trial(plan, poll)
        return {
            "accuracy": accuracy_of(plan),
            "accuracy_stderr": 0.01,
            "loss": 0.5,
            "seconds": 0.1,
            "images": 100,
            "compute": 300.0,
            "rungs": [],
            "checkpoint": A_HASH,
            "reason": None,
        } | self.measured(payload)

    def test_teacher(self, payload, on_event, poll):
        return {"test_accuracy": 0.88}

    def finish(self, payload, on_event, poll):
        self.finished.append(payload["plan"])
        self.on_finish(payload["plan"])
        on_event({"type": "progress", "done": 1.0, "loss": 0.1})
        file = {"format": "onnx", "sha256": A_HASH, "size_bytes": 10}
        accuracy = accuracy_of(payload["plan"])
        finished = {
            "finish_accuracy": accuracy,
            "latencies": [],
            "test_accuracy": accuracy,
            "compute": 5000.0,
            "artifacts": [file | {"details": {"difference": 0.0}}],
            "refused": self.refused,
        }
        if "report" not in JobSpec.model_validate(payload["spec"]).finish.formats:
            return finished
        return finished | {
            "findings": {
                "operators": {"teacher": {"conv": 1000}, "student": {"conv": 500}},
                "blocks": [
                    {"name": name, "cost": {"flops": 300, "params": 300, "adds": 0}, "rebuilt": []}
                    for name in self.table.changes
                ],
                "versions": {"pareconv": "0.1.0"},
                "device": "a device",
                "curve": {"loss": [(0.5, 1.0), (1.0, 0.1)], "accuracy": [(1.0, accuracy)]},
                "confusion": [(0, 0, 10), (1, 1, 8), (1, 0, 2)],
            },
        }

    def report(self, payload, on_event, poll):
        self.reported.append(payload)
        self.on_report(payload)
        return {"format": "report", "sha256": A_HASH, "size_bytes": 10}


VOID = {"meta", "br", "circle", "line", "polyline"}


class Page(HTMLParser):
    """The tags with their attributes, all text, and the text of each element that has an id; of the
    cells of the confusion matrix as `matrix`.
    """

    def __init__(self, html):
        super().__init__()
        self.tags, self.words, self.by_id, self._open = [], [], {}, []
        self.feed(html)
        self.close()
        assert self._open == []  # everything is closed, in its order
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        self.tags.append((tag, known))
        if tag == "br":
            self.handle_data(" ")
        if tag not in VOID:
            is_cell = "--share" in known.get("style", "")
            self._open.append((tag, "matrix" if is_cell else known.get("id")))

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in {"td", "th", "p", "title", "text"}:
            self.handle_data(" ")
        if tag not in VOID:
            assert self._open.pop()[0] == tag

    def handle_data(self, data):
        if self._open and self._open[-1][0] == "style":
            return
        self.words.append(data)
        for _, id in self._open:
            if id is not None:
                self.by_id[id] = self.by_id.get(id, "") + data

    def count(self, tag, kind):
        return sum(name == tag and attrs.get("class") == kind for name, attrs in self.tags)

    def section(self, id):
        return " ".join(self.by_id[id].replace("\N{NO-BREAK SPACE}", " ").split())


@pytest.fixture(scope="session")
def page_of():
    """Reads a report."""
    return Page


class Home:
    """Stores in a temporary home, workers over them, and what has become of one job."""

    accuracy_of = staticmethod(accuracy_of)

    def __init__(self, folder, table):
        self.settings = Settings(home=folder, database_url=None, artifacts_url=None)
        self.stores = Stores.open(self.settings)
        self.table = table
        self.workers = []

    def worker(self, **script):
        executor = Scripted(self.table)
        for name, answer in script.items():
            setattr(executor, name, answer)
        worker = Worker(self.settings, executor, threading.Event())
        self.workers.append(worker)
        return worker, executor

    def submit(self, **changes):
        self.id = self.stores.jobs.create(SPEC | changes, name="digits")[0].id
        return self.id

    @property
    def job(self):
        return self.stores.jobs.get(self.id)

    @property
    def candidates(self):
        return self.stores.candidates.all(self.id)

    @property
    def events(self):
        return self.stores.events.page(self.id)

    def plans(self, state=CandidateState.COMPLETE):
        return [Plan.from_json(each.plan) for each in self.candidates if each.state is state]

    def close(self):
        for worker in self.workers:
            worker._stores.database.close()
        self.stores.database.close()


@pytest.fixture
def new_home(tmp_path, table):
    """Makes homes, each with a database of its own."""
    homes = []

    def make():
        homes.append(Home(tmp_path / f"home{len(homes)}", table))
        return homes[-1]

    yield make
    for home in homes:
        home.close()


@pytest.fixture
def home(new_home):
    return new_home()
