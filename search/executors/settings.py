"""Which executor a worker uses, from the environment (`PARECONV_...`)."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ExecutorSettings(BaseSettings):
    """Where the tasks of a job run, and how many at a time."""

    model_config = SettingsConfigDict(env_prefix="PARECONV_", frozen=True, extra="ignore")

    executor: Literal["local", "ray"] = Field(
        default="local", description="`local`: processes of this machine; `ray`: a Ray cluster"
    )
    slots: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = Field(
        default="auto",
        description="tasks of one job at a time; `auto` is one for each GPU, or one on the CPU; "
        "with Ray as many as its cluster has room for",
    )
    ray_address: str = Field(
        default="auto",
        description="`auto` is the cluster that this machine is part of; or `host:port`",
    )
    ray_gpus: Literal["auto"] | Annotated[float, Field(ge=0)] = Field(
        default="auto",
        description="GPUs of a task, which may be a fraction; `auto` is 1 where the cluster has "
        "any, and none for jobs on the CPU",
    )
    ray_cpus: float = Field(default=1.0, ge=0, description="processors of a task")

    @property
    def count(self) -> int | None:
        """The slots asked for; None for `auto`."""
        return None if self.slots == "auto" else self.slots
