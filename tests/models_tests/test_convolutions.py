"""The contract of a cheap convolution, over every registered operator and option."""

import io
import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pareconv.models.convolutions.base import CheapConv, count_dense
from pareconv.models.convolutions.registry import OPERATORS, options
from pareconv.models.cost import count
from pareconv.models.graph import CanonicalTracer
from pareconv.models.plan import Option

CHEAP = {name: found for name, found in OPERATORS.items() if issubclass(found, CheapConv)}
OPTIONS = options(sorted(CHEAP))
# Not a sum of what its inputs are worth: has its own tests of what it starts from.
LINEAR = [option for option in OPTIONS if option.operator != "adder"]
GEOMETRIES: dict[str, dict[str, Any]] = {
    "plain": {"kernel_size": 3, "padding": 1, "bias": False},
    "bias": {"kernel_size": 3, "padding": 1, "bias": True},
    "strided": {"kernel_size": 3, "padding": 1, "stride": 2},
    "oblong-stride": {"kernel_size": 3, "padding": 1, "stride": (1, 2)},
    "dilated": {"kernel_size": 3, "padding": 2, "dilation": 2},
    "unpadded": {"kernel_size": 3},
    "overpadded": {"kernel_size": 3, "padding": 3},
    "large": {"kernel_size": 5, "padding": 2, "stride": 2},
    "oblong": {"kernel_size": (3, 5), "padding": (1, 2)},
    "even": {"kernel_size": 2, "stride": 2},
    "reflect": {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    "circular": {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
    "1x1": {"kernel_size": 1},
    "1x1-strided": {"kernel_size": 1, "stride": 2},
}


def dense(geometry: str, inputs: int = 16, outputs: int = 32) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, **GEOMETRIES[geometry])


def refusal(conv: nn.Conv2d, option: Option) -> str | None:
    return CHEAP[option.operator].refusal(conv, **option.kwargs)


def build(conv: nn.Conv2d, option: Option, inputs: Tensor | None = None) -> CheapConv:
    torch.manual_seed(0)
    return CHEAP[option.operator].from_conv(conv, inputs, **option.kwargs)


def replaceable(*geometries: str, among: Sequence[Option] = OPTIONS) -> list[Any]:
    """Every option with each geometry that it fits, by default of all."""
    cases = itertools.product(among, geometries or GEOMETRIES)
    return [
        pytest.param(option, geometry, id=f"{option}-{geometry}")
        for option, geometry in cases
        if refusal(dense(geometry), option) is None
    ]


def relative_error(module: nn.Module, conv: nn.Conv2d, x: Tensor) -> float:
    with torch.no_grad():
        target = conv(x)
        return float((module.eval()(x) - target).square().mean() / target.var())


def test_every_operator_replaces_a_plain_convolution() -> None:
    usable = {option.operator for option in OPTIONS if refusal(dense("plain"), option) is None}
    assert usable == set(CHEAP)


@pytest.mark.parametrize(("option", "geometry"), replaceable())
def test_same_output_shape_and_cheaper(option: Option, geometry: str) -> None:
    conv = dense(geometry)
    module = build(conv, option)
    for size in ((17, 20), (9, 9)):
        x = torch.randn(2, 16, *size)
        assert module(x).shape == conv(x).shape
    before, after = count(conv, 1, 16, 24, 24), count(module, 1, 16, 24, 24)
    if CHEAP[option.operator].saves:
        assert after.flops + after.adds < before.flops
        assert after.params < before.params


@pytest.mark.parametrize(("option", "geometry"), replaceable(among=LINEAR))
def test_bias_only_where_the_source_has_one(option: Option, geometry: str) -> None:
    conv = dense(geometry)
    x = torch.zeros(1, 16, 12, 12)
    constant = build(conv, option).eval()(x)
    # Without a bias a linear layer maps zero to zero; batch norms of a fresh layer do too.
    assert bool(constant.any()) == (conv.bias is not None)


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_trains_under_autocast(option: Option) -> None:
    module = build(dense("bias"), option).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = module(torch.randn(4, 16, 8, 8)).float().square().mean()
    loss.backward()
    gradients = [parameter.grad for parameter in module.parameters()]
    assert gradients
    assert all(grad is not None and bool(grad.isfinite().all()) for grad in gradients)


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_state_round_trips(option: Option) -> None:
    conv, x = dense("bias"), torch.randn(2, 16, 9, 9)
    first, second = build(conv, option).eval(), CHEAP[option.operator](conv, **option.kwargs)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(second.eval()(x), first(x))


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_keeps_mode_device_and_dtype(option: Option) -> None:
    conv = dense("bias").double().eval()
    module = build(conv, option)
    assert not any(part.training for part in module.modules())
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float64}


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_is_one_leaf_to_fx(option: Option) -> None:
    network = nn.Sequential(build(dense("plain"), option), nn.ReLU())
    graph = CanonicalTracer().trace(network)
    assert [node.target for node in graph.nodes if node.op == "call_module"] == ["0", "1"]


