"""Every distillation method by name: one dict, filled by one list."""

from pareconv.search.distillation.attention import AttentionTransfer
from pareconv.search.distillation.balanced import BalancedDistillation
from pareconv.search.distillation.base import Method
from pareconv.search.distillation.features import FeatureDistillation
from pareconv.search.distillation.kd import LogitDistillation
from pareconv.search.distillation.labels import Labels
from pareconv.search.distillation.mutual import MutualLearning
from pareconv.search.distillation.online_ensemble import OnlineEnsemble


def registered(*methods: type[Method]) -> dict[str, type[Method]]:
    """Name -> method; ValueError if two claim one name."""
    named: dict[str, type[Method]] = {}
    for method in methods:
        if method.name in named:
            raise ValueError(f"two methods are named {method.name!r}")
        named[method.name] = method
    return named


METHODS = registered(
    AttentionTransfer,
    BalancedDistillation,
    FeatureDistillation,
    LogitDistillation,
    Labels,
    MutualLearning,
    OnlineEnsemble,
)

BRIEF = sorted(name for name, found in METHODS.items() if not found.online)  # for trials


def method(name: str) -> type[Method]:
    """The method of that name; ValueError lists the known ones."""
    if name not in METHODS:
        raise ValueError(f"unknown method {name!r}; known: {', '.join(sorted(METHODS))}")
    return METHODS[name]
