"""The canonical graph: every teacher, whatever its class, as one `torch.fx.GraphModule`."""

import inspect
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import fx, nn
from torchvision.ops import StochasticDepth, stochastic_depth

from pareconv.models.convolutions.base import CheapConv
from pareconv.models.convolutions.geometry import resolve_padding
from pareconv.models.errors import TraceError
from pareconv.models.layout import linear_to_conv

# Modules that behave differently in training stay modules, so that one graph is right in both
# modes.
_LEAVES = (CheapConv, StochasticDepth, nn.BatchNorm2d)

_AS_MODULE: dict[Callable[..., Any], Callable[..., nn.Module]] = {
    F.dropout: lambda p, **_: nn.Dropout(p),
    F.dropout2d: lambda p, **_: nn.Dropout2d(p),
    F.alpha_dropout: lambda p, **_: nn.AlphaDropout(p),
    F.feature_alpha_dropout: lambda p, **_: nn.FeatureAlphaDropout(p),
    stochastic_depth: lambda p, mode, **_: StochasticDepth(p, mode),
}


class CanonicalTracer(fx.Tracer):
    """Traces into everything but library layers, our operators and training-dependent modules."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _LEAVES) or super().is_leaf_module(m, module_qualified_name)


def canonical(network: nn.Module) -> fx.GraphModule:
    """Trace a classifier of one image batch into one graph over its own modules; mode is kept.

    The graph is that of evaluation: auxiliary heads, which only training uses, are not in it.
    Dropout and stochastic depth, also called as functions, are modules of the graph and follow its
    mode. Linear layers on maps are 1x1 convolutions of the same names. Raises TraceError where the
    network cannot be traced or has more than one input or output.
    """
    training = network.training
    network.eval()
    tracer = CanonicalTracer()
    try:
        graph = tracer.trace(network)
    except Exception as error:  # a tracer runs the user's own code, which may raise anything
        raise TraceError(
            f"{type(network).__name__} cannot be traced by torch.fx: {error}. Python control flow "
            "must not depend on the values of tensors"
        ) from error
    finally:
        network.train(training)
    _check_ends(graph)
    module = fx.GraphModule(tracer.root, graph, type(network).__name__)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    _functions_to_modules(module)
    _split_norms(module)
    linear_to_conv(module)
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            resolve_padding(part)  # fvcore counts no convolution whose padding is a word
        if hasattr(part, "inplace"):
            part.inplace = False  # type: ignore[assignment]  # values of nodes are looked at later
    return module.train(training)


def _check_ends(graph: fx.Graph) -> None:
    inputs = [node.name for node in graph.nodes if node.op == "placeholder" and node.users]
    if len(inputs) != 1:
        raise TraceError(f"the network must take one image batch, it takes {inputs or 'nothing'}")
    output = graph.output_node().args[0]
    if not isinstance(output, fx.Node):
        raise TraceError(
            "the network must return one tensor of class scores, "
            f"it returns {type(output).__name__}"
        )


def _functions_to_modules(module: fx.GraphModule) -> None:
    for node in list(module.graph.nodes):
        if node.op != "call_function":
            continue
        if node.kwargs.get("inplace"):
            node.update_kwarg("inplace", False)
        if node.target in _AS_MODULE:
            _function_to_module(module, node)
        elif node.target is F.batch_norm:
            raise TraceError(
                "batch norm called as a function cannot follow train and eval mode; "
                "use nn.BatchNorm2d as a module"
            )
    module.recompile()


def _function_to_module(module: fx.GraphModule, node: fx.Node) -> None:
    bound = inspect.signature(inspect.unwrap(node.target)).bind(*node.args, **node.kwargs)  # type: ignore[arg-type]
    bound.apply_defaults()
    if bound.arguments.pop("training"):
        return  # switched on in evaluation: meant to act always
    x = bound.arguments.pop("input")
    module.add_submodule(node.name, _AS_MODULE[node.target](**bound.arguments))  # type: ignore[index]
    with module.graph.inserting_after(node):
        replacement = module.graph.call_module(node.name, (x,))
    node.replace_all_uses_with(replacement)
    module.graph.erase_node(node)


def called(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that a node calls; None where it calls none."""
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def follow(network: fx.GraphModule, node: fx.Node, name: str) -> fx.Node:
    """Let the module `name` take the value of `node`; all that used it use what comes of that."""
    with network.graph.inserting_after(node):
        following = network.graph.call_module(name, (node,))
    node.replace_all_uses_with(following, lambda user: user is not following)
    return following


def _split_norms(module: fx.GraphModule) -> None:
    """timm's batch norms, which drop out and activate too, become three layers; the parameters keep
    their names.
    """
    parts: dict[str, list[str]] = {}
    for node in list(module.graph.nodes):
        name, norm = str(node.target), called(module, node)
        if isinstance(norm, nn.BatchNorm2d) and type(norm).forward is not nn.BatchNorm2d.forward:
            parts[name] = _split_norm(module, name, norm)
        for part in parts.get(name, ()):
            node = follow(module, node, part)
    module.recompile()


def _split_norm(module: fx.GraphModule, name: str, norm: nn.BatchNorm2d) -> list[str]:
    """The names of what follows the norm alone."""
    if not hasattr(norm, "drop") or not hasattr(norm, "act"):
        raise TraceError(
            f"{name} is a {type(norm).__name__}, which computes something else than the batch norm "
            "that it extends; use nn.BatchNorm2d as it is"
        )
    module.set_submodule(name, _norm_alone(norm))
    layers = {f"{name}_{part}": norm.get_submodule(part) for part in ("drop", "act")}
    active = {path: layer for path, layer in layers.items() if not isinstance(layer, nn.Identity)}
    for path, layer in active.items():
        module.add_submodule(path, layer)
    return list(active)


def _norm_alone(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """With the same tensors."""
    alone = nn.BatchNorm2d(
        norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
    )
    for name, value in (*norm.named_parameters(recurse=False), *norm.named_buffers(recurse=False)):
        setattr(alone, name, value)
    return alone.train(norm.training)
