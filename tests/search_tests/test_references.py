import io

import pytest

from pareconv.search.data.sources import Source
from pareconv.search.errors import InvalidSpec
from pareconv.search.references import References
from pareconv.storage.access import NOTHING, Access
from pareconv.storage.database import Database
from pareconv.storage.settings import Settings
from pareconv.storage.uploads import UploadStore


@pytest.fixture
def root(tmp_path):
    """An allowed root with a weights file, an archive, a folder of images and one of CIFAR."""
    root = tmp_path / "allowed"
    for folder in ("images", "cifar"):
        (root / folder).mkdir(parents=True)
    (root / "weights.pt").write_bytes(b"weights")
    (root / "images.zip").write_bytes(b"zip")
    return root


@pytest.fixture
def references(tmp_path, root):
    outside = tmp_path / "secret"
    outside.mkdir()
    (outside / "weights.pt").write_bytes(b"secret")
    settings = Settings(home=tmp_path / "home", allowed_roots=(root, tmp_path / "second"))
    database = Database(settings.database)
    database.migrate()
    database.close()
    with References(settings) as references:
        yield references


@pytest.fixture
def upload(references, tmp_path):
    """Uploads bytes of a kind; gives the id."""
    database = Database(f"sqlite:///{tmp_path / 'home' / 'pareconv.db'}")

    def upload(kind, content):
        sha256, size = references.files.put_stream(io.BytesIO(content))
        return UploadStore(database, kind).add("a name", "a.zip", sha256, size, {}).id

    yield upload
    database.close()


def refusal(look_up, reference):
    with pytest.raises(InvalidSpec) as caught:
        look_up(reference)
    return caught.value


def test_each_kind_of_source(references, root):
    assert references.source("digits") == Source("digits")
    assert references.source(f"file:{root}/images") == Source("folder", root / "images")
    assert references.source(f"file:{root}/images.zip") == Source("file", root / "images.zip")
    assert references.source(f"cifar10:{root}/cifar") == Source("cifar10", root / "cifar")
    assert references.source(f"cifar100:{root}/cifar") == Source("cifar100", root / "cifar")


def test_an_uploaded_data_set_is_found_with_its_hash(references, upload):
    source = references.source(f"dataset:{upload('dataset', b'an archive')}")
    assert source.kind == "file"
    assert source.path.read_bytes() == b"an archive"
    assert source.path.name == source.fingerprint


def test_uploaded_weights_are_found(references, upload):
    assert references.weights(f"teacher:{upload('teacher', b'weights')}").read_bytes() == b"weights"


@pytest.mark.parametrize("kind", ["teacher", "dataset"])
def test_what_is_another_s_is_refused_as_what_is_not_there(kind, references, tmp_path, upload):
    id = upload(kind, b"of nobody")
    settings = Settings(home=tmp_path / "home")
    for access in (Access("ann"), NOTHING):
        with References(settings, access) as others:
            look_up = others.weights if kind == "teacher" else others.source
            refused, missing = (refusal(look_up, f"{kind}:{each}") for each in (id, "nowhere"))
            assert str(refused).replace(id, "nowhere") == str(missing)
    with References(settings, Access("an admin", sees_all=True)) as admins:
        (admins.weights if kind == "teacher" else admins.source)(f"{kind}:{id}")


def test_weights_on_the_server_are_found(references, root):
    assert references.weights(f"file:{root}/weights.pt") == root / "weights.pt"


def test_a_root_itself_may_be_named(references, root):
    assert references.source(f"file:{root}") == Source("folder", root)


def test_every_root_counts(references, tmp_path):
    (tmp_path / "second").mkdir()
    assert references.source(f"file:{tmp_path}/second").path == tmp_path / "second"


def test_a_path_within_a_root_may_take_detours_and_links(references, root):
    (root / "link").symlink_to(root / "weights.pt")
    assert references.weights(f"file:{root}/images/../weights.pt") == root / "weights.pt"
    assert references.weights(f"file:{root}/link") == root / "weights.pt"


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "{tmp}/secret/weights.pt",
        "{tmp}/allowed/../secret/weights.pt",
        "{tmp}/allowed/link",
        "{tmp}/allowed/linked/weights.pt",
        "{tmp}/allowed-not/weights.pt",
        "weights.pt",
        "~/weights.pt",
        "/proc/self/environ",
    ],
)
def test_a_path_outside_the_allowed_roots_is_refused(path, references, root, tmp_path):
    (root / "link").symlink_to(tmp_path / "secret" / "weights.pt")
    (root / "linked").symlink_to(tmp_path / "secret")
    path = path.format(tmp=tmp_path)
    error = refusal(references.weights, f"file:{path}")
    assert error.field == "teacher.weights"
    assert path in error.message
    assert str(root) in error.message
    assert "PARECONV_ALLOWED_ROOTS" in error.message


@pytest.mark.parametrize("kind", ["file", "cifar10", "mnist"])
def test_data_outside_the_allowed_roots_is_refused(kind, references, tmp_path):
    error = refusal(references.source, f"{kind}:{tmp_path}/secret")
    assert error.field == "dataset.source"
    assert "outside the allowed roots" in error.message


def test_without_roots_no_path_is_allowed(tmp_path, root):
    with References(Settings(home=tmp_path / "home", allowed_roots=())) as references:
        error = refusal(references.weights, f"file:{root}/weights.pt")
    assert "none are set" in error.message


def test_whether_a_file_exists_is_told_of_allowed_places_alone(references, root, tmp_path):
    assert "does not exist" in refusal(references.weights, f"file:{root}/no.pt").message
    assert "does not exist" not in refusal(references.weights, f"file:{tmp_path}/no.pt").message


@pytest.mark.parametrize("path", ["~nobody-of-that-name/x", "{root}/\0", "{root}/" + "x" * 5000])
def test_a_path_that_cannot_be_one_is_refused(path, references, root):
    error = refusal(references.source, f"file:{path.format(root=root)}")
    assert error.field == "dataset.source"


def test_a_loop_of_links_is_refused(references, root):
    (root / "other").symlink_to(root / "one")
    (root / "one").symlink_to(root / "other")
    assert refusal(references.source, f"file:{root}/one").field == "dataset.source"


@pytest.mark.parametrize(
    ("look_up", "reference", "field"),
    [
        ("weights", "teacher:3f9c", "teacher.weights"),
        ("source", "dataset:81aa", "dataset.source"),
    ],
)
def test_an_unknown_upload_is_refused(look_up, reference, field, references):
    error = refusal(getattr(references, look_up), reference)
    assert error.field == field
    kind, _, id = reference.partition(":")
    assert repr(id) in error.message
    assert f"POST /{kind}s" in error.message


def test_an_upload_of_the_other_kind_is_not_found(references, upload):
    data = upload("dataset", b"an archive")
    assert refusal(references.weights, f"teacher:{data}").field == "teacher.weights"
