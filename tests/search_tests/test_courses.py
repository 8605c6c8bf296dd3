"""The contract of a course, over every registered method: a tiny pair on real digits."""

import math
import re
from dataclasses import replace
from itertools import islice

import pytest
import torch
import torch.nn.functional as F

from pareconv.models.plan import Plan
from pareconv.models.rewriting import rewrite
from pareconv.search.answers import Answers, Listener
from pareconv.search.data.batches import batch_sizes
from pareconv.search.data.views import Views
from pareconv.search.distillation.course import Batch
from pareconv.search.distillation.ramp import ramped
from pareconv.search.distillation.registry import BRIEF, METHODS
from pareconv.search.distillation.setting import Setting
from pareconv.search.evaluation import evaluate
from pareconv.search.training import Recipe, Training

CHANCE = 0.1
TAPS = ["_2", "_5"]
EVERY = pytest.mark.parametrize("name", sorted(METHODS))


@pytest.fixture
def teacher(small_network, taught_weights):
    network = small_network()
    network.load_state_dict(taught_weights)
    return network.eval().requires_grad_(False)


@pytest.fixture
def views(digit_splits):
    return Views(digit_splits[0], "crop", 0)


@pytest.fixture
def student(small_network):
    return small_network(1)


@pytest.fixture
def adder_student(student):
    return rewrite(student, Plan.from_json({"3": "adder"})).requires_grad_(True)


@pytest.fixture
def setting(student, teacher, views):
    return Setting(student, views, Answers(teacher, TAPS), seed=3)


@pytest.fixture
def course_of(small_network, setting):
    """The course of a method for a student of its own, drawn from seed 1."""

    def make(name, parameters=None, **changes):
        changed = replace(setting, **{"student": small_network(1).eval()} | changes)
        return METHODS[name].of(parameters or {}).course(changed)

    return make


@pytest.fixture
def batch(views):
    numbers = torch.arange(64)
    return Batch(numbers, *views[numbers], done=0.5)


@pytest.fixture
def training_of(setting):
    """A training by a method, by default of as many images as teach something."""

    def make(name, parameters=None, images=3000, **changes):
        method = METHODS[name].of(parameters or {})
        return Training(replace(setting, **changes), method, recipe(images=images))

    return make


def recipe(**changes):
    values = {"images": 3000, "pool": 1400, "batch_size": 64, "optimizer": "sgd", "lr": 0.05}
    return Recipe(**(values | {"weight_decay": 5e-4} | changes))


def total(terms):
    return torch.stack(list(terms.values())).sum()


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
        total(terms).backward()
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


def test_the_mutual_teacher_is_like_the_teacher_and_knows_nothing(course_of, teacher, batch):
    _, online = course_of("mutual").networks
    shapes = [tuple(each.shape) for each in online.parameters()]
    assert shapes == [tuple(each.shape) for each in teacher.parameters()]
    known, guessed = (net.eval()(batch.images).argmax(1) for net in (teacher, online))
    assert float((known == batch.labels).float().mean()) > 8 * CHANCE
    assert float((guessed == batch.labels).float().mean()) < 4 * CHANCE


def test_mutual_learners_are_moved_by_each_other_each_through_its_own_term(course_of, batch):
    """The divergence that teaches one gives the other no gradient."""
    for term, learner, shown in (("teacher", 0, 1), ("student", 1, 0)):
        course = course_of("mutual")
        course.terms(batch)[term].backward()
        moved, fixed = (list(course.networks[place].parameters()) for place in (learner, shown))
        assert all(each.grad is not None for each in moved)
        assert all(each.grad is None for each in fixed)


def test_both_mutual_learners_learn(training_of, digit_splits):
    training = training_of("mutual")
    training.run()
    for network in training._course.networks:
        assert evaluate(network, digit_splits[1]).accuracy > 4 * CHANCE


