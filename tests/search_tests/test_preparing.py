import threading
import time
from types import MappingProxyType

import pytest
import torch

from pareconv.models.convolutions.registry import OPERATORS
from pareconv.models.graph import canonical
from pareconv.models.plan import Option
from pareconv.models.teachers.architectures import architecture
from pareconv.search import workbench
from pareconv.search.claim import ShuttingDown
from pareconv.search.data.batches import Split, statistics
from pareconv.search.data.views import Views
from pareconv.search.distillation.labels import Labels
from pareconv.search.distillation.setting import Setting
from pareconv.search.executors.inline import Inline
from pareconv.search.spec import JobSpec
from pareconv.search.stores import Stores
from pareconv.search.training import Recipe, Training
from pareconv.search.worker import Worker
from pareconv.storage.job_states import JobStatus
from pareconv.storage.settings import Settings

BLOCKS = ["layer2.0", "layer3.0"]


class Watched(Inline):
    """Tasks in this process, noting which were called with what. `on_event` comes after each."""

    def __init__(self):
        self.calls = []
        self.emitted = []
        self.on_event = lambda _: None

    def call(self, task, payload, *, timeout_seconds=None, on_event=None, poll=None):
        def watch(event):
            if on_event is not None:
                on_event(event)
            self.emitted.append(event)
            self.on_event(event)

        self.calls.append((task, payload))
        return super().call(task, payload, on_event=watch, poll=poll)

    def of(self, task):
        return [payload for name, payload in self.calls if name == task]

    @property
    def wanted(self):
        """(block, option) -> what the library stage asked to build."""
        places = (each for payload in self.of("library") for each in payload["wanted"])
        return {(each["block"], each["option"]): each for each in places}


class Place:
    """A home with real stores, and jobs worked on in it."""

    def __init__(self, teacher):
        self.settings = Settings()
        self.stores = Stores.open(self.settings)
        self.teacher = teacher

    def submit(
        self, *, flops="70%", seed=0, library=MappingProxyType({}), operators=("svd",), **changes
    ):
        spec = {
            "teacher": {"architecture": "cifar_resnet8", "weights": f"file:{self.teacher}"},
            "dataset": {"source": "digits", "image_size": 8},
            "budget": {"flops": flops},
            "library": {"rungs": 1, "images": 64, "score_images": 64},
            "search": {"trials": 2, "operators": list(operators), "include": BLOCKS, "repeats": 0},
            "distill": {"epochs": 0.3},
            "finish": {"finalists": 0},
            "seed": seed,
            "device": "cpu",
        }
        spec |= changes
        spec["library"] = None if library is None else spec["library"] | library
        return self.stores.jobs.create(JobSpec.model_validate(spec).to_json())[0].id

    def work(self, on_event=lambda _: None):
        """Work on the next job as a new worker, with nothing left in memory from the last."""
        workbench._set_up.cache_clear()
        executor = Watched()
        executor.on_event = on_event
        worker = Worker(self.settings, executor, threading.Event())
        assert worker.work_once()
        worker._stores.database.close()
        return executor

    def run(self, **changes):
        """A job to its success: the job, and the executor it ran on."""
        id = self.submit(**changes)
        executor = self.work()
        job = self.stores.jobs.get(id)
        assert job.error is None
        assert job.status is JobStatus.SUCCEEDED
        return job, executor

    def entries(self, library):
        return {(each.block, each.option): each for each in self.stores.libraries.entries(library)}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, digits):
    """The file of a small ResNet that knows most of the digits."""
    split = Split(digits.train_images, digits.train_labels, *statistics(digits.train_images))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = canonical(architecture("cifar_resnet8").build(10))
    recipe = Recipe(
        images=4000, pool=4000, batch_size=64, optimizer="sgd", lr=0.1, weight_decay=5e-4
    )
    setting = Setting(network, Views(split, "crop", 0), None, seed=0)
    Training(setting, Labels(), recipe).run()
    path = tmp_path_factory.mktemp("teacher") / "weights.pt"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def place(tmp_path, monkeypatch, teacher):
    monkeypatch.setenv("PARECONV_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PARECONV_ALLOWED_ROOTS", str(teacher.parent))
    place = Place(teacher)
    yield place
    place.stores.database.close()
    workbench._set_up.cache_clear()


