"""Mutual learning: two networks, each moved by the other."""

from pareconv.search.evaluation import evaluate

CHANCE = 0.1


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
