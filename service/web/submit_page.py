"""The form that submits a job, and what it asks for while it is filled in."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Query, Request, Response, UploadFile
from pydantic import ValidationError
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse

from pareconv.search.spec import JobSpec
from pareconv.service.admission import Admission
from pareconv.service.dependencies import (
    InjectedIntake,
    InjectedSettings,
    InjectedStores,
    InjectedTasks,
)
from pareconv.service.errors import TABLE
from pareconv.service.intake import SentFile
from pareconv.service.problems import Problem
from pareconv.service.scoped_route import needs
from pareconv.service.stores import Stores
from pareconv.service.subject import called
from pareconv.service.submission import Submission
from pareconv.service.tasks import Tasks
from pareconv.service.web import spec_form
from pareconv.service.web.page import page
from pareconv.service.web.page_route import PageRoute
from pareconv.service.web.refusals import refusal
from pareconv.service.web.visitor import InjectedVisitor
from pareconv.storage.scopes import Scope
from pareconv.storage.uploads import Kind

router = APIRouter(prefix="/ui", route_class=PageRoute, include_in_schema=False)

_UPLOADS = 100
Json = dict[str, Any]
_REFUSED: tuple[type[Exception], ...] = (*TABLE, ValidationError)
# What an inspection tells of these stands beside their fields.
_NOTED = ("teacher.normalize", "dataset.augment")
# These may name an upload; what its file was called stands beside them.
_REFERENCES: dict[str, Kind] = {
    "teacher.architecture": "teacher",
    "teacher.weights": "teacher",
    "dataset.source": "dataset",
}
_UNKNOWN: Json = {"inspection": None, "noted": _NOTED}
From = Annotated[str | None, Query(alias="from", description="id of a job to begin with")]


async def _form(request: Request, settings: InjectedSettings) -> AsyncIterator[FormData]:
    async with request.form(max_files=2, max_part_size=settings.max_body_bytes) as form:
        yield form


SentForm = Annotated[FormData, Depends(_form)]


@router.get("/submit")
@needs(Scope.READ)
def show_form(
    request: Request, stores: InjectedStores, visitor: InjectedVisitor, start: From = None
) -> Response:
    values = spec_form.values_of_spec({})
    if start is not None:
        job = stores.jobs.get(start)
        values = spec_form.values_of_spec(job.spec, job.profile and job.profile["teacher"])
        values["from"] = start
    return page(request, "submit", _shown(stores, values) | {"visitor": visitor})


@router.post("/submit")
@needs(Scope.SUBMIT)
def submit(
    request: Request,
    form: SentForm,
    stores: InjectedStores,
    tasks: InjectedTasks,
    intake: InjectedIntake,
    visitor: InjectedVisitor,
) -> Response:
    """On to the page of the job; or the form again, what was wrong beside each field."""
    values = spec_form.values_of_form(form)
    try:
        body = spec_form.spec_of(values, _base(stores, values))
        job = Admission(stores, tasks, intake).admit(Submission(body))
    except _REFUSED as error:
        problem = refusal(error)
        shown = _shown(stores, values, problem) | {"visitor": visitor}
        return page(request, "submit", shown, status=problem.status)
    address = f"/ui/jobs/{job.id}"
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"hx-redirect": address})
    return RedirectResponse(address, status_code=303)


@router.post("/inspect")
@needs(Scope.SUBMIT)
def inspect(
    request: Request, form: SentForm, stores: InjectedStores, tasks: InjectedTasks
) -> Response:
    """The budget's fields, with what teacher and data can reach."""
    values = spec_form.values_of_form(form)
    shown: Json = _UNKNOWN | {"values": values, "problem": None, "errors": {}}
    if not spec_form.missing(values):
        try:
            shown["inspection"] = _inspected(values, stores, tasks)
        except _REFUSED as error:
            shown["problem"] = refusal(error)
    shown["notes"] = _told(shown["inspection"]) | _files(values, stores)
    return page(request, "inspected", shown)


@router.post("/uploads/{kind}")
@needs(Scope.SUBMIT)
def upload(
    request: Request,
    kind: Literal["teacher", "dataset"],
    file: Annotated[UploadFile, File()],
    intake: InjectedIntake,
) -> Response:
    """Store and check a file; the page puts its reference into the field that takes it."""
    sent = SentFile("file", file.filename or "upload", file.file)
    try:
        found = intake.take(kind, sent).upload
    except _REFUSED as error:
        problem = refusal(error)
        shown: Json = {"kind": kind, "upload": None, "problem": problem, "target": None}
        return page(request, "upload", shown)
    target = _field_for(kind, found.summary)
    shown = {"kind": kind, "upload": found, "problem": None, "target": target}
    return page(request, "upload", shown)


@router.get("/catalog/{what}")
@needs(Scope.READ)
def show_catalog(
    request: Request, what: Literal["architectures", "operators", "methods"], tasks: InjectedTasks
) -> Response:
    """The names that a field knows, as options of a list."""
    return page(request, "options", {"what": what, "items": tasks.catalog()[what]})


def _shown(stores: Stores, values: spec_form.Values, problem: Problem | None = None) -> Json:
    errors = {} if problem is None else {each.field: each.message for each in problem.errors}
    return _UNKNOWN | {
        "values": values,
        "origin": values["from"] and (stores.jobs.get(values["from"]).name or values["from"]),
        "problem": problem,
        "errors": errors,
        "notes": _files(values, stores),
        "formats": spec_form.FORMATS,
        "teachers": stores.uploads["teacher"].page(_UPLOADS)[0],
        "datasets": stores.uploads["dataset"].page(_UPLOADS)[0],
    }


def _files(values: spec_form.Values, stores: Stores) -> dict[str, str]:
    """Beside each of the references: the name of the file, where it is an upload."""
    notes = {}
    for path, kind in _REFERENCES.items():
        name = called(values[path], kind, stores)
        notes[path] = f"the file {name}" if name != values[path] else ""
    return notes


def _told(inspection: Json | None) -> dict[str, str]:
    """What is told beside each of the noted fields, as far as there is something."""
    told = [] if inspection is None else inspection["assumptions"]
    messages = {each["field"]: each["message"] for each in told}
    return {path: messages.get(path, "") for path in _NOTED}


def _base(stores: Stores, values: spec_form.Values) -> Json | None:
    return stores.jobs.get(values["from"]).spec if values["from"] else None


def _inspected(values: spec_form.Values, stores: Stores, tasks: Tasks) -> Json:
    """Within any budget: the question is what can be reached."""
    spec = spec_form.spec_of(values, _base(stores, values))
    spec |= {"budget": {"flops": "100%"}, "plan": None}
    spec.setdefault("search", {})["objectives"] = ["accuracy", "flops"]
    return tasks.inspect(JobSpec.model_validate(spec), stores.access)


def _field_for(kind: Kind, summary: Json) -> str:
    if kind == "dataset":
        return "dataset.source"
    is_network = summary.get("format") in {"onnx", "pt2"}
    return "teacher.architecture" if is_network else "teacher.weights"
