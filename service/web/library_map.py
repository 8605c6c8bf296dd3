"""The heat map of a library: block by option, by score or by what is saved. Reads no store."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pareconv.models.cost_table import Cost
from pareconv.storage.libraries import Entry, Library

Shown = Literal["score", "flops", "params"]
_SHADES = 8


@dataclass(frozen=True, slots=True)
class Cell:
    """An entry. `shade` is 0 to 8: the worse its score, or the more it saves, the darker."""

    text: str
    shade: int
    title: str


@dataclass(frozen=True, slots=True)
class LibraryMap:
    """Rows are blocks, in the order given; a cell is None where the block has no such option."""

    options: list[str]
    rows: list[tuple[str, list[Cell | None]]]


def library_map(
    library: Library, entries: Sequence[Entry], blocks: Sequence[str], shown: Shown
) -> LibraryMap:
    by_place = {(each.block, each.option): each for each in entries}
    # What most blocks have comes first: seen before a narrow window scrolls.
    blocks_with = Counter(each.option for each in entries)
    options = sorted(blocks_with, key=lambda option: (-blocks_with[option], option))
    values = [value for each in entries if (value := _value(each, library, shown)) is not None]
    order = sorted(values)
    named = [*dict.fromkeys([*blocks, *(each.block for each in entries)])]
    rows: list[tuple[str, list[Cell | None]]] = []
    for block in named:
        found = [by_place.get((block, option)) for option in options]
        if any(found):
            rows.append(
                (
                    block,
                    [
                        None if each is None else _cell(each, library, shown, order)
                        for each in found
                    ],
                )
            )
    return LibraryMap(options, rows)


def _value(entry: Entry, library: Library, shown: Shown) -> float | None:
    if shown == "score":
        return entry.score
    whole = Cost.from_json(library.teacher_cost).counted(shown)
    saved = -Cost(entry.flops, entry.params, entry.adds).counted(shown)
    return saved / whole if whole else 0.0


def _cell(entry: Entry, library: Library, shown: Shown, order: list[float]) -> Cell:
    value = _value(entry, library, shown)
    if value is None:
        return Cell("", 0, f"{entry.block}, {entry.option}: not scored yet")
    text = f"{value:.2g}" if shown == "score" else f"{100 * value:.1f}%"
    error = "" if entry.score_stderr is None else f" ± {entry.score_stderr:.2g}"
    score = "not scored yet" if entry.score is None else f"score {entry.score:.3g}{error}"
    # By rank: a few bad scores would make all others look alike.
    rank = order.index(value) / max(1, len(order) - 1)
    return Cell(text, round(_SHADES * rank), f"{entry.block}, {entry.option}: {score}")
