"""Collaborative distillation: networks of different structure teach each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, fx

from pareconv.models.errors import ModelError
from pareconv.models.teachers.architectures import architecture
from pareconv.search.answers import Listener
from pareconv.search.distillation.base import OnlineMethod, Parameter
from pareconv.search.distillation.course import Batch, Course
from pareconv.search.distillation.divergence import softened
from pareconv.search.distillation.ramp import ramped
from pareconv.search.distillation.setting import Setting
from pareconv.search.spec import ParameterValue

_FRONT, _STANDARD = "front", "standard"


@dataclass(frozen=True)
class CollaborativeDistillation(OnlineMethod):
    """CE(z_k, y) for every network k, and at every `interval`-th step w T^2 KL(p_e || p_k), where
    z_e is the mean of all logits, without a gradient, and w grows by weight * exp(-5 (1 - e/E)^2)
    until the share `ramp` of the training.

    Multistructure-based collaborative online distillation, Gao et al. 2019, Entropy 21(4) 357: of
    it the abstract alone could be read, which says that networks of different architectures are
    trained together, taught by an ensemble, and that "discontinuous distillation with
    progressively enhanced constraints" keeps them diverse. Formula, interval, ramp and temperature
    are a reading of ours.

    Partners are those of `partners`: `front`, the other finalists of the job, each from its trial;
    `standard`, the teacher's network from random weights; or an architecture of the zoo by name,
    from random weights too. The front of one member has no others: then the teacher's network is
    the partner.
    """

    name = "collaborative"
    summary = "networks of different structure, taught now and then by the mean of their answers"
    formula = "sum_k CE(z_k, y) + 1[every I-th step] w T^2 KL(p_e || p_k), z_e = mean_k z_k"
    cost = "the training of the partners"
    source = "Gao et al. 2019, doi 10.3390/e21040357 (abstract; the formula is a reading of it)"
    when = (
        "Several finalists of different plans, or a partner from the zoo that knows other things."
    )
    parameters = (
        Parameter(
            "partners",
            f"{_FRONT},{_STANDARD}",
            None,
            None,
            f"separated by commas: {_FRONT}, {_STANDARD}, or names from GET /architectures",
        ),
        Parameter("temperature", 3.0, 0.01, 100.0, "T: softens the logits of all"),
        Parameter("weight", 1.0, 0.0, 100.0, "of the divergence, once it is fully grown"),
        Parameter("interval", 2, 1, 10_000, "I: steps from one distillation to the next"),
        Parameter("ramp", 0.5, 0.0, 1.0, "share of the training after which w is grown"),
    )

    partners: str
    temperature: float
    weight: float
    interval: int
    ramp: float

    @classmethod
    def refusals(cls, given: Mapping[str, ParameterValue]) -> dict[str, str]:
        reasons = super().refusals(given)
        partners = given.get("partners")
        if isinstance(partners, str) and (reason := _refusal(partners)):
            reasons["partners"] = reason
        return reasons

    def misfit(self, image_size: int) -> str | None:
        for known in map(architecture, self.zoo):
            if image_size < known.min_size:
                return (
                    f"partner {known.name} needs images of at least {known.min_size} pixels, the "
                    f"data's are {image_size}; name another, or set dataset.image_size"
                )
        return None

    @property
    def named(self) -> list[str]:
        return _names(self.partners)

    @property
    def zoo(self) -> list[str]:
        """The architectures among the partners."""
        return [name for name in self.named if name not in (_FRONT, _STANDARD)]

    def course(self, setting: Setting) -> Course:
        return _CollaborativeCourse(self, setting)


def _names(partners: str) -> list[str]:
    return [name.strip() for name in partners.split(",")]


def _refusal(partners: str) -> str | None:
    names = _names(partners)
    for name in names:
        if names.count(name) > 1:
            return f"{name!r} is named twice; name each partner once"
        if name not in (_FRONT, _STANDARD):
            try:
                architecture(name)
            except ModelError as error:
                return f"{error}; or name {_FRONT} or {_STANDARD}"
    return None


def _partners(method: CollaborativeDistillation, setting: Setting) -> list[fx.GraphModule]:
    found: list[fx.GraphModule] = []
    for name in method.named:
        if name == _FRONT:
            found += setting.others()
        else:
            standard = name == _STANDARD
            found.append(setting.standard() if standard else setting.of_the_zoo(name))
    return found or [setting.standard()]


class _CollaborativeCourse(Course):
    def __init__(self, method: CollaborativeDistillation, setting: Setting) -> None:
        super().__init__([setting.student, *_partners(method, setting)])
        self._method = method
        self._listeners: Sequence[Listener] = [Listener(each, ()) for each in self.networks]
        self._step = 0

    def terms(self, batch: Batch) -> dict[str, Tensor]:
        method = self._method
        logits = [listener(batch.images).logits for listener in self._listeners]
        terms = {
            f"labels_{number}": F.cross_entropy(each, batch.labels)
            for number, each in enumerate(logits)
        }
        if (self._step + 1) % method.interval:
            return terms
        ensemble = torch.stack(logits).mean(0).detach()
        weight = method.weight * ramped(batch.done, method.ramp)
        return terms | {
            f"ensemble_{number}": weight * softened(each, ensemble, method.temperature)
            for number, each in enumerate(logits)
        }

    def after_step(self, done: float) -> None:
        self._step += 1
