"""A front of a server as a table or a chart. Both need a library that is loaded only then."""

from typing import TYPE_CHECKING, Any

from pareconv.service.figures import counted, percent, plan_in_short
from pareconv.service.views.front import ParetoView

if TYPE_CHECKING:
    import pandas
    from plotly.graph_objects import Figure


class Front(ParetoView):
    """A Pareto front as it was when it was read, cheapest point first."""

    def __str__(self) -> str:
        """A line for each point."""
        lines = (
            f"trial {point.trial}: {percent(point.accuracy)} at {percent(point.flops_ratio)} of "
            f"the FLOPs: {plan_in_short(point.plan)}"
            for point in self.points
        )
        return "\n".join([f"Job {self.job}: {counted(len(self.points), 'point')}", *lines])

    def to_pandas(self) -> "pandas.DataFrame":
        """A row for each point, with the trial's number as the index and the plan as a dict.

        Raises ImportError where pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError("to_pandas needs pandas; `pip install pandas`") from error
        columns = ("accuracy", "accuracy_stderr", "flops", "flops_ratio", "adds", "params",
                   "params_ratio", "latency_ms", "latency_ratio", "finalist", "finish_accuracy",
                   "test_accuracy", "plan")  # fmt: skip
        rows: list[dict[str, Any]] = [point.model_dump() for point in self.points]
        index = pandas.Index([row["trial"] for row in rows], name="trial")
        return pandas.DataFrame(rows, index=index, columns=columns)

    def plot(self) -> "Figure":
        """Accuracy over the front's cost: points, finalists, the teacher and the budget."""
        from pareconv.service.remote.front_figure import front_figure

        return front_figure(self)
