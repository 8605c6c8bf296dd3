"""The budget of a job: what a student may cost, absolutely or as a share of its teacher's."""

import re
from typing import Any, Literal, Self

from pydantic import Field, StrictInt, field_validator, model_validator

from pareconv.search.section import Section

_PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")
_REFERENCE_TO_TABLE = re.compile(r"latency:[\w-]+")
_LIMIT_FORMS = "give a whole number, or a share of the teacher's cost such as '50%'"
_MS_FORMS = "give milliseconds, or a share of the teacher's such as '60%'"


class Latency(Section):
    """How long a student may take, and where that counts. It is reckoned with the sum over its
    parts, which are timed once and kept; finalists are timed whole.
    """

    ms: float | str | None = Field(
        None,
        description="milliseconds for one batch, or a share of the teacher's; null limits nothing, "
        "so that `latency` is an objective alone",
        examples=["60%"],
    )
    runtime: Literal["onnxruntime", "torch"] = Field(
        "onnxruntime",
        description="`onnxruntime` on the worker's CPU, or `torch` on the job's device",
    )
    batch: int = Field(1, ge=1, le=4096, description="images at once")
    threads: int = Field(1, ge=1, le=256, description="of the CPU")
    table: str | None = Field(
        None,
        description="`latency:<id>` of a table that was measured elsewhere and uploaded; null "
        "times the parts where the job runs",
    )

    @field_validator("ms")
    @classmethod
    def _ms(cls, ms: float | str | None) -> float | str | None:
        if ms is not None:
            milliseconds_of(ms, whole=1.0)
        return ms

    @field_validator("table")
    @classmethod
    def _table(cls, table: str | None) -> str | None:
        if table is not None and not _REFERENCE_TO_TABLE.fullmatch(table):
            raise ValueError(
                f"{table!r} is no latency:<id>; upload a table with POST /latencies and use the id "
                "it answers"
            )
        return table


class Budget(Section):
    """What a student may cost: a number is absolute, `"50%"` is of the teacher's; and how much
    accuracy it may lose. At least one.
    """

    flops: StrictInt | str | None = Field(
        None,
        description="multiply-adds for one image, as fvcore counts them",
        examples=["50%"],
    )
    params: StrictInt | str | None = Field(None, description="parameters", examples=[200_000])
    latency: Latency | None = Field(
        None, description="time on a device", examples=[{"ms": "60%", "runtime": "onnxruntime"}]
    )
    accuracy_drop: float | None = Field(
        None,
        ge=0,
        lt=100,
        description="percent points of accuracy on validation: of the students that lose at most "
        "so many against the teacher the one of the least cost (`search.objectives`) is wanted",
        examples=[1.0],
    )

    @field_validator("flops", "params", mode="before")
    @classmethod
    def _no_fraction(cls, limit: Any) -> Any:
        if isinstance(limit, float):
            raise ValueError(f"{limit} is no limit; {_LIMIT_FORMS}")
        return limit

    @field_validator("flops", "params")
    @classmethod
    def _limit(cls, limit: int | str | None) -> int | str | None:
        if limit is not None:
            limit_of(limit, whole=100)
        return limit

    @model_validator(mode="after")
    def _some(self) -> Self:
        asked = (self.flops, self.params, self.latency, self.accuracy_drop)
        if all(limit is None for limit in asked):
            raise ValueError(
                'give at least one of flops, params, latency, accuracy_drop, as in {"flops": "50%"}'
            )
        return self


def limit_of(limit: int | str, whole: int) -> int:
    """The absolute limit: `limit` itself or its share of `whole`; ValueError if it is neither."""
    if isinstance(limit, int):
        if limit <= 0:
            raise ValueError(f"{limit} is not above 0; {_LIMIT_FORMS}")
        return limit
    return int(whole * _share(limit, _LIMIT_FORMS))


def milliseconds_of(limit: float | str, whole: float) -> float:
    """The same of a latency, in milliseconds."""
    if isinstance(limit, str):
        return whole * _share(limit, _MS_FORMS)
    if limit <= 0:
        raise ValueError(f"{limit} is not above 0; {_MS_FORMS}")
    return limit


def _share(limit: str, forms: str) -> float:
    match = _PERCENT.fullmatch(limit)
    if match is None:
        raise ValueError(f"{limit!r} is no limit; {forms}")
    percent = float(match[1])
    if not 0 < percent <= 100:
        raise ValueError(f"{limit} is not above 0% and at most 100%; {forms}")
    return percent / 100
