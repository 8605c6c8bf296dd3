import pytest
import torch

from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.search import finishing
from pareconv.search.evaluation import confusion, evaluate
from pareconv.search.exports import Exports
from pareconv.search.finishing import Tried, finish
from pareconv.search.teaching import Pace
from pareconv.search.trial import Trial, run_trial
from pareconv.storage.files import FileStore

PLAN = Plan.from_json({"0": "svd(ratio=0.375)", "3": "svd(ratio=0.125)"})
OTHER = Plan.from_json({"3": "shift"})


@pytest.fixture
def files(tmp_path):
    return FileStore(str(tmp_path / "files"))


@pytest.fixture
def bench(new_bench):
    return new_bench(distill={"epochs": 0.2}, finish={"epochs": 3, "lr": 0.01})


class Finished:
    """What came of finishing, the student that was exported, and what was measured on the way."""

    def __init__(self, bench, files, patch, others=()):
        self.trial = run_trial(bench, Trial(PLAN), files)
        self.exams, self.tests, self.events = [], [], []

        def watched(network, split):
            assert split is not bench.test
            measured = evaluate(network, split)
            self.exams.append((measured.accuracy, copied(network)))
            return measured

        def tested(network, split, classes):
            assert split is bench.test
            counts = confusion(network, split, classes)
            self.tests.append((counts, copied(network)))
            return counts

        def exported(bench, student, plan, accuracy, files):
            self.student = student
            return Exports()

        patch.setattr(finishing, "evaluate", watched)
        patch.setattr(finishing, "confusion", tested)
        patch.setattr(finishing, "export_student", exported)
        self.asked = bench.answers.asked
        tried = Tried(PLAN, self.trial["checkpoint"])
        self.result = finish(bench, tried, others, files, self.events.append)
        self.asked = bench.answers.asked - self.asked


def copied(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


@pytest.fixture
def finished(bench, files, monkeypatch):
    return Finished(bench, files, monkeypatch)


def test_the_best_exam_on_validation_is_what_is_deployed(finished, bench):
    best = max(accuracy for accuracy, _ in finished.exams)
    assert finished.result["finish_accuracy"] == best
    assert evaluate(finished.student, bench.validation).accuracy == best
    of_best = [state for accuracy, state in finished.exams if accuracy == best]
    deployed = finished.student.state_dict()
    assert all(torch.equal(deployed[name], value) for name, value in of_best[-1].items())


def test_it_is_better_than_the_trial_it_came_from(finished):
    assert finished.result["finish_accuracy"] >= finished.trial["accuracy"]
    assert len(finished.exams) > 1


def test_it_is_tested_once_after_all_exams(finished, bench):
    ((counts, state),) = finished.tests
    deployed = finished.student.state_dict()
    assert all(torch.equal(deployed[name], value) for name, value in state.items())
    accuracy = evaluate(finished.student, bench.test).accuracy
    assert finished.result["test_accuracy"] == accuracy
    assert int(counts.sum()) == len(bench.test)
    found = finished.result["findings"]["confusion"]
    right = sum(number for actual, predicted, number in found if actual == predicted)
    assert right / len(bench.test) == accuracy


def test_what_is_examined_are_averages_that_lag_behind(bench, files, monkeypatch):
    """Averages over nothing are the weights themselves: another student, of the same training."""
    exams = []
    for averaging in (0.0, 0.2):
        monkeypatch.setattr(finishing, "PACE", Pace(0.1, averaging))
        exams.append(Finished(bench, files, monkeypatch).exams)
    name = "8.weight"
    (_, start), (_, same) = (seen[0] for seen in exams)
    assert torch.equal(start[name], same[name])  # before the training there is nothing to average
    for (_, last), (_, averaged) in zip(*(seen[1:] for seen in exams), strict=True):
        assert not torch.equal(averaged[name], last[name])
        assert (averaged[name] - last[name]).norm() < 0.1 * last[name].norm()


def test_it_never_ends_below_where_its_trial_ended(bench, files, monkeypatch):
    monkeypatch.setattr(finishing, "PACE", Pace(lr_per_gap=1e9))
    ruined = Finished(bench, files, monkeypatch)
    assert ruined.result["finish_accuracy"] >= ruined.trial["accuracy"]


def test_the_curve_holds_every_exam_and_a_loss_that_falls(finished):
    curve = finished.result["findings"]["curve"]
    assert curve["accuracy"] == list(
        zip(finishing.EXAMS, (accuracy for accuracy, _ in finished.exams), strict=True)
    )
    shares = [done for done, _ in curve["loss"]]
    assert shares == sorted(shares)
    assert (shares[-1], curve["loss"][-1][1] < curve["loss"][0][1]) == (1, True)


def test_a_report_that_is_not_asked_for_takes_no_findings(new_bench, files, monkeypatch):
    finish = {"epochs": 0.2, "lr": 0.01, "formats": ["pt2"]}
    done = Finished(new_bench(distill={"epochs": 0.2}, finish=finish), files, monkeypatch)
    assert "findings" not in done.result


def test_progress_rises_to_one(finished):
    done = [event["done"] for event in finished.events if event["type"] == "progress"]
    assert done == sorted(done)
    assert done[-1] == 1


def test_its_compute_is_counted(finished, bench):
    """Three passes of the student for each image, one of the teacher for each new view, and the
    exams.
    """
    images = 3 * len(bench.train)
    ratio = bench.ratio(finished.student)
    exams = len(finished.exams) * len(bench.validation)
    assert 0 < ratio < 1
    assert finished.result["compute"] == pytest.approx(
        ratio * (3 * images + exams) + finished.asked
    )
    assert 0 < finished.asked <= images


def test_networks_that_learn_along_are_counted_and_not_deployed(new_bench, files, monkeypatch):
    """A teacher that is built beside the student is trained on every image, too."""
    spent = {}
    for method in ("labels", "mutual"):
        finish = {"epochs": 0.5, "lr": 0.01, "method": method}
        bench = new_bench(distill={"epochs": 0.2}, finish=finish)
        with monkeypatch.context() as patch:
            done = Finished(bench, files, patch)
        spent[method] = done.result["compute"]
        restored = rewrite(bench.teacher, PLAN).state_dict()
        assert set(done.student.state_dict()) == set(restored)
    images = round(0.5 * len(bench.train))
    assert spent["mutual"] - spent["labels"] == pytest.approx(3 * images)


def test_finalists_of_different_plans_may_teach_each_other(new_bench, files, monkeypatch):
    """Each starts from its own trial, and is trained on every image."""
    finish = {"epochs": 0.5, "lr": 0.01, "method": "collaborative"}
    finish |= {"parameters": {"partners": "front"}}
    bench = new_bench(distill={"epochs": 0.2}, finish=finish)
    trial = run_trial(bench, Trial(OTHER), files)
    others = [Tried(OTHER, trial["checkpoint"])]
    partner = rewrite(bench.teacher, OTHER)
    done = Finished(bench, files, monkeypatch, others)
    images, exams = round(0.5 * len(bench.train)), len(done.exams) * len(bench.validation)
    ratio = bench.ratio(done.student)
    assert done.result["compute"] == pytest.approx(
        3 * images * (ratio + bench.ratio(partner)) + ratio * exams + done.asked
    )
    assert set(done.student.state_dict()) == set(rewrite(bench.teacher, PLAN).state_dict())
