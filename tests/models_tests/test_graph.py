"""The canonical graph: right in train and in eval mode, names kept, auxiliary heads gone."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from pareconv.models.errors import TraceError
from pareconv.models.graph import canonical


class Forgetful(nn.Module):
    """Dropout called as a function, as many networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.conv(x)).mean((2, 3))
        return self.head(F.dropout(hidden, 0.5, training=self.training))


def test_outputs_and_names_are_the_networks_own() -> None:
    network = torchvision.models.resnet18(num_classes=7).eval()
    graph = canonical(network)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(graph(x), network(x))
    assert list(graph.state_dict()) == list(network.state_dict())


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_kept(training: bool) -> None:
    network = Forgetful().train(training)
    graph = canonical(network)
    assert network.training is training
    assert graph.training is training
    assert all(module.training is training for module in graph.modules())


def test_a_dropout_function_follows_the_mode() -> None:
    graph = canonical(Forgetful())
    x = torch.randn(4, 3, 8, 8)
    graph.eval()
    torch.testing.assert_close(graph(x), graph(x))
    graph.train()
    assert not torch.equal(graph(x), graph(x))


def test_dropout_that_is_always_on_stays_on() -> None:
    class Bayesian(Forgetful):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.dropout(self.conv(x).mean((2, 3)), 0.5, training=True))

    graph = canonical(Bayesian()).eval()
    x = torch.randn(4, 3, 8, 8)
    assert not torch.equal(graph(x), graph(x))


def test_stochastic_depth_acts_in_training_alone() -> None:
    graph = canonical(torchvision.models.efficientnet_b0(num_classes=4))
    drops = [module for module in graph.modules() if isinstance(module, StochasticDepth)]
    assert drops
    x = torch.randn(8, 3, 32, 32)
    graph.eval()
    torch.testing.assert_close(graph(x), graph(x))
    for module in graph.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, StochasticDepth):
            module.p = 0.5
    graph.train()
    assert not torch.allclose(graph(x), graph(x))


def test_auxiliary_heads_are_not_in_the_graph() -> None:
    network = torchvision.models.googlenet(num_classes=5, init_weights=False, aux_logits=True)
    graph = canonical(network)
    assert any(name.startswith("aux1.") for name in network.state_dict())
    assert not any(name.startswith("aux") for name in graph.state_dict())
    assert graph.train()(torch.randn(2, 3, 64, 64)).shape == (2, 5)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_padding_in_words_becomes_pixels() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, (3, 5), padding="same", dilation=(1, 2)),
        nn.Conv2d(4, 4, 3, padding="valid"),
        nn.Conv2d(4, 4, 4, padding="same"),
    )
    x = torch.randn(1, 3, 16, 16)
    expected = network(x)
    graph = canonical(network)
    torch.testing.assert_close(graph(x), expected)
    paddings = [part.padding for part in graph.modules() if isinstance(part, nn.Conv2d)]
    assert paddings == [(1, 4), (0, 0), "same"]


class Branching(Forgetful):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x if x.sum() > 0 else -x).mean((2, 3)))


class TwoOutputs(Forgetful):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        hidden = self.conv(x)
        return hidden, self.head(hidden.mean((2, 3)))


class TwoInputs(Forgetful):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
        return self.head((self.conv(x) + self.conv(y)).mean((2, 3)))


class FunctionalNorm(Forgetful):
    def forward(self, x: Tensor) -> Tensor:
        hidden = F.batch_norm(self.conv(x), None, None, training=True)
        return self.head(hidden.mean((2, 3)))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Branching, "must not depend on the values of tensors"),
        (TwoOutputs, "must return one tensor of class scores, it returns tuple"),
        (TwoInputs, r"must take one image batch, it takes \['x', 'y'\]"),
        (FunctionalNorm, "use nn.BatchNorm2d as a module"),
    ],
)
def test_what_cannot_be_one_graph_is_refused(network: type[nn.Module], message: str) -> None:
    built = network().train()
    with pytest.raises(TraceError, match=message):
        canonical(built)
    assert built.training
