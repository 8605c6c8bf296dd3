"""Tars: told by their content, read whole, and refused where they are not safe."""

import io
import lzma
import tarfile
import tracemalloc

import pytest

from pareconv.search.data import archive, unpacking
from pareconv.search.data.formats import format_of
from pareconv.search.data.tar import open_tar
from pareconv.search.errors import InvalidSpec

MEMBERS = {"cat/1.png": b"first", "dog/1.png": b"second"}
MODES = {"plain": "w:", "gzip": "w:gz", "bzip2": "w:bz2", "xz": "w:xz"}
BLOCK = 512


def file(name, content=b""):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member, content


def special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def make(path, *more, members=MEMBERS, mode="w:", form=tarfile.PAX_FORMAT):
    with tarfile.open(path, mode, format=form) as tar:
        for member, content in [*(file(*each) for each in members.items()), *more]:
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def scratch(tmp_path):
    return tmp_path / "scratch"


def refusal(path, scratch):
    with pytest.raises(InvalidSpec) as caught, open_tar(path, scratch):
        pass
    assert caught.value.field == "dataset.source"
    assert not scratch.exists() or not any(scratch.iterdir())
    return caught.value.message


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize(
    "form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT], ids=["pax", "gnu", "v7"]
)
def test_a_tar_is_listed_and_read_whatever_its_name(tmp_path, scratch, mode, form):
    more = [file("notes.txt", b"12345"), special("cat", tarfile.DIRTYPE)]
    path = make(tmp_path / "images.zip", *more, mode=mode, form=form)
    assert format_of(path) == "tar"
    with open_tar(path, scratch) as (listing, read):
        assert listing.train == (("cat/1.png", 0), ("dog/1.png", 1))
        assert [read(name) for name in MEMBERS] == list(MEMBERS.values())
        assert not scratch.exists() or not any(scratch.iterdir())


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def test_names_may_be_long_and_of_any_script(tmp_path, scratch, form):
    long = f"кот/{'x' * 150}.png"
    path = make(tmp_path / "a.tar", file(long, b"third"), form=form)
    with open_tar(path, scratch) as (listing, read):
        assert listing.classes == ("cat", "dog", "кот")
        assert read(long) == b"third"


def test_what_tar_packs_of_the_folder_it_stands_in_has_no_dots(tmp_path, scratch):
    path = make(tmp_path / "a.tar", members={f"./{name}": b"" for name in MEMBERS})
    with open_tar(path, scratch) as (listing, _):
        assert listing.classes == ("cat", "dog")


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_several_streams_in_one_file_are_one(tmp_path, scratch, mode):
    whole = make(tmp_path / "a.tar").read_bytes()
    packers = {"w:gz": "gzip", "w:bz2": "bz2", "w:xz": "lzma"}
    pack = __import__(packers[mode]).compress
    (tmp_path / "b").write_bytes(pack(whole[:700]) + pack(whole[700:]))
    with open_tar(tmp_path / "b", scratch) as (_, read):
        assert read("dog/1.png") == b"second"


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_tar_that_was_cut_short_is_refused(tmp_path, scratch, mode, share):
    noise = {f"cat/{n}.png": bytes(range(n, 250)) * 20 for n in range(20)}
    path = make(tmp_path / "a.tar", members=MEMBERS | noise, mode=mode)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content.rstrip(b"\0")) * share)])
    assert "was cut short" in refusal(path, scratch)


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path, scratch):
    path = make(tmp_path / "a.tar")
    content = bytearray(path.read_bytes())
    content[2 * BLOCK + 10] ^= 1  # in the header of the second member
    path.write_bytes(content)
    assert "no header and no end at byte 1,024" in refusal(path, scratch)


@pytest.mark.parametrize(
    "name", ["../out.png", "cat/../../out.png", "/etc/out.png", "C:/out.png", "cat\\..\\out.png"]
)
@pytest.mark.parametrize("mode", ["w:", "w:gz"])
def test_a_member_that_escapes_is_refused_by_name(tmp_path, scratch, name, mode):
    message = refusal(make(tmp_path / "a.tar", file(name), mode=mode), scratch)
    assert repr(name) in message
    assert "leads out of its folder" in message


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE], ids=["symbolic", "hard"])
@pytest.mark.parametrize("target", ["/etc/passwd", "cat/1.png"])
def test_a_link_is_refused_by_name(tmp_path, scratch, kind, target):
    path = make(tmp_path / "a.tar", special("cat/2.png", kind, target))
    assert "'cat/2.png' is a link" in refusal(path, scratch)


