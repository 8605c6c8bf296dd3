"""Rewriting: a new network, everything kept that the plan does not name."""

import copy

import pytest
import torch
from torch import Tensor, fx

from pareconv.models.blocks import find_blocks
from pareconv.models.convolutions.base import CheapConv
from pareconv.models.errors import PlanError
from pareconv.models.graph import canonical
from pareconv.models.plan import Option, Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.teachers.architectures import architecture


@pytest.fixture(scope="module")
def teacher() -> fx.GraphModule:
    torch.manual_seed(0)
    return canonical(architecture("cifar_resnet8").build(10)).eval()


PLAN = Plan.from_json({"layer1.0": "svd(ratio=0.5)", "layer3.0": "shift"})


def test_the_named_blocks_change_and_nothing_else(teacher: fx.GraphModule) -> None:
    before = copy.deepcopy(teacher.state_dict())
    student = rewrite(teacher, PLAN)
    replaced = [name for name, module in student.named_modules() if isinstance(module, CheapConv)]
    assert replaced == ["layer1.0.conv1", "layer1.0.conv2", "layer3.0.conv1", "layer3.0.conv2"]
    kept = {name for name in before if not name.startswith(tuple(f"{name}." for name in replaced))}
    assert kept < set(student.state_dict())
    for name in kept:
        torch.testing.assert_close(student.state_dict()[name], before[name])
    for name, value in teacher.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_a_student_shares_no_memory_with_its_teacher(teacher: fx.GraphModule) -> None:
    student = rewrite(teacher, PLAN)
    taken = {parameter.data_ptr() for parameter in teacher.parameters()}
    assert not taken & {parameter.data_ptr() for parameter in student.parameters()}


@pytest.mark.parametrize("sampled", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_mode_and_dtype_are_kept(
    teacher: fx.GraphModule, photographs: Tensor, training: bool, sampled: bool
) -> None:
    network = copy.deepcopy(teacher).double().train(training)
    student = rewrite(network, PLAN, photographs.double() if sampled else None)
    assert all(module.training is training for module in student.modules())
    assert all(module.training is training for module in network.modules())
    assert {parameter.dtype for parameter in student.parameters()} == {torch.float64}


def test_a_sample_brings_the_student_closer(teacher: fx.GraphModule, photographs: Tensor) -> None:
    target = teacher(photographs)

    def distance(student: fx.GraphModule) -> float:
        with torch.no_grad():
            return float((student.eval()(photographs) - target).square().mean())

    torch.manual_seed(0)
    assert distance(rewrite(teacher, PLAN, photographs[:32])) < distance(rewrite(teacher, PLAN))


def test_the_same_blocks_are_found_again(teacher: fx.GraphModule) -> None:
    student = rewrite(teacher, Plan.from_json({"layer1.0": "shift"}))
    again = {block.name for block in find_blocks(canonical(student), "block")}
    assert again == {"conv1", "layer2.0", "layer3.0"}


def test_a_single_convolution_can_be_named(teacher: fx.GraphModule) -> None:
    student = rewrite(teacher, Plan.from_json({"layer1.0.conv2": "depthwise"}))
    replaced = [name for name, module in student.named_modules() if isinstance(module, CheapConv)]
    assert replaced == ["layer1.0.conv2"]


def test_a_block_is_rebuilt_where_it_can_be() -> None:
    """The 1x1 shortcut of a block refuses `shift`; its two 3x3 convolutions take it."""
    network = canonical(architecture("cifar_resnet8_b").build(10))
    student = rewrite(network, Plan.from_json({"layer2.0": "shift"}))
    replaced = [name for name, module in student.named_modules() if isinstance(module, CheapConv)]
    assert replaced == ["layer2.0.conv1", "layer2.0.conv2"]


@pytest.mark.parametrize(
    ("option", "millions"),
    [
        ("shift", 0.102),
        ("depthwise", 0.120),
        ("group_pointwise(groups=2)", 0.520),
        ("group_pointwise(groups=4)", 0.311),
        ("group_pointwise(groups=8)", 0.207),
        ("group_pointwise(groups=16)", 0.154),
    ],
)
def test_the_students_of_od_cheap_convolution_have_their_sizes(
    option: str, millions: float
) -> None:
    """ResNet-56 with 1x1 shortcuts, its stem, shortcuts and classifier kept (methods.md 1.5). Where
    their strides are, `cifar_od_resnet56_*` have them.
    """
    network = canonical(architecture("cifar_resnet56_b").build(10))
    blocks = [block.name for block in find_blocks(network, "block") if block.name != "conv1"]
    student = rewrite(network, Plan(dict.fromkeys(blocks, Option.parse(option))))
    params = sum(parameter.numel() for parameter in student.parameters())
    assert params / 1e6 == pytest.approx(millions, abs=0.0005)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({}, "keeps every block: there is nothing to rewrite"),
        ({"conv1": "keep"}, "keeps every block"),
        ({"layer9": "shift"}, r"no block 'layer9'; blocks: conv1, layer1\.0\.conv1"),
        ({"conv1": "winograd"}, "unknown operator 'winograd'; known: "),
        ({"conv1": "shift"}, r"block conv1: shift fits none .* fewer than the 9 taps"),
        (
            {"layer1.0": "shift", "layer1.0.conv1": "svd(ratio=0.5)"},
            r"another block of the plan replaces layer1\.0\.conv1 already",
        ),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(
    teacher: fx.GraphModule, plan: dict[str, str], message: str
) -> None:
    with pytest.raises(PlanError, match=message):
        rewrite(teacher, Plan.from_json(plan))
