"""The search space: exact additive costs for every operator on every teacher family."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from pareconv.models.blocks import find_blocks
from pareconv.models.convolutions.registry import OPERATORS, SAVING
from pareconv.models.cost import count, flops_by_operator
from pareconv.models.cost_table import Cost, CostTable
from pareconv.models.errors import PlanError
from pareconv.models.graph import canonical
from pareconv.models.plan import KEEP, Option, Plan
from pareconv.models.rewriting import rewrite
from pareconv.models.space import Scope, block_costs, find_space
from pareconv.models.teachers.architecture import Architecture
from pareconv.models.teachers.architectures import architecture
from pareconv.models.teachers.zoo import ZOO

EVERYTHING = sorted(OPERATORS)

# The smallest member of each family by parameters; all others are run by `make test-slow`.
SMALLEST = [
    "alexnet", "cifar_mobilenet_v2", "cifar_od_resnet56_shift", "cifar_resnet8",
    "cifar_resnet8_b", "cifar_vgg16_bn",
    "cifar_wrn_40_2", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s",
    "googlenet", "inception_v3", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small",
    "regnet_y_400mf", "regnet_x_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5",
    "squeezenet1_1", "vgg11", "wide_resnet50_2",
]  # fmt: skip
CIFAR = ["cifar_mobilenet_v2", "cifar_resnet8", "cifar_resnet8_b"]  # small enough for all of it
LARGEST_PARAMS = 100_000_000


def size_of(known: Architecture) -> int:
    return max(32, known.min_size)


def check_network(
    known: Architecture,
    operators: Sequence[str],
    plans: Callable[[CostTable], Iterable[Plan]],
) -> None:
    """Discovery, exact cost of the plans, one finite training step of each student."""
    torch.manual_seed(0)
    network = canonical(known.build(10))
    shape = (1, 3, size_of(known), size_of(known))
    space = find_space(network, shape, Scope(operators))
    assert space.blocks, space.left_out
    for plan in plans(space.table):
        student = rewrite(network, plan)
        assert count(student, *shape) == space.table.cost(plan), plan
        _train_one_step(student, shape)


def everywhere(table: CostTable) -> Iterator[Plan]:
    """Every operator in all blocks that take it."""
    yield from filter(None, (_uniform(table, name) for name in EVERYTHING))


def by_turns(table: CostTable) -> Iterator[Plan]:
    """One plan, in which the operators of the blocks follow each other."""
    plan = {}
    for number, (block, options) in enumerate(table.changes.items()):
        operators = sorted({option.operator for option in options if option != KEEP})
        wanted = operators[number % len(operators)]
        plan[block] = next(each for each in options if each.operator == wanted)
    yield Plan(plan)


def _uniform(table: CostTable, operator: str) -> Plan:
    """The last option of the operator in every block that has one."""
    return Plan(
        {
            block: option
            for block, options in table.changes.items()
            for option in options
            if option.operator == operator
        }
    )


def _train_one_step(student: fx.GraphModule, shape: tuple[int, ...]) -> None:
    loss = F.cross_entropy(student.train()(torch.randn(2, *shape[1:])), torch.tensor([0, 1]))
    loss.backward()
    gradients = [p.grad for p in student.parameters() if p.grad is not None]
    assert gradients
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


@pytest.mark.parametrize("name", CIFAR)
def test_every_operator_everywhere(name: str) -> None:
    check_network(architecture(name), EVERYTHING, everywhere)


def test_every_operator_everywhere_in_a_convnext(small_convnext: Architecture) -> None:
    check_network(small_convnext, EVERYTHING, everywhere)


@pytest.mark.parametrize(
    ("name", "turn"), [(name, turn) for turn, name in enumerate(SMALLEST) if name not in CIFAR]
)
def test_smallest_of_each_family(name: str, turn: int) -> None:
    """With a third of the operators each; `make test-slow` tries all of them on all."""
    check_network(architecture(name), EVERYTHING[turn % 3 :: 3], by_turns)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ZOO if name not in CIFAR])
def test_every_network(name: str) -> None:
    known = architecture(name)
    network = canonical(known.build(10))
    if sum(parameter.numel() for parameter in network.parameters()) <= LARGEST_PARAMS:
        check_network(known, EVERYTHING, everywhere)
    else:  # only looked at: a step of it does not fit a small machine
        assert find_space(network, (1, 3, size_of(known), size_of(known)), Scope(EVERYTHING)).blocks


def test_every_family_has_its_smallest() -> None:
    families = {each.family for each in ZOO.values()}
    assert {architecture(name).family for name in SMALLEST} == families


@pytest.fixture(scope="module")
def network() -> fx.GraphModule:
    return canonical(architecture("cifar_resnet8").build(10))


def table_of(network: fx.GraphModule, scope: Scope) -> CostTable:
    return find_space(network, (1, 3, 32, 32), scope).table


def test_blocks_cost_all_that_is_convolved_and_no_option_saves_more(
    network: fx.GraphModule,
) -> None:
    table = table_of(network, Scope(EVERYTHING))
    costs = block_costs(network, (1, 3, 32, 32), table.changes)
    counted = flops_by_operator(network, 1, 3, 32, 32)
    assert sum(cost.flops for cost in costs.values()) == counted["conv"] + counted["batch_norm"]
    for block, options in table.changes.items():
        for change in options.values():
            after = costs[block] + change
            assert min(after.flops, after.params, after.adds) >= 0


@pytest.mark.parametrize("name", ["shufflenet_v2_x0_5", "densenet121"])
def test_blocks_together_cost_no_more_than_the_network(name: str) -> None:
    """Also where a block begins with the parts of a tensor that was split."""
    split = canonical(architecture(name).build(10))
    table = find_space(split, (1, 3, 32, 32), Scope(["svd"])).table
    costs = block_costs(split, (1, 3, 32, 32), table.changes)
    assert all(cost.flops > 0 and cost.params > 0 for cost in costs.values())
    assert 0.9 < sum(cost.flops for cost in costs.values()) / table.teacher.flops <= 1


def test_a_mixed_plan_costs_what_fvcore_counts(network: fx.GraphModule) -> None:
    table = table_of(network, Scope(EVERYTHING, granularity="conv"))
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        chosen = {
            block: list(options)[int(torch.randint(len(options), (), generator=generator))]
            for block, options in table.changes.items()
        }
        plan = Plan(chosen)
        assert count(rewrite(network, plan), 1, 3, 32, 32) == table.cost(plan)
        assert table.least("flops") <= table.cost(plan).flops <= table.greatest("flops")


def test_the_least_and_the_greatest_are_reached(network: fx.GraphModule) -> None:
    table = table_of(network, Scope(SAVING))
    cheapest = Plan(
        {block: min(o, key=lambda k: o[k].params) for block, o in table.changes.items()}
    )
    assert table.cost(cheapest).params == table.least("params")
    assert table.greatest("params") < table.teacher.params


def test_operators_and_patterns_limit_the_space(network: fx.GraphModule) -> None:
    space = find_space(
        network, (1, 3, 32, 32), Scope(["shift"], include=["layer*"], exclude=["layer3.*"])
    )
    assert [block.name for block in space.blocks] == ["layer1.0", "layer2.0"]
    assert set(space.table.changes["layer1.0"]) == {KEEP, Option("shift")}
    reasons = {left.name: left.reason for left in space.left_out}
    assert reasons == {"conv1": "not included by layer*", "layer3.0": "excluded by layer3.*"}


def test_auto_spreads_its_options_over_the_range_of_cost(network: fx.GraphModule) -> None:
    """Both ends of the range stay, and of options that cost about the same three at most."""
    every = table_of(network, Scope(SAVING)).changes
    chosen = table_of(network, Scope()).changes
    assert chosen.keys() == every.keys()
    for block, options in chosen.items():
        assert options.items() <= every[block].items()
        costs = sorted(change.flops for option, change in options.items() if option != KEEP)
        all_costs = sorted(c.flops for option, c in every[block].items() if option != KEEP)
        assert costs[0] == all_costs[0]
        assert costs[-1] == all_costs[-1]
        assert len({option.operator for option in options}) > 5
        if block != "conv1":  # few operators take three input channels
            assert len(options) < len(every[block])
        fewest = min(change.params for change in options.values())
        for change in options.values():
            apart = [other - change for option, other in options.items() if option != KEEP]
            alike = [
                each
                for each in apart
                if abs(each.flops) < -0.02 * costs[0] and abs(each.params) < -0.02 * fewest
            ]
            assert len(alike) <= 3


@pytest.mark.parametrize(
    "name", ["mobilenet_v2", "efficientnet_b0", "regnet_x_400mf", "convnext_tiny"]
)
def test_networks_of_pointwise_convolutions_have_options_for_them(name: str) -> None:
    found = canonical(architecture(name).build(10))
    table = find_space(found, (1, 3, 64, 64), Scope()).table
    blocks = [block for block in find_blocks(found, "block") if block.name in table.changes]
    for block in blocks[1:]:  # the first is a 3x3 stem
        operators = {option.operator for option in table.changes[block.name]}
        assert {"svd", "shuffle_group"} <= operators, block
        # A single convolution has no width of its own.
        assert ("slim" in operators) == (len(block.convs) > 1), block
    assert table.least("flops") < 0.5 * table.teacher.flops


def test_a_block_that_nothing_fits_is_left_out_with_every_reason(network: fx.GraphModule) -> None:
    space = find_space(network, (1, 3, 32, 32), Scope(["shift", "hetconv"]))
    reasons = {left.name: left.reason for left in space.left_out}
    assert "shift: 3 input channels, fewer than the 9 taps" in reasons["conv1"]
    assert "hetconv: parts=8 does not divide the 3 input channels" in reasons["conv1"]


def test_a_linear_layer_on_what_is_not_known_to_be_a_map_is_left_out() -> None:
    """Both come to the same, but only a permutation of four dimensions tells so."""

    class Tokens(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            hidden = self[0](x)
            hidden = self[1](hidden.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
            hidden = self[2](hidden.flatten(2).transpose(1, 2)).mean(1)
            return self[3](hidden)

    layers = nn.Conv2d(3, 16, 3), nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 4)
    space = find_space(canonical(Tokens(*layers)), (1, 3, 16, 16), Scope())
    assert [block.name for block in space.blocks] == ["0", "1"]
    (left,) = space.left_out
    assert left.name == "2"
    assert left.reason.startswith("Linear: is a 1x1 convolution only on maps")


def test_a_block_where_options_save_nothing_at_this_size_is_left_out() -> None:
    """Its 1x1 runs on all 3 x 3 pixels of the input, the convolution on one."""
    tiny = canonical(nn.Sequential(nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(16, 4)))
    space = find_space(tiny, (1, 16, 3, 3), Scope(["bsconv"]))
    (left,) = space.left_out
    assert left.reason == "no operator fits (bsconv: not cheaper at this size)"


def test_options_that_build_the_same_layer_are_one(network: fx.GraphModule) -> None:
    """On 3 input channels an eighth and a quarter of the parameters are both rank 1."""
    options = table_of(network, Scope(["svd"])).changes["conv1"]
    ratios = [option.kwargs["ratio"] for option in options if option != KEEP]
    assert ratios == [0.125, 0.375, 0.5, 0.625, 0.75]
    assert len(set(options.values())) == len(options)


@pytest.mark.parametrize(("size", "ratios"), [(7, [0.125]), (32, [0.125, 0.25, 0.375, 0.5, 0.625])])
def test_an_option_that_saves_nothing_at_this_size_is_none(size: int, ratios: list[float]) -> None:
    """A 7 x 7 kernel on 7 x 7 pixels: its vertical half runs on all seven columns."""
    network = canonical(
        nn.Sequential(
            nn.Conv2d(3, 16, 1),
            nn.Conv2d(16, 16, 7),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 4),
        )
    )
    options = find_space(network, (1, 3, size, size), Scope(["svd"])).table.changes["1"]
    assert [option.kwargs["ratio"] for option in options if option != KEEP] == ratios


def test_a_table_survives_json_in_its_order(network: fx.GraphModule) -> None:
    table = table_of(network, Scope(EVERYTHING))
    again = CostTable.from_json(json.loads(json.dumps(table.to_json())))
    assert again == table
    assert [list(options) for options in again.changes.values()] == [
        list(options) for options in table.changes.values()
    ]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"layer9": "shift"}, "no block 'layer9'; blocks: a"),
        ({"a": "shift"}, r"block a: no option shift; options: keep, svd\(ratio=0.5\)"),
    ],
)
def test_a_table_refuses_what_it_does_not_have(plan: dict[str, str], message: str) -> None:
    table = CostTable(
        Cost(10, 10), {"a": {KEEP: Cost(), Option.of("svd", ratio=0.5): Cost(-1, -2)}}
    )
    with pytest.raises(PlanError, match=message):
        table.cost(Plan.from_json(plan))


def test_adds_count_against_a_flops_budget() -> None:
    assert Cost(flops=5, params=1, adds=7).quantity("flops") == 12


def test_latencies_add_up_where_all_were_measured() -> None:
    table = CostTable(
        Cost(100, 10, latency_ms=2.0),
        {
            "a": {KEEP: Cost(latency_ms=0.0), Option.of("ghost"): Cost(-50, -5, latency_ms=0.5)},
            "b": {KEEP: Cost(latency_ms=0.0), Option.of("ghost"): Cost(-40, -4)},
        },
    )
    measured = table.cost(Plan.from_json({"a": "ghost"}))
    assert measured == Cost(50, 5, latency_ms=2.5)
    assert Cost.from_json(json.loads(json.dumps(measured.to_json()))) == measured
    assert table.cost(Plan.from_json({"b": "ghost"})) == Cost(60, 6)
    assert "latency_ms" not in Cost(60, 6).to_json()
