"""A section of the job spec, as all of them are."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the spec: frozen, and an unknown field is an error rather than a silent no-op."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
