"""The pages: what a person sees of the service.

Each page is a URL, made on the server from what is on disk, and readable without scripts. Scripts
add what moves: curves (uPlot), tables that refresh themselves (htmx), the form of a new run. What
changes something goes through the HTTP interface, as it does from anywhere else. Nothing is fetched
from another host, so the pages work where there is no network.

`site` has what every page shares; each `*_pages` module has the routes of one place, and
`templates/` what they look like.
"""

from fastapi import APIRouter

from . import (
    compare_pages,
    login_page,
    models_pages,
    new_page,
    run_pages,
    runs_pages,
    site,
    stores_pages,
    system_pages,
)

ROUTERS: tuple[APIRouter, ...] = (
    site.router,
    login_page.router,
    runs_pages.router,
    new_page.router,
    run_pages.router,
    stores_pages.router,
    system_pages.router,
    compare_pages.router,
    models_pages.router,
)
"""Of every page."""
