"""The command line against the real app: what it prints, where, and its exit codes."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from rich.console import Console
from typer.testing import CliRunner

from pareconv.search.errors import InvalidSpec
from pareconv.service import demo
from pareconv.service.cli import doctor, watching
from pareconv.service.cli.app import app
from pareconv.service.cli.failures import Failed
from pareconv.service.cli.figures import age, count, duration, percent, plan_in_short, size_of
from pareconv.service.cli.front_table import front_view
from pareconv.service.cli.job_view import job_view
from pareconv.service.client import Client
from pareconv.storage.database import Database
from pareconv.storage.jobs import JobStatus, Stage

OUTSIDE = "is outside the allowed roots (none are set); set PARECONV_ALLOWED_ROOTS or upload it"
SUBMIT = ("submit", "--teacher", "cifar_resnet8", "--budget-flops", "50%")
TEACHER = {
    "accuracy": 0.981,
    "test_accuracy": 0.975,
    "flops": 12_500_000,
    "adds": 0,
    "params": 78042,
}
CONTENT = b"onnx bytes"

FRONT = {
    "job": "1m3qjx0y6bq3c8z5w9d2e7f4ga",
    "status": "succeeded",
    "trials_completed": 8,
    "budget": {"flops": 6_250_000, "params": None, "latency_ms": None},
    "teacher": TEACHER,
    "points": [
        {
            "trial": 3,
            "accuracy": 0.90512,
            "accuracy_stderr": 0.0123,
            "flops": 3_100_000,
            "flops_ratio": 0.248,
            "adds": 0,
            "params": 9_950,
            "params_ratio": 0.1275,
            "plan": {"a": "shift"},
            "finalist": False,
            "finish_accuracy": None,
            "test_accuracy": None,
            "artifacts": [],
        },
        {
            "trial": 7,
            "accuracy": 0.972,
            "accuracy_stderr": 0.009,
            "flops": 6_100_000,
            "flops_ratio": 0.488,
            "adds": 0,
            "params": 39_000,
            "params_ratio": 0.4997,
            "plan": {"a": "svd(ratio=0.25)", "b": "svd(ratio=0.25)", "c": "shift"},
            "finalist": True,
            "finish_accuracy": 0.9801,
            "test_accuracy": 0.966,
            "artifacts": [
                {
                    "format": "onnx",
                    "bytes": 160_300,
                    "sha256": "0",
                    "href": "/jobs/x/students/7/onnx",
                }
            ],
        },
    ],
}


@pytest.fixture
def run(client, monkeypatch):
    """Run a command against the server of the test, in a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("PARECONV_SERVER", str(client.base_url))
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture
def job(client, spec):
    return client.post("/jobs", json=spec).json()["id"]


@pytest.fixture
def finished(job, stores):
    """A job that succeeded, with two finalists on its front and a file of each."""
    stores.jobs.claim("w", 60)
    profile = {"teacher": TEACHER, "budget": {"flops": 6_250_000, "params": None}}
    stores.jobs.update(job, owner="w", profile=profile, stage=Stage.FINISH, progress=1.0)
    stores.events.append(job, "trial", "trial 0 is done")
    sha256, size_bytes = stores.files.put_stream(io.BytesIO(CONTENT))
    known = {"loss": 0.3, "seconds": 1.5, "images": 80, "compute": 90.0, "rungs": []}
    known |= {"accuracy_stderr": 0.01, "checkpoint": None}
    for number, accuracy in enumerate((0.9, 0.95)):
        plan = {"layer1.0": f"svd(ratio={accuracy})"}
        cost = (number + 1) * 3_000_000
        stores.candidates.create(job, plan, flops=cost, adds=0, params=30_000)
        stores.candidates.complete(job, number, accuracy=accuracy, **known)
        finished = {"finish_accuracy": accuracy, "test_accuracy": accuracy, "compute": 900.0}
        stores.candidates.finish(job, number, **finished)
        file = {"sha256": sha256, "size_bytes": size_bytes, "filename": f"student-{number}.onnx"}
        stores.artifacts.put(job, number, format="onnx", **file)
    stores.jobs.transition(job, JobStatus.SUCCEEDED, owner="w")
    return job


