"""The zoo: our own CIFAR families and torchvision's classification CNNs. Listing builds none."""

from collections.abc import Iterator
from functools import partial

from torch import nn
from torchvision import models

from pareconv.models.teachers.architecture import Architecture
from pareconv.models.teachers.cifar_mobilenet import cifar_mobilenet_v2
from pareconv.models.teachers.cifar_od_resnet import CifarOdResNet, ShiftTaps, Spatial, grouped
from pareconv.models.teachers.cifar_resnet import CifarResNet, Shortcut
from pareconv.models.teachers.cifar_vgg import CifarVgg16
from pareconv.models.teachers.cifar_wrn import CifarWideResNet
from pareconv.models.teachers.torchvision_families import (
    MOBILENET_V2,
    RESNET,
    TORCHVISION_FAMILIES,
    VGG,
    WIDE_RESNET,
    TorchvisionFamily,
)

_CIFAR_RESNET_DEPTHS = (8, 14, 20, 32, 44, 56, 110)
_CIFAR_RESNET_SHORTCUTS: tuple[tuple[str, Shortcut], ...] = (("", "A"), ("_b", "B"))


def _cifar_resnets() -> Iterator[Architecture]:
    for suffix, shortcut in _CIFAR_RESNET_SHORTCUTS:
        for depth in _CIFAR_RESNET_DEPTHS:
            yield Architecture(
                name=f"cifar_resnet{depth}{suffix}",
                family="cifar_resnet",
                source=f"{RESNET}, section 4.2, shortcuts of option {shortcut}",
                build=partial(CifarResNet, depth, shortcut=shortcut),
            )


def _cifar_od_resnets() -> Iterator[Architecture]:
    cheap: dict[str, Spatial] = {"shift": ShiftTaps, "depthwise": grouped}
    cheap |= {f"group{groups}": partial(grouped, groups=groups) for groups in (2, 4, 8, 16)}
    for name, spatial in cheap.items():
        yield Architecture(
            name=f"cifar_od_resnet56_{name}",
            family="cifar_od_resnet",
            source="arXiv 1909.13063, as its code has it",
            build=partial(CifarOdResNet, 56, spatial=spatial),
        )


def _other_cifar_networks() -> Iterator[Architecture]:
    yield Architecture(
        name="cifar_vgg16_bn", family="cifar_vgg", source=VGG, build=CifarVgg16, min_size=32
    )
    yield Architecture(
        name="cifar_wrn_40_2",
        family="cifar_wrn",
        source=WIDE_RESNET,
        build=partial(CifarWideResNet, 40, 2),
    )
    yield Architecture(
        name="cifar_mobilenet_v2",
        family="cifar_mobilenet",
        source=MOBILENET_V2,
        build=cifar_mobilenet_v2,
    )


def _torchvision_networks() -> Iterator[Architecture]:
    for family in TORCHVISION_FAMILIES:
        for name in models.list_models(module=models, include=family.pattern):
            weights = models.get_model_weights(name).DEFAULT
            yield Architecture(
                name=name,
                family=family.name,
                source=family.source,
                build=partial(_build_torchvision, name, family),
                min_size=family.min_size,
                default_size=weights.transforms.keywords["crop_size"],
                pretrained=True,
                training_only=family.training_only,
                statistics=family.statistics,
            )


def _build_torchvision(name: str, family: TorchvisionFamily, num_classes: int) -> nn.Module:
    network: nn.Module = models.get_model(
        name, weights=None, num_classes=num_classes, **family.options
    )
    return network


def _by_name(*groups: Iterator[Architecture]) -> dict[str, Architecture]:
    known: dict[str, Architecture] = {}
    for each in (each for group in groups for each in group):
        if each.name in known:
            raise ValueError(f"architecture {each.name!r} is listed twice")
        known[each.name] = each
    return known


ZOO = _by_name(
    _cifar_resnets(), _cifar_od_resnets(), _other_cifar_networks(), _torchvision_networks()
)
