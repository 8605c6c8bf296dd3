"""The contract of an operator on whole blocks, over every registered one."""

import copy

import pytest
import torch
from torch import Tensor, fx, nn

from pareconv.models.blocks import Block, find_blocks
from pareconv.models.convolutions.registry import OPERATORS, options
from pareconv.models.convolutions.whole_block import BlockOperator
from pareconv.models.cost import count
from pareconv.models.graph import canonical
from pareconv.models.plan import Option, Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.space import Scope, find_space
from pareconv.models.teachers.architectures import architecture

WHOLE = {name: found for name, found in OPERATORS.items() if issubclass(found, BlockOperator)}
OPTIONS = options(sorted(WHOLE))


class Net(nn.Module):
    """A residual block of each kind, one of which may be skipped; the grouped one has groups of
    four.
    """

    def __init__(self, skipped: str | None = None) -> None:
        super().__init__()
        self.skipped = skipped
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.basic = nn.Sequential(*unit(16, 12, 3), nn.ReLU(), *unit(12, 16, 3))
        self.inverted = nn.Sequential(
            *unit(16, 40, 1), nn.ReLU6(), *unit(40, 40, 3, groups=40), nn.ReLU6(), *unit(40, 16, 1)
        )
        self.grouped = nn.Sequential(
            *unit(16, 24, 1), nn.PReLU(24), *unit(24, 24, 3, groups=6), nn.ReLU(), *unit(24, 16, 1)
        )
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for name in ("basic", "inverted", "grouped"):
            x = (x if name == self.skipped else x + self.get_submodule(name)(x)).relu()
        return self.head(x.mean((2, 3)))


def unit(inputs: int, outputs: int, kernel: int, groups: int = 1) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


@pytest.fixture(scope="module")
def network(photographs: Tensor) -> fx.GraphModule:
    torch.manual_seed(0)
    found = canonical(Net()).train()
    for module in found.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    with torch.no_grad():
        for _ in range(20):
            found(photographs)
    return found.eval()


def block(network: fx.GraphModule, name: str) -> Block:
    return next(each for each in find_blocks(network, "block") if each.name == name)


@pytest.mark.parametrize("option", OPTIONS, ids=str)
@pytest.mark.parametrize("name", ["basic", "inverted", "grouped"])
def test_same_output_shape_exact_cost_and_the_rest_kept(
    network: fx.GraphModule, photographs: Tensor, option: Option, name: str
) -> None:
    before = copy.deepcopy(network.state_dict())
    table = find_space(network, (1, 3, 32, 32), Scope(sorted(WHOLE))).table
    plan = Plan({name: option})
    for sample in (None, photographs[:16]):
        student = rewrite(network, plan, sample)
        assert student(photographs).shape == network(photographs).shape
        assert count(student, 1, 3, 32, 32) == table.cost(plan)
        assert table.cost(plan).flops < table.teacher.flops
        assert table.cost(plan).params < table.teacher.params
        others = [key for key in before if not key.startswith(f"{name}.")]
        assert all(torch.equal(student.state_dict()[key], before[key]) for key in others)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_a_student_learns_exports_and_keeps_the_names_of_its_nodes(
    network: fx.GraphModule, photographs: Tensor, option: Option
) -> None:
    student = rewrite(network, Plan({"basic": option, "grouped": option}), photographs[:16])
    names = {node.name for node in student.graph.nodes}
    assert {each.output for each in find_blocks(network, "block")} <= names
    student.requires_grad_(True).train()(photographs[:4]).square().mean().backward()
    gradients = [parameter.grad for parameter in student.parameters()]
    assert all(grad is not None and bool(grad.isfinite().all()) for grad in gradients)
    program = torch.export.export(student.eval(), (photographs[:2],))
    torch.testing.assert_close(program.module()(photographs[:2]), student(photographs[:2]))
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert all(target.startswith("aten.") for target in targets), targets


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_a_plain_block_is_refused(option: Option) -> None:
    plain = canonical(architecture("cifar_vgg16_bn").build(10))
    for each in find_blocks(plain, "block"):
        reason = WHOLE[option.operator].refusal(plain, each, **option.kwargs)
        assert reason is not None


def test_a_dropped_block_passes_its_input_on(network: fx.GraphModule, photographs: Tensor) -> None:
    student = rewrite(network, Plan({"basic": Option.of("drop")}))
    assert not [name for name, _ in student.named_parameters() if name.startswith("basic.")]
    skipping = Net("basic").eval()
    skipping.load_state_dict(network.state_dict())
    torch.testing.assert_close(student(photographs), skipping(photographs))


def test_a_shortcut_with_a_convolution_is_not_dropped() -> None:
    network = canonical(architecture("cifar_resnet8_b").build(10))
    reason = WHOLE["drop"].refusal(network, block(network, "layer2.0"))
    assert reason == "no residual block whose shortcut is the identity"
    assert WHOLE["drop"].refusal(network, block(network, "layer1.0")) is None


@pytest.mark.parametrize(
    ("name", "width", "weight"),
    [("basic", 6, "basic.3.weight"), ("inverted", 20, "inverted.6.weight")],
)
def test_slim_keeps_the_channels_that_matter(
    network: fx.GraphModule, name: str, width: int, weight: str
) -> None:
    """Channels that nothing reads go first, and without them nothing is lost."""
    teacher = copy.deepcopy(network)
    unread = torch.arange(2 * width) % 2 == 0
    with torch.no_grad():
        teacher.get_parameter(weight)[:, unread] = 0
    student = rewrite(teacher, Plan({name: Option.of("slim", ratio=0.5)}))
    assert student.get_parameter(weight).shape[1] == width
    x = torch.randn(8, 3, 32, 32)
    torch.testing.assert_close(student(x), teacher(x), rtol=1e-4, atol=1e-5)


def test_slim_fitted_to_a_sample_is_closer(network: fx.GraphModule, photographs: Tensor) -> None:
    seen, unseen = photographs[:48], photographs[48:]
    plan = Plan({name: Option.of("slim", ratio=0.5) for name in ("basic", "inverted", "grouped")})

    def distance(student: fx.GraphModule) -> float:
        with torch.no_grad():
            return float((student(unseen) - network(unseen)).square().mean())

    assert distance(rewrite(network, plan, seen)) < 0.5 * distance(rewrite(network, plan))


def test_slim_takes_whole_groups(network: fx.GraphModule) -> None:
    student = rewrite(network, Plan({"grouped": Option.of("slim", ratio=0.4)}))
    conv = student.get_submodule("grouped.3")
    assert isinstance(conv, nn.Conv2d)
    assert (conv.in_channels, conv.out_channels, conv.groups) == (8, 8, 2)
    assert student.get_parameter("grouped.2.weight").shape == (8,)