def refuse_files(payload):
    for part, field in (("teacher", "weights"), ("dataset", "source")):
        if (payload["spec"][part][field] or "").startswith("file:"):
            raise InvalidSpec(f"{part}.{field}", OUTSIDE)
    return {}


def submitted(result):
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["spec"]


def shown(renderable) -> str:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.file.getvalue()


# Errors and exit codes


def test_no_server_is_exit_code_3_with_the_remedy():
    result = CliRunner().invoke(app, ["--server", "http://127.0.0.1:9", "jobs"])

    assert result.exit_code == 3
    assert result.stdout == ""
    assert "http://127.0.0.1:9" in result.stderr
    assert "pareconv serve" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_refused_field_is_exit_code_2_on_a_line_of_its_own(run):
    result = run(
        "submit", "--teacher", "x", "--data", "digits", "--budget-flops", "0", "--trials", 0
    )

    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["budget.flops", "search.trials"]


def test_an_unknown_job_is_exit_code_1(run):
    result = run("front", "no-such-job")

    assert result.exit_code == 1
    assert "no-such-job" in result.stderr


def test_a_setting_that_cannot_be_is_exit_code_2(run):
    result = run("serve", "--port", "99999")

    assert result.exit_code == 2
    assert "PARECONV_PORT" in result.stderr
    assert "99999" in result.stderr


def test_the_help_tells_the_exit_codes_and_an_example_of_every_command(run):
    assert "3 no server answers" in run("--help").stdout.replace("\n", " ")
    names = [command.callback.__name__ for command in app.registered_commands]
    groups = [["db", "upgrade"], ["libraries"], ["libraries", "front"]]
    for command in [[name] for name in names] + groups:
        assert f"Example: pareconv {' '.join(command)}" in run(*command, "--help").stdout


def test_the_server_may_be_named_before_or_after_the_command(client, monkeypatch):
    monkeypatch.setenv("PARECONV_SERVER", "http://127.0.0.1:9")
    url = str(client.base_url)

    for arguments in (["--server", url, "jobs"], ["jobs", "--server", url]):
        assert CliRunner().invoke(app, arguments).exit_code == 0


def test_the_command_line_does_not_load_torch():
    code = (
        "import sys, pareconv.service.cli, pareconv.service.demo, pareconv.service.server\n"
        "print([name for name in ('torch', 'optuna') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


# Submitting and inspecting


def test_every_option_reaches_its_field(run):
    options = (
        "--num-classes 2 --normalize imagenet --train-epochs 3 --image-size 48 --augment crop "
        "--budget-params 30000 --trials 5 --operators svd,ghost --granularity conv "
        "--distill-epochs 0.5 --finish-epochs 2 --finalists 1 --formats onnx,pt2 --name mine "
        "--seed 9 --device cpu --weights teacher:abc --data dataset:xyz"
    )

    spec = submitted(run(*SUBMIT, *options.split(), "--json"))

    teacher = {"architecture": "cifar_resnet8", "weights": "teacher:abc", "num_classes": 2}
    assert spec["teacher"].items() >= (teacher | {"normalize": "imagenet"}).items()
    assert spec["teacher"]["training"]["epochs"] == 3
    dataset = {"source": "dataset:xyz", "image_size": 48, "augment": "crop"}
    assert spec["dataset"].items() >= dataset.items()
    assert spec["budget"] == {"flops": "50%", "params": 30000}
    search = {"trials": 5, "operators": ["svd", "ghost"], "granularity": "conv"}
    assert spec["search"].items() >= search.items()
    assert spec["distill"]["epochs"] == 0.5
    finish = {"epochs": 2, "finalists": 1, "formats": ["onnx", "pt2"]}
    assert spec["finish"].items() >= finish.items()
    assert (spec["name"], spec["seed"], spec["device"]) == ("mine", 9, "cpu")


def test_options_override_a_spec_file(run, spec, tmp_path):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec | {"seed": 3}))

    found = submitted(
        run("submit", "--spec", path, "--trials", 4, "--image-size", "auto", "--json")
    )

    assert (found["seed"], found["search"]["trials"]) == (3, 4)
    assert found["dataset"].items() >= {"source": "digits", "image_size": "auto"}.items()