@pytest.mark.parametrize(
    "kind",
    [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.GNUTYPE_SPARSE, b"V"],
    ids=["character", "block", "pipe", "sparse", "volume label"],
)
def test_what_is_no_plain_file_is_refused(tmp_path, scratch, kind):
    message = refusal(make(tmp_path / "a.tar", special("cat/2.png", kind)), scratch)
    assert "'cat/2.png' is a device, a pipe, or a file with holes" in message


def test_duplicate_names_are_refused(tmp_path, scratch):
    path = make(tmp_path / "a.tar", file("./cat/1.png", b"again"))
    assert "more than once, such as 'cat/1.png'" in refusal(path, scratch)


def test_too_many_members_are_refused(tmp_path, scratch, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    path = make(tmp_path / "a.tar", file("notes.txt"))
    assert "3 members, the limit is 2" in refusal(path, scratch)


def declaring(path, name, size):
    """A tar that ends with the header of a member of so many bytes, of which none are there."""
    member = tarfile.TarInfo(name)
    member.size = size
    path.write_bytes(make(path).read_bytes()[: 4 * BLOCK] + member.tobuf(tarfile.GNU_FORMAT))
    return path


def test_a_declared_size_over_the_limit_is_refused(tmp_path, scratch):
    path = tmp_path / "a.tar"
    for name in ("cat/2.png", "notes.txt"):
        refused = refusal(declaring(path, name, 3 * 10**10), scratch)
        assert "unpacks to 30,000,000,011 bytes, the limit is 20,000,000,000" in refused
        assert "was cut short" in refusal(declaring(path, name, 10**6), scratch)
        assert "was cut short" in refusal(declaring(path, name, -BLOCK), scratch)


def test_members_over_the_limits_are_refused(tmp_path, scratch, monkeypatch):
    monkeypatch.setattr(archive, "MAX_IMAGE_BYTES", 5)
    assert "'dog/1.png' has 6 bytes, the limit is 5" in refusal(make(tmp_path / "a"), scratch)
    monkeypatch.setattr(archive, "MAX_TOTAL_BYTES", 10)
    assert "unpacks to 11 bytes, the limit is 10" in refusal(make(tmp_path / "b"), scratch)


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, scratch, monkeypatch, mode):
    monkeypatch.setattr(unpacking, "RATIO_FREE_BYTES", 2**21)
    path = make(tmp_path / "a.tar", file("notes.txt", bytes(2**24)), mode=mode)
    assert "this looks like a bomb" in refusal(path, scratch)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, scratch, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_TOTAL_BYTES", 1000)
    path = make(tmp_path / "a.tar", mode="w:gz")
    assert "unpacks to over 1,000 bytes" in refusal(path, scratch)


def test_a_decompressor_that_asks_for_much_memory_is_refused(tmp_path, scratch):
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 2**30}]
    whole = make(tmp_path / "a.tar").read_bytes()
    (tmp_path / "b").write_bytes(lzma.compress(whole, filters=filters))
    assert "Memory usage limit" in refusal(tmp_path / "b", scratch)


def test_a_long_name_is_not_read_into_memory(tmp_path, scratch):
    path = tmp_path / "a.tar"
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 50_000_000
    path.write_bytes(long.tobuf(tarfile.GNU_FORMAT) + bytes(50_000_000 + 4 * BLOCK))
    tracemalloc.start()
    try:
        assert "a header has 50,000,384 bytes" in refusal(path, scratch)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_headers_of_headers_without_end_are_refused(tmp_path, scratch):
    long = tarfile.TarInfo("././@LongLink")
    long.type = tarfile.GNUTYPE_LONGNAME
    path = tmp_path / "a.tar"
    path.write_bytes(long.tobuf(tarfile.GNU_FORMAT) * 5000)
    assert "damaged" in refusal(path, scratch)


def test_names_that_are_no_text_are_refused(tmp_path, scratch):
    path = make(tmp_path / "a.tar", members={"cat/é.png": b"", "dog/1.png": b""})
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xe9\xe9"))
    assert "names in UTF-8" in refusal(path, scratch)


@pytest.mark.parametrize("content", [b"", b"no archive", bytes(2000)])
def test_what_is_no_archive_at_all_is_refused(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(InvalidSpec, match=r"'a.tar' is not a zip archive, a tar .*or a numpy"):
        format_of(tmp_path / "a.tar")
