"""Latency tables as the API takes and shows them. Reads no store."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from pareconv.storage.latencies import Latency, LatencySubject, LatencyTable

_SHA256 = Field(pattern=r"^[0-9a-f]{64}$")
_SUBJECT: dict[str, Any] = {
    "device": "Cortex-A72",
    "runtime": "onnxruntime",
    "batch": 1,
    "threads": 4,
    "versions": {"onnxruntime": "1.31.1"},
}
_ENTRY: dict[str, Any] = {
    "key": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "option": "svd(ratio=0.5)",
    "shape": "1x64x16x16",
    "ms": 0.41,
    "kept_ms": 0.63,
    "spread_ms": 0.02,
}


class LatencyEntry(BaseModel):
    """How long a part takes and, in the same turns, the part as the teacher has it."""

    model_config = ConfigDict(from_attributes=True, extra="forbid", allow_inf_nan=False)

    key: Annotated[str, _SHA256] = Field(description="of its layers, its option and its shape")
    option: str = Field(max_length=200)
    shape: str = Field(max_length=200, description="of what goes in")
    ms: float = Field(ge=0, description="median")
    kept_ms: float = Field(ge=0)
    spread_ms: float = Field(ge=0, description="half the distance between the quartiles")


NEW_TABLE_EXAMPLE: dict[str, Any] = _SUBJECT | {"entries": [_ENTRY]}


class NewLatencyTable(BaseModel):
    """What `pareconv measure` brings from a device."""

    model_config = ConfigDict(extra="forbid")

    device: str = Field(min_length=1, max_length=200)
    runtime: Literal["onnxruntime", "torch"]
    batch: int = Field(ge=1, le=4096, description="images at once")
    threads: int = Field(ge=1, le=256, description="of the CPU")
    versions: dict[str, str] = Field(max_length=20, description="of the libraries that ran it")
    entries: list[LatencyEntry] = Field(min_length=1, max_length=100_000)

    @property
    def subject(self) -> "LatencySubject":
        return {
            "device": self.device,
            "runtime": self.runtime,
            "batch": self.batch,
            "threads": self.threads,
            "versions": self.versions,
        }


class LatencyTableView(BaseModel):
    """Latencies of one device under the same conditions. Jobs share it and add to it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "1m3qk7t2c5x8v0b4n6d9f1h3ja",
                "reference": "latency:1m3qk7t2c5x8v0b4n6d9f1h3ja",
                **_SUBJECT,
                "size": 180,
                "created_at": "2026-11-20T19:10:31Z",
            }
        }
    )

    id: str
    reference: str = Field(description="what `budget.latency.table` calls it")
    device: str
    runtime: str
    batch: int
    threads: int
    versions: dict[str, str]
    size: int = Field(description="number of latencies in it")
    created_at: AwareDatetime

    @classmethod
    def of(cls, table: "LatencyTable") -> Self:
        return cls(
            id=table.id,
            reference=f"latency:{table.id}",
            device=table.device,
            runtime=table.runtime,
            batch=table.batch,
            threads=table.threads,
            versions=table.versions,
            size=table.size,
            created_at=table.created_at,
        )


class LatencyTableWithEntries(LatencyTableView):
    """A table with everything in it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "1m3qk7t2c5x8v0b4n6d9f1h3ja",
                "reference": "latency:1m3qk7t2c5x8v0b4n6d9f1h3ja",
                **_SUBJECT,
                "size": 1,
                "created_at": "2026-11-20T19:10:31Z",
                "entries": [_ENTRY],
            }
        }
    )

    entries: list[LatencyEntry]

    @classmethod
    def with_entries(cls, table: "LatencyTable", latencies: list["Latency"]) -> Self:
        entries = [LatencyEntry.model_validate(each) for each in latencies]
        return cls(**LatencyTableView.of(table).model_dump(), entries=entries)