@pytest.mark.parametrize("text", ["{", "[1]", '{"teacher": 3}', None])
def test_a_spec_file_that_is_none_is_exit_code_2(run, tmp_path, text):
    path = tmp_path / "spec.json"
    if text is not None:
        path.write_text(text)

    result = run("submit", "--spec", path, "--teacher", "x")

    assert result.exit_code == 2
    assert str(path) in result.stderr


def test_a_file_that_the_server_can_read_is_named_to_it(run, tmp_path, monkeypatch):
    (tmp_path / "net.pt").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)

    spec = submitted(run(*SUBMIT, "--data", "cifar10:sub", "--weights", "net.pt", "--json"))

    assert spec["teacher"]["weights"] == f"file:{tmp_path / 'net.pt'}"
    assert spec["dataset"]["source"] == f"cifar10:{tmp_path / 'sub'}"


def test_files_that_the_server_cannot_read_are_uploaded(run, runner, tmp_path):
    runner.answers["inspect"] = refuse_files
    model, data = tmp_path / "net.pt", tmp_path / "images.zip"
    model.write_bytes(b"weights")
    data.write_bytes(b"images")

    spec = submitted(run(*SUBMIT, "--data", data, "--weights", model, "--json"))

    assert spec["teacher"]["weights"].startswith("teacher:")
    assert spec["dataset"]["source"].startswith("dataset:")


def test_a_file_that_does_not_fit_is_not_uploaded(run, runner, tmp_path):
    runner.answers["inspect"] = InvalidSpec("teacher.weights", "fc.weight is (10, 64), not (2, 64)")
    path = tmp_path / "net.pt"
    path.write_bytes(b"weights")

    result = run(*SUBMIT, "--data", "digits", "--weights", path)

    assert result.exit_code == 2
    assert result.stderr == "teacher.weights: fc.weight is (10, 64), not (2, 64)\n"
    assert "check_weights" not in runner.tasks()


def test_a_file_that_is_refused_as_an_upload_names_the_field(run, runner, tmp_path):
    runner.answers |= {"inspect": refuse_files, "check_dataset": InvalidSpec("x", "is no zip")}
    path = tmp_path / "images.zip"
    path.write_bytes(b"images")

    result = run(*SUBMIT, "--data", path)

    assert (result.exit_code, result.stderr.strip()) == (2, "dataset.source: is no zip")


def test_a_folder_that_the_server_cannot_read_is_to_be_zipped(run, runner, tmp_path):
    runner.answers["inspect"] = refuse_files

    result = run(*SUBMIT, "--data", tmp_path)

    assert result.exit_code == 2
    assert "--data" in result.stderr
    assert "zip it" in result.stderr


def test_a_path_that_is_not_there_is_exit_code_2(run, runner, tmp_path):
    result = run(*SUBMIT, "--data", tmp_path / "nothing.zip")

    assert result.exit_code == 2
    assert "nothing.zip" in result.stderr
    assert runner.calls == []


def test_an_inspection_shows_blocks_reasons_and_reach(run):
    result = run("inspect", *SUBMIT[1:], "--data", "digits")

    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "layer1.0 1 1 svd(ratio=0.5) 40.0%" in text
    assert "Left out: conv1: 3 input channels" in text
    assert "FLOPs within reach: 200 to 1.00k; the budget is 500" in text


# Looking


def test_jobs_are_listed_as_a_table_and_as_json(run, job):
    assert job in run("jobs").stdout
    assert json.loads(run("jobs", "--json").stdout)["items"][0]["id"] == job
    assert "No jobs" in run("jobs", "--status", "failed").stdout


def test_the_front_fits_80_columns_and_says_what_was_reached():
    text = shown(front_view(FRONT, server="http://localhost:8000"))
    rows = {line.split()[0]: " ".join(line.split()) for line in text.splitlines() if line.strip()}

    assert max(map(len, text.splitlines())) <= 80
    assert rows["teacher"] == "teacher 12.5M 100% 78.0k 100% 98.1% - 97.5%"
    assert rows["3"] == "3 3.10M 25% 9.95k 13% 90.5% ±1.2 - - shift"
    assert rows["7"].startswith("7 6.10M 49% 39.0k 50% 97.2% ±0.9 98.0% 96.6% svd(0.25) x2,")
    words = " ".join(text.split())
    assert "8 trials, budget 6.25M FLOPs" in words
    assert "Finalist 7: test accuracy 96.6%, the teacher's 97.5%, at 49% of its FLOPs" in words
    assert "onnx 160kB /jobs/x/students/7/onnx" in words
    assert "http://localhost:8000/dashboard" in words


