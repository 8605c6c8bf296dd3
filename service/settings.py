"""How the server is run, on top of where things are remembered. Knows nothing of the routes."""

from pydantic import Field

from pareconv.storage.settings import Settings


class ServiceSettings(Settings):
    """The settings of `pareconv serve`, from the environment (`PARECONV_...`)."""

    host: str = Field(default="127.0.0.1", description="address that the server listens on")
    port: int = Field(default=8000, ge=0, le=65535, description="port; 0 takes any free one")
    workers: int = Field(
        default=1, ge=0, le=256, description="worker processes; 0 only answers requests"
    )
    max_upload_bytes: int = Field(
        default=20_000_000_000, gt=0, description="largest model file or archive"
    )
    max_body_bytes: int = Field(
        default=1_000_000, gt=0, description="largest request body that is not an upload"
    )
    max_upload_seconds: int = Field(
        default=3600, gt=0, description="longest that the body of one request may take to come"
    )
    max_uploads_per_token: int | None = Field(
        default=None, ge=1, description="teachers and data sets of one token; null is any number"
    )
    max_requests_per_minute: int | None = Field(
        default=None, ge=1, description="of one token, or of one address; null is any number"
    )
    dashboard_writable: bool = Field(
        default=False,
        description="whether the Optuna dashboard may rename, annotate and delete studies",
    )
