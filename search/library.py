"""The library: every option of every block imitates the teacher's block, is scored, and is kept.

Options of a chunk of blocks learn side by side in rungs, by successive halving (Jamieson and
Talwalkar 2016, arXiv 1502.07943): after a rung the half whose losses fell most goes on. What leaves
is scored, unless an option of its block that costs no more is clearly better, so that no plan would
take it.
"""

import copy
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pareconv.models.blocks import Block
from pareconv.models.convolutions.registry import operator
from pareconv.models.cost import count, multiply_adds
from pareconv.models.cost_table import Cost, CostTable
from pareconv.models.cutting import cut, entry
from pareconv.models.plan import Option
from pareconv.models.rewriting import known_blocks
from pareconv.search.blockwise import Apprentice, Lessons, apprentices, teach
from pareconv.search.checkpoints import restore_weights, save_weights
from pareconv.search.data.batches import normalize
from pareconv.search.panel import draw
from pareconv.search.scoring import Score, measure_losses, measure_scores
from pareconv.search.seeds import derived
from pareconv.search.spec import Library
from pareconv.search.wanted import DIVERGED, Wanted
from pareconv.search.workbench import Workbench
from pareconv.storage.files import FileStore

Emit = Callable[[dict[str, Any]], None]

_SETTLED = 0.05  # a loss that fell by a smaller share in a rung has settled
# An option is hopeless when its loss is so many times that of one that costs no more: where it may
# still learn, and where it has.
_HOPELESS_UNTAUGHT, _HOPELESS = 3.0, 1.2
_MOST_BYTES = 2**30  # of the teacher's activations that a chunk of blocks looks at
_LOSS_IMAGES = 128  # held-out ones, on which losses are measured
_TOLD = 0.01  # of a chunk
_PANEL_FROM = 1000  # held-out ones at least, among which those are found that tell most


@dataclass(eq=False)
class _Learner:
    apprentice: Apprentice
    change: Cost
    share: float  # of the teacher's FLOPs that its block has there
    rungs: int
    images: int
    loss: float = float("nan")
    fell: float | None = None  # share of the loss that the last rung of this build took away
    settled: bool = False
    score: Score | None = None

    @property
    def is_moving(self) -> bool:
        """Whether more training may help; of whom it is not known yet, it may."""
        has_parameters = next(self.apprentice.network.parameters(), None) is not None
        return has_parameters and (self.fell is None or self.fell >= _SETTLED)

    def is_hopeless_beside(self, other: "_Learner", factor: float) -> bool:
        """Whether the other costs no more, and this one's loss is more than `factor` times its."""
        return (
            self.apprentice.block == other.apprentice.block
            and other.change.is_at_most(self.change)
            and other.loss * factor < self.loss
        )