def test_the_full_front_names_every_block():
    text = shown(front_view(FRONT, server="http://x", full=True))

    assert "Trial 7:\n  a  svd(ratio=0.25)\n  b  svd(ratio=0.25)\n  c  shift\n" in text


def test_the_additions_of_adder_layers_are_shown_where_there_are_some():
    assert "Adds" not in shown(front_view(FRONT, server="http://x"))
    points = [FRONT["points"][0] | {"adds": 120_000}]

    assert "120k" in shown(front_view(FRONT | {"points": points}, server="http://x"))


def test_the_front_of_a_job_that_has_none_yet(run, job):
    result = run("front", job)

    assert result.exit_code == 0
    assert "No student inside the budget yet" in result.stdout


def test_the_front_as_json_is_what_the_server_says(run, client, finished):
    answer = json.loads(run("front", finished, "--json", "--objectives", "accuracy,params").stdout)

    params = {"objectives": "accuracy,params"}
    assert answer == client.get(f"/jobs/{finished}/pareto", params=params).json()


def test_figures_are_short_and_true():
    assert [count(n) for n in (7, 999, 999_960, 40_927_872)] == ["7", "999", "1.00M", "40.9M"]
    assert [size_of(n) for n in (12, 620_000)] == ["12 B", "620kB"]
    assert [duration(s) for s in (41.6, 187, 3727)] == ["42 s", "3:07", "1:02:07"]
    assert [percent(None), percent(0.5), percent(0.496, digits=0)] == ["-", "50.0%", "50%"]
    assert plan_in_short({}) == "keep"
    assert plan_in_short({"a": "shift", "b": "svd(ratio=1)", "c": "shift"}) == "shift x2, svd(1)"
    assert age("2020-01-01T00:00:00Z").endswith(" d")


def test_libraries_are_listed_as_a_table_and_as_json(run, library, stores):
    row = " ".join(run("libraries").stdout.split())
    assert f"{library.id} cifar_resnet8 1.00k 100 idle" in row
    assert json.loads(run("libraries", "--json").stdout)["items"][0]["id"] == library.id
    stores.libraries.claim(library.id, "w", 60)
    assert "being built" in run("libraries").stdout


def test_no_libraries_are_told(run):
    assert "No libraries" in run("libraries").stdout


def test_a_predicted_front_shows_plans_with_score_and_cost(run, library):
    result = run("libraries", "front", library.id, "--flops", "40%")

    assert result.exit_code == 0, result.output
    text = " ".join(result.stdout.split())
    assert f"Library {library.id}: predicted front within 400 FLOPs" in text
    assert "FLOPs Adds Params Score Plan" in text
    assert "300 35% 50 20 20% 0.5 shift" in text
    assert "600 60% 0 60 60% 0.1 svd(0.5)" in text


def test_a_predicted_front_as_json_is_what_the_server_says(run, library):
    answer = json.loads(run("libraries", "front", library.id, "--params", "30", "--json").stdout)

    assert answer["budget"] == {"flops": None, "params": 30}
    assert [point["score"] for point in answer["points"]] == [0.5, 0.1]


def test_a_budget_that_is_none_is_exit_code_2(run, library):
    result = run("libraries", "front", library.id, "--flops", "half")

    assert result.exit_code == 2
    assert result.stderr.startswith("flops: 'half' is no budget")


def test_the_server_may_be_named_before_a_command_of_a_group(client, library, monkeypatch):
    monkeypatch.setenv("PARECONV_SERVER", "http://127.0.0.1:9")
    arguments = ["libraries", "--server", str(client.base_url), "front", library.id]

    assert CliRunner().invoke(app, arguments).exit_code == 0


# Watching