@pytest.mark.parametrize(("option", "geometry"), replaceable("plain", "strided"))
def test_exports_as_standard_operators(option: Option, geometry: str) -> None:
    module, x = build(dense(geometry), option).eval(), torch.randn(2, 16, 12, 12)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(module, (x,), dynamic_shapes=({0: batch},))
    larger = torch.randn(5, 16, 12, 12)
    torch.testing.assert_close(program.module()(larger), module(larger))
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert all(target.startswith("aten.") for target in targets), targets


@pytest.mark.parametrize(("option", "geometry"), replaceable("bias", "strided", among=LINEAR))
def test_closed_form_beats_random_on_unseen_activations(
    option: Option, geometry: str, activations: Tensor
) -> None:
    conv = dense(geometry)
    seen, unseen = activations[:48, :16], activations[48:, :16]
    torch.manual_seed(0)
    random = CHEAP[option.operator](conv, **option.kwargs)
    from_weights = relative_error(build(conv, option), conv, unseen)
    from_both = relative_error(build(conv, option, seen), conv, unseen)
    assert from_both < 0.8 * relative_error(random, conv, unseen)
    assert from_both < from_weights


@pytest.mark.parametrize(("option", "geometry"), replaceable(among=LINEAR))
def test_a_sample_fits_it_whatever_the_geometry(
    option: Option, geometry: str, activations: Tensor
) -> None:
    conv, seen = dense(geometry), activations[:, :16]
    assert relative_error(build(conv, option, seen), conv, seen) <= min(
        1.0, relative_error(build(conv, option), conv, seen)
    )


@pytest.mark.parametrize("option", OPTIONS, ids=str)
def test_refuses_what_is_grouped_already(option: Option) -> None:
    conv = nn.Conv2d(16, 32, 3, groups=4)
    reason = refusal(conv, option)
    assert reason is not None
    assert "groups=4" in reason
    with pytest.raises(ValueError, match="groups=4"):
        CHEAP[option.operator].from_conv(conv, **option.kwargs)


@pytest.mark.parametrize(
    ("option", "conv", "reason"),
    [
        ("group_pointwise(groups=4)", nn.Conv2d(18, 32, 3), "does not divide the 18 input"),
        ("hetconv(parts=4)", nn.Conv2d(16, 18, 3), "does not divide the 18 output"),
        ("shift", nn.Conv2d(8, 32, 3), "fewer than the 9 taps"),
        ("group(groups=4)", nn.Conv2d(16, 18, 1), "does not divide the 18 output"),
        ("tucker(ratio=0.5)", nn.Conv2d(16, 32, 1), "its low rank is svd's"),
        ("shift(even=2)", nn.Conv2d(16, 32, 3), "even=2 is outside 0 to 1"),
        ("shift(even=0)", nn.Conv2d(16, 32, 3), "even=0 is the default; leave it out"),
        ("bottleneck(reduction=2)", nn.Conv2d(4, 64, 3), "above the 4 inputs"),
        ("ghost(ratio=4)", nn.Conv2d(16, 3, 3), "exceeds the 3 output channels"),
        ("pointwise", nn.Conv2d(16, 32, 1), "already 1x1"),
        ("depthwise", nn.Conv2d(16, 32, 4, padding="same"), "padding='same' pads unevenly"),
        ("depthwise", nn.Conv2d(16, 1, 3), "not cheaper"),
        ("svd(ratio=2.0)", nn.Conv2d(16, 32, 3), "ratio=2.0 is outside 0.01 to 1.0"),
        ("group_pointwise(groups=2.5)", nn.Conv2d(16, 32, 3), "not a whole number"),
        ("group_pointwise", nn.Conv2d(16, 32, 3), "takes the hyper-parameters groups, got none"),
    ],
)
def test_refusals_name_value_and_limit(option: str, conv: nn.Conv2d, reason: str) -> None:
    found = refusal(conv, Option.parse(option))
    assert found is not None
    assert reason in found


