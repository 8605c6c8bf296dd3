import json
import random
from itertools import product

import pytest

from pareconv.models.cost_table import Cost, CostTable
from pareconv.models.plan import KEEP, Option, Plan
from pareconv.search.solver import Solver, predicted_front

OPTIONS = [Option.of("svd", ratio=ratio) for ratio in (0.125, 0.25, 0.5)] + [Option.of("ghost")]


def random_case(seed):
    """A table of up to five blocks, as large as real networks are, and scores of its options.

    Some options are not scored; some blocks share their costs, as the blocks of a stage do; some
    options are slower than what they replace.
    """
    chance = random.Random(seed)
    unit = 10 ** chance.choice([1, 4, 7])
    changes, scores = {}, {}
    for number in range(chance.randint(1, 5)):
        block = f"b{number}"
        chosen = chance.sample(OPTIONS, chance.randint(1, 4))
        changes[block] = {KEEP: Cost(latency_ms=0)} | {
            option: Cost(
                -chance.randint(2 * unit, 20 * unit),
                -chance.randint(2 * unit, 20 * unit),
                chance.choice([0, unit]),
                chance.uniform(-0.2, 0.05),
            )
            for option in chosen
        }
        scored = [option for option in chosen if chance.random() < 0.9]
        scores[block] = {option: chance.choice([1e-5, 1e-3, 0.1]) * chance.random() + 1e-7 for
                         option in scored}  # fmt: skip
    table = CostTable(Cost(150 * unit, 120 * unit, 0, 1.5), changes)
    limits = {
        name: whole_where_counted(name, table.teacher.quantity(name) * chance.uniform(0.3, 1.05))
        for name in chance.choice(
            [("flops",), ("params",), ("latency_ms",), ("flops", "params"), ("flops", "latency_ms")]
        )
    }
    return table, scores, limits


def whole_where_counted(name, limit):
    return limit if name == "latency_ms" else int(limit)


def every_plan(scores):
    """All plans of scored options, with the score of each."""
    for choices in product(*((KEEP, *options) for options in scores.values())):
        plan = Plan(dict(zip(scores, choices, strict=True)))
        yield plan, sum(scores[block][option] for block, option in plan.items())


def as_good_as(score, scores):
    """To the precision of the solver, which is relative to the highest score of an option."""
    highest = max(max(options.values(), default=0) for options in scores.values())
    return pytest.approx(score, rel=1e-9, abs=1e-8 * highest)


def fits(table, plan, limits):
    return all(table.cost(plan).quantity(name) <= limit for name, limit in limits.items())


@pytest.mark.parametrize("first", range(0, 400, 40))
def test_the_best_plan_is_that_of_trying_all(first):
    for seed in range(first, first + 40):
        table, scores, limits = random_case(seed)
        found = Solver(table, scores).best(limits)
        within = [score for plan, score in every_plan(scores) if fits(table, plan, limits)]
        if not within:
            assert found is None
        else:
            assert fits(table, found.plan, limits)
            assert found.score == as_good_as(min(within), scores)
            assert found.cost == table.cost(found.plan)


def test_a_limit_that_is_met_exactly_is_met():
    for seed in range(60):
        table, scores, _ = random_case(seed)
        for plan, score in every_plan(scores):
            cost = table.cost(plan)
            limits = {name: cost.quantity(name) for name in ("flops", "params", "latency_ms")}
            found = Solver(table, scores).best(limits)
            assert fits(table, found.plan, limits)
            assert found.score <= score * (1 + 1e-9)
            break


def test_one_unit_below_the_least_there_is_no_plan():
    for seed in range(60):
        table, scores, _ = random_case(seed)
        solver = Solver(table, scores)
        for name in ("flops", "params"):
            least, whole = solver.reach(name)
            assert whole == table.teacher.quantity(name)
            assert least == min(table.cost(plan).quantity(name) for plan, _ in every_plan(scores))
            assert solver.best({name: least}) is not None
            assert solver.best({name: least - 1}) is None


def test_a_latency_that_was_not_measured_cannot_be_limited(solver):
    with pytest.raises(ValueError, match="not measured"):
        solver.best({"latency_ms": 1.0})


@pytest.fixture
def solver(table):
    """Every option saves the more the worse it scores; in `c` all score ten times as high."""
    scores = {
        block: {
            option: factor * score
            for option, score in zip(
                [option for option in table.changes[block] if option != KEEP],
                (0.02, 0.01, 0.05),
                strict=True,
            )
        }
        for block, factor in (("a", 1), ("b", 1), ("c", 10))
    }
    return Solver(table, scores)


