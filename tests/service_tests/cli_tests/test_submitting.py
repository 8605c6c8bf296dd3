"""`submit` and `inspect`: options, spec files, files of the user's."""

import json
from types import SimpleNamespace

import pytest

from pareconv.search.errors import InvalidSpec
from pareconv.service.cli import submission
from pareconv.service.cli.spec_options import option_of

OUTSIDE = "is outside the allowed roots (none are set); set PARECONV_ALLOWED_ROOTS or upload it"


def refuse_files(payload):
    for part, field in (("teacher", "architecture"), ("teacher", "weights"), ("dataset", "source")):
        if (payload["spec"][part][field] or "").startswith("file:"):
            raise InvalidSpec(f"{part}.{field}", OUTSIDE)
    return {}


def submitted(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["spec"]


def test_every_option_reaches_its_field(submit):
    options = (
        "--num-classes 2 --normalize imagenet --train-epochs 3 --image-size 48 --augment crop "
        "--budget-params 30000 --trials 5 --operators svd,ghost --granularity conv "
        "--distill-epochs 0.5 --finish-epochs 2 --finalists 1 --formats onnx,pt2 --name mine "
        "--seed 9 --device cpu --weights teacher:abc --data dataset:xyz "
        "--accuracy-drop 1.5 --budget-latency 2.5 --latency-runtime torch --latency-batch 8 "
        "--latency-threads 2 --latency-table latency:abc "
        "--time-limit 3600 --trial-time-limit 60 --library-rungs 0"
    )

    spec = submitted(submit(*options.split(), "--json"))

    teacher = {"architecture": "cifar_resnet8", "weights": "teacher:abc", "num_classes": 2}
    assert spec["teacher"].items() >= (teacher | {"normalize": "imagenet"}).items()
    assert spec["teacher"]["training"]["epochs"] == 3
    assert (spec["time_limit_s"], spec["search"]["trial_time_limit_s"]) == (3600, 60)
    dataset = {"source": "dataset:xyz", "image_size": 48, "augment": "crop"}
    assert spec["dataset"].items() >= dataset.items()
    latency = {"ms": 2.5, "runtime": "torch", "batch": 8, "threads": 2, "table": "latency:abc"}
    costs = {"flops": "50%", "params": 30000, "latency": latency}
    assert spec["budget"] == costs | {"accuracy_drop": 1.5}
    search = {"trials": 5, "operators": ["svd", "ghost"], "granularity": "conv"}
    assert spec["search"].items() >= search.items()
    assert (spec["library"]["rungs"], spec["distill"]["epochs"]) == (0, 0.5)
    finish = {"epochs": 2, "finalists": 1, "formats": ["onnx", "pt2"]}
    assert spec["finish"].items() >= finish.items()
    assert (spec["name"], spec["seed"], spec["device"]) == ("mine", 9, "cpu")


def test_an_entry_at_fault_is_told_under_the_name_of_its_option(submit):
    refused = submit("--data", "digits", "--formats", "onnx,exe")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("--formats (finish.formats.1): ")


def test_statistics_of_one_s_own_are_json(submit):
    own = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
    spec = submitted(submit("--data", "digits", "--normalize", json.dumps(own), "--json"))
    assert spec["teacher"]["normalize"] == own

    broken = submit("--data", "digits", "--normalize", '{"mean": [0.5')
    assert broken.exit_code == 2
    assert "teacher.normalize" in broken.stderr


def test_options_override_a_spec_file(run, spec, tmp_path):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec | {"seed": 3}))

    found = submitted(
        run("submit", "--spec", path, "--trials", 4, "--image-size", "auto", "--json")
    )

    assert (found["seed"], found["search"]["trials"]) == (3, 4)
    assert found["dataset"].items() >= {"source": "digits", "image_size": "auto"}.items()


def test_a_budget_is_given_to_a_spec_that_had_none(run, spec, tmp_path):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec | {"budget": None, "plan": {"layer1.0": "svd(ratio=0.25)"}}))

    found = submitted(run("submit", "--spec", path, "--budget-flops", "99%", "--json"))

    assert found["budget"]["flops"] == "99%"
    assert found["plan"] == {"layer1.0": "svd(ratio=0.25)"}


