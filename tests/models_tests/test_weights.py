"""Weights: what a file may hold, what is refused without being run, and what fits a network."""

import copy
import io
import pickle
import zipfile
from functools import partial
from pathlib import Path

import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn
from torchvision import models
from torchvision.transforms import functional as transforms

from pareconv.models.errors import UnknownArchitecture, WeightsError
from pareconv.models.graph import canonical
from pareconv.models.teachers.architectures import architecture
from pareconv.models.teachers.weights import load_weights, pretrained, read_weights

SHARED = Path(__file__).parents[3] / "shared"
SHARED_TEACHER = SHARED / "teachers" / "cifar_resnet20-cifar10jpeg.pt"
SHARED_IMAGES = SHARED / "data" / "cifar10-jpeg.zip"

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.ones(2)}


class Intruder:
    """When unpickled, creates the file it names."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def torch_bytes(content, **options):
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def zip_bytes(members, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def repacked(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return zip_bytes(members, zipfile.ZIP_DEFLATED)


def published_resnet20():
    """A state dict with the keys and shapes of the CIFAR ResNet-20 checkpoints in wide use."""
    state = {"conv1.weight": torch.randn(16, 3, 3, 3)} | batch_norm("bn1", 16)
    in_channels = 16
    for stage, channels in enumerate((16, 32, 64), start=1):
        for block in range(3):
            path = f"layer{stage}.{block}"
            state[f"{path}.conv1.weight"] = torch.randn(channels, in_channels, 3, 3)
            state[f"{path}.conv2.weight"] = torch.randn(channels, channels, 3, 3)
            state |= batch_norm(f"{path}.bn1", channels) | batch_norm(f"{path}.bn2", channels)
            in_channels = channels
    return state | {"linear.weight": torch.randn(10, 64), "linear.bias": torch.randn(10)}


def batch_norm(path, channels):
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{path}.{name}": torch.rand(channels) for name in names}


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="weights.bin"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write_file


def assert_same(weights, expected=STATE):
    assert set(weights) == set(expected)
    assert all(torch.equal(weights[key], expected[key]) for key in expected)


# Reading


@pytest.mark.parametrize("name", ["weights.pt", "weights.safetensors", "weights"])
@pytest.mark.parametrize(
    "content",
    [
        torch_bytes(STATE),
        torch_bytes(STATE, _use_new_zipfile_serialization=False),
        safetensors.torch.save(STATE),
    ],
    ids=["torch", "torch-legacy", "safetensors"],
)
def test_a_file_is_read_by_its_content_whatever_its_suffix(write, content, name):
    assert_same(read_weights(write(content, name)))


def test_a_path_may_be_text(write):
    assert_same(read_weights(str(write(torch_bytes(STATE)))))


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net"])
def test_a_wrapped_state_dict_is_unwrapped(write, key):
    assert_same(read_weights(write(torch_bytes({"epoch": 3, key: STATE, "optimizer": {}}))))


def test_wrappers_in_wrappers_are_unwrapped(write):
    assert_same(read_weights(write(torch_bytes({"model": {"state_dict": STATE}}))))


def test_a_wrapper_that_holds_itself_is_refused(write):
    endless = {}
    endless["model"] = endless
    with pytest.raises(WeightsError, match="holds a dict at 'model'"):
        read_weights(write(torch_bytes(endless)))


def test_a_safetensors_file_that_begins_like_a_zip_is_read(write):
    content = safetensors.torch.save(STATE)
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    padded = header.ljust(int.from_bytes(b"PK", "little"))
    file = b"PK".ljust(8, b"\0") + padded + content[8 + len(header) :]
    assert_same(read_weights(write(file)))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_prefixes_of_parallel_and_compiled_networks_are_taken_off(write, prefix):
    state = {f"{prefix}{key}": value for key, value in STATE.items()}
    assert_same(read_weights(write(safetensors.torch.save(state))))


def test_a_prefix_that_only_some_keys_have_is_part_of_their_names(write):
    state = {"module.weight": torch.ones(1), "weight": torch.zeros(1)}
    assert_same(read_weights(write(torch_bytes(state))), state)


def test_parameters_are_read_as_plain_tensors_without_gradient(write):
    network = nn.Linear(2, 2)
    weights = read_weights(write(torch_bytes(dict(network.named_parameters()))))
    assert not any(each.requires_grad for each in weights.values())


# Refusing


@pytest.mark.parametrize(
    ("save", "cause"),
    [
        (torch_bytes, "pickled code, which is not run .*open"),
        (partial(torch_bytes, _use_new_zipfile_serialization=False), "pickled code.*open"),
        (partial(pickle.dumps, protocol=2), "pickled code, which is not run"),
        (pickle.dumps, "was not run"),
    ],
)
@pytest.mark.parametrize("wrap", [lambda code: code, lambda code: {**STATE, "x": code}])
def test_pickled_code_is_refused_and_not_run(write, tmp_path, save, cause, wrap):
    path = write(save(wrap(Intruder(tmp_path / "intruded"))))
    with pytest.raises(WeightsError, match=rf"weights\.bin.*{cause}.*state_dict\(\)"):
        read_weights(path)
    assert not (tmp_path / "intruded").exists()


def test_the_intruder_of_this_test_would_intrude(tmp_path):
    pickle.loads(pickle.dumps(Intruder(tmp_path / "intruded"))).close()
    assert (tmp_path / "intruded").exists()


def test_a_whole_pickled_module_is_refused(write):
    content = torch_bytes(nn.Sequential(nn.Linear(2, 2)))
    with pytest.raises(WeightsError, match=r"Sequential.*whole pickled module.*state_dict\(\)"):
        read_weights(write(content))


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is empty.*upload it again"),
        (b"not weights at all", "neither a safetensors nor a torch.save file, and no ONNX"),
        (pickle.dumps(STATE), "pickle that torch.save did not write; it was not run"),
        (torch_bytes(STATE, pickle_protocol=4), "torch.save did not write; it was not run"),
        (torch_bytes(STATE)[:-200], "truncated or damaged.*upload it again"),
        (torch_bytes(STATE)[:4], "truncated or damaged"),
        (torch_bytes(STATE, _use_new_zipfile_serialization=False)[:-9], "truncated"),
        (safetensors.torch.save(STATE)[:-1], "truncated or damaged safetensors.*upload it again"),
        (safetensors.torch.save(STATE)[:20], "truncated or damaged safetensors"),
        (zip_bytes({"cat/1.jpg": b"jpeg"}), "zip archive that torch.save did not write"),
        (zip_bytes({"a/data.pkl": b"", "a/constants.pkl": b""}), "TorchScript"),
        (repacked(torch_bytes({"a": torch.zeros(9999)})), "unpacks to more than its own size"),
        (torch_bytes([torch.ones(1)]), "holds a list, not tensors by name.*state_dict"),
        (torch_bytes(torch.ones(1)), "holds a Tensor, not tensors by name"),
        (torch_bytes({}), "holds no tensors"),
        (safetensors.torch.save({}), "holds no tensors"),
        (torch_bytes({**STATE, "epoch": 3}), "holds a int at 'epoch', not only tensors"),
        (torch_bytes({3: torch.ones(1)}), "holds a Tensor at 3"),
        (torch_bytes({"a": torch.ones(2).to_sparse()}), "at 'a' a tensor that is not dense"),
        (torch_bytes({"a": torch.ones(1).expand(10**12)}), "at 'a' a tensor that is not dense"),
    ],
)
def test_a_file_that_is_no_state_dict_is_refused_with_cause_and_remedy(write, content, cause):
    with pytest.raises(WeightsError, match=rf"'weights\.bin'.*{cause}"):
        read_weights(write(content))


def test_a_file_cut_anywhere_is_refused(write):
    for content in (torch_bytes(STATE), safetensors.torch.save(STATE)):
        for length in range(0, len(content) - 1, 37):
            with pytest.raises(WeightsError):
                read_weights(write(content[:length]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_first_value_that_is_not_finite_is_named(write, value):
    state = {"a": torch.ones(2), "b": torch.tensor([1, value]), "c": torch.tensor([value])}
    with pytest.raises(WeightsError, match=r"NaN or infinity at 'b'.*earlier checkpoint"):
        read_weights(write(safetensors.torch.save(state)))


def test_a_missing_file_and_a_folder_cannot_be_opened(tmp_path):
    for path in (tmp_path / "absent.pt", tmp_path):
        with pytest.raises(WeightsError, match=f"{path.name}.*cannot be opened"):
            read_weights(path)


# Fitting


def resnet8(num_classes=10):
    return architecture("cifar_resnet8").build(num_classes)


def copies(network):
    return {key: value.clone() for key, value in network.state_dict().items()}


def assert_refused_untouched(network, weights, message, **options):
    before = copies(network)
    with pytest.raises(WeightsError, match=message):
        load_weights(network, weights, **options)
    assert_same(network.state_dict(), before)


def test_weights_that_fit_are_loaded():
    weights, network = copies(resnet8()), resnet8()
    load_weights(network, weights)
    assert_same(network.state_dict(), weights)


def test_batch_counts_may_be_missing():
    weights = {k: v for k, v in copies(resnet8()).items() if "num_batches" not in k}
    network = resnet8()
    load_weights(network, weights)
    assert torch.equal(network.conv1.weight, weights["conv1.weight"])


def test_every_fault_is_in_one_message_and_nothing_is_loaded():
    weights = copies(resnet8())
    weights["extra.weight"] = torch.ones(1)
    del weights["bn1.weight"], weights["bn1.bias"]
    weights["conv1.weight"] = torch.ones(16, 1, 3, 3)
    message = (
        r"2 missing \(bn1\.weight, bn1\.bias\); 1 unexpected \(extra\.weight\); 1 of another shape "
        r"\(conv1\.weight: expected \(16, 3, 3, 3\), found \(16, 1, 3, 3\)\); check .*architecture"
    )
    assert_refused_untouched(resnet8(), weights, message)


def test_only_the_first_five_of_many_are_named():
    weights = copies(architecture("cifar_resnet14").build(10))
    message = r"unexpected \(layer1\.1\.conv1\.weight(, [\w.]+){4}, \.\.\.\)"
    assert_refused_untouched(resnet8(), weights, message)


@pytest.mark.parametrize("name", ["cifar_resnet8", "cifar_vgg16_bn", "squeezenet1_1"])
def test_when_only_the_classifier_differs_the_number_of_classes_is_the_hint(name):
    weights = architecture(name).build(100).state_dict()
    message = r"2 of another shape.*only the classifier differs.*set num_classes to 100"
    assert_refused_untouched(architecture(name).build(10), weights, message)


@pytest.mark.parametrize("name", ["cifar_resnet8", "cifar_vgg16_bn", "squeezenet1_1"])
def test_a_classifier_of_other_classes_may_stay_the_networks_own(name):
    weights = architecture(name).build(100).state_dict()
    network = architecture(name).build(10)
    own = {key: value.clone() for key, value in network.state_dict().items()}
    assert not load_weights(network, weights, any_classes=True)
    fresh = {key for key, value in network.state_dict().items() if torch.equal(value, own[key])}
    for key, value in network.state_dict().items():
        assert torch.equal(value, own[key] if value.shape != weights[key].shape else weights[key])
    assert {key for key in weights if weights[key].shape != own[key].shape} <= fresh
    assert load_weights(network, copies(network), any_classes=True)


def test_of_other_classes_must_be_the_classifier_alone():
    weights = copies(resnet8()) | {"linear.weight": torch.ones(10, 32)}
    with pytest.raises(WeightsError, match="check that the file is of this architecture"):
        load_weights(resnet8(), weights, any_classes=True)
    short = copies(resnet8(100))
    del short["conv1.weight"]
    with pytest.raises(WeightsError, match=r"1 missing \(conv1\.weight\)"):
        load_weights(resnet8(), short, any_classes=True)


def test_a_classifier_of_other_width_is_not_a_matter_of_classes():
    weights = copies(resnet8()) | {"linear.weight": torch.ones(10, 32)}
    assert_refused_untouched(resnet8(), weights, "check that the file is of this architecture")


def test_weights_of_linear_layers_fit_the_convolutions_in_their_place(small_convnext):
    network = small_convnext.build(10).eval()
    graph = canonical(small_convnext.build(10)).eval()
    images = torch.randn(2, 3, 32, 32)
    for weights in (network.state_dict(), canonical(network).state_dict()):
        other = copy.deepcopy(graph)
        assert load_weights(other, weights)
        torch.testing.assert_close(other(images), network(images))
    assert_refused_untouched(
        graph,
        network.state_dict() | {"features.1.0.block.3.weight": torch.ones(64, 15)},
        r"expected \(64, 16, 1, 1\), found \(64, 15\)",
    )


def test_auxiliary_heads_may_be_in_the_file_where_named():
    network, weights = resnet8(), copies(resnet8()) | {"aux1.fc.weight": torch.ones(1)}
    assert_refused_untouched(network, weights, r"1 unexpected \(aux1\.fc\.weight\)")
    assert_refused_untouched(network, weights, "unexpected", training_only=frozenset({"aux"}))
    load_weights(network, weights, training_only=frozenset({"aux1"}))
    assert torch.equal(network.conv1.weight, weights["conv1.weight"])


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_file_with_torchvisions_auxiliary_heads_fits(name):
    whole = models.get_model(name, num_classes=5, aux_logits=True, init_weights=False)
    known = architecture(name)
    network, weights = known.build(5), whole.state_dict()
    load_weights(network, weights, training_only=known.training_only)
    kept = network.state_dict()
    assert len(kept) < len(weights)
    assert_same(kept, {key: weights[key] for key in kept})


def test_a_network_that_checks_its_version_loads_a_plain_dict():
    network, other = (architecture("mnasnet0_5").build(5) for _ in range(2))
    load_weights(network, dict(other.state_dict()))
    assert_same(network.state_dict(), other.state_dict())


def test_half_precision_weights_become_the_networks_own():
    network = resnet8()
    load_weights(network, {k: v.half() for k, v in copies(network).items() if "num_" not in k})
    assert network.conv1.weight.dtype == torch.float32


# The published ResNet-20, and the shared one where ../shared exists


def test_the_published_form_of_resnet20_loads(write):
    weights = read_weights(write(torch_bytes({"state_dict": published_resnet20()})))
    network = architecture("cifar_resnet20").build(10)
    load_weights(network, weights)
    assert torch.equal(network.layer3[2].conv2.weight, weights["layer3.2.conv2.weight"])


def shared_test_images(per_class):
    """The first images of each class, as ../shared/teachers/README.md says to normalise them."""
    with zipfile.ZipFile(SHARED_IMAGES) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/"))
        classes = sorted({name.split("/")[1] for name in names} - {""})
        images, labels = [], []
        for label, folder in enumerate(classes):
            chosen = [name for name in names if name.startswith(f"test/{folder}/")][:per_class]
            for name in chosen:
                image = transforms.pil_to_tensor(Image.open(io.BytesIO(archive.read(name))))
                images.append(image.float() / 255)
                labels.append(label)
    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    return transforms.normalize(torch.stack(images), mean, deviation), torch.tensor(labels)


if SHARED_TEACHER.exists() and SHARED_IMAGES.exists():

    def test_the_shared_resnet20_has_its_accuracy():
        network = architecture("cifar_resnet20").build(10).eval()
        load_weights(network, read_weights(SHARED_TEACHER))
        images, labels = shared_test_images(per_class=100)
        with torch.no_grad():
            accuracy = (network(images).argmax(1) == labels).float().mean().item()
        assert accuracy == pytest.approx(0.878, abs=0.03)  # n = 1,000, three standard errors


# torchvision's own


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """torchvision's cache, empty, on a machine that reaches no other."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    return tmp_path / "hub" / "checkpoints"


