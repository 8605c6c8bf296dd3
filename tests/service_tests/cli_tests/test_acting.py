"""`pause`, `priority`, `cancel`, `resume`, `extend`, `finish`, `delete` and `download`."""

import json
from pathlib import Path

import pytest

from pareconv.storage.errors import NotFound


def test_cancel_and_resume_tell_the_new_status(run, job):
    assert run("cancel", job).stdout == f"Job {job} is cancelled\n"
    assert json.loads(run("resume", job, "--json").stdout)["status"] == "queued"


def test_an_unknown_job_is_told_where_known_ones_are(run):
    result = run("cancel", "0sg")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no job '0sg'; `pareconv jobs` lists them, and `latest` is the newest" in result.stderr


def test_the_latest_job_needs_no_id(run, job, client, spec):
    newest = client.post("/jobs", json=spec | {"name": "newest"}).json()["id"]
    assert run("cancel", "latest").stdout == f"Job {newest} is cancelled\n"
    assert run("delete", "latest", "--yes").stdout == f"Job {newest} is deleted\n"
    assert json.loads(run("cancel", "latest", "--json").stdout)["id"] == job


def test_a_latest_job_that_is_not_there_is_told(run):
    result = run("front", "latest")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no job yet; `pareconv submit` creates one" in result.stderr


def test_pause_and_resume_tell_the_new_status(run, job):
    assert run("pause", job).stdout == f"Job {job} is paused\n"
    assert run("resume", job).stdout == f"Job {job} is queued\n"


def test_a_job_that_waits_gets_another_priority(run, job, stores):
    assert run("priority", job, 5).stdout == f"Job {job} is queued\n"
    assert json.loads(run("priority", job, "--json", "--", -5).stdout)["priority"] == -5
    assert run("priority", job, 1001).exit_code == 2
    stores.jobs.claim("w", 60)
    result = run("priority", job, 5)
    assert result.exit_code == 1
    assert "only while it is queued" in result.stderr


def test_a_search_is_extended(run, finished):
    told = run("extend", finished, "--trials", 40, "--time-limit", 600, "--json").stdout
    extension = {"trials": 40, "time_limit_s": 600.0, "after": 3}
    assert json.loads(told)["extension"] == extension
    result = run("extend", finished, "--trials", 40)
    assert result.exit_code == 1
    assert "wait until it has ended" in result.stderr


def test_one_more_trial_is_finished(run, finished, stores):
    result = run("finish", finished, 2, "--epochs", 3, "--formats", "onnx, pt2")
    assert result.stdout == f"Job {finished} is queued\n"
    (wanted,) = stores.candidates.wanted(finished)
    assert (wanted.number, wanted.wanted) == (2, {"epochs": 3.0, "formats": ["onnx", "pt2"]})


def test_who_is_finished_is_not_finished_again(run, finished):
    assert json.loads(run("finish", finished, 1, "--json").stdout)["status"] == "succeeded"


def test_a_job_is_deleted_where_that_is_confirmed(run, finished, stores):
    kept = run("delete", finished, input="n\n")
    assert kept.exit_code == 1
    assert stores.jobs.get(finished).id == finished
    result = run("delete", finished, input="y\n")
    assert result.exit_code == 0
    assert f"Job {finished} is deleted" in result.stdout
    with pytest.raises(NotFound):
        stores.jobs.get(finished)


def test_nobody_is_asked_about_a_job_that_runs_and_cannot_be_deleted(run, job, stores):
    stores.jobs.claim("w", 60)
    result = run("delete", job)
    assert result.exit_code == 1
    assert "[y/N]" not in result.output
    assert "running" in result.stderr


def test_a_script_deletes_without_being_asked(run, job):
    run("cancel", job)
    assert json.loads(run("delete", job, "--yes", "--json").stdout) == {"deleted": job}


def test_a_format_that_is_none_is_exit_code_2(run, finished):
    result = run("finish", finished, 2, "--formats", "exe")
    assert result.exit_code == 2
    assert "formats.0" in result.stderr


def test_files_of_who_left_the_front_are_saved_too(run, finished, stores, tmp_path):
    stores.candidates.create(finished, {}, flops=1, adds=0, params=1)
    known = {"loss": 0.3, "seconds": 1.5, "images": 80, "compute": 90.0, "rungs": []}
    known |= {"accuracy_stderr": 0.01, "checkpoint": None}
    stores.candidates.complete(finished, 3, accuracy=0.99, **known)
    run("download", finished, "--to", tmp_path / "here")
    assert {path.name for path in (tmp_path / "here").iterdir()} == {
        "student-0.onnx",
        "student-1.onnx",
    }


def test_the_files_of_all_finalists_are_saved(run, finished, tmp_path):
    to = tmp_path / "students"

    found = json.loads(run("download", finished, "--to", to, "--json").stdout)
    assert [Path(each["path"]).parent for each in found] == [to, to]
    assert {each["bytes"] for each in found} == {len(b"onnx bytes")}
    saved = sorted(path for path in to.rglob("*") if path.is_file())
    assert saved == [to / f"student-{number}.onnx" for number in (0, 1)]
    assert {path.read_bytes() for path in saved} == {b"onnx bytes"}


def test_one_file_is_saved_where_it_was_asked_for(run, finished, tmp_path):
    to = tmp_path / "here"

    result = run("download", finished, "--trial", 1, "--to", to)
    assert result.exit_code == 0
    assert [path.name for path in to.iterdir()] == ["student-1.onnx"]
    assert "Trial 1: 95.0% on test, FLOPs 48%" in result.stdout
    assert "Trial 0" not in result.stdout


def test_a_file_that_is_not_there_is_exit_code_1_and_names_those_that_are(run, finished, tmp_path):
    result = run("download", finished, "--format", "pt2", "--to", tmp_path)

    assert result.exit_code == 1
    assert "trial 0 onnx, trial 1 onnx" in result.stderr
