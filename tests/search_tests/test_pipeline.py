import copy
import json
import threading
from shutil import copyfile

import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr

from pareconv.models.plan import Plan
from pareconv.models.quantization import OnnxNetwork
from pareconv.models.student import load_student
from pareconv.models.teachers.architectures import architecture
from pareconv.search.checkpoints import restore_weights
from pareconv.search.data.digits import load
from pareconv.search.executors.inline import Inline
from pareconv.search.spec import JobSpec
from pareconv.search.stores import Stores
from pareconv.search.worker import Worker
from pareconv.storage.files import FileStore
from pareconv.storage.job_states import JobStatus
from pareconv.storage.settings import Settings

SPEC = {
    "teacher": {
        "architecture": "cifar_resnet8",
        "training": {"epochs": 6, "batch_size": 64, "lr": 0.1},
    },
    "dataset": {"source": "digits", "image_size": 8},
    "budget": {"flops": "60%", "params": "70%"},
    "library": {"rungs": 1, "images": 128, "score_images": 64},
    "search": {"trials": 4, "stop_early": False, "operators": ["svd", "ghost", "shift"]},
    "distill": {"epochs": 0.5},
    "finish": {
        "finalists": 1,
        "epochs": 2,
        "formats": ["pt2", "onnx", "onnx-int8", "safetensors", "report"],
    },
    "seed": 3,
    "device": "cpu",
}


class Outcome:
    """A job worked on in a home of its own, and all that is remembered of it."""

    def __init__(self, home, spec):
        self.home = home
        self.id = None
        self.work(spec)

    def work(self, spec=None, ask=lambda *_: None):
        """Let a worker do all that is left; before, `ask` for something more of the stores."""
        home = self.home
        with pytest.MonkeyPatch.context() as patch:
            for name in ("PARECONV_DATABASE_URL", "PARECONV_ARTIFACTS_URL"):
                patch.delenv(name, raising=False)
            patch.setenv("PARECONV_HOME", str(home))
            patch.setenv("PARECONV_ALLOWED_ROOTS", str(home.parent))
            settings = Settings()
            worker = Worker(settings, Inline(), threading.Event())
            stores = Stores.open(settings)
            if spec is not None:
                self.id = stores.jobs.create(JobSpec.model_validate(spec).to_json())[0].id
            ask(stores, self.id)
            assert worker.work_once()
            self.job = stores.jobs.get(self.id)
            self.candidates = stores.candidates.all(self.id)
            self.artifacts = stores.artifacts.of_job(self.id)
            self.events = stores.events.page(self.id)
            self.files = FileStore(settings.artifacts)
            stores.database.close()
            worker._stores.database.close()

    @property
    def finalist(self):
        (finalist,) = [each for each in self.candidates if each.finalist]
        return finalist

    def file(self, format):
        (artifact,) = [each for each in self.artifacts if each.format == format]
        return self.files.local_path(artifact.sha256)


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    return Outcome(tmp_path_factory.mktemp("first") / "home", SPEC)


def test_a_job_on_real_digits_succeeds(outcome):
    assert outcome.job.error is None
    assert outcome.job.status is JobStatus.SUCCEEDED
    assert outcome.job.profile["teacher"]["accuracy"] > 0.6
    assert len({Plan.from_json(each.plan) for each in outcome.candidates}) == 4
    assert {each.state.value for each in outcome.candidates} == {"complete"}


def test_everything_tried_is_within_both_budgets(outcome):
    teacher, budget = outcome.job.profile["teacher"], outcome.job.profile["budget"]
    assert budget["flops"] == int(0.6 * teacher["flops"])
    assert budget["params"] == int(0.7 * teacher["params"])
    for each in outcome.candidates:
        assert each.flops + each.adds <= budget["flops"]
        assert each.params <= budget["params"]


def test_the_spec_comes_back_resolved(outcome):
    resolved = copy.deepcopy(outcome.job.resolved)
    for part in ("distill", "finish"):  # its learning rate depends on the student
        assert resolved[part].pop("lr") == "auto"
    assert "auto" not in json.dumps(resolved["library"])
    assert "auto" not in json.dumps(resolved["distill"] | resolved["dataset"])
    assert resolved["search"]["sampler"] == "tpe"
    assert resolved["teacher"]["num_classes"] == 10
    assert resolved["dataset"]["augment"] == "crop"


