"""torchvision's families of classification CNNs: papers, sizes, options. Builds nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pareconv.models.teachers.architecture import IMAGENET, SMALLEST_SIZE, Triple

MOBILENET_V2 = "Sandler et al. 2018, arXiv:1801.04381"
RESNET = "He et al. 2016, arXiv:1512.03385"
VGG = "Simonyan & Zisserman 2015, arXiv:1409.1556"
WIDE_RESNET = "Zagoruyko & Komodakis 2016, arXiv:1605.07146"

# The published weights of two families come from TensorFlow.
_HALVES: tuple[Triple, Triple] = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchvisionFamily:
    """Networks that share a builder's pattern, a paper and a smallest input.

    `min_size`, where given, is measured: an image of one pixel less fails in a forward pass.
    `training_only` names the auxiliary heads that published weights hold and we do not build.
    """

    name: str
    pattern: str  # of the builders' names, as fnmatch reads it
    source: str  # the paper
    min_size: int = SMALLEST_SIZE
    options: Mapping[str, Any] = field(default_factory=dict)  # for the builder
    training_only: frozenset[str] = frozenset()
    statistics: tuple[Triple, Triple] = IMAGENET


TORCHVISION_FAMILIES = [
    TorchvisionFamily(
        name="alexnet",
        pattern="alexnet",
        source="Krizhevsky 2014, arXiv:1404.5997",
        min_size=63,
    ),
    TorchvisionFamily(
        name="convnext",
        pattern="convnext_*",
        source="Liu et al. 2022, arXiv:2201.03545",
        min_size=32,
    ),
    TorchvisionFamily(
        name="densenet",
        pattern="densenet*",
        source="Huang et al. 2017, arXiv:1608.06993",
        min_size=29,
    ),
    TorchvisionFamily(
        name="efficientnet",
        pattern="efficientnet_b*",
        source="Tan & Le 2019, arXiv:1905.11946",
    ),
    TorchvisionFamily(
        name="efficientnet_v2",
        pattern="efficientnet_v2_*",
        source="Tan & Le 2021, arXiv:2104.00298",
    ),
    TorchvisionFamily(
        name="googlenet",
        pattern="googlenet",
        source="Szegedy et al. 2015, arXiv:1409.4842",
        min_size=15,
        options={"aux_logits": False, "init_weights": True},
        training_only=frozenset({"aux1", "aux2"}),
        statistics=_HALVES,
    ),
    TorchvisionFamily(
        name="inception_v3",
        pattern="inception_v3",
        source="Szegedy et al. 2016, arXiv:1512.00567",
        min_size=75,
        options={"aux_logits": False, "init_weights": True},
        training_only=frozenset({"AuxLogits"}),
        statistics=_HALVES,
    ),
    TorchvisionFamily(
        name="mnasnet",
        pattern="mnasnet*",
        source="Tan et al. 2019, arXiv:1807.11626",
    ),
    TorchvisionFamily(name="mobilenet_v2", pattern="mobilenet_v2", source=MOBILENET_V2),
    TorchvisionFamily(
        name="mobilenet_v3",
        pattern="mobilenet_v3_*",
        source="Howard et al. 2019, arXiv:1905.02244",
    ),
    TorchvisionFamily(
        name="regnet",
        pattern="regnet_*",
        source="Radosavovic et al. 2020, arXiv:2003.13678",
    ),
    TorchvisionFamily(name="resnet", pattern="resnet*", source=RESNET),
    TorchvisionFamily(
        name="resnext",
        pattern="resnext*",
        source="Xie et al. 2017, arXiv:1611.05431",
    ),
    TorchvisionFamily(
        name="shufflenet_v2",
        pattern="shufflenet_v2_*",
        source="Ma et al. 2018, arXiv:1807.11164",
    ),
    TorchvisionFamily(
        name="squeezenet",
        pattern="squeezenet*",
        source="Iandola et al. 2016, arXiv:1602.07360",
        min_size=21,
    ),
    TorchvisionFamily(name="vgg", pattern="vgg*", source=VGG, min_size=32),
    TorchvisionFamily(name="wide_resnet", pattern="wide_resnet*", source=WIDE_RESNET),
]
