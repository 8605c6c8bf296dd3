"""Where things are remembered, from the environment (`PARECONV_...`). Knows nothing of serving."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pareconv.storage.logs import LogFormat, LogLevel


class Settings(BaseSettings):
    """Places of the database, the files and the paths that a job spec may name."""

    model_config = SettingsConfigDict(
        env_prefix="PARECONV_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    home: Path = Field(
        default=Path("~/.pareconv"),
        validate_default=True,
        description="folder of the SQLite file and the artifacts",
    )
    database_url: str | None = Field(
        default=None,
        repr=False,
        description="`sqlite:///<path>` or `postgresql://...`; null is a file under home",
    )
    artifacts_url: str | None = Field(
        default=None,
        description="a folder, or any fsspec URL such as `s3://bucket/prefix`; "
        "null is a folder under home",
    )
    quota_bytes: int | None = Field(
        default=None,
        gt=0,
        description="how many bytes the stored files may take together; null is as many as fit",
    )
    allowed_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="folders on the server whose files a job spec may name, colon-separated",
    )

    trust_programs: bool = Field(
        default=False,
        description="whether teachers may come as .pt2 files, loading which can run code in them",
    )
    max_running_jobs_per_token: int | None = Field(
        default=None, ge=1, description="jobs of one token that run at a time; null is any number"
    )

    log_format: LogFormat = Field(
        default="text", description="`text` for people, `json` for programs: one object per line"
    )
    log_level: LogLevel = Field(
        default="info", description="the least that is logged: debug, info, warning or error"
    )

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'pareconv.db'}"

    @property
    def artifacts(self) -> str:
        return self.artifacts_url or str(self.home / "artifacts")

    def environment(self) -> dict[str, str]:
        """The variables with which another process remembers things in the same places, trusts
        what this one does, and logs as it does.
        """
        variables = {
            "PARECONV_HOME": str(self.home),
            "PARECONV_DATABASE_URL": self.database,
            "PARECONV_ARTIFACTS_URL": self.artifacts,
            "PARECONV_QUOTA_BYTES": "" if self.quota_bytes is None else str(self.quota_bytes),
            "PARECONV_TRUST_PROGRAMS": str(int(self.trust_programs)),
            "PARECONV_ALLOWED_ROOTS": os.pathsep.join(map(str, self.allowed_roots)),
            "PARECONV_LOG_FORMAT": self.log_format,
            "PARECONV_LOG_LEVEL": self.log_level,
        }
        if self.max_running_jobs_per_token is not None:
            variables["PARECONV_MAX_RUNNING_JOBS_PER_TOKEN"] = str(self.max_running_jobs_per_token)
        return variables

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """While entered, these are the settings of this process; its environment comes back."""
        variables = self.environment()
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("allowed_roots", mode="before")
    @classmethod
    def _split(cls, roots: object) -> object:
        return tuple(filter(None, roots.split(os.pathsep))) if isinstance(roots, str) else roots

    @field_validator("allowed_roots")
    @classmethod
    def _resolved(cls, roots: tuple[Path, ...]) -> tuple[Path, ...]:
        # A path is compared after resolving its links, so the roots must be without links too.
        return tuple(root.expanduser().resolve() for root in roots)