def test_the_finalist_is_tested_and_better_than_chance(outcome):
    assert outcome.finalist.test_accuracy > 0.5
    assert outcome.finalist.finish_accuracy > 0.5
    best = max(each.accuracy for each in outcome.candidates)
    assert outcome.finalist.accuracy == best


def test_every_export_gives_the_test_accuracy_that_was_reported(outcome):
    digits, normalize = load(8), outcome.job.resolved["teacher"]["normalize"]
    mean, std = (torch.tensor(normalize[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    images = (digits.test_images.float() / 255 - mean) / std
    program = torch.export.load(outcome.file("pt2")).module()
    with torch.no_grad():
        answers = {
            "pt2": program(images),
            "onnx": OnnxNetwork(outcome.file("onnx"))(images),
            "safetensors": load_student(outcome.file("safetensors"))(images),
        }
    for logits in answers.values():
        accuracy = (logits.argmax(1) == digits.test_labels).double().mean()
        assert float(accuracy) == pytest.approx(outcome.finalist.test_accuracy, abs=0.004)


def test_every_file_is_there_and_says_how_it_was_checked(outcome):
    formats = ["onnx", "onnx-int8", "pt2", "report", "safetensors"]
    assert [each.format for each in outcome.artifacts] == formats
    details = {each.format: each.details for each in outcome.artifacts}
    assert all(details[name]["difference"] < 1e-4 for name in ("onnx", "pt2", "safetensors"))
    quantized = details["onnx-int8"]
    assert quantized["accuracy"] == pytest.approx(outcome.finalist.finish_accuracy, abs=0.03)
    assert quantized["test_accuracy"] == pytest.approx(outcome.finalist.test_accuracy, abs=0.03)


@pytest.fixture(scope="module")
def report(outcome, page_of):
    return page_of(outcome.file("report").read_text())


def test_the_report_agrees_with_what_was_stored(outcome, report):
    finalist, teacher = outcome.finalist, outcome.job.profile["teacher"]
    told = report.section("test-accuracy")
    assert told.startswith(f"{100 * finalist.test_accuracy:.1f}% teacher")
    assert f"teacher {100 * teacher['test_accuracy']:.1f}%" in told
    accuracies = report.section("accuracy")
    for share in (finalist.accuracy, finalist.finish_accuracy, teacher["accuracy"]):
        assert f"{100 * share:.1f}%" in accuracies
    for each in outcome.candidates:
        assert f"Trial {each.number}: {100 * each.accuracy:.1f}%" in report.section("front")
    measured = [each.accuracy for each in outcome.candidates]
    predicted = [-each.predicted for each in outcome.candidates]
    correlation = float(spearmanr(predicted, measured).statistic)
    assert float(report.section("rank-correlation")) == pytest.approx(correlation, abs=0.006)
    files = report.section("files")
    assert all(each.sha256 in files for each in outcome.artifacts if each.format != "report")
    provenance = report.section("provenance")
    assert outcome.job.profile["weights"] in provenance
    assert outcome.job.profile["data"] in provenance
    assert json.loads(report.by_id["spec"]) == outcome.job.resolved


def test_the_report_accounts_for_every_test_image_and_every_block(outcome, report):
    images = len(load(8).test_labels)
    assert sum(map(int, report.by_id["matrix"].split())) == images
    plan = report.section("plan")
    for block, option in outcome.finalist.plan.items():
        assert f"{block} {option}" in plan
    kept = [each["name"] for each in outcome.job.profile["blocks"]]
    assert all(f"{block} kept" in plan for block in set(kept) - set(outcome.finalist.plan))


def test_the_lines_that_the_report_prints_run_each_file(outcome, report, tmp_path, monkeypatch):
    """All find the same class, in a folder of downloads."""
    monkeypatch.chdir(tmp_path)
    for each in outcome.artifacts:
        copyfile(outcome.file(each.format), each.filename)
    pixels = load(8).test_images[0].permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save("image.png")
    found = set()
    for format in ("onnx", "onnx-int8", "pt2", "safetensors"):
        known: dict = {}
        exec(report.by_id["run-image"] + "\n" + report.by_id[f"run-{format}"], known)
        assert tuple(known["logits"].shape) == (1, 10)
        found.add(int(known["logits"].argmax(1)[0]))
    assert len(found) == 1


def test_the_same_spec_and_seed_give_the_same_in_another_home(outcome, tmp_path):
    finish = SPEC["finish"] | {"formats": ["report"]}
    again = Outcome(tmp_path / "home", SPEC | {"finish": finish})
    compared = ("plan", "flops", "params", "accuracy", "loss", "finish_accuracy", "test_accuracy")
    assert [[getattr(each, name) for name in compared] for each in again.candidates] == [
        [getattr(each, name) for name in compared] for each in outcome.candidates
    ]
    assert again.job.profile["teacher"] == outcome.job.profile["teacher"]


def test_a_teacher_near_chance_is_refused_with_the_likely_causes(tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = architecture("cifar_resnet8").build(10)
    torch.save(network.state_dict(), tmp_path / "untrained.pt")
    teacher = {"architecture": "cifar_resnet8", "weights": f"file:{tmp_path}/untrained.pt"}
    outcome = Outcome(tmp_path / "home", SPEC | {"teacher": teacher})
    assert outcome.job.status is JobStatus.FAILED
    (error,) = outcome.job.error["errors"]
    assert error["field"] == "teacher.weights"
    assert "another order" in error["message"]
    assert "teacher.normalize" in error["message"]
    assert outcome.candidates == []


def test_an_exported_student_is_the_teacher_of_the_next_job(outcome, tmp_path):
    """A network in a file: its norms, which the export folded, are there again for training. How
    its images were normalised is found out.
    """
    onnx = copyfile(outcome.file("onnx"), tmp_path / "student.onnx")
    teacher = {"architecture": f"file:{onnx}"}
    search = SPEC["search"] | {"trials": 1}
    finish = SPEC["finish"] | {"formats": ["safetensors"]}
    spec = SPEC | {"teacher": teacher, "search": search, "finish": finish}
    spec |= {"budget": {"flops": "80%"}}
    done = Outcome(tmp_path / "home", spec)
    assert done.job.error is None
    first = outcome.finalist
    (told,) = [each.message for each in done.events if each.type == "normalized"]
    assert "cifar10" in told
    assert done.job.profile["validation_seen"]
    assert not outcome.job.profile["validation_seen"]  # of a teacher that was trained here
    assert done.job.profile["teacher"]["accuracy"] >= first.finish_accuracy - 0.01
    assert done.job.profile["teacher"]["params"] == first.params
    assert done.finalist.flops < first.flops
    assert done.finalist.test_accuracy > 0.5
    loaded = load_student(done.file("safetensors"), onnx)
    assert any(isinstance(each, torch.nn.BatchNorm2d) for each in loaded.modules())


def test_a_teacher_of_other_classes_gets_a_head_and_is_fine_tuned(outcome, tmp_path):
    with torch.random.fork_rng(devices=[]):
        network = architecture("cifar_resnet8").build(10)
        restore_weights(network, outcome.job.profile["weights"], outcome.files)
        other = {"linear.weight": torch.randn(12, 64), "linear.bias": torch.zeros(12)}
    torch.save(network.state_dict() | other, tmp_path / "twelve.pt")
    teacher = {"architecture": "cifar_resnet8", "weights": f"file:{tmp_path}/twelve.pt"}
    search = SPEC["search"] | {"trials": 1}
    finish = {"finalists": 0}
    done = Outcome(
        tmp_path / "home", SPEC | {"teacher": teacher, "search": search, "finish": finish}
    )
    assert done.job.error is None
    training = done.job.resolved["teacher"]["training"]
    assert (training["epochs"], training["lr"]) == (5, 0.01)
    former = outcome.job.profile["teacher"]["accuracy"]
    assert done.job.profile["teacher"]["accuracy"] > former - 0.1
    trained = architecture("cifar_resnet8").build(10)
    restore_weights(trained, done.job.profile["weights"], done.files)
    assert not torch.equal(trained.conv1.weight, network.conv1.weight)  # all of it learns


def test_another_student_and_more_trials_of_a_finished_job(tmp_path):
    formats = {"safetensors", "report"}
    finish = {"finalists": 1, "epochs": 1, "formats": list(formats)}
    spec = SPEC | {"search": SPEC["search"] | {"trials": 2}, "finish": finish}
    done = Outcome(tmp_path / "home", spec)
    first = done.finalist
    other = 1 - first.number
    how = {"epochs": 2.0, "formats": ["onnx"]}
    done.work(ask=lambda stores, job: stores.candidates.want(job, other, how))
    assert done.job.error is None
    assert done.candidates[first.number] == first
    student = done.candidates[other]
    assert student.finish_accuracy >= student.accuracy
    assert student.test_accuracy > 0.5
    assert student.finish_compute > 1.5 * first.finish_compute * student.flops / first.flops
    files = {(each.number, each.format) for each in done.artifacts}
    assert {format for number, format in files if number == other} == {"onnx"}
    assert {format for number, format in files if number == first.number} == formats

    before = [(each.finish_compute, each.test_accuracy) for each in done.candidates]
    done.work(ask=lambda stores, job: stores.jobs.extend(job, trials=2))
    assert done.job.error is None
    assert len({Plan.from_json(each.plan) for each in done.candidates}) == 4
    known = [(each.finish_compute, each.test_accuracy) for each in done.candidates[:2]]
    assert known == before
    assert files <= {(each.number, each.format) for each in done.artifacts}


def test_the_smallest_student_within_an_accuracy_drop(tmp_path):
    finish = SPEC["finish"] | {"finalists": 2, "formats": ["report"]}
    spec = SPEC | {"budget": {"accuracy_drop": 10}, "finish": finish}
    done = Outcome(tmp_path / "home", spec)
    assert done.job.error is None
    least = done.job.profile["teacher"]["accuracy"] - 0.1
    finished = [each for each in done.candidates if each.finalist]
    assert 1 <= len(finished) <= 2
    within = [each for each in finished if each.finish_accuracy >= least]
    answer = min(within, key=lambda each: each.flops)
    (event,) = [event for event in done.events if event.type == "answer"]
    assert event.data["trial"] == answer.number
    assert answer.flops < done.job.profile["teacher"]["flops"]


PLAN = {"layer1.0": "svd(ratio=0.5)", "layer3.0.conv1": "depthwise"}  # of either granularity


def test_a_plan_that_is_given_is_the_only_one_tried(tmp_path):
    """From a library that holds its options alone."""
    finish = SPEC["finish"] | {"formats": ["report"]}
    planned = SPEC | {"budget": None, "plan": PLAN, "finish": finish}
    done = Outcome(tmp_path / "home", planned)
    assert done.job.error is None
    assert done.job.resolved["search"]["trials"] == 1
    assert done.finalist.plan == PLAN
    assert done.finalist.predicted > 0
    assert [block["name"] for block in done.job.profile["table"]["blocks"]] == list(PLAN)
    assert done.finalist.test_accuracy > 0.5


@pytest.mark.parametrize("method", ["mutual", "online_ensemble", "collaborative", "pkkd", "peer"])
def test_a_given_plan_and_an_online_method_need_no_teacher(method, tmp_path):
    """Neither is a teacher trained, nor does anything learn from one that knows nothing."""
    finish = {"epochs": 2, "method": method, "formats": ["report"]}
    untaught = {
        "teacher": {"architecture": "cifar_resnet8"},
        "dataset": SPEC["dataset"],
        "plan": PLAN,
        "distill": {"epochs": 1.0},
        "finish": finish,
        "device": "cpu",
    }
    done = Outcome(tmp_path / "home", untaught)
    assert done.job.error is None
    assert done.job.profile["teacher"]["accuracy"] is None
    assert done.job.profile["teacher"]["test_accuracy"] is None
    assert done.job.resolved["library"] is None
    assert done.job.resolved["distill"]["method"] == "labels"
    assert done.finalist.test_accuracy > 0.5
