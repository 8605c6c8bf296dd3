from itertools import combinations

import pytest

from pareconv.models.cost_table import Cost, CostTable
from pareconv.models.plan import KEEP, Option, Plan
from pareconv.search.proposals import Problem
from pareconv.search.seeding import solver_plans, spread_plans
from pareconv.search.solver import Solver

OPTIONS = {
    Option.of("svd", ratio=0.5): (Cost(-40, -30), 0.001),
    Option.of("svd", ratio=0.25): (Cost(-60, -50), 0.01),
    Option.of("ghost"): (Cost(-50, -20), 0.004),
    Option.of("shift"): (Cost(-80, -70), 0.1),
}
BLOCKS = [f"layer{number}" for number in range(10)]
TABLE = CostTable(
    Cost(1000, 900),
    {block: {KEEP: Cost()} | {o: cost for o, (cost, _) in OPTIONS.items()} for block in BLOCKS},
)
# Later blocks matter less.
SOLVER = Solver(
    TABLE,
    {
        block: {option: score / (1 + place) for option, (_, score) in OPTIONS.items()}
        for place, block in enumerate(BLOCKS)
    },
)


def problem(**changes):
    values = {
        "table": TABLE,
        "limits": {"flops": 600},
        "objective": "flops",
        "sampler": "tpe",
        "trials": 20,
        "seed": 0,
    }
    return Problem(**(values | changes))


def flops(plan):
    return TABLE.cost(plan).quantity("flops")


@pytest.mark.parametrize(
    "limits",
    [{"flops": 1000}, {"flops": 600}, {"params": 500}, {"flops": 700, "params": 450},
     {"flops": 200}, {"flops": 250, "params": 250}],
)  # fmt: skip
@pytest.mark.parametrize("trials", [1, 2, 3, 8, 40])
def test_they_are_distinct_and_within_the_budget_and_leave_half_of_a_long_search(limits, trials):
    asked = problem(limits=limits, trials=trials)
    plans = solver_plans(asked, SOLVER)
    assert 1 <= len(plans) <= (trials if trials < 16 else trials // 2)
    assert len(set(plans)) == len(plans)
    assert all(plan and asked.fits(plan) for plan in plans)


def test_a_single_trial_is_the_best_plan():
    best = SOLVER.best({"flops": 600}).plan
    assert solver_plans(problem(trials=1), SOLVER) == [best]


@pytest.mark.parametrize("limits", [{"flops": 600}, {"flops": 700, "params": 450}])
def test_the_first_is_the_best_of_the_whole_budget(limits):
    first, *_ = solver_plans(problem(limits=limits), SOLVER)
    assert SOLVER.predict(first) == pytest.approx(SOLVER.best(limits).score)


@pytest.mark.parametrize("trials", [12, 24, 60])
def test_the_spread_reaches_down_to_the_last_step_before_the_least(trials):
    costs = [flops(plan) for plan in solver_plans(problem(trials=trials), SOLVER)]
    least, _ = SOLVER.reach("flops")
    assert least < min(costs) < least + 0.5 * (600 - least)
    assert len([cost for cost in costs if cost < 0.9 * 600]) >= 3


def test_the_spread_follows_the_objective():
    plans = solver_plans(problem(objective="params", limits={"params": 500}), SOLVER)
    least, _ = SOLVER.reach("params")
    assert min(TABLE.cost(plan).params for plan in plans) < least + 0.5 * (500 - least)


def test_some_use_the_whole_budget_and_differ_in_much():
    """Plans of the whole budget that agree in at most 80 % of their blocks."""
    plans = solver_plans(problem(trials=24), SOLVER)
    dear = [plan for plan in plans if flops(plan) > 0.95 * 600]
    assert len(dear) >= 4
    for one, other in combinations(dear, 2):
        assert sum(one.get(block, KEEP) == other.get(block, KEEP) for block in BLOCKS) <= 8


def test_where_nothing_is_within_the_budget_there_are_none():
    assert solver_plans(problem(limits={"flops": 199}), SOLVER) == []
    assert solver_plans(problem(limits={"flops": 500, "params": 100}), SOLVER) == []


def test_in_a_tiny_space_all_that_fits_is_enough():
    ghost = Option.of("ghost")
    table = CostTable(Cost(100, 100), {"a": {KEEP: Cost(), ghost: Cost(-50, -50)}})
    asked = problem(table=table, limits={"flops": 60}, trials=20)
    assert solver_plans(asked, Solver(table, {"a": {ghost: 0.1}})) == [Plan({"a": ghost})]


@pytest.mark.parametrize("limits", [{}, {"params": 500}])
@pytest.mark.parametrize("trials", [1, 2, 12, 40])
def test_where_accuracy_is_limited_they_are_spread_from_the_middle_on(limits, trials):
    asked = problem(limits=limits, trials=trials)
    plans = spread_plans(asked, SOLVER)
    assert 1 <= len(plans) <= trials
    assert len(set(plans)) == len(plans)
    assert all(plan and asked.fits(plan) for plan in plans)
    costs = [flops(plan) for plan in plans]
    assert abs(sum(cost < costs[0] for cost in costs) - len(costs) / 2) <= 1
    if trials == 40:
        assert [sum(cost < costs[0] for cost in costs[:n]) for n in (3, 7)] == [1, 3]
        assert min(costs) < 400  # of 200 that can be reached
        assert limits or max(costs) > 900
