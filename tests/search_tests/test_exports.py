"""Exports: which files of a student are kept, and what is told of each."""

import pytest
import torch

from pareconv.models.plan import Plan
from pareconv.models.quantization import OnnxNetwork
from pareconv.models.rewriting import rewrite
from pareconv.search.evaluation import evaluate
from pareconv.search.exports import export_student
from pareconv.storage.files import FileStore

PLAN = Plan.from_json({"3": "svd(ratio=0.625)"})


@pytest.fixture
def files(tmp_path):
    return FileStore(str(tmp_path / "files"))


class Exported:
    def __init__(self, bench, student, files):
        self.accuracy = evaluate(student, bench.validation).accuracy
        self.made = export_student(bench, student, PLAN, self.accuracy, files)
        self.files = {each["format"]: each for each in self.made.artifacts}


@pytest.fixture
def export(new_bench, files):
    """Export the student of the plan in some formats, changed by hand before."""

    def exported(*formats, change=None):
        bench = new_bench(finish={"formats": formats})
        student = rewrite(bench.teacher, PLAN, bench.sample)
        if change is not None:
            change(student)
        return bench, Exported(bench, student, files)

    return exported


def test_each_file_is_stored_with_how_far_it_is_from_the_student(export, files):
    _, done = export("pt2", "onnx", "report")
    assert set(done.files) == {"pt2", "onnx"}
    assert done.made.refused == []
    for each in done.files.values():
        assert files.local_path(each["sha256"]).stat().st_size == each["size_bytes"]
        assert 0 <= each["details"]["difference"] < 1e-4


def test_a_quantised_file_has_its_own_accuracy_close_to_the_students(export, files):
    """It is made of the ONNX file, which nobody asked for and nobody gets."""
    bench, done = export("onnx-int8")
    assert set(done.files) == {"onnx-int8"}
    told = done.files["onnx-int8"]["details"]
    assert done.accuracy > 0.7
    assert told["accuracy"] == pytest.approx(done.accuracy, abs=0.03)
    network = OnnxNetwork(files.local_path(done.files["onnx-int8"]["sha256"]))
    assert told["accuracy"] == evaluate(network, bench.validation).accuracy
    assert told["test_accuracy"] == evaluate(network, bench.test).accuracy


def outsized(student):
    """The same network, one channel of which is so large that 8 bits show no other beside it."""
    with torch.no_grad():
        for name in ("1.weight", "1.bias"):
            student.get_parameter(name)[0] *= 1e5
        first = next(name for name, _ in student.named_parameters() if name.startswith("3."))
        student.get_parameter(first)[:, 0] /= 1e5


def test_a_quantised_file_that_lost_what_the_student_knew_is_refused(export):
    _, done = export("onnx", "onnx-int8", change=outsized)
    assert done.accuracy > 0.7
    assert set(done.files) == {"onnx"}
    [refused] = done.made.refused
    assert refused["format"] == "onnx-int8"
    assert f"validation accuracy fell from {done.accuracy:.1%} to " in refused["reason"]
