"""Networks of the user's own: entry points of installed packages, in the group
`pareconv.architectures`.

An entry point names a function `build(num_classes) -> nn.Module`, which gives a network with fresh
weights:

    [project.entry-points."pareconv.architectures"]
    my_network = "my_package.networks:my_network"
"""

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points

from torch import nn

from pareconv.models.errors import ModelError
from pareconv.models.teachers.architecture import Architecture

GROUP = "pareconv.architectures"


def find(name: str) -> Architecture | None:
    """The network of that name, whose package is loaded when it is built."""
    return next((each for each in listed() if each.name == name), None)


def listed() -> Iterator[Architecture]:
    for entry in entry_points(group=GROUP):
        package = entry.dist.name if entry.dist is not None else entry.module
        yield Architecture(
            name=entry.name,
            family=package,
            source=f"{package}: {entry.value}",
            build=_builder(entry),
        )


def _builder(entry: EntryPoint) -> Callable[[int], nn.Module]:
    def build(num_classes: int) -> nn.Module:
        try:
            network = entry.load()(num_classes)
        except Exception as error:  # a user's own code, which may raise anything
            raise ModelError(f"{entry.name} ({entry.value}) cannot be built: {error!r}") from error
        if not isinstance(network, nn.Module):
            raise ModelError(
                f"{entry.name} ({entry.value}) gave a {type(network).__name__}, not an nn.Module"
            )
        return network

    return build
