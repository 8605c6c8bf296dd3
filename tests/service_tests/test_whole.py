"""The service with its own child process: the real catalog, inspection and checks of files."""

import io
import json
import os
import pickle
import stat
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from pareconv.models.teachers.architectures import architecture
from pareconv.service.app import create_app

INTRUDED = Path(tempfile.gettempdir(), f"intruded-{os.getpid()}")
DATABASE = {"pareconv.db", "pareconv.db-shm", "pareconv.db-wal"}  # its side files come and go


def zipped(**files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def client(home, run_server, settings_in):
    with run_server(create_app(settings_in(home))) as client:
        client.timeout = 200
        yield client


def test_the_catalog_is_complete_and_documents_itself(client):
    for path in ("/architectures", "/operators", "/methods"):
        items = client.get(path).json()["items"]
        names = [each["name"] for each in items]
        assert len(set(names)) == len(names) > 0
        assert all(each["source"] for each in items)

    known = [each["name"] for each in client.get("/architectures?search=resnet").json()["items"]]
    assert {"cifar_resnet8", "resnet18"} <= set(known)


def test_a_spec_of_defaults_is_inspected_and_becomes_a_job(client, spec):
    found = client.post("/inspect", json=spec)
    job = client.post("/jobs", json=spec)

    assert found.status_code == 200, found.text
    inspection = found.json()
    assert len(inspection["classes"]) == 10
    assert inspection["budget"]["flops"] == inspection["teacher"]["flops"] // 2
    assert inspection["blocks"][0]["options"]
    assert job.status_code == 201, job.text


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("teacher.architecture", "cifar_resnet9", "cifar_resnet"),
        ("teacher.weights", "teacher:none", "none"),
        ("teacher.weights", "file:/etc/passwd", "root"),
        ("teacher.num_classes", 7, "10"),
        ("dataset.source", "dataset:none", "none"),
        ("dataset.source", "file:/etc", "root"),
        ("budget.flops", 10, "least"),
        ("budget.flops", "1%", "least"),
        ("search.operators", ["magic"], "svd"),
    ],
)
def test_what_cannot_work_is_refused(client, spec, assert_problem, path, value, words):
    section, field = path.split(".")
    spec[section] = spec.get(section, {}) | {field: value}

    problem = assert_problem(client.post("/jobs", json=spec), 422, field=path)

    assert words in problem["detail"]


