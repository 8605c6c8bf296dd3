"""Networks by name: their sizes as published, their inputs, what tracing needs, and the look-up."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from pareconv.models.errors import UnknownArchitecture
from pareconv.models.teachers.architectures import architecture, architectures
from pareconv.models.teachers.cifar_resnet import CifarResNet, SubsamplingShortcut
from pareconv.models.teachers.cifar_wrn import CifarWideResNet
from pareconv.models.teachers.torchvision_families import TORCHVISION_FAMILIES
from pareconv.models.teachers.zoo import ZOO

TRANSFORMERS = ("maxvit*", "swin*", "vit*")

# Parameters and multiply-adds of convolutions and linear layers at 32x32, in millions; ../shared
# methods.md, sections 1.5, 7 and 8 (there WRN-40-2 counts its 0.70M of batch norm too: 328.3).
PUBLISHED = {
    "cifar_resnet20": (0.270, 40.55),
    "cifar_resnet32": (0.464, 68.86),
    "cifar_resnet56": (0.853, 125.49),
    "cifar_resnet110": (1.728, 252.89),
    "cifar_resnet20_b": (0.272, 40.81),
    "cifar_resnet32_b": (0.467, 69.12),
    "cifar_resnet56_b": (0.856, 125.75),
    "cifar_resnet110_b": (1.731, 253.15),
    "cifar_od_resnet56_shift": (0.102, 15.39),
    "cifar_od_resnet56_depthwise": (0.120, 20.47),
    "cifar_od_resnet56_group2": (0.520, 86.16),
    "cifar_od_resnet56_group4": (0.311, 50.77),
    "cifar_od_resnet56_group8": (0.207, 33.08),
    "cifar_od_resnet56_group16": (0.154, 24.23),
    "cifar_vgg16_bn": (14.728, 313.20),
    "cifar_wrn_40_2": (2.244, 327.60),
    "cifar_mobilenet_v2": (2.237, 87.98),
}

SMALLEST_OF_FAMILY = {
    "alexnet": "alexnet",
    "convnext": "convnext_tiny",
    "densenet": "densenet121",
    "efficientnet": "efficientnet_b0",
    "efficientnet_v2": "efficientnet_v2_s",
    "googlenet": "googlenet",
    "inception_v3": "inception_v3",
    "mnasnet": "mnasnet0_5",
    "mobilenet_v2": "mobilenet_v2",
    "mobilenet_v3": "mobilenet_v3_small",
    "regnet": "regnet_x_400mf",
    "resnet": "resnet18",
    "resnext": "resnext50_32x4d",
    "shufflenet_v2": "shufflenet_v2_x0_5",
    "squeezenet": "squeezenet1_0",
    "vgg": "vgg11",
    "wide_resnet": "wide_resnet50_2",
}
CIFAR_NAMES = [each.name for each in architectures("cifar_")]
FAMILIES_WITH_A_LIMIT = [each.name for each in TORCHVISION_FAMILIES if each.min_size > 8]


def build(name, num_classes=10):
    torch.manual_seed(0)
    return architecture(name).build(num_classes)


def num_params(network):
    return sum(each.numel() for each in network.parameters())


def multiply_adds(name, size):
    with torch.device("meta"):
        network, image = build(name).eval(), torch.empty(1, 3, size, size)
    with FlopCounterMode(display=False) as counter:
        network(image)
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_the_published_ones(name):
    params, macs = PUBLISHED[name]
    assert num_params(build(name)) / 1e6 == pytest.approx(params, abs=0.0005)
    assert multiply_adds(name, 32) / 1e6 == pytest.approx(macs, abs=0.005)


def test_resnet20_has_exactly_the_parameters_and_multiply_adds_of_the_shared_teacher():
    assert num_params(build("cifar_resnet20")) == 269_722
    assert multiply_adds("cifar_resnet20", 32) == 40_550_400 + 640


def test_vgg16_has_thirteen_convolutions_and_one_linear_layer_of_512():
    modules = list(build("cifar_vgg16_bn").modules())
    assert sum(isinstance(each, nn.Conv2d) for each in modules) == 13
    assert [each.in_features for each in modules if isinstance(each, nn.Linear)] == [512]


@pytest.mark.parametrize("depth", [8, 14, 20, 32, 44, 56, 110])
@pytest.mark.parametrize(("suffix", "num_shortcuts"), [("", 0), ("_b", 2)])
def test_a_cifar_resnet_has_its_depth_in_layers(depth, suffix, num_shortcuts):
    modules = build(f"cifar_resnet{depth}{suffix}").modules()
    num_layers = sum(isinstance(each, nn.Conv2d | nn.Linear) for each in modules)
    assert num_layers == depth + num_shortcuts


@pytest.mark.parametrize(
    ("make", "remedy"),
    [(lambda: CifarResNet(21, 10), "20"), (lambda: CifarWideResNet(20, 2, 10), "22")],
)
def test_a_depth_outside_the_family_is_refused(make, remedy):
    with pytest.raises(ValueError, match=rf"depth .* is not 6n \+ .*{remedy}"):
        make()


@pytest.mark.parametrize("side", [8, 7])
def test_the_subsampling_shortcut_takes_every_second_pixel_between_zero_channels(side):
    x = torch.randn(2, 4, side, side)
    y = SubsamplingShortcut(4, 8, stride=2)(x)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert not y[:, :2].any()
    assert not y[:, 6:].any()


def test_the_shortcut_has_the_shape_of_the_residual_at_odd_sizes():
    assert build("cifar_resnet8")(torch.randn(2, 3, 33, 33)).shape == (2, 10)


@pytest.mark.parametrize("name", ["cifar_resnet8", "cifar_resnet8_b", *CIFAR_NAMES[-3:]])
def test_a_cifar_network_traces_and_its_graph_computes_the_same(name):
    network = build(name).eval()
    graph = torch.fx.symbolic_trace(network)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(graph(images), network(images))


@pytest.mark.parametrize("name", ["cifar_resnet8", *CIFAR_NAMES[-3:]])
def test_a_cifar_network_learns(name):
    network = build(name, num_classes=3).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    images, labels = torch.randn(6, 3, 32, 32), torch.tensor([0, 1, 2, 0, 1, 2])
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(each.grad.isfinite().all() for each in network.parameters())


def test_convolutions_start_with_the_variance_of_he_by_fan_out():
    weight = build("cifar_resnet20").layer3[0].conv1.weight  # 32 -> 64 channels
    assert weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.03)


@pytest.mark.parametrize("name", ["cifar_resnet8", *CIFAR_NAMES[-3:]])
def test_a_cifar_network_takes_its_smallest_and_larger_images(name):
    network = build(name).eval()
    for size in (architecture(name).min_size, 48):
        with torch.no_grad():
            assert network(torch.randn(1, 3, size, size)).shape == (1, 10)


@pytest.mark.parametrize("family", SMALLEST_OF_FAMILY)
def test_a_torchvision_network_takes_its_smallest_image_in_both_modes(family):
    name = SMALLEST_OF_FAMILY[family]
    network, size = build(name, num_classes=7), architecture(name).min_size
    with torch.no_grad():
        for training in (True, False):
            assert network.train(training)(torch.randn(2, 3, size, size)).shape == (2, 7)


@pytest.mark.parametrize("family", FAMILIES_WITH_A_LIMIT)
def test_one_pixel_below_a_limit_fails(family):
    name = SMALLEST_OF_FAMILY[family]
    with torch.device("meta"):
        network = build(name).eval()
        image = torch.empty(1, 3, *[architecture(name).min_size - 1] * 2)
    with pytest.raises(RuntimeError):
        network(image)


def test_one_pixel_below_the_limit_of_cifar_vgg_fails():
    with torch.device("meta"), pytest.raises(RuntimeError):
        build("cifar_vgg16_bn").eval()(torch.empty(1, 3, 31, 31))


def test_every_torchvision_classification_cnn_is_listed():
    cnns = set(models.list_models(module=models, exclude=TRANSFORMERS))
    assert {each.name for each in ZOO.values() if each.pretrained} == cnns


def test_every_torchvision_family_has_a_smallest_member_that_belongs_to_it():
    assert set(SMALLEST_OF_FAMILY) == {each.name for each in TORCHVISION_FAMILIES}
    for family, name in SMALLEST_OF_FAMILY.items():
        assert architecture(name).family == family


def test_every_entry_is_complete():
    assert len({each.name for each in architectures()}) == len(architectures())
    for each in architectures():
        assert each.source
        assert 8 <= each.min_size <= each.default_size


def test_an_imagenet_network_defaults_to_the_size_of_its_weights():
    assert architecture("resnet18").default_size == 224
    assert architecture("inception_v3").default_size == 299
    assert architecture("cifar_resnet20").default_size == 32


def test_an_entry_is_a_value():
    with pytest.raises(dataclasses.FrozenInstanceError):
        architecture("resnet18").name = "other"


def test_listing_builds_no_network(monkeypatch):
    built = []
    monkeypatch.setattr(nn.Module, "__init__", lambda self: built.append(type(self)))
    assert len(architectures()) > 80
    assert not built


@pytest.mark.parametrize(
    ("search", "name"), [("RESNET2", "cifar_resnet20"), ("squeeze", "squeezenet1_1")]
)
def test_search_finds_by_part_of_a_name_in_any_case(search, name):
    found = [each.name for each in architectures(search)]
    assert name in found
    assert all(search.lower() in each for each in found)


def test_search_finds_by_family():
    assert "timm/res2net50_26w_4s" in {each.name for each in architectures("timm/res2net")}


def test_search_for_nothing_known_finds_nothing():
    assert architectures("transformer") == []


@pytest.mark.parametrize(
    ("asked", "offered"),
    [
        ("resnet20", "cifar_resnet20"),
        ("ResNet-50", "resnet50"),
        ("mobilenetv2", "mobilenet_v2"),
        ("cifar_resnet21", "cifar_resnet20"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(asked, offered):
    with pytest.raises(UnknownArchitecture, match=rf"{asked}.*\b{offered}\b.*GET /architectures"):
        architecture(asked)


def test_a_name_near_to_none_is_answered_with_where_to_look():
    with pytest.raises(
        UnknownArchitecture, match=r"'zzzz'; `pareconv architectures` \(GET /architectures\) lists"
    ):
        architecture("zzzz")


def test_a_transformer_is_not_offered_as_known():
    with pytest.raises(UnknownArchitecture):
        architecture("vit_b_16")
