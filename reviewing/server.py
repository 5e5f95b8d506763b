"""The server: the page, the routes of its three tabs, and who may ask. Recognition is one photo at a time, in a thread."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, select_autoescape
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from reviewing.access import Access, AccessControl
from reviewing.desk import Desk
from reviewing.http import desk_of
from reviewing.routes import confirm, labels, try_photos
from reviewing.uploads import Refused

STATIC = Path(__file__).resolve().parent / "static"


def application(desk: Desk, access: Access) -> AccessControl:
    """The whole server as an ASGI application."""
    routes = [
        Route("/", page),
        Route("/state", state),
        *try_photos.ROUTES,
        *labels.ROUTES,
        *confirm.ROUTES,
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    handlers: dict[Any, Callable[..., Any]] = {Refused: refuse, HTTPException: http_error}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.state.desk = desk
    return AccessControl(app, access)


async def refuse(request: Request, error: Refused) -> Response:
    """The answer to an upload that is not taken."""
    return JSONResponse({"error": str(error)}, error.status)


async def http_error(request: Request, error: HTTPException) -> Response:
    """The answer to a request for what is not there."""
    return JSONResponse({"error": error.detail}, error.status_code)


async def page(request: Request) -> Response:
    """The page."""
    templates = Environment(loader=PackageLoader("reviewing"), autoescape=select_autoescape())
    return HTMLResponse(templates.get_template("page.html").render(limits=desk_of(request).limits))


async def state(request: Request) -> Response:
    """What the page needs to begin: the model's products, the floor, the limits, and what there is to review."""
    desk = desk_of(request)
    names = desk.labelling.names() if desk.labelling else dict(zip(*desk.job.products, strict=True))
    return JSONResponse({
        "start": desk.start,
        "floor": desk.job.min_score,
        "limits": desk.limits._asdict(),
        "products": [{"id": i, "name": name} for i, name in names.items()],
        "labels": [{"id": i, "name": name} for i, name in desk.doubts.names.items()] if desk.doubts else [],
        "notes": desk.notes,
        "proposals": str(desk.doubts.path) if desk.doubts else "",
        "data": str(desk.doubts.dataset.root) if desk.doubts else "",
        "confirmed": str(desk.labelling.folder) if desk.labelling else "",
    })  # fmt: skip
