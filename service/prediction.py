"""A prediction: from a library and a budget to the plans that should be best. Tries none."""

import re
import time
from collections.abc import Mapping

from pareconv.models.cost_table import Cost, Counted, Quantity
from pareconv.search import prediction
from pareconv.search.errors import InvalidSpec
from pareconv.search.solver import Prediction
from pareconv.service.stores import Stores
from pareconv.service.views.inspection import AbsoluteBudget
from pareconv.service.views.library import CostView
from pareconv.service.views.prediction import PredictedFrontView, PredictedPoint
from pareconv.storage.errors import Conflict
from pareconv.storage.libraries import Entry, Library

_SHARE = re.compile(r"(?P<number>[0-9]*\.?[0-9]+)(?P<percent> ?%)?")
_WHOLE = re.compile(r"[0-9]+")
_FORMS = "give a share of the teacher's such as 0.4 or 40%, or a whole number above 1"

Budget = Mapping[Counted, str | None]


def predict(id: str, budget: Budget, stores: Stores) -> PredictedFrontView:
    """The front within a budget that is still text, as it came; all of it where that is empty.

    Raises NotFound, Conflict where nothing is scored yet, InvalidSpec for a budget that is no
    number or that no plan keeps.
    """
    library = stores.libraries.get(id)
    teacher = Cost.from_json(library.teacher_cost)
    limits: dict[Quantity, int] = {
        name: _limit(name, text, teacher.counted(name))
        for name, text in budget.items()
        if text is not None
    }
    entries = stores.libraries.entries(id)
    _require_scores(library, entries)
    started = time.perf_counter()
    front = prediction.predict(entries, teacher, limits)
    return PredictedFrontView(
        library=id,
        teacher=CostView(**teacher.to_json()),
        budget=AbsoluteBudget(flops=limits.get("flops"), params=limits.get("params")),
        points=[_point(each, teacher) for each in front],
        seconds=time.perf_counter() - started,
    )


def _limit(name: Counted, text: str, whole: int) -> int:
    share = _share(text)
    if share is not None:
        return int(whole * share)
    if not _WHOLE.fullmatch(text) or int(text) <= 1:
        raise InvalidSpec(name, f"{text!r} is no budget; {_FORMS}")
    return int(text)


def _share(text: str) -> float | None:
    """`0.4` and `40%` are 0.4; None for what is no share of a whole."""
    match = _SHARE.fullmatch(text)
    if match is None:
        return None
    if match["percent"]:
        return share if 0 < (share := float(match["number"]) / 100) <= 1 else None
    return share if 0 < (share := float(match["number"])) < 1 else None


def _require_scores(library: Library, entries: list[Entry]) -> None:
    if all(each.score is None for each in entries):
        remedy = (
            "it is being built, so ask again later"
            if library.is_building
            else "a job on the same teacher and data goes on building it"
        )
        raise Conflict(f"library {library.id} has no scored entry yet; {remedy}")


def _point(found: Prediction, teacher: Cost) -> PredictedPoint:
    return PredictedPoint(
        **found.to_json(),
        flops_ratio=found.cost.quantity("flops") / teacher.quantity("flops"),
        params_ratio=found.cost.quantity("params") / teacher.quantity("params"),
    )
