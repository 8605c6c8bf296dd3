"""The command that times a bundle on this machine, and brings the table to a server."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from pareconv.service.cli.connection import SAME_AS_GLOBAL, AsJson, Server, connect, write_json
from pareconv.service.cli.failures import BadInput

BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="What `pareconv bundle` saved.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="Where to save the table.")]
Upload = Annotated[bool, typer.Option("--upload", help="Bring it to the server as well.")]
Device = Annotated[
    str | None, typer.Option("--device-name", help="What to call this device; its processor.")
]


def measure(
    bundle: BundlePath,
    *,
    output: Output = Path("latencies.json"),
    device_name: Device = None,
    upload: Upload = False,
    server: Server = SAME_AS_GLOBAL,
    as_json: AsJson = False,
) -> None:
    """Time the parts of a network on this machine, for a job elsewhere.

    Example: pareconv measure bundle.zip --upload --server http://compression:8000
    """
    table = _measured(bundle, device_name)
    output.write_text(json.dumps(table, indent=1) + "\n")
    if not as_json:
        typer.echo(f"{output}: {len(table['entries'])} parts on {table['device']}")
    reference = None
    if upload:
        with connect(server) as client:
            reference = client.latencies.add(table).reference
    if as_json:
        write_json({"path": output, "reference": reference})
    elif reference:
        typer.echo(f"{reference} is the table for `budget.latency.table`")


def _measured(path: Path, device_name: str | None) -> dict[str, Any]:
    from rich.progress import track

    from pareconv.models.bundle import Bundle, BundleError

    try:
        with Bundle(path) as opened:
            subject = opened.subject | ({"device": device_name} if device_name else {})
            parts = track(opened.measure(), "Timing", total=len(opened), transient=True)
            return subject | {"entries": [asdict(each) for each in parts]}
    except BundleError as error:
        raise BadInput(str(error)) from error
