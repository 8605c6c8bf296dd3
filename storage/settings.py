"""Where things are remembered, from the environment (`PARECONV_...`). Knows nothing of serving."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class Settings(BaseSettings):
    """Places of the database, the files and the paths that a job spec may name."""

    model_config = SettingsConfigDict(env_prefix="PARECONV_", frozen=True, extra="ignore")

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
    allowed_roots: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="folders on the server whose files a job spec may name, colon-separated",
    )

    trust_programs: bool = Field(
        default=False,
        description="whether teachers may come as .pt2 files, loading which can run code in them",
    )

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'pareconv.db'}"

    @property
    def artifacts(self) -> str:
        return self.artifacts_url or str(self.home / "artifacts")

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
