"""The methods that stand by themselves, by name."""

from pareconv.search.distillation.attention import AttentionTransfer
from pareconv.search.distillation.balanced import BalancedDistillation
from pareconv.search.distillation.base import Method
from pareconv.search.distillation.collaborative import CollaborativeDistillation
from pareconv.search.distillation.features import FeatureDistillation
from pareconv.search.distillation.kd import LogitDistillation
from pareconv.search.distillation.labels import Labels
from pareconv.search.distillation.mutual import MutualLearning
from pareconv.search.distillation.online_ensemble import OnlineEnsemble
from pareconv.search.distillation.peer import PeerLearning
from pareconv.search.distillation.pkkd import KernelDistillation
from pareconv.search.distillation.sparse_matching import SparseMatching


def registered(*methods: type[Method]) -> dict[str, type[Method]]:
    """Name -> method; ValueError if two claim one name."""
    named: dict[str, type[Method]] = {}
    for method in methods:
        if method.name in named:
            raise ValueError(f"two methods are named {method.name!r}")
        named[method.name] = method
    return named


INDEPENDENT = registered(
    AttentionTransfer,
    BalancedDistillation,
    CollaborativeDistillation,
    FeatureDistillation,
    KernelDistillation,
    LogitDistillation,
    Labels,
    MutualLearning,
    OnlineEnsemble,
    PeerLearning,
    SparseMatching,
)
