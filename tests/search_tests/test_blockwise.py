import copy

import pytest
import torch
from torch import nn

from pareconv.models.blocks import find_blocks
from pareconv.models.plan import Option
from pareconv.search.blockwise import Lessons, apprentices, teach
from pareconv.search.data.batches import normalize
from pareconv.search.imitation import relative_error
from pareconv.search.scoring import measure_losses

OPTIONS = [
    Option.of("svd", ratio=0.375),
    Option.of("ghost", ratio=2),
    Option.of("depthwise"),
    Option.of("pointwise"),
    Option.of("bottleneck", reduction=4),
]
LESSONS = Lessons(first=0, images=2000, batch_size=50, lr=0.003)


@pytest.fixture
def bench(new_bench):
    return new_bench()


@pytest.fixture
def places(bench):
    """Every option of both blocks."""
    return [(block, option) for block in find_blocks(bench.teacher, "block") for option in OPTIONS]


@pytest.fixture
def held_out(bench):
    split = bench.held_out(128)
    return normalize(split.images, split.mean, split.std)


def taught(bench, places, lessons=LESSONS):
    learners = apprentices(bench.teacher, places, bench.sample)
    teach(bench.teacher, learners, bench.views, lessons)
    return learners


def state_of(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def assert_same(one, other):
    assert all(torch.equal(one[name], value) for name, value in other.items())


def test_teaching_lowers_the_loss_of_every_option(bench, places, held_out):
    learners = apprentices(bench.teacher, places, bench.sample)
    before = measure_losses(bench.teacher, learners, held_out)
    teach(bench.teacher, learners, bench.views, LESSONS)
    after = measure_losses(bench.teacher, learners, held_out)
    for learner, start, end in zip(learners, before, after, strict=True):
        assert end < start, (learner.block.name, str(learner.option))
    assert sum(after) < 0.9 * sum(before)


def test_what_one_learns_does_not_depend_on_who_learns_beside_it(bench, new_bench, places):
    alone = taught(new_bench(), places[1:2])[0]
    beside = taught(bench, places)[1]
    assert alone.option == beside.option
    assert_same(state_of(alone.network), state_of(beside.network))


def test_the_same_is_learnt_again_to_the_bit(bench, new_bench, places):
    first = taught(bench, places[:3])
    torch.rand(5)
    second = taught(new_bench(), places[:3])
    for one, other in zip(first, second, strict=True):
        assert_same(state_of(one.network), state_of(other.network))


def test_the_teacher_is_only_looked_at(bench, places):
    before = state_of(bench.teacher)
    taught(bench, places)
    assert_same(before, state_of(bench.teacher))
    assert not any(module.training for module in bench.teacher.modules())
    assert not any(parameter.requires_grad for parameter in bench.teacher.parameters())


def test_no_two_learners_share_a_weight(bench, places):
    learners = apprentices(bench.teacher, places, bench.sample)
    pointers = [p.data_ptr() for each in learners for p in each.network.parameters()]
    pointers += [parameter.data_ptr() for parameter in bench.teacher.parameters()]
    assert len(set(pointers)) == len(pointers)


def test_an_apprentice_has_the_names_of_its_block(bench, places):
    for learner in apprentices(bench.teacher, places, bench.sample):
        start = learner.block.convs[0]
        norm = str(int(start) + 1)
        names = {name.split(".")[0] for name in learner.network.state_dict()}
        assert names == {start, norm}


def test_later_lessons_show_later_views(bench, new_bench, places):
    first = taught(bench, places[:1])[0]
    later = Lessons(first=2000, images=2000, batch_size=50, lr=0.003)
    second = taught(new_bench(), places[:1], later)[0]
    weight = next(iter(state_of(first.network)))
    assert not torch.equal(state_of(first.network)[weight], state_of(second.network)[weight])


def test_the_relative_error_is_over_the_energy_of_the_batch():
    target = torch.full((4, 2, 3, 3), 2.0)
    output = target.clone()
    output[0] += 1.0
    torch.testing.assert_close(relative_error(output, target), torch.tensor([0.25, 0, 0, 0]))
    torch.testing.assert_close(relative_error(10 * output, 10 * target).mean(),
                               relative_error(output, target).mean())  # fmt: skip


def test_a_block_that_is_silent_divides_nothing_by_zero():
    silent = torch.zeros(2, 3, 4, 4)
    assert relative_error(silent, silent).tolist() == [0, 0]
    assert relative_error(silent + 1, silent).isfinite().all()


def test_dropout_in_a_block_neither_blurs_the_lesson_nor_draws_numbers(bench, places, held_out):
    """The teacher is in eval mode: what is to be imitated has none."""
    block, option = places[0]
    dropping = copy.deepcopy(bench.teacher)
    dropping.set_submodule("2", nn.Sequential(nn.ReLU(), nn.Dropout(0.5)).eval())
    losses = []
    for teacher in (bench.teacher, dropping):
        learners = apprentices(teacher, [(block, option)], bench.sample)
        state = torch.get_rng_state()
        teach(teacher, learners, bench.views, LESSONS)
        assert torch.equal(torch.get_rng_state(), state)
        losses += measure_losses(teacher, learners, held_out)
    assert losses[0] == losses[1]
