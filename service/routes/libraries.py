"""Routes of libraries: list, look into, ask for a prediction, delete."""

from typing import Annotated

from fastapi import APIRouter, Query

from pareconv.service.dependencies import Cursor, InjectedStores, Limit
from pareconv.service.prediction import predict
from pareconv.service.problems import documented
from pareconv.service.scoped_route import ScopedRoute, needs
from pareconv.service.stores import Stores
from pareconv.service.subject import called
from pareconv.service.views.library import LibraryView, LibraryWithEntries
from pareconv.service.views.page import Page
from pareconv.service.views.prediction import PredictedFrontView
from pareconv.storage.libraries import Library
from pareconv.storage.scopes import Scope

router = APIRouter(prefix="/libraries", tags=["libraries"], route_class=ScopedRoute)

Amount = Annotated[
    str | None,
    Query(
        max_length=18,
        description="a share of the teacher's, `0.4` or `40%`, or a whole number above 1",
    ),
]


@router.get("", summary="List the libraries, newest first")
@needs(Scope.READ)
def list_libraries(
    stores: InjectedStores, limit: Limit = 20, cursor: Cursor = None
) -> Page[LibraryView]:
    found, following = stores.libraries.page(limit, cursor)
    items = [LibraryView.of(each, _name(each, stores)) for each in found]
    return Page(items=items, next=following)


@router.get("/{id}", summary="Show a library", responses=documented(404))
@needs(Scope.READ)
def show_library(id: str, stores: InjectedStores) -> LibraryWithEntries:
    """The library with every option of every block that was distilled for it so far."""
    library = stores.libraries.get(id)
    entries = stores.libraries.entries(id)
    return LibraryWithEntries.with_entries(library, _name(library, stores), entries)


@router.get(
    "/{id}/front",
    summary="Predict the front at any budget",
    responses=documented(404, 409),
)
@needs(Scope.READ)
def predict_front(
    id: str,
    stores: InjectedStores,
    flops: Amount = None,
    params: Amount = None,
) -> PredictedFrontView:
    """The plans that should be best within the budget, at most 32, spread over the cost.

    Scores add up and costs are exact, so this trains nothing and needs no job.
    """
    return predict(id, {"flops": flops, "params": params}, stores)


@router.delete("/{id}", status_code=204, summary="Delete a library", responses=documented(404, 409))
@needs(Scope.SUBMIT)
def delete_library(id: str, stores: InjectedStores) -> None:
    """Forget a library and all that is in it, unless a worker builds it or a running job needs it.

    Weights that nothing else uses go with it. The next job on the same teacher and data begins a
    new one.
    """
    stores.garbage.free(stores.libraries.delete(id))


def _name(library: Library, stores: Stores) -> str:
    return called(library.architecture, "teacher", stores)
