import os
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import pytest

from pareconv.search.data import archive
from pareconv.search.data.archive import folder_reader, list_folder, list_zip, zip_reader
from pareconv.search.errors import InvalidSpec

MEMBERS = {"cat/1.png": b"first", "dog/1.png": b"second"}
CENTRAL = b"PK\x01\x02"  # starts a member's entry in the table of contents
FLAGS, SIZE = 8, 24  # offsets in it


def make_zip(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def forge(path, offset, layout, value):
    """Overwrites one field of every entry of the table of contents."""
    content = bytearray(path.read_bytes())
    at = content.find(CENTRAL)
    while at >= 0:
        struct.pack_into(layout, content, at + offset, value)
        at = content.find(CENTRAL, at + 4)
    path.write_bytes(content)
    return path


def refusal(call, path):
    with pytest.raises(InvalidSpec) as caught:
        call(path)
    assert caught.value.field == "dataset.source"
    return caught.value.message


def test_a_zip_is_listed_with_its_declared_bytes(tmp_path):
    path = make_zip(tmp_path / "a.zip", {**MEMBERS, "notes.txt": b"12345"})
    listing = list_zip(path)
    assert listing.train == (("cat/1.png", 0), ("dog/1.png", 1))
    assert listing.total_bytes == 5 + 6 + 5


def test_folder_entries_of_a_zip_are_no_members(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"cat/": b"", "x.png/": b"", **MEMBERS})
    assert len(list_zip(path).train) == 2


def test_members_are_read_from_several_places(tmp_path):
    path = make_zip(tmp_path / "a.zip", MEMBERS)
    for name, content in MEMBERS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with zip_reader(path) as from_zip, folder_reader(tmp_path) as from_folder:
        assert from_zip("dog/1.png") == from_folder("dog/1.png") == b"second"


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04" + bytes(100)])
def test_what_is_not_a_zip_is_refused(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    assert "'a.zip' is not a zip archive" in refusal(list_zip, tmp_path / "a.zip")


def test_a_truncated_zip_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", MEMBERS)
    path.write_bytes(path.read_bytes()[:-30])
    assert "cut short" in refusal(list_zip, path)


def test_a_missing_zip_is_refused(tmp_path):
    assert "No such file" in refusal(list_zip, tmp_path / "a.zip")


@pytest.mark.parametrize(
    "name", ["../out.png", "cat/../../out.png", "/etc/out.png", "C:/out.png", "cat\\..\\out.png"]
)
def test_a_member_that_escapes_is_refused_by_name(tmp_path, name):
    path = make_zip(tmp_path / "a.zip", {**MEMBERS, name: b""})
    message = refusal(list_zip, path)
    assert repr(name) in message
    assert "leads out of its folder" in message


def test_a_name_that_hides_its_end_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {**MEMBERS, "cat/2.pngX.exe": b""})
    path.write_bytes(path.read_bytes().replace(b".pngX.exe", b".png\0.exe"))
    assert "cat/2.png" in refusal(list_zip, path)


def test_a_member_without_a_name_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {**MEMBERS, "nameless": b""})
    path.write_bytes(path.read_bytes().replace(b"nameless", b"\0" * 8))
    assert "no name" in refusal(list_zip, path)


def test_a_link_is_refused_by_name(tmp_path):
    path = make_zip(tmp_path / "a.zip", MEMBERS)
    link = zipfile.ZipInfo("cat/2.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(link, "/etc/passwd")
    assert "'cat/2.png' is a link" in refusal(list_zip, path)


def test_an_encrypted_member_is_refused(tmp_path):
    path = forge(make_zip(tmp_path / "a.zip", MEMBERS), FLAGS, "<H", 0x1)
    message = refusal(list_zip, path)
    assert "encrypted" in message
    assert "without a password" in message


def test_a_rare_compression_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", MEMBERS, zipfile.ZIP_LZMA)
    assert "method 14; pack with deflate" in refusal(list_zip, path)


def test_duplicate_names_are_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", MEMBERS)
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("cat/1.png", b"again")
    assert "more than once, such as 'cat/1.png'" in refusal(list_zip, path)


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    path = make_zip(tmp_path / "a.zip", {**MEMBERS, "cat/2.png": b""})
    assert "3 members, the limit is 2" in refusal(list_zip, path)


def test_a_bomb_of_many_members_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {**{f"{n}.txt": b"" for n in range(6)}})
    message = refusal(list_zip, forge(path, SIZE, "<L", 4_000_000_000))
    assert "24,000,000,000 bytes, the limit is 20,000,000,000" in message


