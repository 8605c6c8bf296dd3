"""The tables. Rows never leave this package: what leaves it are frozen values."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, declared_attr, mapped_column

from pareconv.storage.candidate_states import CandidateState
from pareconv.storage.columns import ID, JSON_VALUE, NAME, SEQUENCE, SHA256, UtcDateTime, word
from pareconv.storage.ids import new_id
from pareconv.storage.job_states import JobStatus, Stage
from pareconv.storage.scopes import Scope

Json = dict[str, Any]
JsonList = list[Json]


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it so
        datetime: UtcDateTime(),
        Json: JSON_VALUE,
        JsonList: JSON_VALUE,
        dict[str, str]: JSON_VALUE,
        str: Text(),
        float: Double(),
        JobStatus: word(JobStatus),
        Stage: word(Stage),
        CandidateState: word(CandidateState),
        Scope: word(Scope),
    }


class Leased:
    """What a row has that is in the hands of one worker at a time."""

    lease_owner: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]


class Owned:
    """What a row has that somebody made: the token whose it is, empty where none was asked for."""

    token_id: Mapped[str] = mapped_column(ID, default="")


class TokenRow(Base):
    __tablename__ = "tokens"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    owner_id: Mapped[str] = mapped_column(ID)
    name: Mapped[str | None]
    scope: Mapped[Scope]
    sha256: Mapped[str] = mapped_column(SHA256, unique=True)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class LibraryRow(Leased, Base):
    __tablename__ = "libraries"

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    key: Mapped[str] = mapped_column(SHA256, unique=True)
    architecture: Mapped[str]
    teacher: Mapped[str] = mapped_column(SHA256)
    data: Mapped[str] = mapped_column(SHA256)
    recipe: Mapped[Json]
    teacher_cost: Mapped[Json]
    front: Mapped[JsonList | None]
    compute: Mapped[float] = mapped_column(default=0.0)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class LibraryEntryRow(Base):
    __tablename__ = "library_entries"

    library_id: Mapped[str] = mapped_column(
        ID, ForeignKey("libraries.id", ondelete="CASCADE"), primary_key=True
    )
    block: Mapped[str] = mapped_column(NAME, primary_key=True)
    option: Mapped[str] = mapped_column(NAME, primary_key=True)
    version: Mapped[int]
    rungs: Mapped[int]
    settled: Mapped[bool]
    images: Mapped[int] = mapped_column(BigInteger)
    loss: Mapped[float]
    score: Mapped[float | None]
    score_stderr: Mapped[float | None]
    score_images: Mapped[int | None]
    flops: Mapped[int] = mapped_column(BigInteger)
    params: Mapped[int] = mapped_column(BigInteger)
    adds: Mapped[int] = mapped_column(BigInteger)
    weights: Mapped[str] = mapped_column(SHA256)
    updated_at: Mapped[datetime]


class ReplacedWeightsRow(Base):
    """Weights that an entry had before: a running job that draws on the library may use them."""

    __tablename__ = "replaced_weights"

    library_id: Mapped[str] = mapped_column(
        ID, ForeignKey("libraries.id", ondelete="CASCADE"), primary_key=True
    )
    sha256: Mapped[str] = mapped_column(SHA256, primary_key=True)


class LatencyTableRow(Owned, Base):
    __tablename__ = "latency_tables"
    __table_args__ = (UniqueConstraint("key", "token_id"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    key: Mapped[str] = mapped_column(SHA256)
    device: Mapped[str]
    runtime: Mapped[str]
    batch: Mapped[int]
    threads: Mapped[int]
    versions: Mapped[Json]
    created_at: Mapped[datetime]


class LatencyRow(Base):
    __tablename__ = "latencies"

    table_id: Mapped[str] = mapped_column(
        ID, ForeignKey("latency_tables.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(SHA256, primary_key=True)
    option: Mapped[str]
    shape: Mapped[str]
    ms: Mapped[float]
    kept_ms: Mapped[float]
    spread_ms: Mapped[float]


class JobRow(Owned, Leased, Base):
    __tablename__ = "jobs"
    __table_args__ = (
        Index(None, "status", "id"),
        Index(None, "status", "priority", "id"),
        Index(None, "library_id"),
        Index(None, "token_id", "id"),
        UniqueConstraint("idempotency_key", "token_id"),
    )

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    name: Mapped[str | None]
    status: Mapped[JobStatus]
    stage: Mapped[Stage | None]
    progress: Mapped[float]
    stage_eta: Mapped[datetime | None]
    eta: Mapped[datetime | None]
    spec: Mapped[Json]
    resolved: Mapped[Json | None]
    profile: Mapped[Json | None]
    error: Mapped[Json | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    updated_at: Mapped[datetime]
    library_id: Mapped[str | None] = mapped_column(
        ID, ForeignKey("libraries.id", ondelete="SET NULL")
    )
    claims: Mapped[int]
    candidates_version: Mapped[int]
    extension: Mapped[Json | None]
    priority: Mapped[int] = mapped_column(default=0)
    queued_at: Mapped[datetime]
    renewed_at: Mapped[datetime | None]
    worked_s: Mapped[float] = mapped_column(default=0.0)
    idempotency_key: Mapped[str | None]
    request_hash: Mapped[str | None]


def _of_job(*, primary_key: bool = False) -> Mapped[str]:
    return mapped_column(ID, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=primary_key)


class JobTimeRow(Base):
    __tablename__ = "job_times"

    job_id: Mapped[str] = _of_job(primary_key=True)
    phase: Mapped[str] = mapped_column(String(16), primary_key=True)
    seconds: Mapped[float]
    times: Mapped[int]


class WorkerRow(Base):
    __tablename__ = "workers"

    owner: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str]
    gpus: Mapped[JsonList]
    seen_at: Mapped[datetime]


class EventRow(Base):
    __tablename__ = "job_events"
    # A number is never used twice, so that "after 41" keeps its meaning when a job is deleted.
    __table_args__ = (Index(None, "job_id", "seq"), {"sqlite_autoincrement": True})

    seq: Mapped[int] = mapped_column(SEQUENCE, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = _of_job()
    level: Mapped[str] = mapped_column(String(16))
    type: Mapped[str]
    message: Mapped[str]
    data: Mapped[Json]
    created_at: Mapped[datetime]


class CandidateRow(Base):
    __tablename__ = "candidates"
    __table_args__ = (
        Index(None, "job_id", "state"),
        Index(None, "job_id", "finalist"),
        Index(None, "finished_at", "state"),
    )

    job_id: Mapped[str] = _of_job(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    state: Mapped[CandidateState]
    plan: Mapped[dict[str, str]]
    flops: Mapped[int] = mapped_column(BigInteger)
    adds: Mapped[int] = mapped_column(BigInteger)
    params: Mapped[int] = mapped_column(BigInteger)
    latency_ms: Mapped[float | None]
    accuracy: Mapped[float | None]
    accuracy_stderr: Mapped[float | None]
    loss: Mapped[float | None]
    seconds: Mapped[float | None]
    images: Mapped[int | None] = mapped_column(BigInteger)
    compute: Mapped[float | None]
    predicted: Mapped[float | None]
    rungs: Mapped[JsonList] = mapped_column(default=list)
    evaluations: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str | None]
    retry_of: Mapped[int | None]
    checkpoint: Mapped[str | None] = mapped_column(SHA256)
    finalist: Mapped[bool]
    finish_accuracy: Mapped[float | None]
    test_accuracy: Mapped[float | None]
    finish_compute: Mapped[float | None]
    latencies: Mapped[JsonList] = mapped_column(default=list)
    wanted: Mapped[Json | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class ArtifactRow(Base):
    __tablename__ = "artifacts"
    __table_args__ = (
        ForeignKeyConstraint(
            ["job_id", "number"], ["candidates.job_id", "candidates.number"], ondelete="CASCADE"
        ),
    )

    job_id: Mapped[str] = mapped_column(ID, primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    format: Mapped[str] = mapped_column(String(32), primary_key=True)
    sha256: Mapped[str] = mapped_column(SHA256)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    filename: Mapped[str]
    details: Mapped[Json | None]
    created_at: Mapped[datetime]


class UploadRow(Owned, Base):
    """What teachers and data sets have in common: a file that somebody sent, and what is in it.

    The same file that two sent is there once, but a row of each.
    """

    __abstract__ = True

    @declared_attr.directive
    def __table_args__(cls) -> tuple[UniqueConstraint]:
        return (UniqueConstraint("sha256", "token_id"),)

    id: Mapped[str] = mapped_column(ID, primary_key=True, default=new_id)
    name: Mapped[str]
    filename: Mapped[str]
    sha256: Mapped[str] = mapped_column(SHA256)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    summary: Mapped[Json]
    created_at: Mapped[datetime]


class TeacherRow(UploadRow):
    __tablename__ = "teachers"


class DatasetRow(UploadRow):
    __tablename__ = "datasets"
