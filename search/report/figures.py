"""Figures: how a report writes numbers, and the one that it computes."""

from collections.abc import Sequence

_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_MINUS, _NOTHING = "\N{MINUS SIGN}", "\N{EN DASH}"
_SPACE = "\N{NO-BREAK SPACE}"


def percent(share: float | None, digits: int = 1) -> str:
    if share is None:
        return _NOTHING
    return f"{100 * share:.{digits}f}%"


def tick_percent(share: float) -> str:
    """As on an axis: the digits that it needs."""
    return f"{100 * share:.4g}%"


def count(number: float) -> str:
    """Three significant figures with a unit: 40927872 is 40.9M."""
    for size, unit in _UNITS:
        if abs(number) >= size * 0.9995:
            return f"{_three(number / size)}{unit}"
    return plain(number)


def size(size_bytes: int) -> str:
    written = count(size_bytes)
    return f"{written}B" if size_bytes >= 1000 else f"{written}{_SPACE}B"


def points(difference: float) -> str:
    """A difference of two shares in percentage points, with its sign."""
    rounded = round(100 * difference, 1)
    sign = "+" if rounded > 0 else _MINUS if rounded < 0 else "±"
    return f"{sign}{abs(rounded):.1f}"


def share(part: float, whole: float) -> str:
    """`part` in percent of `whole`."""
    return percent(part / whole, 0) if whole else _NOTHING


def plain(number: float) -> str:
    """Three significant figures, without an exponent where that is short."""
    return f"{number:.3g}".replace("-", _MINUS)


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Spearman's; None where it says nothing: under three pairs, or one side all the same."""
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    if len(pairs) < 3 or len(set(left)) == 1 or len(set(right)) == 1:
        return None
    from scipy.stats import spearmanr  # here, as it takes long to load

    return float(spearmanr(left, right).statistic)


def _three(number: float) -> str:
    magnitude = abs(number)
    digits = 0 if magnitude >= 99.95 else 1 if magnitude >= 9.995 else 2
    return f"{number:.{digits}f}".replace("-", _MINUS)
