import logging

import pytest

from pareconv.search.data.listing import arrange
from pareconv.search.errors import InvalidSpec

SPLIT = ["train/cat/1.jpg", "train/dog/1.jpg", "test/dog/9.jpg"]
PLAIN = ["cat/1.jpg", "dog/1.jpg"]


def refusal(names):
    with pytest.raises(InvalidSpec) as caught:
        arrange(names, 0)
    assert caught.value.field == "dataset.source"
    return caught.value.message


def test_train_and_test_folders_are_the_splits():
    listing = arrange(SPLIT, 123)
    assert listing.classes == ("cat", "dog")
    assert listing.train == (("train/cat/1.jpg", 0), ("train/dog/1.jpg", 1))
    assert listing.test == (("test/dog/9.jpg", 1),)
    assert listing.total_bytes == 123


def test_plain_class_folders_have_no_test_split():
    listing = arrange(PLAIN, 0)
    assert listing.train == (("cat/1.jpg", 0), ("dog/1.jpg", 1))
    assert listing.test == ()


@pytest.mark.parametrize("names", [SPLIT, PLAIN])
def test_one_wrapping_folder_changes_nothing(names):
    wrapped = arrange([f"my data/{name}" for name in names], 0)
    bare = arrange(names, 0)
    assert wrapped.classes == bare.classes
    assert wrapped.train == tuple((f"my data/{name}", label) for name, label in bare.train)
    assert wrapped.test == tuple((f"my data/{name}", label) for name, label in bare.test)


@pytest.mark.parametrize("folder", ["val", "valid", "Validation"])
def test_a_validation_folder_is_the_validation_split(folder):
    listing = arrange([*SPLIT, f"{folder}/cat/3.jpg"], 0)
    assert listing.validation == ((f"{folder}/cat/3.jpg", 0),)
    assert listing.test == (("test/dog/9.jpg", 1),)


def test_the_case_of_a_split_does_not_matter():
    listing = arrange(["Train/cat/1.jpg", "TRAIN/dog/1.jpg", "Test/cat/2.jpg"], 0)
    assert listing.test == (("Test/cat/2.jpg", 0),)


def test_what_is_in_no_split_is_left_out_and_logged(caplog):
    with caplog.at_level(logging.WARNING):
        listing = arrange([*SPLIT, "val/cat/3.jpg", "valid/cat/4.jpg", "extra/cat/5.jpg"], 0)
    assert listing.validation == (("val/cat/3.jpg", 0),)
    assert "2 images outside train/, val/ and test/" in caplog.text


def test_train_alone_is_no_wrapping_folder():
    listing = arrange(["train/cat/1.jpg", "train/dog/1.jpg"], 0)
    assert listing.classes == ("cat", "dog")
    assert listing.test == ()


def test_deeper_folders_below_a_class_of_train_belong_to_it():
    listing = arrange(["train/cat/images/1.jpg", "train/dog/images/1.jpg"], 0)
    assert listing.classes == ("cat", "dog")


def test_order_of_names_does_not_matter():
    assert arrange(reversed(SPLIT), 0) == arrange(SPLIT, 0)


@pytest.mark.parametrize("suffix", ["jpg", "JPEG", "png", "bmp", "webp"])
def test_image_suffixes(suffix):
    assert len(arrange([f"a/1.{suffix}", f"b/1.{suffix}"], 0).train) == 2


@pytest.mark.parametrize(
    "other", ["README.txt", "cat/notes.csv", "__MACOSX/cat/1.jpg", "cat/._1.jpg", ".git/x.png"]
)
def test_what_is_no_image_is_ignored(other):
    assert arrange([*PLAIN, other], 0) == arrange(PLAIN, 0)


@pytest.mark.parametrize("names", [[], ["train/cat/readme.txt"], ["__MACOSX/cat/1.jpg"]])
def test_no_image_is_refused(names):
    assert "no image" in refusal(names)


@pytest.mark.parametrize("names", [["cat/1.jpg", "cat/2.jpg"], ["train/cat/1.jpg"]])
def test_one_class_is_refused_by_name(names):
    message = refusal(names)
    assert "1 class, 'cat'" in message
    assert "at least 2" in message


@pytest.mark.parametrize("split", ["test", "val"])
def test_classes_unknown_to_train_are_named(split):
    assert "'horse'" in refusal([*SPLIT, f"{split}/horse/1.jpg"])


@pytest.mark.parametrize(
    "names",
    [
        ["1.jpg", "2.jpg"],
        [*PLAIN, "stray.jpg"],
        [*PLAIN, "cat/deep/1.jpg"],
        ["train/1.jpg", "train/cat/1.jpg"],
        ["trian/cat/1.jpg", "test/dog/1.jpg"],
    ],
)
def test_an_image_outside_a_class_folder_is_refused_with_the_layouts(names):
    message = refusal(names)
    assert "lies in no class folder" in message
    assert "train/<class>/<image>" in message


def test_a_misspelt_train_is_refused_by_what_there_is_instead():
    message = refusal(["training/cat/1.jpg", "training/dog/1.jpg", "test/cat/1.jpg"])
    assert "outermost folders are test, training, none of them train" in message
