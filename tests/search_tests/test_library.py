import math

import pytest
import torch
from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt

from pareconv.models.blocks import find_blocks
from pareconv.models.convolutions.registry import OPERATORS
from pareconv.models.cost import count
from pareconv.models.cost_table import Cost, CostTable
from pareconv.models.errors import PlanError
from pareconv.models.graph import canonical
from pareconv.models.plan import KEEP, Option, Plan
from pareconv.models.space import Scope, find_space
from pareconv.models.teachers.architectures import architecture
from pareconv.search import library as module
from pareconv.search import scoring
from pareconv.search.blockwise import apprentices
from pareconv.search.checkpoints import read_weights
from pareconv.search.data.batches import normalize
from pareconv.search.library import LibraryBuilder
from pareconv.search.resolving import resolve
from pareconv.search.scoring import Score, measure_losses
from pareconv.search.spec import JobSpec
from pareconv.search.trial import assemble
from pareconv.search.wanted import DIVERGED, Wanted
from pareconv.search.workbench import lay_out
from pareconv.storage.files import FileStore

SCOPE = Scope(["svd", "ghost", "depthwise", "pointwise"])
RECIPE = {"rungs": 1, "images": 128, "score_images": 64}


class Built:
    """What a builder emitted; `entries` are the last of each block and option."""

    def __init__(self):
        self.events = []

    @property
    def writes(self):
        return [event for event in self.events if event["type"] == "entries"]

    @property
    def entries(self):
        every = (entry for event in self.writes for entry in event["entries"])
        return {(entry["block"], entry["option"]): entry for entry in every}

    @property
    def compute(self):
        return sum(event["compute"] for event in self.writes)


@pytest.fixture
def files(tmp_path):
    return FileStore(str(tmp_path / "files"))


@pytest.fixture
def build(new_bench, files):
    """Builds what is wanted, by default all; `changes` are of the library's recipe."""

    def run(wanted=None, table=None, **changes):
        bench, built = new_bench(library=RECIPE | changes), Built()
        table = table or find_space(bench.teacher, (1, 3, 8, 8), SCOPE).table
        if wanted is None:
            wanted = [
                Wanted(block, str(option))
                for block, options in table.changes.items()
                for option in options
                if option != KEEP
            ]
        LibraryBuilder(bench, table, files, built.events.append).build(wanted)
        return built

    return run


def without_scores(entry):
    return {name: value for name, value in entry.items() if name not in ("score", "settled")}


def test_every_option_has_an_entry_with_what_it_costs(build, new_bench):
    table = find_space(new_bench().teacher, (1, 3, 8, 8), SCOPE).table
    entries = build().entries
    assert set(entries) == {
        (block, str(option))
        for block, options in table.changes.items()
        for option in options
        if option != KEEP
    }
    for (block, option), entry in entries.items():
        assert Cost.from_json(entry) == table.change(block, Option.parse(option))
        assert entry["version"] == OPERATORS[Option.parse(option).operator].version
        assert entry["rungs"] in (0, 1)
        assert entry["images"] == 128 * entry["rungs"]
        assert math.isfinite(entry["loss"])
        assert entry["loss"] > 0
        if entry["score"] is None:
            assert entry["settled"]
        else:
            assert entry["score"] > 0
            assert entry["score_stderr"] > 0
            assert entry["score_images"] == 64
    assert sum(entry["score"] is not None for entry in entries.values()) > len(entries) / 2


def test_the_stored_weights_have_the_loss_that_was_reported(build, new_bench, files):
    bench, built = new_bench(library=RECIPE), build()
    blocks = {block.name: block for block in find_blocks(bench.teacher, "block")}
    split = bench.held_out(128)
    images = normalize(split.images, split.mean, split.std)
    for (block, option), entry in built.entries.items():
        place = blocks[block], Option.parse(option)
        (learner,) = apprentices(bench.teacher, [place], bench.sample)
        learner.network.load_state_dict(read_weights(entry["weights"], files))
        (loss,) = measure_losses(bench.teacher, [learner], images)
        assert loss == pytest.approx(entry["loss"], rel=1e-4)


