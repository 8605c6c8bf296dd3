"""Every route of the web page, in one list for the app."""

from pareconv.service.web import (
    assets,
    compare_page,
    job_pages,
    jobs_page,
    no_page,
    submit_page,
    what_if_page,
)

ROUTERS = (
    jobs_page.router,
    submit_page.router,
    what_if_page.router,
    job_pages.router,
    compare_page.router,
    assets.router,
    no_page.router,  # last: it takes what no other does
)
UPLOAD_PATHS = frozenset({"/ui/uploads/teacher", "/ui/uploads/dataset"})