@pytest.mark.parametrize("text", ["{", "[1]", '{"teacher": 3}', None])
def test_a_spec_file_that_is_none_is_exit_code_2(run, tmp_path, text):
    path = tmp_path / "spec.json"
    if text is not None:
        path.write_text(text)

    result = run("submit", "--spec", path, "--teacher", "x")

    assert result.exit_code == 2
    assert str(path) in result.stderr


def test_a_file_that_the_server_can_read_is_named_to_it(submit, tmp_path, monkeypatch):
    (tmp_path / "net.pt").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)

    spec = submitted(submit("--data", "cifar10:sub", "--weights", "net.pt", "--json"))

    assert spec["teacher"]["weights"] == f"file:{tmp_path / 'net.pt'}"
    assert spec["dataset"]["source"] == f"cifar10:{tmp_path / 'sub'}"


def test_files_that_the_server_cannot_read_are_uploaded(submit, runner, tmp_path):
    runner.answers["inspect"] = refuse_files
    model, data = tmp_path / "net.pt", tmp_path / "images.zip"
    model.write_bytes(b"weights")
    data.write_bytes(b"images")

    spec = submitted(submit("--data", data, "--weights", model, "--json"))

    assert spec["teacher"]["weights"].startswith("teacher:")
    assert spec["dataset"]["source"].startswith("dataset:")


def test_a_network_is_a_file_like_others(submit, runner, tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"a network")
    spec = submitted(submit("--data", "digits", "--teacher", path, "--json"))
    assert spec["teacher"]["architecture"] == f"file:{path}"

    runner.answers["inspect"] = refuse_files
    spec = submitted(submit("--data", "digits", "--teacher", path, "--json"))
    assert spec["teacher"]["architecture"].startswith("teacher:")

    missing = submit("--data", "digits", "--teacher", tmp_path / "other.onnx")
    assert missing.exit_code == 2
    assert "--teacher" in missing.stderr


def test_a_file_that_does_not_fit_is_not_uploaded(submit, runner, tmp_path):
    runner.answers["inspect"] = InvalidSpec("teacher.weights", "fc.weight is (10, 64), not (2, 64)")
    path = tmp_path / "net.pt"
    path.write_bytes(b"weights")

    result = submit("--data", "digits", "--weights", path)

    assert result.exit_code == 2
    assert result.stderr == "--weights (teacher.weights): fc.weight is (10, 64), not (2, 64)\n"
    assert "check_teacher" not in runner.tasks()


def test_a_file_that_is_refused_as_an_upload_names_the_field(submit, runner, tmp_path):
    runner.answers |= {"inspect": refuse_files, "check_dataset": InvalidSpec("x", "is no zip")}
    path = tmp_path / "images.zip"
    path.write_bytes(b"images")

    result = submit("--data", path)

    assert (result.exit_code, result.stderr.strip()) == (2, "--data (dataset.source): is no zip")


def test_a_folder_that_the_server_cannot_read_is_to_be_zipped(submit, runner, tmp_path):
    runner.answers["inspect"] = refuse_files

    result = submit("--data", tmp_path)

    assert result.exit_code == 2
    assert "--data" in result.stderr
    assert "zip it" in result.stderr


def test_a_path_that_is_not_there_is_exit_code_2(submit, runner, tmp_path):
    result = submit("--data", tmp_path / "nothing.zip")

    assert result.exit_code == 2
    assert "nothing.zip" in result.stderr
    assert runner.calls == []


def test_an_inspection_shows_blocks_reasons_and_reach(run):
    result = run(
        *("inspect", "--teacher", "cifar_resnet8", "--budget-flops", "50%", "--data", "digits")
    )

    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "layer1.0 1 1 svd(ratio=0.5) 40.0%" in text
    assert "Left out: conv1: 3 input channels" in text
    assert "FLOPs within reach: 200 to 1.00k; the budget is 500" in text
    assert "Assumed: --normalize (teacher.normalize): taken from the images." in text