def test_entries_come_after_each_rung(build):
    """Whatever happens later, what was learnt is kept."""
    built = build(rungs=2, lr=0.01)
    rungs = [{entry["rungs"] for entry in event["entries"]} for event in built.writes]
    assert {1} in rungs
    assert {2} in rungs
    assert all(len(each) == 1 for each in rungs)
    seen = {}
    for event in built.writes:
        for entry in event["entries"]:
            place = entry["block"], entry["option"]
            assert entry["rungs"] >= seen.get(place, 0)
            seen[place] = entry["rungs"]
    done = [event["done"] for event in built.events if event["type"] == "progress"]
    assert done == sorted(done)
    assert done[-1] == 1


def test_each_rung_is_twice_as_long_and_fewer_go_on(build):
    entries = build(rungs=2, lr=0.01).entries.values()
    images = {0: 0, 1: 128, 2: 128 + 256}
    assert all(entry["images"] == images[entry["rungs"]] for entry in entries)
    reached = [sum(entry["rungs"] >= rung for entry in entries) for rung in (1, 2)]
    assert 0 < reached[1] <= (reached[0] + 1) // 2


def test_a_rung_that_does_harm_is_undone(build):
    started, taught = (build(rungs=rungs, lr=0.3).entries for rungs in (0, 1))
    undone = [
        place
        for place, entry in taught.items()
        if entry["rungs"] == 1 and entry["loss"] == started[place]["loss"]
    ]
    assert undone
    assert all(taught[place]["weights"] == started[place]["weights"] for place in undone)
    assert all(entry["loss"] <= started[place]["loss"] for place, entry in taught.items())


def test_without_rungs_closed_forms_are_scored_as_they_are(build):
    built = build(rungs=0)
    entries = built.entries.values()
    assert all((entry["rungs"], entry["images"]) == (0, 0) for entry in entries)
    assert sum(entry["score"] is not None for entry in entries) > len(entries) / 2
    assert built.compute > 0


def test_a_block_that_is_gone_is_scored_and_has_nothing_to_learn(digits, files):
    """`drop` leaves no weights, `slim` does; a plan of both is put together from their entries."""
    spec = {
        "teacher": {"architecture": "cifar_resnet8"},
        "dataset": {"source": "digits", "image_size": 8},
        "budget": {"flops": "50%"},
        "library": RECIPE | {"rungs": 2},
        "device": "cpu",
    }
    teacher = canonical(architecture("cifar_resnet8").build(10))
    bench = lay_out(resolve(JobSpec.model_validate(spec), digits), teacher, digits)
    table = find_space(bench.teacher, (1, 3, 8, 8), Scope(["drop", "slim"])).table
    built = Built()
    wanted = [Wanted("layer1.0", "drop"), Wanted("layer2.0", "slim(ratio=0.5)")]
    LibraryBuilder(bench, table, files, built.events.append).build(wanted)
    dropped, slimmed = (built.entries[each.block, each.option] for each in wanted)
    assert (dropped["rungs"], dropped["images"], dropped["settled"]) == (0, 0, True)
    assert dropped["score"] > 0
    assert slimmed["rungs"] >= 1
    plan = Plan({each.block: Option.parse(each.option) for each in wanted})
    weights = {each.block: built.entries[each.block, each.option]["weights"] for each in wanted}
    student, _ = assemble(bench, plan, weights, files)
    assert count(student, 1, 3, 8, 8) == table.cost(plan)
    taught = read_weights(slimmed["weights"], files)["layer2.0.conv1.weight"]
    assert torch.equal(student.get_parameter("layer2.0.conv1.weight"), taught)