def test_svd_is_exact_at_full_rank() -> None:
    conv = dense("bias", inputs=8, outputs=8)
    module = CHEAP["svd"](conv, ratio=1.0)
    module.vertical = nn.Conv2d(8, 24, (3, 1), padding=(1, 0), bias=False)
    module.horizontal = nn.Conv2d(24, 8, (1, 3), padding=(0, 1))
    with torch.no_grad():
        module._imitate(conv, None)
    assert relative_error(module, conv, torch.randn(2, 8, 9, 9)) < 1e-8


@pytest.mark.parametrize("geometry", ["bias", "strided", "dilated", "reflect"])
@pytest.mark.parametrize("option", ["depthwise", "group_pointwise(groups=4)"])
def test_group_start_recovers_a_separable_kernel(option: str, geometry: str) -> None:
    conv = dense(geometry)
    separable = build(conv, Option.parse(option))
    with torch.no_grad():
        spatial = separable.spatial.weight
        full = torch.zeros(16, 16, 3, 3)
        width = 16 // separable.spatial.groups
        for channel in range(16):
            start = channel // width * width
            full[channel, start : start + width] = spatial[channel]
        conv.weight.copy_(
            torch.einsum("om,mihw->oihw", separable.pointwise.weight[:, :, 0, 0], full)
        )
    rebuilt = build(conv, Option.parse(option))
    assert relative_error(rebuilt, conv, torch.randn(2, 16, 9, 9)) < 1e-8


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize(("option", "dealt"), [("group", False), ("shuffle_group", True)])
def test_groups_see_their_inputs_alone(option: str, groups: int, dealt: bool) -> None:
    """Output c of a shuffled group convolution belongs to group c % g, of a plain one to the run
    of outputs that it is in; from a kernel of that form it starts exact.
    """
    conv = dense("bias")
    group_of_output = torch.arange(32) % groups if dealt else torch.arange(32) * groups // 32
    group_of_input = torch.arange(16) * groups // 16
    with torch.no_grad():
        conv.weight *= (group_of_output[:, None] == group_of_input)[:, :, None, None]
    module = build(conv, Option.of(option, groups=groups))
    assert relative_error(module, conv, torch.randn(2, 16, 9, 9)) < 1e-10


def test_tucker_and_bsconv_are_exact_where_the_kernel_is_of_their_form(
    activations: Tensor,
) -> None:
    x = activations[:, :16]
    for option in (Option.of("tucker", ratio=0.25), Option.of("bsconv")):
        conv = dense("bias")
        of_its_form = build(conv, option)
        with torch.no_grad():
            impulse = torch.zeros(16, 16, 5, 5)
            impulse[torch.arange(16), torch.arange(16), 2, 2] = 1
            answer = of_its_form(impulse) - of_its_form(torch.zeros(1, 16, 5, 5))
            conv.weight.copy_(answer[:, :, 1:4, 1:4].flip(2, 3).transpose(0, 1))
        assert relative_error(build(conv, option), conv, x) < 1e-8
        assert relative_error(build(conv, option, x[:32]), conv, x) < 1e-3  # ridge


