"""`bundle` and `measure`: latencies of another device."""

import json
import shutil

import pytest
import torch

from pareconv.models.blocks import find_blocks
from pareconv.models.bundling import write_bundle
from pareconv.models.graph import canonical
from pareconv.models.latency import Conditions, parts
from pareconv.models.plan import Option
from pareconv.models.teachers.architectures import architecture

SHAPE = (1, 3, 16, 16)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A bundle of a ResNet-8: itself and one option of its three blocks."""
    torch.manual_seed(0)
    network = canonical(architecture("cifar_resnet8").build(10)).eval()
    blocks = {block: [Option.of("svd", ratio=0.5)] for block in find_blocks(network, "block")[1:]}
    path = tmp_path_factory.mktemp("bundle") / "bundle.zip"
    wanted = parts(network, SHAPE, blocks, Conditions())
    write_bundle(path, network, SHAPE, wanted, Conditions())
    return path


def test_a_bundle_goes_out_and_a_table_comes_back(run, runner, real, tmp_path, client):
    def write(payload):
        shutil.copy(real, payload["path"])
        return {"parts": 4}

    runner.answers["bundle"] = write
    bundle, table = tmp_path / "bundle.zip", tmp_path / "table.json"
    options = ("--teacher", "cifar_resnet8", "--data", "digits", "--budget-latency", "60%")
    saved = run("bundle", *options, "-o", bundle)
    assert saved.exit_code == 0, saved.output
    assert runner.calls[-1][1]["spec"]["budget"]["latency"]["ms"] == "60%"
    measured = run("measure", bundle, "-o", table, "--device-name", "a board", "--upload")
    assert measured.exit_code == 0, measured.output
    assert "4 parts on a board" in measured.stdout
    (kept,) = client.get("/latencies").json()["items"]
    assert kept["reference"] in measured.stdout
    brought = json.loads(table.read_text())
    assert (kept["device"], kept["size"], len(brought["entries"])) == ("a board", 4, 4)


def test_what_is_no_bundle_is_exit_code_2(run, tmp_path):
    (tmp_path / "bundle.zip").write_bytes(b"no zip")
    result = run("measure", tmp_path / "bundle.zip")
    assert result.exit_code == 2
    assert "bundle.zip is no bundle" in result.stderr
