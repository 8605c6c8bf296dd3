"""`cancel`, `resume` and `download`."""

import json


def test_cancel_and_resume_tell_the_new_status(run, job):
    assert run("cancel", job).stdout == f"Job {job} is cancelled\n"
    assert json.loads(run("resume", job, "--json").stdout)["status"] == "queued"


def test_the_files_of_all_finalists_are_saved(run, finished, tmp_path):
    to = tmp_path / "students"

    assert run("download", finished, "--to", to).exit_code == 0
    saved = sorted(path for path in to.rglob("*") if path.is_file())
    assert saved == [to / f"student-{number}.onnx" for number in (0, 1)]
    assert {path.read_bytes() for path in saved} == {b"onnx bytes"}


def test_one_file_is_saved_where_it_was_asked_for(run, finished, tmp_path):
    to = tmp_path / "here"

    assert run("download", finished, "--trial", 1, "--to", to).exit_code == 0
    assert [path.name for path in to.iterdir()] == ["student-1.onnx"]


def test_a_file_that_is_not_there_is_exit_code_1_and_names_those_that_are(run, finished, tmp_path):
    result = run("download", finished, "--format", "pt2", "--to", tmp_path)

    assert result.exit_code == 1
    assert "trial 0 onnx, trial 1 onnx" in result.stderr
