"""Artifacts: one file per candidate and format, the newest in the place of the former."""

import pytest

from pareconv.storage.artifacts import ArtifactStore
from pareconv.storage.candidates import CandidateStore
from pareconv.storage.errors import NotFound


@pytest.fixture
def artifacts(database, job):
    for _ in range(2):
        CandidateStore(database).create(job.id, {}, flops=1, adds=0, params=1)
    return ArtifactStore(database)


def put(artifacts, job, number, format, digit="a", **details):
    return artifacts.put(
        job.id,
        number,
        format=format,
        sha256=digit * 64,
        size_bytes=620_000,
        filename=f"student.{format}",
        **details,
    )


def test_an_artifact_is_found_again(artifacts, job):
    artifact = put(artifacts, job, 1, "onnx")
    assert artifacts.get(job.id, 1, "onnx") == artifact
    assert (artifact.sha256, artifact.size_bytes) == ("a" * 64, 620_000)
    assert artifact.filename == "student.onnx"
    assert artifact.details is None


def test_figures_of_a_file_are_kept(artifacts, job):
    put(artifacts, job, 1, "onnx-int8", details={"accuracy": 0.5})
    assert artifacts.get(job.id, 1, "onnx-int8").details == {"accuracy": 0.5}


def test_a_new_export_takes_the_place_of_the_former(artifacts, job):
    put(artifacts, job, 1, "onnx", details={"difference": 0.5})
    newer = put(artifacts, job, 1, "onnx", "b")
    assert newer.details is None
    assert newer.sha256 == "b" * 64
    assert artifacts.of_job(job.id) == [newer]


def test_the_artifacts_of_a_job_are_sorted(artifacts, job):
    put(artifacts, job, 1, "onnx")
    put(artifacts, job, 0, "pt2")
    put(artifacts, job, 0, "onnx")
    found = [(artifact.number, artifact.format) for artifact in artifacts.of_job(job.id)]
    assert found == [(0, "onnx"), (0, "pt2"), (1, "onnx")]


def test_what_was_not_exported_is_not_found(artifacts, job):
    with pytest.raises(NotFound, match=f"no artifact '{job.id}/0/onnx'"):
        artifacts.get(job.id, 0, "onnx")
    with pytest.raises(NotFound, match=f"no trial '{job.id}/7'"):
        put(artifacts, job, 7, "onnx")
