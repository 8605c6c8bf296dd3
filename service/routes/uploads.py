"""Routes of uploads: the same for teachers and for data sets."""

from typing import Annotated

from fastapi import APIRouter, Depends, File, Form, Response, UploadFile

from pareconv.service.dependencies import (
    Cursor,
    InjectedIntake,
    InjectedStores,
    Limit,
    require_multipart,
)
from pareconv.service.intake import SentFile
from pareconv.service.problems import documented
from pareconv.service.scoped_route import ScopedRoute, needs
from pareconv.service.views.page import Page
from pareconv.service.views.upload import UploadView
from pareconv.storage.scopes import Scope
from pareconv.storage.uploads import Kind

SentPart = Annotated[
    UploadFile, File(description="the file; weights or a network, or images as zip, tar or .npz")
]
NameField = Annotated[
    str | None, Form(max_length=200, description="a label for people; the file's name by default")
]


def _router(kind: Kind, *, what: str) -> APIRouter:
    router = APIRouter(prefix=f"/{kind}s", tags=["uploads"], route_class=ScopedRoute)

    @router.post(
        "",
        status_code=201,
        summary=f"Upload {what}",
        dependencies=[Depends(require_multipart)],
        responses=documented(400, 408, 409, 413, 415, 503, 504, 507),
    )
    @needs(Scope.SUBMIT)
    def upload(
        file: SentPart, intake: InjectedIntake, response: Response, name: NameField = None
    ) -> UploadView:
        """Store and check a file; one that cannot be used leaves nothing behind.

        The same bytes again give the first upload.
        """
        sent = SentFile("file", file.filename or "upload", file.file, name)
        found = intake.take(kind, sent).upload
        response.headers["location"] = f"/{kind}s/{found.id}"
        return UploadView.of(kind, found)

    @router.get("", summary=f"List the {kind}s, newest first")
    @needs(Scope.READ)
    def list_uploads(
        stores: InjectedStores, limit: Limit = 20, cursor: Cursor = None
    ) -> Page[UploadView]:
        found, following = stores.uploads[kind].page(limit, cursor)
        return Page(items=[UploadView.brief(kind, each) for each in found], next=following)

    @router.get("/{id}", summary=f"Show a {kind}", responses=documented(404))
    @needs(Scope.READ)
    def show_upload(id: str, stores: InjectedStores) -> UploadView:
        return UploadView.of(kind, stores.uploads[kind].get(id))

    @router.delete(
        "/{id}", status_code=204, summary=f"Delete a {kind}", responses=documented(404, 409)
    )
    @needs(Scope.SUBMIT)
    def delete_upload(id: str, intake: InjectedIntake) -> None:
        """Forget an upload and its file, unless a job that has not finished names it."""
        intake.delete(kind, id)

    return router


ROUTERS = (
    _router("teacher", what="a teacher's weights, or its network as ONNX"),
    _router(
        "dataset", what="a data set, as a zip or tar with a folder per class, or as a numpy archive"
    ),
)