def put(cache, name, weights):
    cache.mkdir(parents=True)
    url = models.get_model_weights(name).DEFAULT.url
    torch.save(weights, cache / url.rpartition("/")[2])


def test_default_weights_come_from_the_cache_and_fit(cache):
    network = architecture("shufflenet_v2_x0_5").build(1000)
    put(cache, "shufflenet_v2_x0_5", network.state_dict())
    weights = pretrained("shufflenet_v2_x0_5")
    load_weights(architecture("shufflenet_v2_x0_5").build(1000), weights)
    assert_same(weights, network.state_dict())


def test_the_old_names_in_densenet_files_become_the_networks(cache):
    old = {"features.denseblock1.denselayer1.norm.1.weight": torch.ones(1)}
    put(cache, "densenet121", old)
    assert set(pretrained("densenet121")) == {"features.denseblock1.denselayer1.norm1.weight"}


def test_without_network_the_error_says_where_to_put_which_file(cache):
    message = rf"cannot be fetched from https://.*resnet18-\w+\.pth.*put it at {cache}.*resnet18"
    with pytest.raises(WeightsError, match=message):
        pretrained("resnet18")
    assert not list(cache.iterdir())


def test_a_cifar_network_has_no_default_weights():
    with pytest.raises(
        WeightsError, match=r"cifar_resnet20 has no default weights.*train it first"
    ):
        pretrained("cifar_resnet20")


def test_default_weights_of_an_unknown_network_are_refused():
    with pytest.raises(UnknownArchitecture):
        pretrained("resnet19")