def test_the_library_is_built_whole_and_kept_with_its_front(place):
    job, executor = place.run()
    library = place.stores.libraries.get(job.library_id)
    assert set(place.entries(job.library_id)) == set(executor.wanted)
    assert {block for block, _ in executor.wanted} == set(BLOCKS)
    assert (library.architecture, library.is_building) == ("cifar_resnet8", False)
    assert library.compute == pytest.approx(
        sum(event["compute"] for event in executor.emitted if event["type"] == "entries")
    )
    flops = [point["flops"] for point in library.front]
    assert flops == sorted(flops, reverse=True)
    scores = [point["score"] for point in library.front]
    assert scores == sorted(scores)
    types = [event.type for event in place.stores.events.page(job.id)]
    assert types.index("library") < types.index("trial")


def test_another_budget_on_the_same_teacher_and_data_builds_nothing(place):
    first, _ = place.run(flops="70%")
    before = place.stores.libraries.get(first.library_id)
    second, executor = place.run(flops="60%")
    assert second.library_id == first.library_id
    assert executor.of("library") == []
    assert place.stores.libraries.get(first.library_id) == before
    assert all(payload["library"] for payload in executor.of("evaluate"))
    told = [event.message for event in place.stores.events.page(second.id)]
    entries = len(place.entries(first.library_id))
    assert f"library {first.library_id} has all {entries} options already" in told


def test_only_the_options_of_a_new_operator_are_built(place):
    first, _ = place.run(operators=["svd"])
    before = place.entries(first.library_id)
    second, executor = place.run(operators=["svd", "ghost"])
    assert second.library_id == first.library_id
    assert {Option.parse(option).operator for _, option in executor.wanted} == {"ghost"}
    after = place.entries(second.library_id)
    assert {key: after[key] for key in before} == before
    assert set(after) == set(before) | set(executor.wanted)
    third, executor = place.run(operators=["ghost"])
    assert executor.of("library") == []
    tried = [each.plan for each in place.stores.candidates.all(third.id)]
    assert {Option.parse(o).operator for plan in tried for o in plan.values()} == {"ghost"}


def test_what_another_operator_made_hopeless_is_scored_where_that_is_not_wanted(place):
    first, _ = place.run(operators=["svd", "ghost"])
    before = place.entries(first.library_id)
    given_up = {key for key, entry in before.items() if entry.score is None}
    assert given_up == {key for key in before if "ghost" in key[1]}
    second, executor = place.run(operators=["ghost"])
    assert second.library_id == first.library_id
    assert set(executor.wanted) == given_up
    assert all(each["weights"] for each in executor.wanted.values())
    after = place.entries(first.library_id)
    assert all(after[key].score is not None for key in given_up)
    assert all(after[key] == before[key] for key in before.keys() - given_up)
    for operators in (["ghost"], ["svd", "ghost"]):
        _, executor = place.run(operators=operators)
        assert executor.of("library") == []


def test_the_front_of_a_library_is_of_all_that_it_holds(place):
    first, _ = place.run(operators=["svd"])
    place.run(operators=["ghost"])
    front = place.stores.libraries.get(first.library_id).front
    used = {Option.parse(o).operator for point in front for o in point["plan"].values()}
    assert "svd" in used


def test_more_rungs_go_on_from_the_weights_that_are_there(place):
    brief, long = ({"rungs": rungs, "images": 256, "lr": 0.003} for rungs in (1, 2))
    first, _ = place.run(library=brief, operators=["depthwise"])
    before = place.entries(first.library_id)
    second, executor = place.run(library=long, operators=["depthwise"])
    assert second.library_id == first.library_id
    assert set(executor.wanted) == {key for key, entry in before.items() if not entry.settled}
    assert executor.wanted
    for key, each in executor.wanted.items():
        assert (each["weights"], each["rungs"]) == (before[key].weights, before[key].rungs)
    after = place.entries(first.library_id)
    assert max(entry.rungs for entry in after.values()) == 2
    assert all(entry.score is not None or entry.settled for entry in after.values())
    _, executor = place.run(library=brief, operators=["depthwise"])
    assert executor.of("library") == []


def test_the_options_of_an_operator_of_another_version_are_built_anew(place, monkeypatch):
    first, _ = place.run(operators=["svd", "ghost"])
    monkeypatch.setattr(OPERATORS["ghost"], "version", OPERATORS["ghost"].version + 1)
    second, executor = place.run(operators=["svd", "ghost"])
    assert second.library_id == first.library_id
    assert {Option.parse(option).operator for _, option in executor.wanted} == {"ghost"}
    assert all(each["weights"] is None for each in executor.wanted.values())
    after = place.entries(first.library_id)
    assert {after[key].version for key in executor.wanted} == {OPERATORS["ghost"].version}


