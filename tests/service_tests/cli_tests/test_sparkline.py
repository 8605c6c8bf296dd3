"""A front in one line."""

from pareconv.service.cli.sparkline import front_line, sparkline
from pareconv.service.views.front import ParetoView

EXAMPLE = ParetoView.model_config["json_schema_extra"]["example"]


def test_each_column_is_as_high_as_the_best_up_to_its_cost():
    assert sparkline([(0.25, 0.8), (0.5, 0.9), (1.0, 0.94)], width=8) == "·▁▁▆▆▆▆█"


def test_points_of_one_accuracy_are_all_as_high():
    assert sparkline([(0.5, 0.9)], width=4) == "·███"


def test_what_costs_more_than_the_teacher_is_in_the_last_column():
    assert sparkline([(0.5, 0.9), (1.5, 0.95)], width=4) == "·▁▁█"


def test_the_ends_are_told_in_words():
    front = ParetoView(**EXAMPLE)
    dearer = front.points[0].model_copy(update={"accuracy": 0.94, "flops_ratio": 0.8})

    assert front_line(front).endswith("█ 92.9% at 50%")
    both = front.model_copy(update={"points": [*front.points, dearer]})
    assert front_line(both).endswith(" 92.9% at 50% to 94.0% at 80%")


def test_a_front_is_over_the_cost_that_it_is_drawn_over():
    front = ParetoView(**EXAMPLE | {"objectives": ["accuracy", "params"]})

    assert front_line(front).endswith("at 56%")


def test_there_is_no_line_without_a_point():
    assert front_line(ParetoView(**EXAMPLE | {"points": []})) == ""
    assert front_line(ParetoView(**EXAMPLE | {"objectives": ["accuracy", "latency"]})) == ""
