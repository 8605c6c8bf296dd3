import pytest
import torch

from pareconv.models.blocks import find_blocks
from pareconv.models.plan import Option
from pareconv.search.blockwise import apprentices
from pareconv.search.data.batches import normalize
from pareconv.search.panel import Panel, draw
from pareconv.search.scoring import measure_losses, measure_scores


@pytest.fixture
def bench(new_bench):
    return new_bench()


@pytest.fixture
def teacher(bench):
    return bench.teacher


@pytest.fixture
def split(bench):
    return bench.held_out(200)


@pytest.fixture
def entropy(teacher, split):
    """Of the teacher's answer to each image."""
    with torch.no_grad():
        logs = teacher(normalize(split.images, split.mean, split.std)).log_softmax(1)
    return -(logs.exp() * logs).sum(1)


def found_in(images, panel):
    """The place among `images` of each of the panel's."""
    distance = (panel.images[:, None] - images[None]).abs().flatten(2).amax(2)
    assert torch.equal(distance.amin(1), torch.zeros(len(panel)))
    return distance.argmin(1)


def test_the_mean_over_panels_is_the_mean_over_all(teacher, split, entropy):
    """Of any value: without bias, within five standard errors over 200 panels of 16."""
    images = normalize(split.images, split.mean, split.std)
    for value in (entropy, images.mean((1, 2, 3)), torch.ones(len(split))):
        estimates = []
        for seed in range(200):
            panel = draw(teacher, split, 16, seed)
            estimates.append(float((panel.weights * value[found_in(images, panel)]).mean()))
        found = torch.tensor(estimates)
        error = float(found.std()) / len(found) ** 0.5
        assert abs(float(found.mean() - value.mean())) < 5 * error + 1e-4


def test_the_first_few_stand_for_all_as_well(teacher, split, entropy):
    """As evenly spread over doubtful and certain ones as a panel of their number."""
    images = normalize(split.images, split.mean, split.std)

    def errors(size, first):
        found = []
        for seed in range(100):
            panel = draw(teacher, split, size, seed)
            values = (panel.weights * entropy[found_in(images, panel)])[:first]
            found.append(float(values.mean()) - float(entropy.mean()))
        return torch.tensor(found).square().mean().sqrt()

    assert errors(128, 32) < 1.5 * errors(32, 32)


def test_doubtful_images_are_drawn_more_often_and_stand_for_less(teacher, split, entropy):
    images = normalize(split.images, split.mean, split.std)
    panel = draw(teacher, split, 64, 0)
    drawn = entropy[found_in(images, panel)]
    assert drawn.mean() > 1.5 * entropy.mean()
    assert panel.weights[drawn.argmax()] < panel.weights[drawn.argmin()]
    # None stands for more than if a quarter of all draws were even ones.
    assert panel.weights.max() < 4.5


def test_what_an_option_does_is_estimated_better_than_by_even_draws(bench, split):
    """Its score from 24 images, over 40 draws, beside that from all."""
    block = find_blocks(bench.teacher, "block")[0]
    (learner,) = apprentices(bench.teacher, [(block, Option.of("svd", ratio=0.375))], bench.sample)
    images = normalize(split.images, split.mean, split.std)
    measure_losses(bench.teacher, [learner], images)

    def score(panel):
        return next(measure_scores(bench.teacher, [learner], panel)).kl

    def even(seed):
        chosen = torch.randperm(200, generator=torch.Generator().manual_seed(seed))[:24]
        return Panel(images[chosen], torch.ones(24))

    whole = score(Panel(images, torch.ones(200)))
    drawn = torch.tensor([score(draw(bench.teacher, split, 24, seed)) for seed in range(40)])
    plain = torch.tensor([score(even(seed)) for seed in range(40)])
    assert (drawn - whole).square().mean() < 0.7 * (plain - whole).square().mean()


def test_the_same_seed_draws_the_same_images(teacher, split):
    first, again, other = (draw(teacher, split, 32, seed) for seed in (0, 0, 1))
    torch.testing.assert_close(first.images, again.images, rtol=0, atol=0)
    torch.testing.assert_close(first.weights, again.weights, rtol=0, atol=0)
    assert not torch.equal(first.weights, other.weights)


@pytest.mark.parametrize("size", [200, 1000])
def test_where_all_are_wanted_each_is_there_once(teacher, split, size):
    panel = draw(teacher, split, size, 0)
    assert torch.equal(panel.images, normalize(split.images, split.mean, split.std))
    assert torch.equal(panel.weights, torch.ones(200))


def test_a_teacher_without_a_doubt_is_no_hindrance(teacher, split):
    with torch.no_grad():
        for parameter in list(teacher.parameters())[-2:]:
            parameter.zero_()
        list(teacher.parameters())[-1][0] = 1e4
    panel = draw(teacher, split, 20, 0)
    torch.testing.assert_close(panel.weights, torch.ones(20))