def test_an_interruption_loses_no_entry_that_was_emitted(place):
    def interrupt(event):
        if event["type"] == "entries":
            raise ShuttingDown("the worker is shutting down")

    id = place.submit(operators=["svd", "ghost"])
    interrupted = place.work(interrupt)
    job = place.stores.jobs.get(id)
    (emitted,) = [event["entries"] for event in interrupted.emitted if event["type"] == "entries"]
    kept = place.entries(job.library_id)
    assert set(kept) == {(each["block"], each["option"]) for each in emitted}
    assert not place.stores.libraries.get(job.library_id).is_building
    resumed = place.work()
    assert place.stores.jobs.get(id).status is JobStatus.SUCCEEDED
    assert set(resumed.wanted) >= set(interrupted.wanted) - set(kept)
    for key, each in resumed.wanted.items():
        expected = kept[key].weights if key in kept else None
        assert each["weights"] == expected
        assert each["rungs"] == (kept[key].rungs if key in kept else 0)
    after = place.entries(job.library_id)
    assert set(after) == set(interrupted.wanted)
    assert all(entry.score is not None or entry.settled for entry in after.values())
    assert all(after[key].rungs >= kept[key].rungs for key in kept)


def test_without_a_library_plans_start_cold(place):
    job, executor = place.run(library=None)
    assert job.library_id is None
    assert executor.of("library") == []
    assert [payload["library"] for payload in executor.of("evaluate")] == [None, None]
    assert [each.predicted for each in place.stores.candidates.all(job.id)] == [None, None]


# A plan's blocks may overlap with those of the library's granularity.
@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"library": {"lr": 0.005}},
        {"plan": {"layer1.0": "svd(ratio=0.5)"}, "budget": None},
    ],
)
def test_another_split_or_recipe_is_another_library(changes, place):
    first, _ = place.run()
    second, executor = place.run(**changes)
    assert second.library_id != first.library_id
    assert executor.of("library")


def test_the_same_seed_gives_the_same_when_the_library_is_found(place):
    """The first job builds it, in the process that then tries the plans; the second does not."""
    search = {"trials": 3, "operators": ["svd", "ghost"], "include": BLOCKS}
    finish = {"finalists": 1, "epochs": 0.5, "formats": ["safetensors"]}
    compared = (
        "plan", "predicted", "state", "rungs", "accuracy", "loss", "evaluations",
        "finish_accuracy", "test_accuracy",
    )  # fmt: skip
    found = []
    for builds in (True, False):
        job, executor = place.run(search=search, finish=finish)
        assert bool(executor.of("library")) is builds
        candidates = place.stores.candidates.all(job.id)
        found.append([[getattr(each, name) for name in compared] for each in candidates])
    assert found[0] == found[1]


def test_a_second_worker_waits_for_the_first_and_builds_nothing(home):
    entered, go_on = threading.Event(), threading.Event()

    def hold(wanted, poll):
        entered.set()
        assert go_on.wait(30)

    ids = [home.submit(), home.submit()]
    first, builder = home.worker(on_library=hold)
    second, waiter = home.worker()
    threads = [threading.Thread(target=worker.work_once) for worker in (first, second)]
    threads[0].start()
    assert entered.wait(30)
    threads[1].start()
    deadline = time.monotonic() + 30
    while not any("waiting" in e.message for id in ids for e in home.stores.events.page(id)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert waiter.tried == []
    go_on.set()
    for thread in threads:
        thread.join(30)
    jobs = [home.stores.jobs.get(id) for id in ids]
    assert [job.status for job in jobs] == [JobStatus.SUCCEEDED] * 2
    assert len({job.library_id for job in jobs}) == 1
    assert len(builder.built) == 9
    assert waiter.built == []
    assert len(waiter.tried) == 6


def test_who_lost_the_library_writes_no_more_to_it(home):
    """Another worker may build it: the job is given up, not failed."""
    home.submit()
    left = []

    def lose(wanted, poll):
        if len(executor.built) == 2:
            (library,), _ = home.stores.libraries.page(1)
            home.stores.libraries.release(library.id, worker.owner)
            left.append(home.stores.libraries.entries(library.id))

    worker, executor = home.worker(on_library=lose)
    worker.work_once()
    (library,), _ = home.stores.libraries.page(1)
    assert home.stores.libraries.entries(library.id) == left[0]
    assert len(left[0]) == 2
    assert home.job.status is not JobStatus.FAILED
    assert home.candidates == []
