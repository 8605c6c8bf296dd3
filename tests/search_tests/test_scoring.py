import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pareconv.models.blocks import find_blocks
from pareconv.models.cutting import cut_block
from pareconv.models.plan import KEEP, Option
from pareconv.models.rewriting import rewrite
from pareconv.search.blockwise import Apprentice, apprentices
from pareconv.search.data.batches import normalize
from pareconv.search.panel import Panel
from pareconv.search.scoring import measure_losses, measure_scores

MILD, STRONG = Option.of("svd", ratio=0.5), Option.of("svd", ratio=0.125)


def evenly(images):
    return Panel(images, torch.ones(len(images)))


@pytest.fixture
def bench(new_bench):
    return new_bench()


@pytest.fixture
def blocks(bench):
    return find_blocks(bench.teacher, "block")


@pytest.fixture
def held_out(bench):
    split = bench.held_out(200)
    return normalize(split.images, split.mean, split.std)


@pytest.fixture
def one_batch(held_out):
    """Images whose statistics the batch norms of the teacher are set to: then nothing but rounding
    tells a block from itself when it is measured on them.
    """
    return held_out[:100]


@pytest.fixture
def kept(bench, blocks, one_batch):
    """The blocks themselves."""
    for block in blocks:
        copied = Apprentice(block, KEEP, copy.deepcopy(cut_block(bench.teacher, block)))
        measure_losses(bench.teacher, [copied], one_batch)
        bench.teacher.load_state_dict(copied.network.state_dict(), strict=False)
    return [
        Apprentice(block, KEEP, copy.deepcopy(cut_block(bench.teacher, block))) for block in blocks
    ]


def test_an_exact_option_has_no_loss_and_no_score(bench, blocks, kept, one_batch):
    """A full kernel in the place of an option's layer."""
    del kept  # the teacher's statistics are those of the images
    (exact,) = apprentices(bench.teacher, [(blocks[1], MILD)], bench.sample)
    exact.network.set_submodule("3", copy.deepcopy(bench.teacher.get_submodule("3")))
    (loss,) = measure_losses(bench.teacher, [exact], one_batch)
    (score,) = measure_scores(bench.teacher, [exact], evenly(one_batch))
    assert loss == pytest.approx(0, abs=1e-5)
    assert score.kl == pytest.approx(0, abs=1e-5)
    assert score.stderr == pytest.approx(0, abs=1e-5)


def test_keeping_a_block_costs_nothing(bench, kept, one_batch):
    losses = measure_losses(bench.teacher, kept, one_batch)
    scores = list(measure_scores(bench.teacher, kept, evenly(one_batch)))
    assert losses == pytest.approx([0, 0], abs=1e-5)
    assert [score.kl for score in scores] == pytest.approx([0, 0], abs=1e-5)


def test_a_broken_option_scores_worse_than_a_mild_one(bench, blocks, held_out):
    options = MILD, STRONG, Option.of("depthwise")
    places = [(block, option) for block in blocks for option in options]
    learners = apprentices(bench.teacher, places, bench.sample)
    generator = torch.Generator().manual_seed(0)
    for learner in learners[2::3]:
        for parameter in learner.network.parameters():
            nn.init.normal_(parameter, generator=generator)
    losses = measure_losses(bench.teacher, learners, held_out)
    scores = [score.kl for score in measure_scores(bench.teacher, learners, evenly(held_out))]
    for start in (0, 3):
        mild, strong, broken = range(start, start + 3)
        assert losses[mild] < losses[strong] < losses[broken]
        assert 0 <= scores[mild] < scores[strong] < scores[broken]


def divergences(bench, block, learner, images):
    """Of the whole network with that one block replaced."""
    student = rewrite(bench.teacher, {block.name: learner.option})
    student.load_state_dict(learner.network.state_dict(), strict=False)
    with torch.no_grad():
        target = bench.teacher(images).log_softmax(1)
        own = student.eval()(images).log_softmax(1)
    return F.kl_div(own, target, reduction="none", log_target=True).sum(1)


def test_the_score_is_the_divergence_of_the_whole_network(bench, blocks, held_out):
    """With that one block replaced, on the statistics that the measuring left in it, over the
    first images of the panel.
    """
    (learner,) = apprentices(bench.teacher, [(blocks[0], STRONG)], bench.sample)
    measure_losses(bench.teacher, [learner], held_out)
    (score,) = measure_scores(bench.teacher, [learner], evenly(held_out))
    each = divergences(bench, blocks[0], learner, held_out[: score.images])
    assert score.kl == pytest.approx(float(each.mean()), rel=1e-3)
    assert score.stderr == pytest.approx(float(each.std()) / len(each) ** 0.5, rel=1e-3)


