"""The library stage: find the library of a teacher and its data, have built what it lacks."""

import hashlib
import json
import operator
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from itertools import accumulate, groupby
from typing import Any, Self

from pareconv.models.cost_table import Cost, CostTable
from pareconv.models.plan import KEEP, Option, Plan
from pareconv.search.claim import LEASE_SECONDS, LeaseLost
from pareconv.search.errors import TaskDied
from pareconv.search.flights import Flights
from pareconv.search.prediction import predict
from pareconv.search.run import Profiled, Run
from pareconv.search.solver import Solver
from pareconv.search.wanted import DIVERGED, Wanted
from pareconv.storage.errors import NotFound
from pareconv.storage.job_states import Stage
from pareconv.storage.libraries import Entry, Library

_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Prepared:
    """What the library stage leaves for the search: the library's entries, of which those within
    the job's own space count. Another job may have had more operators.
    """

    table: CostTable
    entries: Sequence[Entry]

    def weights(self, plan: Plan) -> dict[str, str]:
        """Block -> SHA-256 of the weights of its option in `plan`."""
        return {block: self._by_place[block, option].weights for block, option in plan.items()}

    @cached_property
    def solver(self) -> Solver:
        """Over all options that were scored."""
        scores: dict[str, dict[Option, float]] = {block: {} for block in self.table.changes}
        for (block, option), entry in self._by_place.items():
            if entry.score is not None:
                scores[block][option] = entry.score
        return Solver(self.table, scores)

    @cached_property
    def scored(self) -> CostTable:
        """The space without the options that the library found not worth a score."""
        kept = {place for place, entry in self._by_place.items() if entry.score is not None}
        return replace(
            self.table,
            changes={
                block: {
                    option: change
                    for option, change in options.items()
                    if option == KEEP or (block, option) in kept
                }
                for block, options in self.table.changes.items()
            },
        )

    @cached_property
    def _by_place(self) -> dict[tuple[str, Option], Entry]:
        places = {(entry.block, Option.parse(entry.option)): entry for entry in self.entries}
        return {
            (block, option): entry
            for (block, option), entry in places.items()
            if option in self.table.changes.get(block, {})
        }


def prepare(run: Run, profiled: Profiled) -> Prepared | None:
    """The library of the job, complete; None where its spec wants none.

    Waits while another worker builds the same. Raises SearchError where it cannot be built.
    """
    if profiled.spec.library is None:
        return None
    run.begin(Stage.LIBRARY)
    table = CostTable.from_json(profiled.profile["table"])
    library = _open(run, profiled)
    building = _Building(run, library)
    with building, run.claim.holding(building.renew):
        entries = run.stores.libraries.entries(library.id)
        if wanted := _missing(profiled, table, entries):
            try:
                building.build(profiled, wanted)
            except TaskDied as error:  # what it had come to by then is there
                run.report_death("library", error)
                entries = run.stores.libraries.entries(library.id)
                building.build(profiled, _missing(profiled, table, entries))
            entries = run.stores.libraries.entries(library.id)
        else:
            run.report("library", f"library {library.id} has all {len(entries)} options already")
        if wanted or library.front is None:
            building.keep_front(entries)
    run.advance(Stage.LIBRARY, 1)
    return Prepared(table, entries)


def _open(run: Run, profiled: Profiled) -> Library:
    """The one library of this teacher, these images and this way of preparing it, which nobody can
    delete from now on.
    """
    spec = profiled.spec
    assert spec.library is not None
    recipe = spec.library.model_dump(mode="json", exclude={"rungs"}) | {
        "augment": spec.dataset.augment,
        "normalize": spec.teacher.model_dump(mode="json")["normalize"],
        "granularity": spec.search.granularity,
    }
    if spec.plan is not None:  # its blocks may be of both granularities, and overlap with others
        recipe |= {"plan": spec.plan}
    subject = {
        "architecture": spec.teacher.architecture,
        "teacher": profiled.profile["weights"],
        "data": profiled.profile["data"],
        "recipe": recipe,
    }
    key = hashlib.sha256(json.dumps(subject, sort_keys=True).encode()).hexdigest()
    cost = CostTable.from_json(profiled.profile["table"]).teacher.to_json()

    def opened() -> Library:
        library = run.stores.libraries.open(key=key, teacher_cost=cost, **subject)
        run.update(library_id=library.id)
        return library

    try:
        return opened()
    except NotFound:  # it was deleted before the job could refer to it
        return opened()


