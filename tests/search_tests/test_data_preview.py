"""The preview of an image folder: sizes, statistics and thumbnails, from real bytes."""

import base64
import zipfile
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from pareconv.search.data.preview import preview
from pareconv.search.data.sources import Source, opened
from pareconv.search.errors import InvalidSpec

COLOURS = {"blue": (0, 0, 255), "grey": (51, 51, 51), "red": (255, 0, 0)}


def picture(size, colour):
    file = BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def shown(tmp_path):
    """Previews a zip of images, given by name."""

    def run(images):
        path = tmp_path / "images.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in images.items():
                archive.writestr(name, content)
        with opened(Source("file", path), scratch=tmp_path) as originals:
            return preview(originals)

    return run


def of(sizes):
    """Three images of each colour, of these sizes by turns."""
    return {"test/red/0.png": picture(sizes[0], COLOURS["red"])} | {
        f"train/{name}/{number}.png": picture(sizes[number % len(sizes)], colour)
        for name, colour in COLOURS.items()
        for number in range(3)
    }


def test_images_of_one_size(shown):
    found = shown(of([(100, 100)]))
    assert found.image_size == 100
    np.testing.assert_allclose(found.mean, [(0 + 0.2 + 1) / 3, 0.2 / 3, (1 + 0.2 + 0) / 3])
    assert min(found.std) > 0
    assert [name for name, _ in found.thumbnails] == sorted(COLOURS)
    for name, jpeg in found.thumbnails:
        image = Image.open(BytesIO(base64.b64decode(jpeg)))
        assert (image.format, image.size) == ("JPEG", (64, 64))
        np.testing.assert_allclose(image.getpixel((32, 32)), COLOURS[name], atol=3)


@pytest.mark.parametrize(
    "sizes", [[(32, 32), (32, 48)], [(40, 30)], [(4, 4)], [(32, 32), (16, 16)]]
)
def test_images_that_are_not_alike_or_not_square_have_no_size(shown, sizes):
    assert shown(of(sizes)).image_size is None


def test_small_images_are_not_enlarged(shown):
    (_, jpeg), *_ = shown(of([(16, 16)])).thumbnails
    assert Image.open(BytesIO(base64.b64decode(jpeg))).size == (16, 16)


def test_at_most_ten_thumbnails(shown):
    found = shown(
        {f"class{n:02}/{k}.png": picture((16, 16), (n, n, n)) for n in range(30) for k in (1, 2)}
    )
    assert [name for name, _ in found.thumbnails] == [f"class{n:02}" for n in range(10)]


def test_a_corrupt_image_is_named(shown):
    with pytest.raises(InvalidSpec, match=r"'train/red/0\.png' cannot be decoded"):
        shown(of([(32, 32)]) | {"train/red/0.png": picture((32, 32), (255, 0, 0))[:60]})
