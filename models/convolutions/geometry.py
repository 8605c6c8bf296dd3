"""The geometry of a convolution: kernel, stride, padding, dilation, and layers that share it."""

from torch import nn

Pair = tuple[int, int]


def pair(value: tuple[int, ...]) -> Pair:
    """(vertical, horizontal), as a Conv2d always holds them."""
    vertical, horizontal = value
    return vertical, horizontal


def resolve_padding(conv: nn.Conv2d) -> None:
    """Put pixels in the place of `same` or `valid` where they are alike on both sides."""
    left, right, top, bottom = conv._reversed_padding_repeated_twice
    if isinstance(conv.padding, str) and left == right and top == bottom:
        conv.padding = (top, left)


def pads_of(conv: nn.Conv2d) -> tuple[int, int, int, int]:
    """Padding in pixels as (left, right, top, bottom)."""
    left, right, top, bottom = conv._reversed_padding_repeated_twice
    return left, right, top, bottom


def pad_mode(conv: nn.Conv2d) -> str:
    """The mode that `torch.nn.functional.pad` has for it."""
    return "constant" if conv.padding_mode == "zeros" else conv.padding_mode


def spatial_like(
    conv: nn.Conv2d, inputs: int, outputs: int, *, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """A convolution of other widths with the kernel, stride, padding and dilation of `conv`."""
    return nn.Conv2d(
        inputs,
        outputs,
        pair(conv.kernel_size),
        stride=pair(conv.stride),
        padding=conv.padding,  # type: ignore[arg-type]  # in pixels: others are refused
        dilation=pair(conv.dilation),
        groups=groups,
        bias=bias,
        padding_mode=conv.padding_mode,
    )
