import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from pareconv.search.data.decoding import MAX_PIXELS, decode, decode_all, size_of
from pareconv.search.data.originals import Pictures
from pareconv.search.errors import InvalidSpec


def encoded(image, form="PNG", **options):
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def pictures(contents):
    return Pictures(
        torch.zeros(len(contents), dtype=torch.int64),
        name=lambda number: f"'cat/{number + 1}'",
        size=lambda number: size_of(contents[number], f"cat/{number + 1}"),
        rgb=lambda number: decode(contents[number], f"cat/{number + 1}"),
    )


def decoded(content, size=8, is_exact=False):
    pixels = np.empty((1, 3, size, size), np.uint8)
    is_resized = decode_all(pictures([content]), pixels, is_exact=is_exact)
    return pixels[0], is_resized


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("form", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True})]
)
def test_lossless_pixels_are_kept(noise, form, options):
    pixels, is_resized = decoded(encoded(Image.fromarray(noise), form, **options))
    assert np.array_equal(pixels, noise.transpose(2, 0, 1))
    assert not is_resized


def test_jpeg_is_decoded():
    pixels, _ = decoded(encoded(Image.new("RGB", (8, 8), (200, 100, 50)), "JPEG"))
    assert np.allclose(pixels.mean((1, 2)), (200, 100, 50), atol=3)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA"])
def test_every_mode_becomes_rgb(noise, mode):
    source = Image.fromarray(noise).convert(mode)
    pixels, _ = decoded(encoded(source))
    assert np.array_equal(pixels, np.asarray(source.convert("RGB")).transpose(2, 0, 1))


def test_sixteen_bits_of_grey_are_scaled_not_clipped():
    grey = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1024
    pixels, _ = decoded(encoded(Image.fromarray(grey)))
    assert np.array_equal(pixels, np.broadcast_to(grey >> 8, (3, 8, 8)))


def test_other_sizes_are_scaled_to_the_square_with_antialiasing():
    stripes = np.zeros((16, 32, 3), np.uint8)
    stripes[:, ::2] = 200
    pixels, is_resized = decoded(encoded(Image.fromarray(stripes)))
    assert is_resized
    assert np.abs(pixels[:, :, 1:-1].astype(int) - 100).max() < 30


def test_many_images_keep_their_order():
    contents = [encoded(Image.new("L", (8, 8), n % 251)) for n in range(600)]
    pixels = np.empty((600, 3, 8, 8), np.uint8)
    decode_all(pictures(contents), pixels, is_exact=True)
    assert pixels[:, 0, 0, 0].tolist() == [n % 251 for n in range(600)]


def test_the_header_alone_tells_the_size(noise):
    content = encoded(Image.fromarray(noise).resize((300, 200)))
    assert size_of(content[:100], "cat/1") == (300, 200)


def test_exact_refuses_another_size_and_asks_for_image_size():
    with pytest.raises(InvalidSpec) as caught:
        decoded(encoded(Image.new("RGB", (9, 8))), is_exact=True)
    assert caught.value.field == "dataset.image_size"
    assert "'cat/1' is 9 x 8; give image_size" in caught.value.message


def corrupt_png(noise):
    content = bytearray(encoded(Image.fromarray(noise)))
    content[60:90] = bytes(30)
    return bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: b"",
        lambda _: b"no image",
        lambda noise: encoded(Image.fromarray(noise), "JPEG")[:400],
        lambda noise: encoded(Image.fromarray(noise))[:60],
        corrupt_png,
        lambda noise: encoded(Image.fromarray(noise), "GIF"),
    ],
    ids=["empty", "text", "short jpeg", "short png", "bytes of png", "gif in disguise"],
)
def test_a_corrupt_image_is_refused_by_name(noise, spoil):
    with pytest.raises(InvalidSpec, match=r"'cat/1' cannot be decoded") as caught:
        decoded(spoil(noise))
    assert caught.value.field == "dataset.source"


@pytest.mark.parametrize("side", [8_000, 11_000, 20_000], ids=["ours", "PIL warns", "PIL refuses"])
def test_a_decompression_bomb_is_refused_by_its_header(side):
    content = bytearray(encoded(Image.new("1", (8, 8))))
    content[16:24] = side.to_bytes(4, "big") * 2
    content[29:33] = png_checksum(content[12:29])
    # Nothing behind the header: whoever decoded it would complain of that instead.
    with pytest.raises(InvalidSpec, match=f"'cat/1' is too large .* limit is {MAX_PIXELS:,}"):
        decoded(bytes(content[:33]) + bytes(content[33:45]))


def png_checksum(chunk):
    return zlib.crc32(chunk).to_bytes(4, "big")
