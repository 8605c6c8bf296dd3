"""The head of a classifier, whatever layer it is."""

import pytest
import torch
from torch import fx, nn

from pareconv.models.errors import TraceError
from pareconv.models.graph import canonical
from pareconv.models.teachers.architectures import architecture
from pareconv.models.teachers.head import classes_of, head, renew_head

HEADS = {
    "cifar_resnet8": "linear",
    "squeezenet1_1": "classifier.1",  # a convolution, its scores pooled
    "mobilenet_v3_small": "classifier.3",
    "vgg11": "classifier.6",
    "densenet121": "classifier",
    "timm/resnet18": "fc",
}


@pytest.mark.parametrize("name", HEADS)
def test_it_is_renewed_and_nothing_else(name: str) -> None:
    torch.manual_seed(0)
    network = canonical(architecture(name).build(10).eval())
    assert head(network)[0] == HEADS[name]
    assert classes_of(network) == 10
    before = {key: value.clone() for key, value in network.state_dict().items()}
    renew_head(network, 3)
    assert classes_of(network) == 3
    with torch.no_grad():
        assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 3)
    for key, value in network.state_dict().items():
        if not key.startswith(f"{HEADS[name]}."):
            assert torch.equal(value, before[key])


def test_scores_of_no_layer_have_no_head() -> None:
    network = fx.symbolic_trace(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    with pytest.raises(TraceError, match="no last linear layer or convolution"):
        head(network)
