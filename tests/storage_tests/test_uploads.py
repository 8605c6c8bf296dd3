"""Uploads: teachers and data sets, each kind on its own, the same bytes once."""

import pytest

from pareconv.storage.errors import InvalidCursor, NotFound
from pareconv.storage.uploads import UploadStore


@pytest.fixture(params=["teacher", "dataset"])
def uploads(request, database):
    return UploadStore(database, request.param)


def add(uploads, digit="a", name="resnet20"):
    return uploads.add(name, "weights.pt", digit * 64, 1_100_000, {"classes": 10})


def test_an_upload_is_found_again(uploads):
    upload = add(uploads)
    assert uploads.get(upload.id) == upload
    assert (upload.name, upload.filename, upload.size_bytes) == (
        "resnet20",
        "weights.pt",
        1_100_000,
    )
    assert upload.summary == {"classes": 10}


def test_the_same_bytes_are_the_first_upload(uploads):
    first = add(uploads)
    assert add(uploads, name="again") == first
    assert uploads.page(10) == ([first], None)


def test_the_same_bytes_at_the_same_time_are_one_upload(uploads, together):
    found = together(*[lambda: add(uploads)] * 4)
    assert uploads.page(10)[0] * 4 == found


def test_pages_go_from_new_to_old(uploads):
    added = [add(uploads, digit) for digit in "abc"]
    first, cursor = uploads.page(2)
    second, end = uploads.page(2, cursor)
    assert (first + second, end) == (added[::-1], None)
    with pytest.raises(InvalidCursor):
        uploads.page(2, "next")


def test_a_deleted_upload_is_gone_and_can_come_again(uploads):
    first = add(uploads)
    uploads.delete(first.id)
    for call in (uploads.get, uploads.delete):
        with pytest.raises(NotFound, match=first.id):
            call(first.id)
    assert add(uploads).id != first.id


def test_a_teacher_is_no_dataset(database):
    teacher = add(UploadStore(database, "teacher"))
    datasets = UploadStore(database, "dataset")
    assert datasets.page(10) == ([], None)
    with pytest.raises(NotFound, match="no dataset"):
        datasets.get(teacher.id)