@pytest.mark.parametrize("overlap", [0.0, 0.4, 0.7])
def test_an_unlike_plan_shares_no_more_than_the_overlap_with_each_other(solver, table, overlap):
    limits, found = {"flops": 800}, []
    while (best := solver.best(limits, unlike=found, overlap=overlap)) is not None:
        for plan in found:
            same = sum(plan.get(b, KEEP) == best.plan.get(b, KEEP) for b in table.changes)
            assert same <= overlap * len(table.changes)
        assert fits(table, best.plan, limits)
        found.append(best.plan)
    assert len(found) > 1


def test_unlike_plans_are_those_of_trying_all():
    for seed in range(100):
        table, scores, limits = random_case(seed)
        solver = Solver(table, scores)
        if (best := solver.best(limits)) is None:
            continue
        other = solver.best(limits, unlike=[best.plan], overlap=0.5)
        within = [
            score
            for plan, score in every_plan(scores)
            if fits(table, plan, limits)
            and sum(plan.get(b) == best.plan.get(b) for b in scores) <= 0.5 * len(scores)
        ]
        assert (other.score if other else None) == (
            as_good_as(min(within), scores) if within else None
        )


def test_the_prediction_of_any_plan_is_the_sum_of_its_parts():
    for seed in range(50):
        table, scores, _ = random_case(seed)
        solver = Solver(table, scores)
        for plan, score in every_plan(scores):
            assert solver.predict(plan) == pytest.approx(score)
    assert solver.predict(Plan({})) == 0


def test_there_is_no_prediction_where_an_option_has_no_score(table):
    ghost, shift = Option.of("ghost"), Option.of("shift")
    solver = Solver(table, {"a": {ghost: 0.1}, "b": {}, "c": {ghost: 0.2}})
    assert solver.predict(Plan({"a": ghost, "c": ghost})) == pytest.approx(0.3)
    assert solver.predict(Plan({"a": shift})) is None
    assert solver.predict(Plan({"b": ghost, "c": ghost})) is None


@pytest.mark.parametrize("along", ["flops", "params", "latency_ms"])
def test_the_predicted_front_is_within_the_limits_and_falls(along):
    for seed in range(60):
        table, scores, limits = random_case(seed)
        solver = Solver(table, scores)
        front = predicted_front(solver, limits, along=along, points=8)
        assert all(fits(table, each.plan, limits) for each in front)
        assert all(each.plan for each in front)
        costs = [each.cost.quantity(along) for each in front]
        assert costs == sorted(costs, reverse=True)
        predicted = [each.score for each in front]
        assert predicted == sorted(predicted)
        assert len({each.plan for each in front}) == len(front)


def test_the_first_of_the_front_uses_the_whole_budget_and_the_last_reaches_the_least(solver):
    front = predicted_front(solver, {"flops": 800}, points=16)
    assert front[0] == solver.best({"flops": 800})
    assert front[-1].cost.quantity("flops") == solver.reach("flops")[0]
    assert len(front) > 4


@pytest.mark.parametrize("seed", range(30))
def test_no_plan_of_no_higher_cost_is_better_than_one_of_the_front(seed):
    table, scores, limits = random_case(seed)
    along = next(iter(limits))
    plans = [(table.cost(plan).quantity(along), score) for plan, score in every_plan(scores)]
    limit = {along: limits[along]}
    for point in predicted_front(Solver(table, scores), limit, along=along):
        cost = point.cost.quantity(along)
        assert point.score == as_good_as(min(s for c, s in plans if c <= cost), scores)


@pytest.mark.parametrize("seed", range(30))
def test_supported_plans_are_the_best_at_every_exchange_rate(seed):
    table, scores, _ = random_case(seed)
    whole = {name: table.teacher.quantity(name) for name in ("flops", "params")}
    prices = {name: 1 / quantity for name, quantity in whole.items()}

    def price(cost):
        return sum(rate * cost.quantity(name) for name, rate in prices.items())

    every = [(price(table.cost(plan)), score) for plan, score in every_plan(scores)]
    found = [(price(each.cost), each.score) for each in Solver(table, scores).supported(prices)]
    assert [cost for cost, _ in found] == sorted((cost for cost, _ in found), reverse=True)
    for rate in (0.0, 1e-6, 1e-4, 1e-2, 0.1, 1.0, 100.0):
        best = min(score + rate * cost for cost, score in every)
        assert min(score + rate * cost for cost, score in found) == pytest.approx(best, abs=1e-12)


def test_where_nothing_is_within_the_limits_the_front_is_empty(solver):
    least, _ = solver.reach("flops")
    assert predicted_front(solver, {"flops": least - 1}) == []
    assert predicted_front(solver, {"flops": 400, "params": least - 1}) == []


def test_a_prediction_survives_json(solver, table):
    found = solver.best({"flops": 600, "params": 700})
    told = json.loads(json.dumps(found.to_json()))
    assert Plan.from_json(told["plan"]) == found.plan
    assert told["score"] == found.score
    assert Cost.from_json(told) == found.cost == table.cost(found.plan)
