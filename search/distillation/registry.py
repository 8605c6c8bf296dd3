"""Every distillation method by name, those that wrap others included."""

from pareconv.search.distillation.base import Method
from pareconv.search.distillation.curriculum import Curriculum
from pareconv.search.distillation.methods import INDEPENDENT, registered

METHODS = registered(*INDEPENDENT.values(), Curriculum)

BRIEF = sorted(name for name, found in METHODS.items() if not found.of({}).online)  # for trials


def method(name: str) -> type[Method]:
    """The method of that name; ValueError lists the known ones."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(sorted(METHODS))}")
    return METHODS[name]