class Evil:
    """Makes a folder where it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, (str(INTRUDED),))


def linked():
    packed = io.BytesIO(zipped(**{"cat/1.png": b"x", "dog/1.png": b"y"}))
    link = zipfile.ZipInfo("cat/2.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    return packed.getvalue()


def declaring(size):
    """A tar whose first image says that it has so many bytes."""
    member = tarfile.TarInfo("cat/1.png")
    member.size = size
    return member.tobuf() + bytes(1024)


def onnx_of(*nodes, **constants):
    """Scores of ten classes out of `nodes`, which make `y` of `x`."""
    graph = helper.make_graph(
        list(nodes),
        "hostile",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def outside():
    model = onnx_of(helper.make_node("Conv", ["x", "w"], ["y"]), w=np.ones((10, 3, 1, 1), "f4"))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")
    return model.SerializeToString()


def loop():
    body = helper.make_graph([], "body", [], [])
    node = helper.make_node("Loop", ["", ""], ["y"], body=body)
    return onnx_of(node).SerializeToString()


def cycle():
    first, second = (helper.make_node("Add", ["x", a], [b]) for a, b in ("zy", "yz"))
    return onnx_of(first, second).SerializeToString()


def giant_reshape():
    nodes = (
        helper.make_node("Expand", ["x", "wide"], ["big"]),
        helper.make_node("Reshape", ["big", "shape"], ["y"]),
    )
    given = {"wide": np.array([100_000, 3, 32, 32]), "shape": np.array([-1, 10])}
    return onnx_of(*nodes, **given).SerializeToString()


HOSTILE = {
    "an empty model": ("/teachers", b""),
    "a model of another magic": ("/teachers", b"no weights at all"),
    "a pickle with code in it": ("/teachers", pickle.dumps(Evil())),
    "an ONNX file that reads another": ("/teachers", outside()),
    "an ONNX file with a loop": ("/teachers", loop()),
    "an ONNX file with a cycle": ("/teachers", cycle()),
    "an ONNX file with a giant Reshape": ("/teachers", giant_reshape()),
    "a truncated ONNX file": ("/teachers", giant_reshape()[:-30]),
    "an empty archive": ("/datasets", b""),
    "no archive at all": ("/datasets", b"no zip at all"),
    "an archive without images": ("/datasets", zipped(**{"readme.txt": b"no images"})),
    "a zip that escapes": ("/datasets", zipped(**{"../../cat/a.png": b"x", "dog/b.png": b"y"})),
    "a zip with links": ("/datasets", linked()),
    "a truncated zip": ("/datasets", linked()[:-30]),
    "10 GB declared in a tar": ("/datasets", declaring(10 * 10**9)),
}


def test_the_intruder_of_this_test_would_intrude():
    pickle.loads(HOSTILE["a pickle with code in it"][1])
    assert INTRUDED.exists()
    INTRUDED.rmdir()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_or_useless_file_is_refused(client, home, assert_problem, name):
    path, content = HOSTILE[name]
    before = {each for each in home.rglob("*") if each.is_file()}
    assert_problem(client.post(path, files={"file": ("f", content)}), 422, field="file")
    assert client.get(path).json()["items"] == []
    left = {each for each in home.rglob("*") if each.is_file()} - before
    assert {each.name for each in left} <= DATABASE
    assert not INTRUDED.exists()


def test_a_data_set_is_shown_with_pictures(client):
    picture = io.BytesIO()
    Image.new("RGB", (20, 20), (255, 0, 0)).save(picture, "PNG")
    images = {f"{name}/{n}.png": picture.getvalue() for name in ("cat", "dog") for n in range(5)}
    sent = client.post("/datasets", files={"file": ("pets.zip", zipped(**images))})
    assert sent.status_code == 201, sent.text
    shown = client.get(sent.headers["location"]).json()
    assert shown == sent.json()
    summary = shown["summary"]
    assert summary["train_counts"] == {"cat": 4, "dog": 4}
    assert (summary["test"], summary["image_size"]) == (2, 20)
    assert summary["normalize"]["mean"] == [1, 0, 0]
    assert [each["class"] for each in summary["thumbnails"]] == ["cat", "dog"]
    (listed,) = client.get("/datasets").json()["items"]
    assert "thumbnails" not in listed["summary"]
    assert client.delete(sent.headers["location"]).status_code == 204


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A ResNet-8 as ONNX, untrained."""
    path = tmp_path_factory.mktemp("network") / "network.onnx"
    program = torch.onnx.export(
        architecture("cifar_resnet8").build(10).eval(),
        (torch.zeros(2, 3, 32, 32),),
        dynamo=True,
        verbose=False,
        dynamic_shapes=({0: torch.export.Dim("images")},),
    )
    program.save(path)
    return path.read_bytes()


def test_a_network_is_uploaded_and_inspected(client, spec, network):
    upload = client.post("/teachers", files={"file": ("mine.onnx", network)}).json()
    assert upload["summary"]["format"] == "onnx"
    assert (upload["summary"]["classes"], upload["summary"]["image_size"]) == (10, 32)
    assert upload["summary"]["difference"] < 1e-4

    spec["teacher"] = {"architecture": upload["reference"]}
    found = client.post("/inspect", json=spec)
    assert found.status_code == 200, found.text
    assert found.json()["teacher"]["params"] == upload["summary"]["parameters"]
    assert "layer1.0" in {block["name"].split(".conv")[0] for block in found.json()["blocks"]}

    job = client.post("/jobs", json=spec)
    assert job.status_code == 201, job.text
    assert client.delete(f"/teachers/{upload['id']}").status_code == 409
    client.post(f"/jobs/{job.json()['id']}/cancel")
    assert client.delete(f"/teachers/{upload['id']}").status_code == 204


def test_a_network_comes_along_with_the_job(client, spec, network):
    spec["teacher"] = {}
    sent = {"spec": (None, json.dumps(spec)), "model": ("mine.onnx", network)}
    job = client.post("/jobs", files=sent)
    assert job.status_code == 201, job.text
    assert job.json()["spec"]["teacher"]["architecture"].startswith("teacher:")
    assert job.json()["spec"]["teacher"]["weights"] is None

    client.post(f"/jobs/{job.json()['id']}/cancel")
    (upload,) = client.get("/teachers").json()["items"]
    assert client.delete(f"/teachers/{upload['id']}").status_code == 204


def test_a_model_of_the_wrong_kind_in_a_job_is_refused(client, spec, assert_problem):
    sent = {"spec": (None, json.dumps(spec)), "model": ("m.pt", b"no weights")}

    assert_problem(client.post("/jobs", files=sent), 422, field="model")
    assert client.get("/teachers").json()["items"] == []