def test_watching_a_finished_job_prints_its_events_and_front(run, finished):
    result = run("watch", finished)

    assert result.exit_code == 0, result.output
    assert "trial 0 is done" in result.stdout
    assert "Finalist 1: test accuracy 95.0%, the teacher's 97.5%" in result.stdout


def test_watching_as_json_is_a_line_per_event_and_the_front(run, finished):
    lines = [json.loads(line) for line in run("watch", finished, "--json").stdout.splitlines()]

    assert "trial 0 is done" in [line.get("message") for line in lines]
    assert [point["trial"] for point in lines[-1]["points"]] == [0, 1]


def test_a_failed_job_is_exit_code_1_with_reason_and_remedy(run, job, stores):
    stores.jobs.claim("w", 60)
    stores.jobs.update(job, owner="w", stage=Stage.PROFILE)
    error = {"title": "near chance", "detail": "accuracy 0.1 of 10 classes"}
    stores.jobs.transition(job, JobStatus.FAILED, owner="w", error=error)

    result = run("watch", job)

    assert result.exit_code == 1
    assert "failed in profile: accuracy 0.1 of 10 classes" in result.stderr
    assert f"pareconv resume {job}" in result.stderr


def test_a_submitted_job_can_be_watched(run, stores, monkeypatch):
    monkeypatch.setattr(watching, "_POLL_SECONDS", 0.01)
    polled = watching.moments

    def cancelled_meanwhile(client, job):
        client.cancel(job)
        return polled(client, job)

    monkeypatch.setattr(watching, "moments", cancelled_meanwhile)

    result = run(*SUBMIT, "--data", "digits", "--watch")

    assert result.exit_code == 1
    assert "cancelled" in result.stderr


def test_a_server_that_is_away_is_waited_for(client_of, settings, spec, monkeypatch):
    monkeypatch.setattr(watching, "_POLL_SECONDS", 0.01)
    client = client_of()
    job = client.post("/jobs", json=spec).json()["id"]
    with Client(str(client.base_url)) as pareconv:
        moments = watching.moments(pareconv, job)
        next(moments)
        address, pareconv._http.base_url = pareconv._http.base_url, "http://127.0.0.1:9"
        away = [next(moments) for _ in range(3)]
        pareconv._http.base_url = address
        client.post(f"/jobs/{job}/cancel")
        seen = list(moments)

    assert not any(moment.is_connected for moment in away[-2:])
    assert seen[-1].is_connected
    assert seen[-1].job["status"] == "cancelled"


def test_ctrl_c_leaves_the_job_running_and_says_how_to_come_back(run, job, stores, monkeypatch):
    def interrupted(client, job):
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "moments", interrupted)

    result = run("watch", job)

    assert result.exit_code == 130
    assert f"pareconv watch {job}" in result.stderr
    assert stores.jobs.get(job).status == JobStatus.QUEUED


def test_the_live_display_shows_how_far_the_job_is(client, finished):
    job = client.get(f"/jobs/{finished}").json()
    job |= {"status": "running", "stage": "search", "progress": 0.42, "eta_s": 96.0}
    job["spec"]["search"]["trials"] = 8

    text = shown(job_view(job, ["19:00:00 trial 1 is done"], is_connected=False))

    expected = ("running, search", "42%", "about 1:36 left", "trials 2/8", "best 95.0% at 6.00M")
    for each in (*expected, "19:00:00 trial 1 is done", "connection lost"):
        assert each in text


# Acting


def test_cancel_and_resume_tell_the_new_status(run, job):
    assert run("cancel", job).stdout == f"Job {job} is cancelled\n"
    assert json.loads(run("resume", job, "--json").stdout)["status"] == "queued"


def test_the_files_of_all_finalists_are_saved(run, finished, tmp_path):
    to = tmp_path / "students"

    assert run("download", finished, "--to", to).exit_code == 0
    saved = sorted(path for path in to.rglob("*") if path.is_file())
    assert saved == [to / f"student-{number}.onnx" for number in (0, 1)]
    assert {hashlib.sha256(path.read_bytes()).digest() for path in saved} == {
        hashlib.sha256(CONTENT).digest()
    }


