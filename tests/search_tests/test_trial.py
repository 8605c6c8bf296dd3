import pytest
import torch

from pareconv.models.plan import Plan
from pareconv.models.space import Scope, find_space
from pareconv.search.checkpoints import read_weights
from pareconv.search.errors import Diverged
from pareconv.search.evaluation import evaluate
from pareconv.search.library import LibraryBuilder
from pareconv.search.rungs import Rung
from pareconv.search.trial import Trial, assemble, run_trial
from pareconv.search.wanted import Wanted
from pareconv.storage.files import FileStore

PLAN = Plan.from_json({"0": "svd(ratio=0.375)", "3": "svd(ratio=0.25)"})
UNREACHABLE = [Rung(images, 1.0, 0.0) for images in (10, 20, 30)]
RESULTS = ("accuracy", "accuracy_stderr", "loss", "images", "checkpoint", "reason")


@pytest.fixture
def files(tmp_path):
    return FileStore(str(tmp_path / "files"))


@pytest.fixture
def bench_with(new_bench):
    """Makes workbenches for trials of half a pass, with the search as given."""

    def make(**search):
        return new_bench(search=search, distill={"epochs": 0.5})

    return make


@pytest.fixture
def library(bench_with, files):
    """Block -> weights of the options of the plan."""
    bench, found = bench_with(), {}
    table = find_space(bench.teacher, (1, 3, 8, 8), Scope(["svd"])).table

    def emit(event):
        for entry in event.get("entries", ()):
            found[entry["block"]] = entry["weights"]

    wanted = [Wanted(block, str(option)) for block, option in PLAN.items()]
    LibraryBuilder(bench, table, files, emit).build(wanted)
    return found


def results(measured):
    return {name: measured[name] for name in RESULTS}


def test_a_trial_is_looked_at_while_it_learns(bench_with, files):
    bench = bench_with()
    measured = run_trial(bench, Trial(PLAN), files)
    assert measured["reason"] is None
    assert measured["images"] == 576  # half of 1,151
    shown = [rung["images"] for rung in measured["rungs"]]
    assert len(shown) == 3
    assert shown == sorted(shown)
    last = measured["rungs"][-1]
    assert (last["images"], last["accuracy"]) == (576, measured["accuracy"])


def test_the_checkpoint_has_the_accuracy_that_was_reported(bench_with, files):
    bench = bench_with()
    measured = run_trial(bench, Trial(PLAN), files)
    student, _ = assemble(bench, PLAN, None, files)
    student.load_state_dict(read_weights(measured["checkpoint"], files))
    assert evaluate(student, bench.validation).accuracy == measured["accuracy"] > 0.6


def test_its_compute_is_all_that_was_shown(bench_with, files, library):
    bench = bench_with(stop_early=False)
    asked = bench.answers.asked
    measured = run_trial(bench, Trial(PLAN, library), files)
    student, _ = assemble(bench, PLAN, library, files)
    looked_at = len(bench.recalibration) + len(bench.probe) + len(bench.validation)
    forwards = bench.ratio(student) * (3 * measured["images"] + looked_at)
    assert measured["compute"] == pytest.approx(forwards + bench.answers.asked - asked)


def test_a_cold_start_counts_the_pass_on_which_its_layers_are_fitted(bench_with, files, library):
    bench = bench_with()
    (_, cold), (_, warm) = (assemble(bench, PLAN, each, files) for each in (None, library))
    assert cold - warm >= len(bench.sample)


def test_a_beaten_trial_stops_there_without_a_checkpoint(bench_with, files):
    measured = run_trial(bench_with(), Trial(PLAN, bar=UNREACHABLE), files)
    assert measured["reason"].startswith("beaten after")
    assert measured["checkpoint"] is None
    assert measured["images"] < 200
    assert len(measured["rungs"]) == 1
    whole = run_trial(bench_with(), Trial(PLAN), files)
    assert measured["rungs"] == whole["rungs"][:1]
    assert measured["compute"] < whole["compute"]


def test_a_trial_that_is_not_to_stop_early_is_measured_at_its_end(bench_with, files):
    measured = run_trial(bench_with(stop_early=False), Trial(PLAN, bar=UNREACHABLE), files)
    assert measured["reason"] is None
    assert [rung["images"] for rung in measured["rungs"]] == [576]


def test_being_looked_at_changes_nothing(bench_with, files):
    looked = run_trial(bench_with(), Trial(PLAN), files)
    left_alone = run_trial(bench_with(stop_early=False), Trial(PLAN), files)
    assert results(looked) == results(left_alone)


def test_what_is_learnt_does_not_depend_on_what_was_tried_before(bench_with, files):
    fresh, used = bench_with(), bench_with()
    first = run_trial(fresh, Trial(PLAN), files)
    run_trial(used, Trial(Plan.from_json({"3": "depthwise"})), files)
    run_trial(used, Trial(PLAN, attempt=1), files)
    torch.rand(3)
    second = run_trial(used, Trial(PLAN), files)
    assert results(second) == results(first)
    # But what the teacher said, and how good it is, is known by now.
    assert second["compute"] == pytest.approx(first["compute"] - 576 - len(fresh.probe))


def test_another_attempt_shows_the_images_in_another_order(bench_with, files):
    bench = bench_with()
    once, again = (run_trial(bench, Trial(PLAN, attempt=attempt), files) for attempt in (0, 1))
    assert once["checkpoint"] != again["checkpoint"]
    assert once["images"] == again["images"]


def test_a_student_of_the_library_is_the_teacher_with_those_blocks(bench_with, files, library):
    bench = bench_with()
    student, _ = assemble(bench, PLAN, library, files)
    state = student.state_dict()
    for block in PLAN:
        for name, value in read_weights(library[block], files).items():
            if "running" not in name and "tracked" not in name:
                assert torch.equal(state[name], value)
    for name in ("8.weight", "8.bias"):
        assert torch.equal(state[name], bench.teacher.state_dict()[name])
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_a_trial_of_the_library_starts_well(bench_with, files, library):
    measured = run_trial(bench_with(), Trial(PLAN, library), files)
    assert measured["rungs"][0]["accuracy"] > 0.6
    assert results(run_trial(bench_with(), Trial(PLAN, library), files)) == results(measured)


def test_a_trial_that_diverges_says_so_and_what_it_cost(new_bench, files):
    bench = new_bench(distill={"epochs": 0.5, "lr": 10.0, "parameters": {"beta": 1e6}})
    with pytest.raises(Diverged, match="learning rate") as caught:
        run_trial(bench, Trial(PLAN), files)
    _, assembled = assemble(bench, PLAN, None, files)
    assert caught.value.compute > assembled + bench.answers.asked > 0