class Split(nn.Module):
    """Half of the channels go by, as in ShuffleNet."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.branch = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 1)
        )
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        one, other = self.stem(x).chunk(2, dim=1)
        return self.head(torch.cat([one, self.branch(other)], dim=1).mean((2, 3)))


def built_alone(network, wanted, scope, digits, files):
    """The cost table of any network, and what was built of it."""
    spec = {
        "teacher": {"architecture": "cifar_resnet8"},  # a name; the network is given
        "dataset": {"source": "digits", "image_size": 8},
        "budget": {"flops": "50%"},
        "library": RECIPE,
        "device": "cpu",
    }
    bench = lay_out(resolve(JobSpec.model_validate(spec), digits), canonical(network), digits)
    table = find_space(bench.teacher, (1, 3, 8, 8), scope).table
    built = Built()
    LibraryBuilder(bench, table, files, built.events.append).build(wanted)
    return table, built


def test_a_block_that_takes_a_part_of_a_split_value_is_built(digits, files):
    wanted = [Wanted("branch", "svd(ratio=0.5)")]
    scope = Scope(["svd", "slim", "drop"])
    table, built = built_alone(Split(), wanted, scope, digits, files)
    assert built.entries["branch", "svd(ratio=0.5)"]["score"] > 0
    assert {option.operator for option in table.changes["branch"]} == {"keep", "svd"}


def test_linear_layers_on_maps_are_learnt_as_convolutions_are(digits, files):
    stages = [CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)]
    torch.manual_seed(0)
    network = ConvNeXt(stages, layer_scale=0.5, num_classes=10)
    options = ("svd(ratio=0.5)", "slim(ratio=0.5)", "shuffle_group(groups=2)")
    wanted = [Wanted("features.1.0", option) for option in options]
    scope = Scope(["svd", "slim", "shuffle_group"])
    _, built = built_alone(network, wanted, scope, digits, files)
    assert {option for _, option in built.entries} == set(options)
    for entry in built.entries.values():
        assert 0 < entry["loss"] < 1
        assert entry["settled"] or entry["score"] > 0


def test_what_is_learnt_and_scored_does_not_depend_on_what_else_is_built(build):
    whole = build().entries
    for place in list(whole)[::3]:
        alone = build([Wanted(*place)]).entries[place]
        # Alone, nothing shows that an option is hopeless, and it may be sure with fewer images.
        is_alike = alone["score_images"] == whole[place]["score_images"]
        compared = dict if is_alike else without_scores
        if whole[place]["rungs"] == 1:
            assert {k: v for k, v in compared(alone).items() if not k.startswith("score_")} == {
                k: v for k, v in compared(whole[place]).items() if not k.startswith("score_")
            }


def test_chunks_of_blocks_change_nothing(build, monkeypatch):
    whole = build()
    monkeypatch.setattr(module, "_MOST_BYTES", 1)
    parts = build()
    assert parts.entries == whole.entries
    assert len(parts.writes) > len(whole.writes)
    assert parts.compute > whole.compute  # the teacher looks once for each chunk


def test_the_same_again_and_the_generator_is_left_alone(build):
    first = build()
    torch.rand(3)
    state = torch.get_rng_state()
    assert build().entries == first.entries
    assert torch.equal(torch.get_rng_state(), state)


def test_who_is_worse_than_a_cheaper_one_is_settled_without_a_score(build, new_bench):
    """A tenth of the rank costs less here and loses less: the table says so."""
    table = find_space(new_bench().teacher, (1, 3, 8, 8), SCOPE).table
    mild, strong = Option.of("svd", ratio=0.5), Option.of("svd", ratio=0.125)
    turned = {
        block: {KEEP: Cost(), mild: changes[strong], strong: changes[mild]}
        for block, changes in table.changes.items()
    }
    entries = build(table=CostTable(table.teacher, turned), rungs=1).entries
    for block in turned:
        hopeless, better = entries[block, str(strong)], entries[block, str(mild)]
        assert hopeless["loss"] > 1.2 * better["loss"]
        assert hopeless["score"] is None
        assert hopeless["settled"]
        assert better["score"] is not None


def test_a_later_job_goes_on_from_what_was_learnt(build):
    start = [Wanted("0", "depthwise"), Wanted("3", "depthwise")]
    first = build(start, rungs=1, images=512, lr=0.003)
    moving = {
        place: entry
        for place, entry in first.entries.items()
        if not entry["settled"] and entry["rungs"] == 1
    }
    assert moving
    wanted = [
        Wanted(*place, entry["rungs"], entry["images"], entry["weights"])
        for place, entry in moving.items()
    ]
    second = build(wanted, rungs=2, images=512, lr=0.003)
    assert set(second.entries) == set(moving)
    went_on = [entry for entry in second.entries.values() if entry["rungs"] == 2]
    assert went_on
    for entry in second.entries.values():
        before = moving[entry["block"], entry["option"]]
        assert entry["images"] == {1: 512, 2: 512 + 1024}[entry["rungs"]]
        assert entry["score"] is not None or entry["settled"]
        if entry["rungs"] == 2:
            assert entry["weights"] != before["weights"]
    losses = [(moving[e["block"], e["option"]]["loss"], e["loss"]) for e in went_on]
    assert sum(after for _, after in losses) < sum(before for before, _ in losses)
    # None was taught from the start: that would be two rungs, not one.
    assert min(entry["rungs"] for event in second.writes for entry in event["entries"]) >= 1


def test_what_was_taught_and_not_scored_is_scored_as_it_is(build):
    """An interruption came between the two; also where the job now asks for fewer rungs."""
    taught = build(rungs=2).writes[1]["entries"][0]
    place = taught["block"], taught["option"]
    wanted = [Wanted(*place, taught["rungs"], taught["images"], taught["weights"])]
    for rungs in range(taught["rungs"] + 1):
        entry = build(wanted, rungs=rungs).entries[place]
        assert entry["score"] is not None
        assert (entry["rungs"], entry["images"]) == (taught["rungs"], taught["images"])
        assert entry["loss"] == pytest.approx(taught["loss"], rel=1e-5)


def test_who_comes_back_goes_on_wherever_its_block_is(build):
    """How much it fell is not known any more: neither its place nor its number may decide."""
    first = build(rungs=1, images=512, lr=0.003)
    moving = {place: each for place, each in first.entries.items() if not each["settled"]}
    assert len(moving) > 1
    wanted = [
        Wanted(*place, each["rungs"], each["images"], each["weights"])
        for place, each in moving.items()
    ]
    second = build(wanted, rungs=2, images=512, lr=0.003)
    assert {each["rungs"] for each in second.entries.values()} == {2}


def test_each_block_is_written_as_soon_as_it_is_scored(build):
    scored = [
        {entry["block"] for entry in event["entries"]}
        for event in build(rungs=0).writes
        if any(entry["score"] is not None for entry in event["entries"])
    ]
    assert len(scored) > 1
    assert all(len(blocks) == 1 for blocks in scored)


def test_a_score_that_is_no_number_settles_its_option(build, monkeypatch):
    monkeypatch.setattr(
        module,
        "measure_scores",
        lambda _, learners, panel: (Score(float("inf"), 0.0, len(panel)) for _ in learners),
    )
    entries = build(rungs=0).entries.values()
    assert all(entry["score"] is None and entry["settled"] for entry in entries)
    assert any(entry["loss"] == DIVERGED for entry in entries)


def test_compute_is_counted_for_all_that_is_done(build):
    """A lesson of one option costs at least the teacher's pass, and three of its own."""
    place = "3", "svd(ratio=0.5)"
    idle, brief, long = (
        build([Wanted(*place)], rungs=rungs, images=images).compute
        for rungs, images in ((0, 128), (1, 128), (1, 1280))
    )
    assert 64 < idle < brief < long
    assert 128 < brief - idle < 128 * 4 + 64 * 2
    assert 9 * 128 < long - brief < 9 * 128 * 4
    assert build([Wanted(*place), Wanted("3", "ghost(ratio=2)")]).compute < 2 * brief


def test_the_images_of_a_score_are_counted_and_what_choosing_them_took(
    build, new_bench, monkeypatch
):
    """Of all 287 nothing is chosen; otherwise the teacher is asked about each of them."""
    monkeypatch.setattr(scoring, "_EXACT", 0.0)  # all are looked at
    few, more, every = (
        build([Wanted("3", "svd(ratio=0.5)")], rungs=0, score_images=images).compute
        for images in (64, 128, 287)
    )
    assert len(new_bench().validation) == 287
    each = (more - few) / 64
    assert 1 < each < 3  # the teacher's pass, that of the option, and that of what follows it
    assert every - few == pytest.approx(each * (287 - 64) - 287)


def test_every_write_tells_what_it_cost(build):
    for event in build(rungs=2).writes:
        is_scored = any(entry["score"] is not None for entry in event["entries"])
        assert event["compute"] > 0 if is_scored else event["compute"] >= 0


@pytest.mark.parametrize("wanted", [Wanted("9", "ghost(ratio=2)"), Wanted("3", "ghost(ratio=3)")])
def test_what_is_no_block_or_option_is_refused(wanted, build):
    with pytest.raises(PlanError):
        build([wanted])


def test_nothing_wanted_is_nothing_built(build):
    assert build([]).events == []
