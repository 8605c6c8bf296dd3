"""Networks lent to this process: modules that somebody holds in memory, named for a while.

The name is the same for the same network in every process, and another for another.
"""

import copy
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from pareconv.models.errors import TraceError
from pareconv.models.graph import canonical
from pareconv.models.teachers.architecture import Architecture
from pareconv.models.teachers.head import classes_of, renew_head

_PREFIX = "lent:"
_LENT: dict[str, Architecture] = {}


def find(name: str) -> Architecture | None:
    """The network of that name, as long as it is lent."""
    return _LENT.get(name)


@contextmanager
def lent(network: nn.Module) -> Iterator[Architecture]:
    """While entered, jobs of this process find the network by the name of what is yielded.

    `network` is copied, in float32 onto the CPU, and never touched. Raises TraceError as
    `of_module` does.
    """
    known = of_module(network)
    _LENT[known.name] = known
    try:
        yield known
    finally:
        _LENT.pop(known.name, None)


def of_module(network: nn.Module) -> Architecture:
    """What a module computes, built with its weights; a head of other classes is fresh.

    Raises TraceError where it cannot be copied or traced, or its scores do not come from a layer.
    """
    try:
        copied = copy.deepcopy(network)
    except Exception as error:  # of whatever the user's own class holds
        raise TraceError(f"{type(network).__name__} cannot be copied: {error}") from error
    own = canonical(copied.cpu().float()).train().requires_grad_(True)
    classes = classes_of(own)

    def build(num_classes: int) -> nn.Module:
        built = copy.deepcopy(own)
        if num_classes != classes:
            renew_head(built, num_classes)
        return built

    called = type(network).__name__
    digest = hashlib.sha256(str(own).encode()).hexdigest()  # of its layers and its code
    return Architecture(
        name=f"{_PREFIX}{called[:100]}-{digest[:16]}",
        family="lent",
        source=f"{type(network).__module__}.{type(network).__qualname__}",
        build=build,
        classes=classes,
    )
