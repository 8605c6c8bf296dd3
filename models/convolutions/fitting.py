"""Least squares for a layer after fixed features: the closed form behind most warm starts."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pareconv.models.convolutions.geometry import pad_mode, pads_of

_LEAST_POSITIONS = 16_384  # neighbours look alike: of a large map many are needed
_POSITIONS_PER_FEATURE = 8
_RIDGE = 1e-3


def fit_conv(layer: nn.Conv2d, features: Tensor, target: Tensor) -> None:
    """Move `layer` to the least-squares solution of `layer(features) = target`, in place.

    `features` [N, F, H, W], `target` [N, O, Ho, Wo] = shape of what it gives; each group of
    channels is solved on its own. The correction to the present weights is what is penalised
    (ridge), so that a small sample leaves them nearly as they are.
    """
    groups, seen = layer.groups, layer.weight[0].numel()
    design = patches(layer, features).view(-1, groups, seen).transpose(0, 1)  # [g, Q, seen]
    given = nn.Conv2d.forward(layer, features)  # a CentreConv would centre them once more
    residual = (target - given).permute(0, 2, 3, 1).flatten(0, 2)  # [Q, O]
    residual = residual.view(len(residual), groups, -1).transpose(0, 1)  # [g, Q, O/g]
    if layer.bias is not None:
        design = torch.cat([design, design.new_ones(*design.shape[:2], 1)], dim=2)
    correction = ridge(design, residual).mT.flatten(0, 1).to(layer.weight.dtype)  # [O, seen (+1)]
    layer.weight += correction[:, :seen].reshape_as(layer.weight)
    if layer.bias is not None:
        layer.bias += correction[:, -1]


def settled(norm: nn.BatchNorm2d, features: Tensor) -> Tensor:
    """Give `norm` the statistics of `features` [N, C, H, W], and return what it then makes of
    them.
    """
    variance, mean = torch.var_mean(features, dim=(0, 2, 3), correction=0)
    norm.running_mean.copy_(mean)  # type: ignore[union-attr]
    norm.running_var.copy_(variance)  # type: ignore[union-attr]
    out: Tensor = norm.eval()(features)
    return out


def truncated(kernel: Tensor, rank: int, inputs: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Factors [..., O, rank] and [..., rank, F] of the best rank-`rank` approximation of `kernel`
    [..., O, F]: in its weights, or where `inputs` [..., Q, F] are given in its outputs on them.
    """
    kernel = kernel.float()
    if inputs is None:
        left, scale, right = torch.linalg.svd(kernel, full_matrices=False)
    else:
        root, inverse = roots(inputs)
        left, scale, right = torch.linalg.svd(kernel.double() @ root, full_matrices=False)
        right = right @ inverse
    share = scale[..., :rank].sqrt()
    left = left[..., :rank] * share[..., None, :]
    right = share[..., None] * right[..., :rank, :]
    return left.to(kernel.dtype), right.to(kernel.dtype)


def leading(matrix: Tensor, count: int) -> Tensor:
    """Leading left singular vectors, [rows, at most count], from the much smaller Gram matrix."""
    vectors: Tensor = torch.linalg.eigh(matrix @ matrix.T).eigenvectors
    return vectors.flip(1)[:, :count]


def roots(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The symmetric square root of the inputs' second moments [..., F, F], and its inverse."""
    inputs = inputs.double()
    moments = inputs.mT @ inputs / inputs.shape[-2]
    energy = moments.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None].clamp_min(1e-12)
    values, vectors = torch.linalg.eigh(moments)
    roots = (values.clamp_min(0) + _RIDGE * energy).sqrt()[..., None, :]
    return (vectors * roots) @ vectors.mT, (vectors / roots) @ vectors.mT


def patches(layer: nn.Conv2d, features: Tensor) -> Tensor:
    """What each output position of `layer` sees: [N*Ho*Wo, Ci*kh*kw]."""
    pads = pads_of(layer)
    padded = F.pad(features, pads, mode=pad_mode(layer)) if any(pads) else features
    columns = F.unfold(
        padded, layer.kernel_size, dilation=layer.dilation, stride=layer.stride
    )  # [N, Ci*kh*kw, Ho*Wo]
    return columns.transpose(1, 2).flatten(0, 1)


def ridge(design: Tensor, target: Tensor) -> Tensor:
    """Solve min ||design @ w - target||^2 + penalty ||w||^2 for w [..., F, O].

    `design` is [..., Q, F], `target` [..., Q, O].

    The penalty is a thousandth of the design's mean energy, which keeps collinear features
    harmless: with it the matrix is positive definite, and far from being singular.
    """
    design, target = design.double(), target.double()
    gram = design.mT @ design
    energy = gram.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(1e-12)
    penalty = (_RIDGE * energy)[..., None, None] * torch.eye(
        gram.shape[-1], dtype=gram.dtype, device=gram.device
    )
    # Not linalg.solve, whose LU of a batch fails with several threads of MKL (pytorch #142815).
    factor = torch.linalg.cholesky(gram + penalty)
    return torch.cholesky_solve(design.mT @ target, factor)


def enough(conv: nn.Conv2d, inputs: Tensor) -> Tensor:
    """As many of the images `inputs` [N, Ci, H, W] of `conv` as a fit of any part of it needs."""
    return inputs[: images_for(conv, conv(inputs[:1]))]


def images_for(conv: nn.Conv2d, output: Tensor) -> int:
    """How many images a fit of any part of `conv` needs, from its `output` [1, Co, Ho, Wo] for
    one.
    """
    wanted = max(_LEAST_POSITIONS, _POSITIONS_PER_FEATURE * conv.weight[0].numel())
    return -(-wanted // output[0, 0].numel())
