"""The misfit between a network and weights offered to it. Knows only names and shapes, no file."""

from collections.abc import Mapping

from torch import Tensor

from pareconv.models.errors import WeightsError

_NAMED_AT_MOST = 5


def refuse_misfit(target: Mapping[str, Tensor], offered: Mapping[str, Tensor]) -> None:
    """Raise one WeightsError for all the keys and shapes in which two state dicts differ.

    `target` is the network's own, `offered` is to go into it. It counts what is missing,
    unexpected and of another shape, and names the first few of each.
    """
    missing = [k for k in target if k not in offered and not k.endswith("num_batches_tracked")]
    unexpected = [key for key in offered if key not in target]
    reshaped = [k for k in target if k in offered and target[k].shape != offered[k].shape]
    faults = [
        _counted(missing, "missing"),
        _counted(unexpected, "unexpected"),
        _counted([_shapes(k, target, offered) for k in reshaped], "of another shape"),
    ]
    if any(faults):
        only_shapes = not missing and not unexpected
        hint = _classes_hint(reshaped, target, offered) if only_shapes else None
        remedy = hint or "check that the file is of this architecture"
        raise WeightsError(
            f"weights do not fit the network: {'; '.join(filter(None, faults))}; {remedy}"
        )


def other_classes(target: Mapping[str, Tensor], offered: Mapping[str, Tensor]) -> frozenset[str]:
    """The keys of the classifier, if it alone differs, and in the number of its classes alone."""
    reshaped = [k for k in target if k in offered and target[k].shape != offered[k].shape]
    if not reshaped or not _is_of_other_classes(reshaped, target, offered):
        return frozenset()
    return frozenset(reshaped)


def _counted(faults: list[str], kind: str) -> str | None:
    if not faults:
        return None
    more = ", ..." if len(faults) > _NAMED_AT_MOST else ""
    return f"{len(faults)} {kind} ({', '.join(faults[:_NAMED_AT_MOST])}{more})"


def _shapes(key: str, target: Mapping[str, Tensor], offered: Mapping[str, Tensor]) -> str:
    return f"{key}: expected {tuple(target[key].shape)}, found {tuple(offered[key].shape)}"


def _classes_hint(
    reshaped: list[str], target: Mapping[str, Tensor], offered: Mapping[str, Tensor]
) -> str | None:
    if not _is_of_other_classes(reshaped, target, offered):
        return None
    expected, found = target[reshaped[0]].shape, offered[reshaped[0]].shape
    return (
        f"only the classifier differs: the file is of {found[0]} classes, the network of "
        f"{expected[0]}; set num_classes to {found[0]} or give weights for {expected[0]} classes"
    )


def _is_of_other_classes(
    reshaped: list[str], target: Mapping[str, Tensor], offered: Mapping[str, Tensor]
) -> bool:
    """All that is of another shape belongs to the last layer, and differs in its first size."""
    classifier = list(target)[-1].rpartition(".")[0]
    return all(
        key.rpartition(".")[0] == classifier and target[key].shape[1:] == offered[key].shape[1:]
        for key in reshaped
    )