def _missing(profiled: Profiled, table: CostTable, entries: Sequence[Entry]) -> list[Wanted]:
    """What the job's space has and the library has not, or not in the form that it has now."""
    assert profiled.spec.library is not None
    versions = profiled.profile["versions"]
    present: dict[str, dict[Option, Entry]] = {block: {} for block in table.changes}
    for entry in entries:
        option = Option.parse(entry.option)
        is_asked_for = option in table.changes.get(entry.block, {})
        if is_asked_for and entry.version == versions[option.operator]:
            present[entry.block][option] = entry
    wanted = []
    for block, changes in table.changes.items():
        rivals = list(present[block].values())
        for option in changes:
            found = present[block].get(option)
            if option == KEEP or (
                found and _is_done(found, rivals, profiled.spec.library.rungs, changes)
            ):
                continue
            wanted.append(
                Wanted(block, str(option))
                if found is None
                else Wanted(block, str(option), found.rungs, found.images, found.weights)
            )
    return wanted


def _is_done(
    entry: Entry, rivals: Sequence[Entry], rungs: int, changes: Mapping[Option, Cost]
) -> bool:
    """One without a score is done only where another of the job's own space makes it hopeless: that
    which did may be an operator that this job does not want.
    """
    if entry.score is not None:
        return entry.settled or entry.rungs >= rungs
    return entry.settled and (
        entry.loss >= DIVERGED or any(_is_beaten(entry, rival, changes) for rival in rivals)
    )


def _is_beaten(entry: Entry, rival: Entry, changes: Mapping[Option, Cost]) -> bool:
    """By the costs of this job, whose latencies another one did not look at."""
    own, other = (changes[Option.parse(each.option)] for each in (entry, rival))
    return rival.score is not None and rival.loss < entry.loss and other.is_at_most(own)


class _Building:
    """While entered, this worker alone writes to the library."""

    def __init__(self, run: Run, library: Library) -> None:
        self._run, self._id = run, library.id
        self._teacher = Cost.from_json(library.teacher_cost)
        self._libraries = run.stores.libraries
        self._owner = run.claim.owner

    def __enter__(self) -> Self:
        has_told = False
        while not self._libraries.claim(self._id, self._owner, LEASE_SECONDS):
            if not has_told:
                self._run.report("library", "waiting for another job to build the library")
                has_told = True
            self._run.claim.check()
            time.sleep(_WAIT_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._libraries.release(self._id, self._owner)

    def renew(self) -> bool:
        return self._libraries.renew(self._id, self._owner, LEASE_SECONDS)

    def build(self, profiled: Profiled, wanted: Sequence[Wanted]) -> None:
        self._run.report(
            "library", f"building {len(wanted)} options of {len({w.block for w in wanted})} blocks"
        )
        with Flights[int](self._run) as flights:
            shards = shards_of(wanted, self._run.executor.slots)
            progress = _Progress(self._run, [len(shard) for shard in shards])
            for number, shard in enumerate(shards):
                payload = {
                    "wanted": [asdict(each) for each in shard],
                    "table": profiled.profile["table"],
                }
                flights.start(
                    number,
                    "library",
                    profiled.bench | payload,
                    on_event=partial(self._on_event, progress, number),
                )
            while flights:
                flights.land().result()

    def keep_front(self, entries: Sequence[Entry]) -> None:
        """Of all that the library holds, whatever this job wants of it."""
        front = [each.to_json() for each in predict(entries, self._teacher, {})]
        self._require_ours(self._libraries.set_front(self._id, self._owner, front))

    def _on_event(self, progress: "_Progress", shard: int, event: dict[str, Any]) -> None:
        if event["type"] == "entries":
            entries, compute = event["entries"], event["compute"]
            self._require_ours(self._libraries.put(self._id, self._owner, entries, compute))
        elif event["type"] == "progress":
            progress.tell(shard, event["done"])

    def _require_ours(self, is_ours: bool) -> None:
        if not is_ours:
            raise LeaseLost(f"another worker may build library {self._id}")


class _Progress:
    """That of shards of so many options each, as one."""

    def __init__(self, run: Run, sizes: Sequence[int]) -> None:
        self._run, self._sizes = run, sizes
        self._shares = [0.0] * len(sizes)

    def tell(self, shard: int, share: float) -> None:
        self._shares[shard] = share
        done = sum(map(operator.mul, self._sizes, self._shares))
        self._run.advance(Stage.LIBRARY, done / sum(self._sizes))


def shards_of(wanted: Sequence[Wanted], count: int) -> list[list[Wanted]]:
    """At most so many parts of whole blocks that lie side by side, with about as many options each.

    A block is never parted: its options are weighed against each other.
    """
    blocks = [list(group) for _, group in groupby(wanted, lambda each: each.block)]
    middles = (
        end - len(block) / 2
        for block, end in zip(blocks, accumulate(map(len, blocks)), strict=True)
    )
    placed = zip((middle * count // len(wanted) for middle in middles), blocks, strict=True)
    return [
        [each for _, block in group for each in block]
        for _, group in groupby(placed, operator.itemgetter(0))
    ]
