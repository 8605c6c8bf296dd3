"""Batch norms given back to a network whose exporter folded them into its convolutions: without
them what is put into the place of a convolution hardly learns.
"""

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pareconv.models.blocks import is_per_channel
from pareconv.models.graph import called, follow

_NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)


def restore_norms(network: fx.GraphModule) -> fx.GraphModule:
    """A batch norm after every convolution with a bias and no norm, if those are most: one or two
    norms stay where no exporter can fold them. What the network computes in eval mode does not
    change.

    The bias of the convolution goes into the norm, where it was before it was folded. Its
    statistics are those of nothing yet, mean 0 and variance 1: see `anchor_norms`. Convolutions of
    what was pooled to one pixel, as in squeeze and excitation, had none.
    """
    bare = [node for node in network.graph.nodes if _is_bare(network, node)]
    norms = [module for module in network.modules() if isinstance(module, _NORMS)]
    if len({node.target for node in bare}) > len(norms):
        for node in bare:
            _restore(network, node)
        network.recompile()
    return network


def anchor_norms(network: nn.Module, images: Tensor) -> None:
    """Give norms without statistics those of `images` [N, 3, S, S], normalised, N >= 2, and such
    weights that the network computes what it did. Other norms stay as they are.
    """
    hooks = [each.register_forward_pre_hook(_anchor) for each in fresh_norms(network)]
    if not hooks:
        return
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()


def fresh_norms(network: nn.Module) -> list[_BatchNorm]:
    """Those without statistics."""
    return [each for each in network.modules() if isinstance(each, _BatchNorm) and _is_fresh(each)]


def _is_bare(network: fx.GraphModule, node: fx.Node) -> bool:
    conv = called(network, node)
    if not isinstance(conv, nn.Conv2d) or conv.bias is None:
        return False
    is_normed = any(isinstance(called(network, user), _NORMS) for user in node.users)
    return not is_normed and not _is_pooled(network, node.all_input_nodes[0])


def _is_pooled(network: fx.GraphModule, node: fx.Node) -> bool:
    """Whether one pixel comes from a pool, through layers that keep it one pixel."""
    module = called(network, node)
    while isinstance(module, nn.Conv2d) or is_per_channel(network, node):
        node = node.all_input_nodes[0]
        module = called(network, node)
    return isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d)


def _restore(network: fx.GraphModule, node: fx.Node) -> None:
    conv, name = network.get_submodule(str(node.target)), f"{node.target}_norm"
    assert isinstance(conv, nn.Conv2d)
    if conv.bias is not None:  # not so where the convolution was called before
        norm = nn.BatchNorm2d(conv.out_channels)
        with torch.no_grad():
            norm.weight.fill_((1 + norm.eps) ** 0.5)
            norm.bias.copy_(conv.bias)
        conv.bias = None
        network.add_submodule(name, norm)
    follow(network, node, name)


def _is_fresh(norm: _BatchNorm) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    return (
        mean is not None and variance is not None and not mean.any() and bool((variance == 1).all())
    )


def _anchor(norm: nn.Module, inputs: tuple[Tensor]) -> None:
    assert isinstance(norm, _BatchNorm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3))
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    norm.bias.add_((mean - norm.running_mean) * scale)
    norm.weight.copy_(scale * (variance + norm.eps).sqrt())
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
