"""A submission: a job spec as it came, with the files that came along. Stores nothing."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request, UploadFile
from starlette.datastructures import FormData
from starlette.datastructures import UploadFile as Part

from pareconv.search.errors import InvalidSpec
from pareconv.search.spec import JobSpec
from pareconv.service.dependencies import InjectedSettings, require
from pareconv.service.intake import SentFile
from pareconv.storage.uploads import Kind

_PARTS: dict[str, Kind] = {"model": "teacher", "data": "dataset"}
_PLACES: dict[Kind, tuple[str, str]] = {
    "teacher": ("teacher", "weights"),
    "dataset": ("dataset", "source"),
}
SPEC_EXAMPLE: dict[str, Any] = {
    "name": "digits at half the FLOPs",
    "teacher": {"architecture": "cifar_resnet8"},
    "dataset": {"source": "digits"},
    "budget": {"flops": "50%"},
}
_SPEC = {"$ref": "#/components/schemas/JobSpec"}
_FILE = {"type": "string", "contentMediaType": "application/octet-stream"}
BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": _SPEC, "example": SPEC_EXAMPLE},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["spec"],
                "properties": {
                    "spec": _SPEC,
                    "model": _FILE
                    | {
                        "description": "weights, which become `teacher.weights`; or, where the "
                        "spec has no `teacher.architecture`, the network as ONNX, which becomes it"
                    },
                    "data": _FILE
                    | {"description": "zip or tar of images, or .npz; becomes `dataset.source`"},
                },
            },
            "encoding": {"spec": {"contentType": "application/json"}},
        },
    },
}
# A NUL character, in JSON that has been written anew: no database text may hold one.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True, slots=True)
class Submission:
    """The body of `POST /jobs` or `/inspect`. `body` is any JSON value, not validated yet."""

    body: Any
    files: Mapping[Kind, SentFile] = field(default_factory=dict)

    def spec(self, uploads: Mapping[Kind, str]) -> JobSpec:
        """The spec, its files named by these upload ids.

        Raises pydantic's ValidationError, and InvalidSpec when the spec names a file that also
        came along.
        """
        body = deepcopy(self.body)
        for kind, id in uploads.items():
            _name(body, kind, f"{kind}:{id}", self.files[kind].field)
        return JobSpec.model_validate(body)


async def _read(request: Request, settings: InjectedSettings) -> AsyncIterator[Submission]:
    """Raises HTTPException 400 or 415, and InvalidSpec for parts that are missing or unknown."""
    if require(request, "application/json", "multipart/form-data") == "application/json":
        yield Submission(_parsed(await request.body()))
        return
    limit = settings.max_body_bytes
    async with request.form(max_files=3, max_fields=3, max_part_size=limit) as form:
        _refuse_unknown(form)
        text = await _spec_text(form.get("spec"), limit)
        files = {kind: _sent(form[part], part) for part, kind in _PARTS.items() if part in form}
        yield Submission(_parsed(text), files)


InjectedSubmission = Annotated[Submission, Depends(_read)]


def _parsed(text: bytes) -> Any:
    try:
        body = json.loads(text)
        _refuse_unstorable(json.dumps(body, ensure_ascii=False))
    except RecursionError as error:
        raise HTTPException(400, "the body is not usable JSON: nested too deeply") from error
    except ValueError as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from error
    return body


def _refuse_unstorable(text: str) -> None:
    text.encode()  # half a surrogate pair is no text: UnicodeEncodeError, a ValueError
    if _NUL.search(text):
        raise ValueError("a text in it holds a NUL character")


def _refuse_unknown(form: FormData) -> None:
    for name in form:
        if name != "spec" and name not in _PARTS:
            raise InvalidSpec(
                name, "is no part of a job; send `spec`, and as files `model` and `data`"
            )


async def _spec_text(part: UploadFile | Part | str | None, limit: int) -> bytes:
    if part is None:
        raise InvalidSpec(
            "spec", 'is required: the JSON of the spec, as in -F spec=\'{"teacher": ...'
        )
    if isinstance(part, str):
        return part.encode("utf-8", "surrogatepass")
    if (part.size or 0) > limit:
        raise HTTPException(413, f"the part `spec` is larger than the limit of {limit:,} bytes")
    return await part.read()


def _sent(part: UploadFile | Part | str, name: str) -> SentFile:
    if isinstance(part, str):
        raise InvalidSpec(name, f"is not a file; send it as one, as in -F {name}=@path")
    return SentFile(field=name, filename=part.filename or name, stream=part.file)


def _name(body: Any, kind: Kind, reference: str, part: str) -> None:
    section, key = _PLACES[kind]
    inside = body.setdefault(section, {}) if isinstance(body, dict) else None
    if not isinstance(inside, dict):
        return  # validation says what is wrong with it
    if kind == "teacher" and inside.get("architecture") is None:
        key = "architecture"  # the network itself comes along
    if inside.get(key) is not None:
        raise InvalidSpec(
            f"{section}.{key}",
            f"is {inside[key]!r}, and the file came along as the part `{part}` too; leave one out",
        )
    inside[key] = reference
