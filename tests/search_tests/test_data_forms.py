"""Every form of a data set through the checks of the service: the upload's summary, the
inspection.
"""

import base64
import tarfile
import zipfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pareconv.search.errors import InvalidSpec
from pareconv.search.tasks import TASKS
from pareconv.storage.database import Database
from pareconv.storage.settings import Settings

COLOURS = {"blue": (0, 0, 255), "red": (255, 0, 0)}
SPLITS = {"train": 5, "val": 3, "test": 2}


def png(colour):
    file = BytesIO()
    Image.new("RGB", (16, 16), colour).save(file, "PNG")
    return file.getvalue()


def members():
    return {
        f"{split}/{name}/{number}.png": png(colour)
        for split, count in SPLITS.items()
        for name, colour in COLOURS.items()
        for number in range(count)
    }


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members().items():
            archive.writestr(name, content)


def tarred(mode):
    def make(path):
        with tarfile.open(path, mode) as archive:
            for name, content in members().items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, BytesIO(content))

    return make


def arrays(path):
    pixels = np.zeros((2, 16, 16, 3), np.uint8)
    pixels[:] = np.array(list(COLOURS.values()))[:, None, None]
    given = {"classes": np.array(list(COLOURS))}
    for split, count in SPLITS.items():
        given[f"{split}_images"] = pixels.repeat(count, 0)
        given[f"{split}_labels"] = np.array([[0], [1]]).repeat(count, 0)
    with path.open("wb") as file:
        np.savez_compressed(file, **given)


def folder(path):
    for name, content in members().items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)


FILES = {
    "zip": zipped,
    "tar": tarred("w:"),
    "tar.gz": tarred("w:gz"),
    "tar.bz2": tarred("w:bz2"),
    "tar.xz": tarred("w:xz"),
    "npz": arrays,
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PARECONV_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PARECONV_ALLOWED_ROOTS", str(tmp_path))
    return tmp_path / "home"


def task(name, payload):
    return TASKS[name](payload, lambda _: None)


@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
def test_an_upload_is_summed_up(tmp_path, home, make):
    make(tmp_path / "upload")
    found = task("check_dataset", {"path": str(tmp_path / "upload")})
    assert found["classes"] == ["blue", "red"]
    assert found["train_counts"] == {"blue": 5, "red": 5}
    assert (found["train"], found["validation"], found["test"]) == (10, 6, 4)
    assert found["image_size"] == 16
    assert found["normalize"]["mean"] == (0.5, 0, 0.5)
    assert [each["class"] for each in found["thumbnails"]] == ["blue", "red"]
    red = Image.open(BytesIO(base64.b64decode(found["thumbnails"][1]["jpeg"])))
    np.testing.assert_allclose(red.getpixel((8, 8)), (255, 0, 0), atol=3)
    assert not [path for path in home.rglob("*") if path.is_file()]


@pytest.mark.parametrize("make", [folder, FILES["tar.gz"], arrays], ids=["folder", "tar.gz", "npz"])
def test_an_inspection_takes_it(tmp_path, make):
    database = Database(Settings().database)
    database.migrate()
    database.close()
    make(tmp_path / "data")
    spec = {
        "teacher": {"architecture": "cifar_resnet8"},
        "dataset": {"source": f"file:{tmp_path}/data"},
        "budget": {"flops": "60%"},
    }
    found = task("inspect", {"spec": spec})
    assert found["images"] == {"train": 10, "validation": 6, "held_out": None, "test": 4}
    assert (found["classes"], found["image_size"]) == (["blue", "red"], 16)


@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
def test_a_damaged_upload_leaves_nothing_behind(tmp_path, home, make):
    path = tmp_path / "upload"
    make(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InvalidSpec, match="pack it again"):
        task("check_dataset", {"path": str(path)})
    assert not [path for path in home.rglob("*") if path.is_file()]