def test_students_of_an_ensemble_are_of_one_plan_and_start_apart(course_of, small_network):
    course = course_of("online_ensemble", {"students": 3})
    assert len(course.networks) == 3
    firsts = [network.get_parameter("0.weight") for network in course.networks]
    assert torch.equal(firsts[0], small_network(1).get_parameter("0.weight"))
    assert not any(torch.equal(firsts[a], firsts[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert course.head.linear.in_features == 3 * 24  # channels of the last stage


@pytest.mark.parametrize("detached", [False, True])
def test_the_divergence_of_an_ensemble_reaches_its_head_unless_detached(course_of, batch, detached):
    course = course_of("online_ensemble", {"detached": detached})
    course.terms(batch)["head_1"].backward()
    reached = [each.grad is not None for each in course.head.parameters()]
    assert set(reached) == {not detached}
    # And through the head the students that it does not teach.
    assert (course.networks[2].get_parameter("0.weight").grad is not None) == (not detached)
    assert course.networks[1].get_parameter("0.weight").grad is not None


def test_the_mean_over_classes_too_weighs_a_tenth_of_ten(course_of, batch):
    mean, batchmean = (
        course_of("online_ensemble", {"reduction": reduction}).terms(batch)
        for reduction in ("mean", "batchmean")
    )
    for name, value in mean.items():
        share = 0.1 if name.startswith("head_") and name != "head_labels" else 1
        torch.testing.assert_close(value, share * batchmean[name])


def test_balanced_weights_are_by_the_effective_number_and_sum_to_the_classes():
    counts = torch.tensor([5000, 500, 50])
    weights = METHODS["balanced"].of({"b": 0.99}).weights(counts)
    by_hand = torch.tensor([0.01 / (1 - 0.99**n) for n in (5000, 500, 50)])
    torch.testing.assert_close(weights, 3 * by_hand / by_hand.sum())
    assert torch.equal(METHODS["balanced"].of({"b": 0.0}).weights(counts), torch.ones(3))


@pytest.fixture
def long_tailed(digit_splits):
    """Views of digits of which there are few nines."""
    train = digit_splits[0]
    rare = (train.labels == 9).nonzero().squeeze(1)
    kept = torch.ones(len(train), dtype=torch.bool)
    kept[rare[5:]] = False
    return Views(replace(train, images=train.images[kept], labels=train.labels[kept]), "none", 0)


def test_balanced_targets_lean_to_rare_classes_once_it_is_time(course_of, long_tailed, batch):
    """What the student is pulled to, read off the gradient of the teacher's term."""

    def pull(done, **parameters):
        course = course_of("balanced", parameters, views=long_tailed)
        course.terms(replace(batch, done=done))["teacher"].backward()
        (student,) = course.networks
        return -student.get_parameter("8.bias").grad

    assert pull(0.9)[9] > pull(0.9, b=0.0)[9]
    torch.testing.assert_close(pull(0.5, deferred=0.8), pull(0.5, b=0.0))
    torch.testing.assert_close(pull(0.8, deferred=0.8), pull(0.8))


def test_the_weight_of_what_peers_say_grows_and_stays():
    assert ramped(0.0, 0.4) == pytest.approx(math.exp(-5))
    assert ramped(0.2, 0.4) == pytest.approx(math.exp(-1.25))
    assert ramped(0.4, 0.4) == ramped(0.9, 0.4) == ramped(0.0, 0.0) == 1


def test_collaborators_are_taught_now_and_then_and_more_as_they_go(course_of, batch):
    course = course_of("collaborative", {"interval": 3, "ramp": 0.8})
    taught = []
    for _ in range(6):
        taught.append("ensemble_0" in course.terms(batch))
        course.after_step(0.5)
    assert taught == [False, False, True, False, False, True]

    often = course_of("collaborative", {"interval": 1, "ramp": 0.8})
    early, late = (often.terms(replace(batch, done=done))["ensemble_0"] for done in (0.2, 0.9))
    torch.testing.assert_close(early, math.exp(-5 * 0.75**2) * late)


def test_collaborators_are_moved_by_the_ensemble_each_through_its_own_term(course_of, batch):
    course = course_of("collaborative", {"interval": 1})
    course.terms(batch)["ensemble_1"].backward()
    first, second = course.networks
    assert all(each.grad is None for each in first.parameters())
    assert all(each.grad is not None for each in second.parameters())


def test_collaborators_are_who_was_named(course_of, small_network, teacher):
    def partners(named, others=()):
        parameters = {"partners": named}
        return course_of("collaborative", parameters, others=lambda: others).networks[1:]

    front = [small_network(7), small_network(8)]
    assert list(partners("front", front)) == front
    (standard,) = partners("front")  # nobody else is on the front
    assert [each.shape for each in standard.parameters()] == [
        each.shape for each in teacher.parameters()
    ]
    *finalists, standard, of_the_zoo = partners("front, standard, cifar_resnet8", front)
    assert finalists == front
    assert of_the_zoo.get_submodule("layer1") is not None
    assert of_the_zoo(torch.zeros(1, 3, 8, 8)).shape == (1, 10)


@pytest.mark.parametrize(
    ("partners", "reason"),
    [
        ("front,front", "'front' is named twice"),
        ("resnet_9000", r"unknown architecture 'resnet_9000'.*; or name front or standard"),
    ],
)
def test_unknown_collaborators_are_refused(partners, reason):
    refused = METHODS["collaborative"].refusals({"partners": partners})["partners"]
    assert re.search(reason, refused)


def test_a_collaborator_that_wants_larger_images_is_a_misfit():
    method = METHODS["collaborative"].of({"partners": "standard,inception_v3"})
    assert "partner inception_v3 needs images of at least" in method.misfit(32)
    assert method.misfit(299) is None


def test_peers_share_their_stem_and_nothing_else(course_of):
    first, *others = course_of("peer").networks
    assert len(others) == 2
    for other in others:
        assert other.get_submodule("0") is first.get_submodule("0")
        assert not torch.equal(other.get_parameter("3.weight"), first.get_parameter("3.weight"))
        assert not torch.equal(other.get_parameter("8.weight"), first.get_parameter("8.weight"))


def test_each_peer_sees_the_images_moved_in_a_way_of_its_own(course_of, batch):
    course = course_of("peer")
    seen = []
    course.networks[0].get_submodule("0").register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    course.terms(batch)
    assert torch.equal(seen[0], batch.images)
    assert not any(torch.equal(seen[a], seen[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    again = [each.clone() for each in seen[:3]]
    seen.clear()
    course.terms(batch)
    assert all(torch.equal(*pair) for pair in zip(again, seen, strict=False))


def test_the_means_of_peers_move_as_their_formula_says(course_of):
    """A quarter of ten steps is remembered: decay = min(1 - 1 / (step + 1), 1 - 1 / 2.5) at step 0,
    1, 2, 3.
    """
    course = course_of("peer", {"memory": 0.25})
    weight = course.networks[1].get_parameter("8.weight")
    expected = None
    for step, decay in enumerate((0.0, 0.5, 0.6, 0.6)):
        with torch.no_grad():
            weight.fill_(float(step + 1))
        course.after_step((step + 1) / 10)
        expected = step + 1 if expected is None else decay * expected + (1 - decay) * (step + 1)
        found = course.averages[1].module.get_parameter("8.weight")
        torch.testing.assert_close(found, torch.full_like(found, expected))
    assert course.deployed is course.averages[0].module


def test_what_peers_say_teaches_with_a_weight_that_grows(course_of, batch):
    course = course_of("peer", {"ramp": 0.8})
    early, late = (course.terms(replace(batch, done=done)) for done in (0.2, 0.9))
    share = math.exp(-5 * 0.75**2)
    for term, value in late.items():
        torch.testing.assert_close(early[term], (1 if "labels" in term else share) * value)


def test_the_kernel_teacher_gets_no_gradient_from_the_student(course_of, adder_student, batch):
    course = course_of("pkkd", student=adder_student.eval())
    terms = course.terms(batch)
    teacher_labels = terms.pop("teacher_labels")
    assert set(terms) == {"labels", "teacher", "layers"}
    total(terms).backward()
    student, teacher = course.networks
    assert all(each.grad is None for each in teacher.parameters())
    assert all(each.grad is not None for each in student.parameters())
    teacher_labels.backward()
    assert all(each.grad is not None for each in teacher.parameters())


def test_kernels_compare_an_adder_layer_with_the_convolution_in_its_place(
    course_of, adder_student, batch
):
    """The layer before and the adder are taught by it; nothing after is."""
    course = course_of("pkkd", student=adder_student.eval())
    course.terms(batch)["layers"].backward()
    student, _ = course.networks
    reached = {name for name, each in student.named_parameters() if each.grad is not None}
    assert reached == {"0.weight", "1.weight", "1.bias", "3.weight"}
    assert all(each.grad is not None for kernel in course.extras for each in kernel.parameters())


def test_kernels_are_the_exponentials_of_what_their_layers_give(course_of, adder_student, batch):
    """Before their linear layer both are exp(output / its mean size), the exponent at most 5: at
    most 1 for an adder.
    """
    course = course_of("pkkd", student=adder_student.eval())
    seen = {}
    for name, kernel in zip(("adder", "conv"), course.extras, strict=True):
        kernel.linear.register_forward_pre_hook(
            lambda _, inputs, name=name: seen.__setitem__(name, inputs[0])
        )
    course.terms(batch)
    student, teacher = course.networks
    images = batch.images
    for name, network in (("adder", student), ("conv", teacher)):
        with torch.no_grad():
            before = network.get_submodule("1")(network.get_submodule("0")(images)).relu()
            output = network.get_submodule("3")(before)
        expected = (output / output.abs().mean()).clamp_max(5).exp()
        torch.testing.assert_close(seen[name], expected, rtol=0.1, atol=0.05)
    assert bool((seen["adder"] <= 1).all())


def test_without_adder_layers_the_student_learns_from_the_logits(course_of, batch):
    course = course_of("pkkd")
    assert "layers" not in course.terms(batch)
    assert not course.extras


def test_sparse_matching_goes_through_its_phases(course_of, batch):
    course = course_of("sparse_matching")
    shown = [set(course.terms(replace(batch, done=done))) for done in (0.05, 0.2, 0.7)]
    assert shown == [{"dictionary"}, {"matching"}, {"labels", "teacher"}]


def test_dictionaries_learn_to_give_the_teachers_features_back(training_of):
    training = training_of("sparse_matching", {"matching": 1.0, "distilling": 1.0}, images=2000)
    first, last = training.run(0.1), training.run(1.0)
    assert last < 0.8 * first


def test_a_pixel_keeps_only_its_largest_similarities(course_of):
    course = course_of("sparse_matching", {"mu": 2.0, "nu": 0.25})
    for dictionary, channels in zip(course.teachers, (12, 24), strict=True):
        assert dictionary.codewords.shape == (channels, 2 * channels)
        similar = torch.rand(2, 2 * channels, 3, 3)
        kept = dictionary.largest(similar)
        assert torch.equal((kept > 0).sum(1), torch.full((2, 3, 3), channels // 2))
        assert torch.equal(kept.amax(1), similar.amax(1))


def test_similarities_are_told_apart_however_long_the_teachers_features_are(
    course_of, teacher, batch
):
    with torch.no_grad():
        teacher.get_parameter("4.weight").mul_(100)  # the last stage's norm
    course = course_of("sparse_matching")
    for dictionary, node in zip(course.teachers, TAPS, strict=True):
        pixels = dictionary.scaled(Listener(teacher, [node])(batch.images).features[0])
        assert float(pixels.square().sum(1).mean()) == pytest.approx(4, rel=0.2)
        assert float((dictionary.similarities(pixels) == 1).float().mean()) < 0.01


def test_the_students_codewords_begin_where_the_teachers_ended(course_of, batch):
    course = course_of("sparse_matching")
    course.terms(replace(batch, done=0.05))
    with torch.no_grad():
        for dictionary in course.teachers:
            dictionary.codewords.mul_(1.5)
    course.terms(replace(batch, done=0.2))
    for own, shown in zip(course.students, course.teachers, strict=True):
        assert torch.equal(own.codewords, shown.codewords)
        assert own.codewords is not shown.codewords


def test_matching_leaves_the_teachers_codewords_alone(course_of, batch):
    course = course_of("sparse_matching")
    course.terms(replace(batch, done=0.2))["matching"].backward()
    assert all(each.grad is None for one in course.teachers for each in one.parameters())
    assert all(each.grad is not None for one in course.students for each in one.parameters())
    assert course.networks[0].get_parameter("0.weight").grad is not None


@pytest.fixture
def order_of(course_of, views, taught_weights):
    """The numbers that a curriculum shows a student who knows most of the digits."""

    def make(**parameters):
        course = course_of("curriculum", parameters)
        course.networks[0].load_state_dict(taught_weights)
        return course, course.order(1280, len(views.split), 64, 0)

    return make


def difficulties(network, views, numbers):
    images, labels = views[numbers]
    with torch.no_grad():
        return F.cross_entropy(network.eval()(images), labels, reduction="none")


def test_a_curriculum_shows_the_easiest_first_and_at_last_all(order_of, views):
    course, order = order_of(phases=4, easiest=0.25, warm_up=0.0)
    batches = list(order)
    phases = [torch.cat(batches[start : start + 5]) for start in range(0, 20, 5)]
    means = [float(difficulties(course.networks[0], views, each).mean()) for each in phases]
    assert means == sorted(means)
    every = difficulties(course.networks[0], views, torch.arange(len(views.split)))
    assert float(difficulties(course.networks[0], views, phases[0]).max()) <= every.quantile(0.26)


def test_a_curriculum_begins_in_random_order(order_of, views):
    _, order = order_of(warm_up=0.5)
    first = torch.cat(list(islice(order, 10)))
    assert len(set(first.tolist())) == len(first)
    assert first.float().mean() == pytest.approx(len(views.split) / 2, rel=0.1)


def test_a_curriculum_asks_the_student_as_it_is_when_a_phase_begins(order_of, views):
    """What it has come to know best comes next."""
    course, order = order_of(phases=10, easiest=0.1, warm_up=0.0)
    before = torch.cat(list(islice(order, 2)))
    with torch.no_grad():
        course.networks[0].get_parameter("8.bias")[3] += 20  # now it takes all for threes
    after = torch.cat(list(islice(order, 2)))
    threes = [int((views[each][1] == 3).sum()) for each in (before, after)]
    assert threes[0] < 0.3 * len(before)
    # There are 146 of them, half of the images of the second phase.
    assert threes[1] > 0.4 * len(after)


def test_a_curriculum_wraps_other_methods_with_their_parameters(course_of, batch):
    plain = course_of("kd", {"alpha": 0.3}).terms(batch)
    wrapped = course_of("curriculum", {"alpha": 0.3}).terms(batch)
    assert all(torch.equal(wrapped[name], value) for name, value in plain.items())
    online = METHODS["curriculum"].of({"method": "online_ensemble", "students": 3})
    assert online.online
    assert METHODS["curriculum"].refusals({"method": "mutual", "alpha": 1.0}) == {
        "alpha": "mutual has no parameter 'alpha'; it has: temperature"
    }
    assert "curriculum" not in METHODS["curriculum"].parameters[0].choices


def test_a_curriculum_counts_what_it_scores(training_of, views):
    training = training_of("curriculum", {"phases": 3, "warm_up": 0.1}, images=1280)
    training.run()
    pool = recipe().pool
    assert training.compute(lambda _: 1.0) == 3 * 1280 + 3 * pool
