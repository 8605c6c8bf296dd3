"""timm's CNNs by name: traced whole, their parameters called as they were."""

import huggingface_hub
import pytest
import torch
from torch import nn

from pareconv.models.blocks import find_blocks
from pareconv.models.convolutions.registry import OPERATORS
from pareconv.models.errors import TraceError, UnknownArchitecture, WeightsError
from pareconv.models.graph import canonical
from pareconv.models.space import Scope, find_space
from pareconv.models.teachers import timm_networks
from pareconv.models.teachers.architectures import architecture, architectures
from pareconv.models.teachers.weights import load_weights, pretrained

SOME = (
    "resnet18",
    "regnety_002",
    "efficientnet_b0",
    "mobilenetv3_small_050",
    "ghostnet_050",
    "convnext_atto",
    "edgenext_xx_small",
    "mambaout_femto",
    "repghostnet_050",
    "fasternet_t0",
)


@pytest.mark.parametrize("name", SOME)
def test_it_is_the_network_of_timm(name: str) -> None:
    torch.manual_seed(0)
    network = architecture(f"timm/{name}").build(7).eval()
    traced = canonical(network)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)
        torch.testing.assert_close(traced(images), expected, rtol=1e-5, atol=1e-5)
    assert expected.shape == (2, 7)
    assert not set(network.state_dict()) - set(traced.state_dict())
    load_weights(traced, network.state_dict())
    assert find_blocks(traced, "block")


def test_a_norm_that_activates_becomes_layers_that_are_right_in_training_too() -> None:
    torch.manual_seed(0)
    network = architecture("timm/regnety_002").build(7).train()
    traced = canonical(network)
    norms = [module for module in traced.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert {type(norm) for norm in norms} == {nn.BatchNorm2d}
    images = torch.randn(4, 3, 64, 64)
    torch.testing.assert_close(traced(images), network(images), rtol=1e-4, atol=1e-4)


def test_its_space_is_searched_as_any() -> None:
    network = canonical(architecture("timm/mobilenetv3_small_050").build(10))
    space = find_space(network, (1, 3, 32, 32), Scope(sorted(OPERATORS)))
    assert len(space.blocks) > 10


class Scaled(nn.BatchNorm2d):
    """A norm that computes something else."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(input)


def test_a_norm_of_unknown_purpose_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), Scaled(4), nn.Flatten())
    with pytest.raises(TraceError, match="1 is a Scaled, which computes something else"):
        canonical(network)


def test_they_are_listed_by_name_and_family() -> None:
    found = {each.name: each for each in architectures("timm/")}
    assert len(found) > 500
    assert found["timm/inception_v3"].default_size == 299
    assert found["timm/resnet18"].pretrained
    assert not any(name.startswith("timm/vit_") for name in found)
    assert {each.name for each in architectures("TIMM/Res2Net")} <= set(found)


@pytest.mark.parametrize("name", ["timm/resnet19", "timm/vit_base_patch16_224", "timm/"])
def test_what_is_no_cnn_of_timm_is_unknown(name: str) -> None:
    with pytest.raises(UnknownArchitecture, match=r"timm has no CNN of that name; GET"):
        architecture(name)


def test_without_timm_none_is_listed_and_the_remedy_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm_networks, "find_spec", lambda _name: None)
    assert architectures("timm/") == []
    with pytest.raises(UnknownArchitecture, match=r"install pareconv\[timm\]"):
        architecture("timm/resnet18")


def test_weights_that_cannot_be_fetched_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its variable of the environment is read when the package is loaded.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=r"timm/lcnet_050 cannot be fetched: .*give a weights"):
        pretrained("timm/lcnet_050")