class LibraryBuilder:
    """Builds what is wanted, chunk by chunk of blocks, and emits it as it comes.

    An event of type `entries` holds `entries`, each to be put in the place of a former one of its
    block and option, and the `compute` since the last event, in forward passes of one image through
    the teacher. One of type `progress` holds the share `done`.
    """

    def __init__(self, bench: Workbench, table: CostTable, files: FileStore, emit: Emit) -> None:
        assert bench.spec.library is not None
        assert isinstance(bench.spec.library.batch_size, int)  # resolved
        assert isinstance(bench.spec.library.lr, float)
        assert isinstance(bench.spec.library.images, int)
        self._bench, self._table, self._files, self._emit = bench, table, files, emit
        self._recipe: Library = bench.spec.library
        self._batch_size, self._lr = bench.spec.library.batch_size, bench.spec.library.lr
        self._images = bench.spec.library.images
        chosen = bench.held_out(_LOSS_IMAGES)
        self._held_out = normalize(chosen.images[:], chosen.mean, chosen.std)
        wanted = self._recipe.score_images
        known = bench.held_out(max(_PANEL_FROM, wanted))
        self._panel = draw(bench.teacher, known, wanted, derived(bench.spec.seed, "panel"))
        self._until: dict[str, float] = {}
        self._compute = float(len(known) if len(known) > len(self._panel) else 0)

    def build(self, wanted: Sequence[Wanted]) -> None:
        """Emit entries for all that is `wanted`; PlanError for a block or option that is none."""
        for each in wanted:
            self._table.change(each.block, Option.parse(each.option))
        chunks = list(self._chunks(wanted))
        for position, chunk in enumerate(chunks):
            self._build_chunk(chunk, _Progress(self._emit, position, len(chunks)))

    def _build_chunk(self, wanted: dict[Block, list[Wanted]], progress: "_Progress") -> None:
        learners = self._start(wanted)
        self._measure(learners)
        progress.tell(0.0)
        # A job with more rungs may have been interrupted before it scored them.
        last = max(self._recipe.rungs, *(each.rungs for each in learners))
        for rung in range(last + 1):
            present = [each for each in learners if each.rungs == rung]
            going_on = self._going_on(present, learners)
            self._leave([each for each in present if each not in going_on], learners)
            self._teach(going_on, rung, progress.part(rung, last + 1))
        progress.tell(1.0)

    def _going_on(self, present: list[_Learner], learners: list[_Learner]) -> list[_Learner]:
        moving = [
            each
            for each in present
            if each.rungs < self._recipe.rungs
            and each.is_moving
            and not _is_hopeless(each, learners, _HOPELESS if each.rungs else _HOPELESS_UNTAUGHT)
        ]
        # Those that no rung of this build has taught are not ranked: an earlier build was
        # interrupted, or had fewer rungs, and does not tell how they fell.
        unknown = [each for each in moving if each.fell is None]
        ranked = [each for each in moving if each.fell is not None]
        ranked.sort(key=lambda each: -(each.fell or 0))
        places = sum(each.fell is not None for each in present)
        return unknown + ranked[: (places + 1) // 2]

    def _start(self, wanted: dict[Block, list[Wanted]]) -> list[_Learner]:
        places = [(block, each) for block, items in wanted.items() for each in items]
        options = [(block, Option.parse(each.option)) for block, each in places]
        with (
            torch.random.fork_rng(devices=[]),
            FlopCounterMode(display=False) as counter,
        ):
            torch.manual_seed(derived(self._bench.spec.seed, "layers"))
            found = apprentices(self._bench.teacher, options, self._bench.sample)
        self._compute += multiply_adds(counter) / self._table.teacher.flops
        for apprentice, (_, each) in zip(found, places, strict=True):
            if each.weights is not None:
                restore_weights(apprentice.network, each.weights, self._files)
        return [
            _Learner(
                apprentice,
                self._table.change(block.name, apprentice.option),
                self._share_until(block.output) - self._share_until(block.input),
                each.rungs,
                each.images,
            )
            for apprentice, (block, each) in zip(found, places, strict=True)
        ]

    def _teach(
        self, learners: list[_Learner], rung: int, progress: Callable[[float], None]
    ) -> None:
        if not learners:
            return
        images = self._images * 2**rung
        lessons = Lessons(
            first=self._images * (2**rung - 1),
            images=images,
            batch_size=self._batch_size,
            lr=self._lr,
        )
        before = [
            (each.loss, copy.deepcopy(each.apprentice.network.state_dict())) for each in learners
        ]
        taught = [each.apprentice for each in learners]
        teach(self._bench.teacher, taught, self._bench.views, lessons, progress)
        self._compute += images * (1 + 3 * self._ratio(learners))
        self._measure(learners)
        for each, (loss, state) in zip(learners, before, strict=True):
            if each.loss > loss:  # the rung did harm
                each.loss = loss
                each.apprentice.network.load_state_dict(state)
            each.fell = 1 - each.loss / max(loss, 1e-12)
            each.rungs += 1
            each.images += images
        self._put(learners)

    def _measure(self, learners: list[_Learner]) -> None:
        measured = measure_losses(
            self._bench.teacher, [each.apprentice for each in learners], self._held_out
        )
        self._compute += len(self._held_out) * (1 + self._ratio(learners))
        for each, loss in zip(learners, measured, strict=True):
            each.loss = loss if math.isfinite(loss) else DIVERGED

    def _leave(self, leaving: list[_Learner], learners: list[_Learner]) -> None:
        hopeful = [each for each in leaving if not _is_hopeless(each, learners, _HOPELESS)]
        scores = self._scores(hopeful)
        for _, group in groupby(leaving, lambda each: each.apprentice.block):
            members = list(group)
            for each in members:
                each.score = next(scores) if each in hopeful else None
                # Who still moved when the rungs were used up may go on in a later job.
                may_go_on = each.rungs >= self._recipe.rungs and each.is_moving
                each.settled = each.score is None or not may_go_on
            self._put(members)

    def _scores(self, learners: list[_Learner]) -> Iterator[Score | None]:
        """None, and a loss that says so, where the network gives no numbers any more."""
        if not learners:
            return
        apprentices = [each.apprentice for each in learners]
        found = measure_scores(self._bench.teacher, apprentices, self._panel)
        asked = 0  # of the teacher, once for all of them
        for each, score in zip(learners, found, strict=True):
            tail = 1 - self._share_until(each.apprentice.block.output)
            self._compute += score.images * (self._ratio([each]) + tail)
            self._compute += max(score.images - asked, 0)
            asked = max(score.images, asked)
            if not math.isfinite(score.kl):
                each.loss = DIVERGED
            yield score if math.isfinite(score.kl) else None

    def _put(self, learners: list[_Learner]) -> None:
        if learners:
            entries = [self._entry(each) for each in learners]
            self._emit({"type": "entries", "entries": entries, "compute": self._compute})
            self._compute = 0.0

    def _entry(self, learner: _Learner) -> dict[str, Any]:
        option, score = learner.apprentice.option, learner.score
        return {
            "block": learner.apprentice.block.name,
            "option": str(option),
            "version": operator(option.operator).version,
            "rungs": learner.rungs,
            "settled": learner.settled,
            "images": learner.images,
            "loss": learner.loss,
            "score": score.kl if score else None,
            "score_stderr": score.stderr if score else None,
            "score_images": score.images if score else None,
            "flops": learner.change.flops,
            "params": learner.change.params,
            "adds": learner.change.adds,
            "weights": save_weights(learner.apprentice.network, self._files),
        }

    def _ratio(self, learners: list[_Learner]) -> float:
        """Forward passes of the teacher that one image through each of them is worth."""
        total = self._table.teacher.flops
        return sum(each.share + each.change.quantity("flops") / total for each in learners)

    def _share_until(self, node: str) -> float:
        """Share of the teacher's FLOPs that computing the value of `node` takes."""
        if node not in self._until:
            teacher = self._bench.teacher
            part = cut(teacher, [entry(teacher)], [node])
            flops = count(part, 1, *self._bench.sample.shape[1:]).flops
            self._until[node] = flops / self._table.teacher.flops
        return self._until[node]

    def _chunks(self, wanted: Sequence[Wanted]) -> Iterator[dict[Block, list[Wanted]]]:
        """Blocks whose inputs and outputs together stay within the bound on memory."""
        by_name: dict[str, list[Wanted]] = {}
        for each in wanted:
            by_name.setdefault(each.block, []).append(each)
        sizes = self._boundary_bytes(self._blocks(by_name))
        chunk: dict[Block, list[Wanted]] = {}
        room = _MOST_BYTES
        at_once = max(self._batch_size, len(self._held_out), len(self._panel))
        for block, per_image in sizes.items():
            size = per_image * at_once
            if chunk and size > room:
                yield chunk
                chunk, room = {}, _MOST_BYTES
            chunk[block] = by_name[block.name]
            room -= size
        if chunk:
            yield chunk

    def _blocks(self, names: Collection[str]) -> list[Block]:
        known = known_blocks(self._bench.teacher)
        return [block for name, block in known.items() if name in names]

    def _boundary_bytes(self, blocks: Sequence[Block]) -> dict[Block, int]:
        """Bytes of input and output of each block, for one image."""
        teacher = self._bench.teacher
        names = dict.fromkeys(name for block in blocks for name in (block.input, block.output))
        with torch.no_grad():
            values = cut(teacher, [entry(teacher)], list(names))(self._bench.sample[:1])
        sizes = {name: _bytes(value) for name, value in zip(names, values, strict=True)}
        return {block: sizes[block.input] + sizes[block.output] for block in blocks}


class _Progress:
    """That of one chunk of several, which take about as long, told whenever a percent is done.

    Each rung takes about as long: half of the options learn from twice as many images. What is
    scored at the end counts as one more.
    """

    def __init__(self, emit: Emit, position: int, chunks: int) -> None:
        self._emit, self._position, self._chunks = emit, position, chunks
        self._told = 0.0

    def part(self, number: int, parts: int) -> Callable[[float], None]:
        """Takes the share that is done of that part of the chunk."""
        return lambda done: self.tell((number + done) / parts)

    def tell(self, done: float) -> None:
        if done in {0, 1} or done - self._told >= _TOLD:
            self._told = done
            share = (self._position + done) / self._chunks
            self._emit({"type": "progress", "done": share})


def _bytes(value: Tensor | Sequence[Tensor]) -> int:
    """Of several tensors where a block takes the parts of one that was split."""
    return value.nbytes if isinstance(value, Tensor) else sum(part.nbytes for part in value)


def _is_hopeless(learner: _Learner, learners: Sequence[_Learner], factor: float) -> bool:
    return learner.loss == DIVERGED or any(
        learner.is_hopeless_beside(other, factor) for other in learners
    )