def test_a_bomb_in_one_image_is_refused(tmp_path):
    path = forge(make_zip(tmp_path / "a.zip", MEMBERS), SIZE, "<L", 2**26 + 1)
    assert "'cat/1.png' has 67,108,865 bytes, the limit is 67,108,864" in refusal(list_zip, path)


def test_a_bomb_by_compression_ratio_is_refused(tmp_path):
    path = make_zip(tmp_path / "a.zip", {**MEMBERS, "cat/2.bmp": bytes(2**21)})
    message = refusal(list_zip, path)
    assert "'cat/2.bmp' unpacks to" in message
    assert "the limit is 200" in message


def test_flat_small_images_compress_as_well_as_they_like(tmp_path):
    path = make_zip(tmp_path / "a.zip", {**MEMBERS, "cat/2.bmp": bytes(2**20)})
    assert len(list_zip(path).train) == 3


@pytest.mark.parametrize("declared", [10, 100_000])
def test_a_member_that_lies_about_its_size_is_refused_when_read(tmp_path, declared):
    path = make_zip(tmp_path / "a.zip", {"cat/1.png": bytes(50_000), "dog/1.png": bytes(50_000)})
    forge(path, SIZE, "<L", declared)
    with zip_reader(path) as read, pytest.raises(InvalidSpec, match=r"'cat/1.png' cannot be read"):
        read("cat/1.png")


def test_a_member_that_lies_about_its_size_is_not_inflated(tmp_path):
    path = make_zip(tmp_path / "a.zip", {"cat/1.png": bytes(50_000_000), "dog/1.png": b""})
    forge(path, SIZE, "<L", 10)
    tracemalloc.start()
    try:
        with zip_reader(path) as read, pytest.raises(InvalidSpec):
            read("cat/1.png")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_member_with_changed_bytes_is_refused_when_read(tmp_path):
    path = make_zip(tmp_path / "a.zip", MEMBERS, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"second", b"sekond"))
    with zip_reader(path) as read, pytest.raises(InvalidSpec, match=r"'dog/1.png' .*CRC"):
        read("dog/1.png")


def test_a_folder_is_listed_like_a_zip(tmp_path):
    for name, content in {**MEMBERS, ".cache/x/1.png": b"", "readme.md": b""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    listing = list_folder(tmp_path)
    assert listing.train == (("cat/1.png", 0), ("dog/1.png", 1))
    assert listing.total_bytes == 5 + 6


def test_a_pipe_in_a_folder_is_refused(tmp_path):
    (tmp_path / "cat").mkdir()
    os.mkfifo(tmp_path / "cat/1.png")
    assert "'cat/1.png' is a device or a pipe" in refusal(list_folder, tmp_path)


@pytest.mark.parametrize("target", ["cat", "cat/1.png"])
def test_a_link_in_a_folder_is_refused(tmp_path, target):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.png").write_bytes(b"")
    (tmp_path / "dog").symlink_to(tmp_path / target)
    assert "'dog' is a link" in refusal(list_folder, tmp_path)


def test_a_huge_image_in_a_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_IMAGE_BYTES", 3)
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.png").write_bytes(b"1234")
    assert "4 bytes, the limit is 3" in refusal(list_folder, tmp_path)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert "is not a folder" in refusal(list_folder, tmp_path / "file")


def test_a_member_gone_since_the_listing_is_refused(tmp_path):
    with folder_reader(tmp_path) as read, pytest.raises(InvalidSpec, match=r"'cat/1.png'"):
        read("cat/1.png")


def test_archives_are_judged_without_torch():
    code = "import sys, pareconv.search.data.archive; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
