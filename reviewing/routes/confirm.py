"""Third tab: photos without labels, names for boxes that a person draws, and confirmations."""

from contextlib import suppress

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from recognition.frames import read_photo
from recognition.inputs import Input
from recognition.prediction_run import UNREADABLE
from reviewing.desk import Desk
from reviewing.http import as_jpeg, asked, desk_of, done, needed
from reviewing.labelling import Labelling
from reviewing.recognised import fitted


def labelling_of(request: Request) -> Labelling:
    """The photos to label. HTTPException 404 where there are none."""
    return needed(desk_of(request).labelling, request, "confirm")


async def queue(request: Request) -> Response:
    """The photos in the order in which to look at them, and how many are predicted so far."""
    found = labelling_of(request)
    return JSONResponse({"total": len(found.photos), "queue": found.queue()})


async def photo(request: Request) -> Response:
    """One photo's boxes; what naming a box on it needs is computed while the person looks."""
    found, name = labelling_of(request), request.query_params.get("name", "")
    answer = await done(lambda: found.photo_as_json(name))
    return JSONResponse(answer, background=BackgroundTask(prepare, desk_of(request), found.photos[name]))


def prepare(desk: Desk, source: Input) -> None:
    """Prepare a photo; one that cannot be read is told where it is shown."""
    with suppress(*UNREADABLE):
        desk.prepare(source)


async def pixels(request: Request) -> Response:
    """One photo's pixels, in the size of the page."""
    found, desk, name = labelling_of(request), desk_of(request), request.query_params.get("name", "")
    return await as_jpeg(lambda: fitted(read_photo(found.photos[name], desk.exif).image))


async def guesses(request: Request) -> Response:
    """The names that a box most probably has that a person drew, best first."""
    found, desk, body = labelling_of(request), desk_of(request), await asked(request)
    return JSONResponse(await done(lambda: found.guesses_of_box(desk.name_box, str(body.get("name")), body.get("bbox"))))


async def confirm(request: Request) -> Response:
    """Keep the boxes of one photo; answered when they are on the disk."""
    found, body = labelling_of(request), await asked(request)
    revision = await done(lambda: found.confirm(str(body.get("name")), body.get("boxes"), body.get("revision")))
    products = [{"id": i, "name": name} for i, name in found.names().items()]
    return JSONResponse({"saved": True, "confirmed": len(found.confirmed), "products": products, "revision": revision})


ROUTES = [
    Route("/labelling", queue),
    Route("/labelling/photo", photo),
    Route("/labelling/photo.jpg", pixels),
    Route("/labelling/guesses", guesses, methods=["POST"]),
    Route("/labelling/photo", confirm, methods=["POST"]),
]