def test_as_many_images_are_looked_at_as_the_standard_error_asks_for(bench, blocks, held_out):
    """One that is different on a single image is never exact, one that errs on all of them is so
    at once; all of a block look at the same ones.
    """
    places = [(blocks[0], STRONG), (blocks[1], STRONG), (blocks[1], MILD), (blocks[1], MILD)]
    learners = apprentices(bench.teacher, places, bench.sample)
    measure_losses(bench.teacher, learners, held_out)
    lone = Panel(held_out, torch.zeros(len(held_out)))
    lone.weights[0] = 1.0
    assert [score.images for score in measure_scores(bench.teacher, learners, lone)] == [200] * 4
    even = evenly(held_out[:1].expand(200, -1, -1, -1))
    scores = list(measure_scores(bench.teacher, learners, even))
    assert {score.images for score in scores} == {32}
    first, *others = measure_scores(bench.teacher, learners, evenly(held_out))
    assert len({score.images for score in others}) == 1
    assert sum(score.stderr <= 0.2 * score.kl for score in others) >= 2
    assert first.stderr <= 0.2 * first.kl


def test_images_weigh_in_a_score_what_they_stand_for(bench, blocks, held_out):
    """Three images of weight 2, 1 and 0 are the first two, the first of them twice."""
    (learner,) = apprentices(bench.teacher, [(blocks[0], STRONG)], bench.sample)
    measure_losses(bench.teacher, [learner], held_out)
    weighted = Panel(held_out[:3], torch.tensor([2.0, 1.0, 0.0]))
    (score,) = measure_scores(bench.teacher, [learner], weighted)
    (repeated,) = measure_scores(bench.teacher, [learner], evenly(held_out[[0, 0, 1]]))
    assert score.kl == pytest.approx(repeated.kl, rel=1e-4)


def test_batch_norms_have_the_statistics_of_the_images(bench, blocks, held_out):
    (learner,) = apprentices(bench.teacher, [(blocks[0], MILD)], bench.sample)
    norm = learner.network.get_submodule("1")
    norm.running_mean.fill_(100.0)
    norm.running_var.fill_(1e-3)
    measure_losses(bench.teacher, [learner], held_out)
    with torch.no_grad():
        seen = learner.network.get_submodule("0")(held_out)
    deviation = seen.var((0, 2, 3)).sqrt()
    assert ((norm.running_mean - seen.mean((0, 2, 3))).abs() / deviation).max() < 0.01
    torch.testing.assert_close(norm.running_var.sqrt(), deviation, rtol=0.03, atol=0)


def test_measuring_leaves_eval_mode_weights_and_momentum(bench, blocks, held_out):
    learners = apprentices(bench.teacher, [(block, MILD) for block in blocks], bench.sample)
    norms = [part for each in learners for part in each.network.modules()
             if isinstance(part, _BatchNorm)]  # fmt: skip
    for norm in norms:
        norm.momentum = 0.03
    weights = [p.clone() for each in learners for p in each.network.parameters()]
    state = {name: value.clone() for name, value in bench.teacher.state_dict().items()}
    measure_losses(bench.teacher, learners, held_out)
    list(measure_scores(bench.teacher, learners, evenly(held_out)))
    assert [norm.momentum for norm in norms] == [0.03, 0.03]
    assert not any(part.training for each in learners for part in each.network.modules())
    after = [p for each in learners for p in each.network.parameters()]
    assert all(map(torch.equal, weights, after))
    assert all(torch.equal(state[name], v) for name, v in bench.teacher.state_dict().items())


def test_who_is_measured_beside_it_changes_nothing(bench, blocks, held_out):
    """But on how many images."""
    places = [(block, option) for block in blocks for option in (MILD, STRONG)]
    learners = apprentices(bench.teacher, places, bench.sample)
    together = measure_losses(bench.teacher, learners, held_out)
    scores = list(measure_scores(bench.teacher, learners, evenly(held_out)))
    for learner, loss, score in zip(learners, together, scores, strict=True):
        assert measure_losses(bench.teacher, [learner], held_out) == [loss]
        seen = evenly(held_out[: score.images])
        (alone,) = measure_scores(bench.teacher, [learner], seen)
        assert alone == score or alone.images < score.images


def test_measuring_nothing_gives_nothing(bench, held_out):
    assert measure_losses(bench.teacher, [], held_out) == []
    assert list(measure_scores(bench.teacher, [], evenly(held_out))) == []
