"""The service with its own child process: the real catalog, inspection and checks of files."""

import io
import json
import pickle
import zipfile

import pytest
import torch
from PIL import Image

from pareconv.models.teachers.architectures import architecture
from pareconv.service.app import create_app


def zipped(**files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.fixture(scope="module")
def client(tmp_path_factory, run_server, settings_in):
    with run_server(create_app(settings_in(tmp_path_factory.mktemp("whole")))) as client:
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
    def __reduce__(self):
        return (print, ("code of a stranger runs",))


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/teachers", b""),
        ("/teachers", b"no weights at all"),
        ("/teachers", pickle.dumps(Evil())),
        ("/datasets", b""),
        ("/datasets", b"no zip at all"),
        ("/datasets", zipped(**{"readme.txt": b"no images"})),
        ("/datasets", zipped(**{"../../cat/a.png": b"x", "dog/b.png": b"y"})),
    ],
)
def test_a_hostile_or_useless_file_is_refused(client, assert_problem, path, content):
    assert_problem(client.post(path, files={"file": ("f", content)}), 422, field="file")

    assert client.get(path).json()["items"] == []


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