def test_one_file_is_saved_where_it_was_asked_for(run, finished, tmp_path):
    to = tmp_path / "here"

    assert run("download", finished, "--trial", 1, "--to", to).exit_code == 0
    assert [path.name for path in to.iterdir()] == ["student-1.onnx"]


def test_a_file_that_is_not_there_is_exit_code_1_and_names_those_that_are(run, finished, tmp_path):
    result = run("download", finished, "--format", "pt2", "--to", tmp_path)

    assert result.exit_code == 1
    assert "trial 0 onnx, trial 1 onnx" in result.stderr


# This machine


def test_the_doctor_finds_this_machine_in_order(settings, monkeypatch):
    monkeypatch.setenv("PARECONV_HOME", str(settings.home))

    result = CliRunner().invoke(app, ["doctor", "--json"])

    assert result.exit_code == 0, result.output
    findings = {each["check"]: each for each in json.loads(result.stdout)}
    assert list(findings) == [
        *("python", "torch", "device", "database", "artifacts", "disk", "allowed roots")
    ]
    assert "torchvision" in findings["torch"]["found"]
    assert "not there yet" in findings["database"]["found"]
    assert not (settings.home / "pareconv.db").exists(), "a look must not make one"


def test_the_doctor_says_what_to_do(settings, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "_torch", list)
    monkeypatch.setenv("PARECONV_HOME", str(settings.home))
    monkeypatch.setenv("PARECONV_ALLOWED_ROOTS", str(tmp_path / "missing"))
    monkeypatch.setenv("PARECONV_ARTIFACTS_URL", "/proc/nowhere")

    result = CliRunner().invoke(app, ["doctor"])

    assert result.exit_code == 1
    assert f"no such folder: {tmp_path / 'missing'}" in result.stdout
    assert "mend PARECONV_ALLOWED_ROOTS" in result.stdout
    assert "check PARECONV_ARTIFACTS_URL" in result.stdout
    assert "artifacts, allowed roots" in result.stderr


def test_a_torchvision_for_another_torch_is_found_before_it_is_imported():
    assert doctor.wanted_torch(["numpy", "torch==2.15.0", "pillow"]) == "2.15.0"
    assert doctor.wanted_torch(["torchmetrics==1.0", "torch>=2"]) is None


def test_the_database_is_upgraded_and_then_known_to_the_doctor(settings, monkeypatch):
    monkeypatch.setattr(doctor, "_torch", list)
    monkeypatch.setenv("PARECONV_HOME", str(settings.home))

    assert "is at revision" in CliRunner().invoke(app, ["db", "upgrade"]).stdout
    assert "revision" in CliRunner().invoke(app, ["doctor"]).stdout


def test_a_database_of_a_newer_version_is_a_finding(settings, monkeypatch):
    database = Database(settings.database)
    database.migrate()
    with database.session() as session:
        session.connection().exec_driver_sql(
            "UPDATE pareconv_alembic_version SET version_num = '9999'"
        )
    database.close()
    monkeypatch.setattr(doctor, "_torch", list)
    monkeypatch.setenv("PARECONV_HOME", str(settings.home))

    result = CliRunner().invoke(app, ["doctor"])

    assert result.exit_code == 1
    assert "newer version (9999)" in result.stdout


def servers_of(home: Path) -> list[int]:
    arguments = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return [1 for each in arguments if str(home) in each]


def test_the_demo_leaves_no_server_behind(tmp_path, monkeypatch):
    monkeypatch.setenv(
        "PARECONV_DATABASE_URL", "sqlite:///" + str(tmp_path / "not-for-the-demo.db")
    )
    home = tmp_path / "home"

    def interrupted() -> None:
        with demo.running_server(home, workers=0) as client:
            assert client.is_ready()
            assert servers_of(home)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert not servers_of(home)
    assert (home / "pareconv.db").exists()
    assert not (tmp_path / "not-for-the-demo.db").exists()


def test_a_demo_whose_server_does_not_come_up_names_its_log(tmp_path):
    home = tmp_path / "home"
    (home / "pareconv.db").mkdir(parents=True)

    with pytest.raises(Failed, match=str(home / "serve.log")), demo.running_server(home):
        pass

    assert not servers_of(home)
