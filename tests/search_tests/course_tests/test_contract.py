"""The contract of a course, over every registered method."""

from dataclasses import replace

import pytest
import torch

from pareconv.search.data.batches import batch_sizes
from pareconv.search.distillation.registry import BRIEF, METHODS
from pareconv.search.evaluation import evaluate

CHANCE = 0.1
EVERY = pytest.mark.parametrize("name", sorted(METHODS))


@EVERY
def test_the_student_comes_first_and_others_are_of_online_methods_alone(name, course_of):
    course = course_of(name)
    assert torch.equal(
        course.networks[0].get_parameter("0.weight"),
        course_of(name).networks[0].get_parameter("0.weight"),
    )
    assert (len(course.networks) > 1) == METHODS[name].of({}).online == (name not in BRIEF)


@EVERY
def test_terms_are_named_finite_scalars_that_teach_all_that_is_trained(name, course_of, batch):
    """In one phase of the training or another."""
    course = course_of(name)
    for done in (0.05, 0.2, 0.5):
        terms = course.terms(replace(batch, done=done))
        for term, value in terms.items():
            assert term.isidentifier()
            assert value.shape == ()
            assert value.isfinite()
        torch.stack(list(terms.values())).sum().backward()
    for network in (*course.networks, *course.extras):
        assert all(bool(each.grad.isfinite().all()) for each in network.parameters())
        assert sum(float(each.grad.abs().sum()) for each in network.parameters()) > 0


@EVERY
def test_a_few_dozen_steps_teach_the_student(name, training_of, digit_splits):
    training = training_of(name, images=5000)
    training.run()
    assert not any(module.training for module in training.deployed.modules())
    assert evaluate(training.deployed, digit_splits[1]).accuracy > 3 * CHANCE


@EVERY
def test_the_same_seed_gives_the_same_student(name, training_of, small_network):
    deployed = []
    for _ in range(2):
        training = training_of(name, images=300, student=small_network(1))
        training.run()
        deployed.append(training.deployed.state_dict())
        torch.rand(3)
    assert all(torch.equal(deployed[0][key], deployed[1][key]) for key in deployed[0])


@EVERY
def test_what_is_deployed_holds_the_weights_of_a_student_and_nothing_else(name, training_of):
    training = training_of(name, images=200)
    before = set(training.deployed.state_dict())
    training.run()
    shapes = {key: value.shape for key, value in training.deployed.state_dict().items()}
    student = training._student.state_dict()
    assert shapes == {key: value.shape for key, value in student.items()}
    assert set(shapes) == before


@EVERY
def test_every_image_comes_from_the_pool_in_batches_of_the_usual_sizes(name, course_of):
    batches = list(course_of(name).order(500, 150, 64, 0))
    assert [len(numbers) for numbers in batches] == batch_sizes(500, 64)
    assert int(torch.cat(batches).max()) < 150


@EVERY
def test_all_that_looks_at_images_is_counted(name, training_of):
    """By hooks on whatever is called, where a network is worth 1."""
    training = training_of(name, images=400)
    seen = {"trained": 0, "looked": 0}

    def watched(network):
        first = network.get_submodule("0")
        return first.register_forward_hook(
            lambda _, inputs, output: seen.__setitem__(
                kind := "trained" if output.requires_grad else "looked",
                seen[kind] + len(inputs[0]),
            )
        )

    course = training._course
    watch = {id(each.get_submodule("0")): each for each in (*course.networks, *course.onlookers)}
    hooks = [watched(network) for network in watch.values()]
    training.run()
    for hook in hooks:
        hook.remove()
    trained, looked = seen["trained"], seen["looked"]
    assert training.compute(lambda _: 1.0) == 3 * trained + looked