@pytest.mark.parametrize("even", [0, 1])
@pytest.mark.parametrize("geometry", ["bias", "strided", "dilated", "unpadded", "even"])
def test_shift_reads_the_taps_of_the_papers(geometry: str, even: int) -> None:
    """Of 20 channels 18 are shifted in a 3 x 3 window: channel c reads tap c % 9, with an even
    split tap c // 2. The last two read the centre.
    """
    conv = dense(geometry, inputs=20)
    kh, kw = conv.kernel_size
    taps = kh * kw
    full = 20 // taps * taps
    tap_of = [c // (full // taps) if even else c % taps for c in range(full)]
    shift = build(conv, Option.of("shift", even=1) if even else Option.of("shift"))
    with torch.no_grad():
        conv.weight.zero_()
        order = sorted(range(full), key=lambda c: (tap_of[c], c)) + list(range(full, 20))
        for position, channel in enumerate(order):
            tap = divmod(tap_of[channel], kw) if channel < full else ((kh - 1) // 2, (kw - 1) // 2)
            conv.weight[:, channel, tap[0], tap[1]] = shift.pointwise.weight[:, position, 0, 0]
    assert relative_error(shift, conv, torch.randn(2, 20, 12, 11)) < 1e-10


@pytest.mark.parametrize(
    ("option", "params", "multiply_adds"),
    # methods.md 6.1 at Ci = 16, Co = 32, k = 3, s = 2, 24 x 24 in, 12 x 12 out, without bias.
    [
        ("group_pointwise(groups=4)", 16 * 16 * 9 // 4 + 16 * 32, (576 + 512) * 144),
        ("depthwise", 16 * 9 + 16 * 32, (144 + 512) * 144),
        ("shift", 16 * 32, 512 * 144),
        ("pointwise", 16 * 32, 512 * 144),
        ("shift(even=1)", 16 * 32, 512 * 144),
        ("group(groups=4)", 16 * 32 * 9 // 4, 1152 * 144),
        ("shuffle_group(groups=4)", 16 * 32 * 9 // 4, 1152 * 144),
        ("bsconv", 16 * 32 + 32 * 9, 512 * 576 + 288 * 144),
        ("partial(ratio=0.25)", 4 * 4 * 9 + 16 * 32, (144 + 512) * 144),
        (
            "inverted(expansion=1)",
            16 * 16 + 16 * 9 + 16 * 32 + 4 * 16,
            256 * 576 + (144 + 512) * 144 + 2 * 16 * (576 + 144),
        ),
        # A share a of both widths: 4608 a^2 + 1280 a = 0.25 * 4608, a = 0.38; R1 = 6, R2 = 12.
        ("tucker(ratio=0.25)", 96 + 648 + 384, 96 * 576 + (648 + 384) * 144),
        ("ghost(ratio=2)", 16 * 16 * 9 + 16 * 9, (2304 + 144) * 144),
        ("ghost(ratio=4)", 16 * 8 * 9 + 3 * 8 * 9, (1152 + 216) * 144),
        ("hetconv(parts=4)", 16 * 32 * 9 // 4 + 16 * 32, (1152 + 512) * 144),
        ("svd(ratio=0.5)", 16 * 3 * (16 + 32), 16 * 3 * (16 * 12 * 24 + 32 * 144)),
        (
            "bottleneck(reduction=4)",
            16 * 8 + 64 * 9 + 8 * 32 + 4 * 8,
            16 * 8 * 576 + (64 * 9 + 8 * 32) * 144 + 2 * 8 * (576 + 144),
        ),
    ],
)
def test_costs_are_the_closed_forms(option: str, params: int, multiply_adds: int) -> None:
    conv = nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False)
    parsed = Option.parse(option)
    cost = CHEAP[parsed.operator].count(conv, (24, 24), **parsed.kwargs)
    assert (cost.params, cost.flops) == (params, multiply_adds)
    assert count_dense(conv, (24, 24)).flops == 16 * 32 * 9 * 144
