"""Data sets that bring a validation split, and those that bring no test split."""

from io import BytesIO

import pytest
import torch
from PIL import Image

from pareconv.search.contents import contents
from pareconv.search.data.images import Images
from pareconv.search.data.sources import Source, load
from pareconv.search.errors import InvalidSpec
from pareconv.search.inspection import inspect
from pareconv.search.profiling import profile
from pareconv.search.references import References
from pareconv.search.resolving import resolve
from pareconv.search.spec import JobSpec
from pareconv.search.workbench import lay_out
from pareconv.storage.database import Database
from pareconv.storage.settings import Settings

SHADES = {"train": 50, "val": 100, "test": 200}
NUMBERS = range(10)


def png(colour):
    file = BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()


def make_folder(path, contents):
    for name, content in contents.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return Source("folder", path)


def members(**folders):
    """Images of two classes in these folders, of a shade by split, class and number."""
    return {
        f"{folder}/{name}/{n}.png": png((SHADES[split] + 20 * (name == "dog") + n, 0, 0))
        for split, folder in folders.items()
        for name in ("cat", "dog")
        for n in NUMBERS
    }


def shades(images):
    return sorted(images[:, 0, 0, 0].tolist())


def all_of(split):
    return sorted(SHADES[split] + shift + n for shift in (0, 20) for n in NUMBERS)


@pytest.fixture
def loaded(tmp_path):
    def run(**folders):
        source = make_folder(tmp_path / "data", members(**folders))
        return load(source, image_size="auto", cache=tmp_path / "cache")

    return run


@pytest.mark.parametrize("folder", ["val", "valid", "validation"])
def test_each_given_folder_is_its_split(loaded, folder):
    for _ in range(2):  # decoded, and kept
        images = loaded(train="train", val=folder, test="test")
        assert shades(images.train_images) == all_of("train")
        assert shades(images.validation_images) == all_of("val")
        assert shades(images.test_images) == all_of("test")
        assert images.validation_labels.tolist() == [0] * 10 + [1] * 10


def test_validation_without_test_is_halved_and_train_stays_whole(loaded):
    images = loaded(train="train", val="val")
    assert shades(images.train_images) == all_of("train")
    assert images.validation_labels.bincount().tolist() == [5, 5]
    assert images.test_labels.bincount().tolist() == [5, 5]
    both = torch.cat([images.validation_images, images.test_images])
    assert shades(both) == all_of("val")


def test_neither_holds_a_fifth_out_of_train(loaded):
    images = loaded(train="train")
    assert images.validation_labels is None
    assert images.test_labels.bincount().tolist() == [2, 2]
    assert shades(torch.cat([images.train_images, images.test_images])) == all_of("train")


def test_a_validation_class_of_one_image_cannot_be_halved(tmp_path):
    few = members(train="train") | {f"val/{name}/1.png": png("red") for name in ("cat", "dog")}
    source = make_folder(tmp_path / "data", few)
    with pytest.raises(InvalidSpec, match="has 1 image and at least 2 are needed"):
        load(source, image_size="auto", cache=tmp_path / "cache")


def test_contents_tell_what_there_is(tmp_path):
    source = make_folder(tmp_path / "data", members(train="train", val="val", test="test"))
    found = contents(source, "auto", cache=tmp_path / "cache")
    assert (found.train_counts, found.validation, found.test) == ((10, 10), 20, 20)
    assert found.image_size == 8


def spec(source, **dataset):
    return JobSpec.model_validate(
        {
            "teacher": {"architecture": "cifar_resnet8", "training": {"epochs": 1}},
            "dataset": {"source": source, "image_size": 16, **dataset},
            "budget": {"flops": "60%"},
            "device": "cpu",
        }
    )


@pytest.fixture
def references(tmp_path):
    settings = Settings(home=tmp_path / "home", allowed_roots=(tmp_path,))
    database = Database(settings.database)
    database.migrate()
    database.close()
    with References(settings) as references:
        yield references


def test_a_job_validates_on_what_is_given(tmp_path, references, monkeypatch):
    monkeypatch.setattr("pareconv.search.profiling._check_skill", lambda *_, **__: None)
    make_folder(tmp_path / "data", members(train="train", val="val", test="test"))
    found = profile(spec(f"file:{tmp_path}/data"), references, lambda _: None)
    assert found["profile"]["images"] == {"train": 20, "validation": 20, "test": 20}
    assert found["resolved"]["dataset"]["validation_fraction"] == "auto"
    # A resolved spec can be sent again.
    inspect(JobSpec.model_validate(found["resolved"]), references)


def test_a_fraction_beside_a_given_split_is_refused(tmp_path, references):
    make_folder(tmp_path / "data", members(train="train", val="val", test="test"))
    with pytest.raises(InvalidSpec, match="brings its own validation split, of 20") as caught:
        inspect(spec(f"file:{tmp_path}/data", validation_fraction=0.1), references)
    assert caught.value.field == "dataset.validation_fraction"


def test_the_workbench_has_the_given_splits(small_network):
    parts = [torch.full((4, 3, 16, 16), shade, dtype=torch.uint8) for shade in SHADES.values()]
    labels = torch.tensor([0, 1, 0, 1])
    train, validation, test = parts
    images = Images("x", ("a", "b"), train, labels, test, labels, validation, labels)
    bench = lay_out(resolve(spec("digits"), images), small_network(0), images)
    assert shades(bench.train.images) == [50] * 4
    assert shades(bench.validation.images) == [100] * 4
    assert shades(bench.test.images) == [200] * 4


def test_a_source_of_each_split_is_the_same_each_time(tmp_path):
    source = make_folder(tmp_path / "data", members(train="train", val="val"))
    first, again = (load(source, image_size=8, cache=tmp_path / name) for name in "ab")
    assert torch.equal(first.test_images, again.test_images)
