"""A submission as a request carries it: the spec alone as JSON, or with files as multipart."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pareconv.service.remote.spec import Spec, json_of


@contextmanager
def body(spec: Spec, model: str | Path | None, data: str | Path | None) -> Iterator[dict[str, Any]]:
    """What httpx takes for it, while the files are open."""
    asked = json_of(spec)
    files = {name: Path(file) for name, file in (("model", model), ("data", data)) if file}
    if not files:
        yield {"json": asked}
        return
    parts: dict[str, Any] = {"spec": (None, json.dumps(asked), "application/json")}
    with ExitStack() as opened:
        for name, path in files.items():
            parts[name] = (path.name, opened.enter_context(path.open("rb")))
        yield {"files": parts}
