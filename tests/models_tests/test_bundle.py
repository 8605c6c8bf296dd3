import json
import zipfile

import pytest
import torch

from pareconv.models.blocks import find_blocks
from pareconv.models.bundle import Bundle, BundleError
from pareconv.models.bundling import write_bundle
from pareconv.models.graph import canonical
from pareconv.models.latency import Conditions, parts
from pareconv.models.plan import Option
from pareconv.models.teachers.architectures import architecture

SHAPE = (1, 3, 16, 16)
OPTIONS = [Option.of("svd", ratio=0.5), Option.of("svd", ratio=0.25)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle of a ResNet-8 for batches of two, and the parts that are in it."""
    torch.manual_seed(0)
    network = canonical(architecture("cifar_resnet8").build(10)).eval()
    conditions = Conditions(batch=2, threads=1)
    blocks = dict.fromkeys(find_blocks(network, "block"), OPTIONS)
    wanted = parts(network, SHAPE, blocks, conditions)
    path = tmp_path_factory.mktemp("bundle") / "bundle.zip"
    write_bundle(path, network, SHAPE, wanted, conditions)
    return path, wanted, conditions


def test_a_bundle_is_measured_part_by_part(made):
    path, wanted, conditions = made
    with Bundle(path) as bundle:
        assert len(bundle) == len({part.key for part in wanted})
        measured = list(bundle.measure())
        assert bundle.subject == conditions.subject
    assert [(each.key, each.option, each.shape) for each in measured] == [
        (part.key, str(part.option), part.shape) for part in wanted
    ]
    assert all(each.ms > 0 and each.kept_ms > 0 for each in measured)
    assert measured[0].ms == measured[0].kept_ms > max(each.ms for each in measured[1:])


def test_a_bundle_is_what_anyone_can_run(made):
    """Standard files, with the batch that counts."""
    path, _, _ = made
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("bundle.json"))
        assert (manifest["batch"], manifest["threads"]) == (2, 1)
        files = {group["kept"] for group in manifest["groups"]}
        files |= {
            part["file"] for group in manifest["groups"] for part in group["parts"] if part["file"]
        }
        assert files == set(archive.namelist()) - {"bundle.json"}


@pytest.mark.parametrize("content", [b"no zip", None, b'{"form": 99}', b"[", b"{}"])
def test_what_is_no_bundle_is_refused(content, tmp_path):
    path = tmp_path / "bundle.zip"
    if content == b"no zip":
        path.write_bytes(content)
    elif content is not None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("bundle.json", content)
    with pytest.raises(BundleError, match=r"bundle\.zip is (no|a) bundle"):
        Bundle(path)