def test_what_is_assumed_of_a_job_is_told(run, tmp_path):
    (tmp_path / "net.pt").write_bytes(b"x")
    asked = ("submit", "--teacher", "x", "--weights", tmp_path / "net.pt", "--data", "digits")

    result = run(*asked, "--budget-flops", "50%")

    assert result.exit_code == 0
    assert "Assumed: --normalize (teacher.normalize): the weights do not say" in result.stderr
    assert run(*asked, "--budget-flops", "50%", "--normalize", "cifar10").stderr == ""


def test_what_is_assumed_stands_above_a_live_display_which_cuts_it(run, tmp_path, monkeypatch):
    (tmp_path / "net.pt").write_bytes(b"x")
    asked = ("submit", "--teacher", "x", "--weights", tmp_path / "net.pt", "--data", "digits")
    monkeypatch.setattr(submission, "follow", lambda _job, **_how: None)

    def told():
        return run(*asked, "--budget-flops", "50%", "--watch").stderr

    assert told() == ""  # lines have all of it among the events
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(submission, "sys", SimpleNamespace(stdout=terminal))
    assert "Assumed: --normalize (teacher.normalize): the weights do not say" in told()


def test_a_folder_called_digits_is_not_taken_for_the_digits(run, tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)

    result = run(
        *("submit", "--teacher", "cifar_resnet8", "--data", "digits", "--budget-flops", "50%")
    )

    assert result.exit_code == 0
    assert "means the built-in data, not what is called so here: say ./digits" in result.stderr


def test_a_latency_that_no_job_has_measured_is_not_passed_over_in_silence(run):
    asked = ("inspect", "--teacher", "cifar_resnet8", "--data", "digits")
    told = "Latency within reach: known once a job has measured it"

    assert told in run(*asked, "--budget-latency", "60%").stdout
    assert told not in run(*asked, "--budget-flops", "60%").stdout


def test_what_is_within_a_field_goes_by_its_option():
    assert option_of("teacher.normalize.mean.2") == "--normalize"
    assert option_of("finish.formats.1") == "--formats"
    assert option_of("budget") == "--budget-flops"
    assert option_of("budget.nothing") is None
    assert option_of("search.exclude") is None


def test_a_look_needs_no_budget(run, runner):
    result = run("inspect", "--teacher", "cifar_resnet8", "--data", "digits")
    assert result.exit_code == 0
    assert runner.calls[-1][1]["spec"]["budget"]["flops"] == "100%"
    assert "FLOPs within reach: 200 to 1.00k" in result.stdout
    assert "the budget is" not in result.stdout


def test_what_is_wrong_is_told_by_its_option(run):
    result = run("submit", "--data", "digits", "--budget-flops", "0.5")
    assert result.exit_code == 2
    assert "--teacher (teacher): is required" in result.stderr
    assert "--budget-flops (budget.flops): '0.5' is no limit" in result.stderr


def test_an_upload_that_is_refused_goes_by_the_name_of_its_file(run, runner, tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"x")

    def refuse(payload):
        weights = payload["spec"]["teacher"]["weights"]
        if weights.startswith("file:"):
            raise InvalidSpec("teacher.weights", "is outside the allowed roots")
        raise InvalidSpec("teacher.weights", f"{weights} is a whole network")

    runner.answers["inspect"] = refuse
    weights = ("--weights", tmp_path / "net.onnx")
    asked = ("submit", "--teacher", "x", *weights, "--data", "digits", "--budget-flops", "50%")

    assert "--weights (teacher.weights): net.onnx is a whole network" in run(*asked).stderr


def test_weights_as_the_network_are_sent_for_the_server_to_say_so(run, runner, tmp_path):
    (tmp_path / "net.pt").write_bytes(b"x")
    run("submit", "--teacher", tmp_path / "net.pt", "--data", "digits", "--budget-flops", "50%")
    assert runner.calls[-1][1]["spec"]["teacher"]["architecture"] == f"file:{tmp_path}/net.pt"
