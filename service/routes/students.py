"""Routes of students: list them, have one more finished, download their files."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Response
from fastapi.responses import FileResponse

from pareconv.service.dependencies import InjectedStores, require_json
from pareconv.service.errors import NoSuchStudent
from pareconv.service.etags import IfNoneMatch, is_current
from pareconv.service.front_view import students_view
from pareconv.service.job_view import job_view
from pareconv.service.more import finish_student
from pareconv.service.problems import documented
from pareconv.service.scoped_route import ScopedRoute, needs
from pareconv.service.stores import Stores
from pareconv.service.views.front import Point
from pareconv.service.views.job import JobView
from pareconv.service.views.page import Page
from pareconv.service.views.request import StudentRequest
from pareconv.storage.artifacts import Artifact
from pareconv.storage.scopes import Scope

router = APIRouter(prefix="/jobs/{job_id}/students", tags=["results"], route_class=ScopedRoute)

AskedStudent = Annotated[StudentRequest, Body(examples=[{"trial": 7}])]
# A page of the file store may look as it likes, and do nothing: it shows names that users gave.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; sandbox; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "application/octet-stream": {
                "schema": {"type": "string", "contentMediaType": "application/octet-stream"}
            },
            "text/html": {"schema": {"type": "string"}},
        },
        "description": "The file; its SHA-256 is the `ETag`",
    },
    304: {"description": "The file is as the client has it"},
}


@router.get("", summary="List the students", responses=documented(404))
@needs(Scope.READ)
def list_students(job_id: str, stores: InjectedStores) -> Page[Point]:
    """Every trial that was finished, on the front or not, with its files."""
    return Page(items=students_view(stores.jobs.get(job_id), stores), next=None)


@router.post(
    "",
    status_code=202,
    summary="Finish one more student",
    dependencies=[Depends(require_json)],
    responses=documented(400, 404, 408, 409, 413, 415)
    | {200: {"model": JobView, "description": "It is finished already"}},
)
@needs(Scope.SUBMIT)
def finish_one(
    job_id: str, asked: AskedStudent, stores: InjectedStores, response: Response
) -> JobView:
    """Have a complete trial trained longer, tested once, and exported, as the finalists are.

    A job that has succeeded is queued for it; one that waits or runs does it when it finishes. A
    student that is finished stays as it is: it is not tested again.
    """
    if not finish_student(job_id, asked, stores):
        response.status_code = 200
    response.headers["location"] = f"/jobs/{job_id}"
    return job_view(stores.jobs.get(job_id), stores)


@router.get(
    "/{trial}/{format}",
    summary="Download a student",
    response_class=FileResponse,
    responses=documented(404) | _FILE,
)
@needs(Scope.READ)
def download_student(
    job_id: str,
    trial: int,
    format: str,
    stores: InjectedStores,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """A finished student in one of the formats that its job asked for; its `report` is a page."""
    artifact = _artifact(stores, job_id, trial, format)
    headers = {"etag": f'"{artifact.sha256}"', "x-content-type-options": "nosniff"}
    is_page = artifact.format == "report"
    if is_page:
        headers["content-security-policy"] = _POLICY
    if is_current(if_none_match, headers["etag"]):
        return Response(status_code=304, headers=headers)
    return FileResponse(
        stores.files.local_path(artifact.sha256),
        filename=artifact.filename,
        media_type="text/html" if is_page else "application/octet-stream",
        content_disposition_type="inline" if is_page else "attachment",
        headers=headers,
    )


def _artifact(stores: Stores, job_id: str, trial: int, format: str) -> Artifact:
    stores.jobs.get(job_id)
    existing = stores.artifacts.of_job(job_id)
    for each in existing:
        if (each.number, each.format) == (trial, format):
            return each
    formats = [each.format for each in existing if each.number == trial]
    if formats:
        raise NoSuchStudent(f"trial {trial} has no file {format!r}; it has {', '.join(formats)}")
    trials = sorted({each.number for each in existing})
    there_are = f"those that have are {', '.join(map(str, trials))}" if trials else "none has"
    raise NoSuchStudent(f"trial {trial} of job {job_id} has no files yet; {there_are}")
