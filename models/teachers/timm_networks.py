"""timm's CNNs, where timm is installed. Loaded when one is asked for: timm takes seconds."""

from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec

from torch import Tensor, nn

from pareconv.models.errors import UnknownArchitecture, WeightsError
from pareconv.models.teachers.architecture import IMAGENET, Architecture, Triple

PREFIX = "timm/"

_USUAL_SIZE = 224  # pixels

# Its modules whose networks are built of convolutions; the others attend, or mix by linear layers.
_MODULES = (
    "byobnet", "convnext", "cspnet", "cspnext", "densenet", "dla", "dpn", "edgenext",
    "efficientnet", "fasternet", "ghostnet", "hardcorenas", "hgnet", "hrnet", "inception_next",
    "inception_resnet_v2", "inception_v3", "inception_v4", "lcnetv2", "mambaout", "mobilenetv3",
    "nfnet", "rdnet", "regnet", "repghost", "repvit", "res2net", "resnest", "resnet", "resnetv2",
    "rexnet", "selecsls", "senet", "sknet", "starnet", "tresnet", "vgg", "vovnet", "xception",
    "xception_aligned",
)  # fmt: skip


def find(name: str) -> Architecture:
    """Raises UnknownArchitecture where timm is not installed or has no such CNN."""
    if not _is_installed():
        raise UnknownArchitecture(
            f"{name}: timm is not installed where this runs; install pareconv[timm]"
        )
    found = next((each for each in listed() if each.name == name), None)
    if found is None:
        raise UnknownArchitecture(
            f"unknown architecture {name!r}: timm has no CNN of that name; "
            f"GET /architectures?search={PREFIX} lists them"
        )
    return found


def listed() -> Iterator[Architecture]:
    """None where timm is not installed."""
    if not _is_installed():
        return
    import timm

    for module in _MODULES:
        for name in timm.list_models(module=module):
            yield _architecture(name, module)


def _is_installed() -> bool:
    return find_spec("timm") is not None


def _architecture(name: str, module: str) -> Architecture:
    import timm

    weights = timm.get_pretrained_cfg(name)
    papers = weights.paper_ids or weights.origin_url if weights else None
    return Architecture(
        name=f"{PREFIX}{name}",
        family=f"{PREFIX}{module}",
        source=papers if isinstance(papers, str) else ", ".join(papers or ("timm",)),
        build=partial(_build, name),
        default_size=weights.input_size[-1] if weights else _USUAL_SIZE,
        pretrained=bool(weights and weights.has_weights),
        statistics=(_triple(weights.mean), _triple(weights.std)) if weights else IMAGENET,
    )


def _triple(values: Sequence[float]) -> Triple:
    red, green, blue = values
    return red, green, blue


def _build(name: str, num_classes: int) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes)
    return network


def fetch(name: str) -> dict[str, Tensor]:
    """timm's default weights, from its cache or the network."""
    import timm

    try:
        weights: dict[str, Tensor] = timm.create_model(
            name.removeprefix(PREFIX), pretrained=True
        ).state_dict()
    except Exception as error:  # of the network, the hub or the cache
        raise WeightsError(
            f"default weights of {name} cannot be fetched: {error}; give a weights file"
        ) from error
    return weights
