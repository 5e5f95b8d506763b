"""The server: routes from addresses to what the other modules do. Recognition is one photo at a time, in a thread."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from jinja2 import Environment, PackageLoader, select_autoescape
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from recognition.frames import Frame, read_photo
from recognition.inputs import Input
from recognition.prediction_run import Job
from reviewing.access import Access, AccessControl
from reviewing.doubts import Doubts
from reviewing.evidence import recognised_boxes
from reviewing.labelling import Labelling
from reviewing.recognised import DOWNLOADS, Recognised, boxes_as_json, download, fitted, jpeg_of, recognised, shelf_as_json
from reviewing.uploads import MEGABYTE, Limits, Refused, opened, received, scratch_folder
from reviewing.visitors import Visitors

STATIC = Path(__file__).resolve().parent / "static"
WAITING = 16  # chosen: uploads that are taken at once; more are told to come again
LARGEST_JSON = 2 * MEGABYTE  # chosen: of a request that is no photo; a shelf of 1,000 boxes has 100 kB
LONGEST_NAME = 200  # chosen: letters of a photo's name


@dataclass
class Desk:
    """What the server works with: the model, the photos of visitors, and what there is to review.

    `notes` say why a tab has nothing to show, by its name.
    """

    job: Job
    visitors: Visitors
    limits: Limits = field(default_factory=Limits)
    doubts: Doubts | None = None
    labelling: Labelling | None = None
    notes: dict[str, str] = field(default_factory=dict)
    uploads: int = 0
    one_photo: threading.Lock = field(default_factory=threading.Lock)

    def recognise(self, frame: Frame) -> Recognised:
        """What the models find on a photo; one photo at a time."""
        with self.one_photo:
            boxes = recognised_boxes(self.job.recogniser.pipeline, frame.image, self.job.recogniser.names)
        return recognised(frame, boxes)

    def recognise_file(self, photo: Input) -> Recognised:
        """What the models find on a photo in a file."""
        return self.recognise(read_photo(photo, self.job.recogniser.pipeline.ensemble.exif))


def application(desk: Desk, access: Access) -> AccessControl:
    """The whole server as an ASGI application."""
    routes = [
        Route("/", page),
        Route("/state", state),
        Route("/predict", predict, methods=["POST"]),
        Route("/photos", upload, methods=["POST"]),
        Route("/photos/{photo}/shelf", shelf),
        Route("/photos/{photo}/shown.jpg", shown),
        Route("/photos/{photo}/{file}", downloaded),
        Route("/doubts", doubts),
        Route("/doubts/{number:int}/crop.jpg", doubt_crop),
        Route("/doubts/{number:int}/examples/{category:int}/{k:int}.jpg", doubt_example),
        Route("/doubts/{number:int}", decide, methods=["POST"]),
        Route("/studio/{category:int}.jpg", studio),
        Route("/labelling", labelling_queue),
        Route("/labelling/photo", labelling_photo),
        Route("/labelling/photo.jpg", labelling_pixels),
        Route("/labelling/photo", confirm, methods=["POST"]),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    handlers: dict[Any, Callable[..., Any]] = {Refused: refuse, HTTPException: http_error}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.state.desk = desk
    return AccessControl(app, access)


def desk_of(request: Request) -> Desk:
    """What the server works with."""
    desk: Desk = request.app.state.desk
    return desk


async def refuse(request: Request, error: Refused) -> Response:
    """The answer to an upload that is not taken."""
    return JSONResponse({"error": str(error)}, error.status)


async def http_error(request: Request, error: HTTPException) -> Response:
    """The answer to a request for what is not there."""
    return JSONResponse({"error": error.detail}, error.status_code)


# -- the page and photos that are tried --------------------------------------------------------------------------------------


async def page(request: Request) -> Response:
    """The page."""
    templates = Environment(loader=PackageLoader("reviewing"), autoescape=select_autoescape())
    return HTMLResponse(templates.get_template("page.html").render(limits=desk_of(request).limits))


async def state(request: Request) -> Response:
    """What the page needs to begin: the model's products, the floor, the limits, and what there is to review."""
    desk = desk_of(request)
    names = desk.labelling.names() if desk.labelling else dict(zip(*desk.job.products, strict=True))
    return JSONResponse({
        "floor": desk.job.min_score,
        "limits": desk.limits._asdict(),
        "products": [{"id": i, "name": name} for i, name in names.items()],
        "labels": [{"id": i, "name": name} for i, name in desk.doubts.names.items()] if desk.doubts else [],
        "notes": desk.notes,
        "proposals": str(desk.doubts.path) if desk.doubts else "",
        "data": str(desk.doubts.dataset.root) if desk.doubts else "",
        "confirmed": str(desk.labelling.folder) if desk.labelling else "",
    })  # fmt: skip


async def photo_of(request: Request) -> Recognised:
    """The photo in the body of a request, recognised. Refused where it is not taken."""
    desk = desk_of(request)
    if desk.uploads >= WAITING:
        raise Refused(503, f"{WAITING} photos are waiting already; send it again in a moment")
    desk.uploads += 1
    try:
        with scratch_folder() as scratch:
            declared = request.headers.get("content-length")
            path = await received(request.stream(), declared, desk.limits, Path(scratch))
            name = unquote(request.headers.get("x-photo-name", ""))[:LONGEST_NAME].strip() or "photo"
            exif = desk.job.recogniser.pipeline.ensemble.exif
            frame = await run_in_threadpool(opened, path, name, exif, desk.limits)
        return await run_in_threadpool(desk.recognise, frame)
    finally:
        desk.uploads -= 1


async def predict(request: Request) -> Response:
    """One photo in; names, boxes and facings out, as JSON."""
    desk = desk_of(request)
    floor = floor_of(request)
    return JSONResponse(shelf_as_json(await photo_of(request), floor, desk.job.products))


async def upload(request: Request) -> Response:
    """One photo of this visitor, which the server keeps for a while."""
    desk = desk_of(request)
    photo = await photo_of(request)
    number = desk.visitors.keep(request.scope["visitor"], photo)
    boxes = boxes_as_json(photo, desk.job.recogniser.names)
    shelf = shelf_as_json(photo, desk.job.min_score, desk.job.products)
    return JSONResponse({"id": number, "remark": photo.remark, "candidates": boxes, "shelf": shelf})


def kept(request: Request) -> Recognised:
    """This visitor's photo that the address names. HTTPException 404 where the server does not keep it."""
    try:
        return desk_of(request).visitors.photo(request.scope["visitor"], request.path_params["photo"])
    except KeyError:
        raise HTTPException(404, "the photo is not kept any more; drop it again") from None


def floor_of(request: Request) -> float:
    """The floor that the address asks for; else the fitted one. HTTPException 422 for one that is no number in [0, 1]."""
    given = request.query_params.get("floor")
    try:
        floor = desk_of(request).job.min_score if given is None else float(given)
    except ValueError:
        floor = -1.0
    if not 0 <= floor <= 1:
        raise HTTPException(422, f"floor: got {given}, must be in [0, 1]")
    return floor


async def shelf(request: Request) -> Response:
    """What stands where on a photo, from a floor on."""
    return JSONResponse(shelf_as_json(kept(request), floor_of(request), desk_of(request).job.products))


async def shown(request: Request) -> Response:
    """The photo in the size of the page."""
    return Response(kept(request).shown, media_type="image/jpeg")


async def downloaded(request: Request) -> Response:
    """A table, the COCO JSON or the picture of a photo, from a floor on."""
    photo, file = kept(request), request.path_params["file"]
    if file not in DOWNLOADS:
        raise HTTPException(404, f"{file}: no such file; there are {', '.join(DOWNLOADS)}")
    job = replace(desk_of(request).job, min_score=floor_of(request))
    data = await run_in_threadpool(download, photo, file, job)
    return Response(data, media_type=DOWNLOADS[file], headers={"content-disposition": f'attachment; filename="{file}"'})


# -- doubtful labels -----------------------------------------------------------------------------------------------------------


async def asked(request: Request) -> dict[str, Any]:
    """The JSON object in the body of a request. HTTPException for anything else, and for a large one."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST_JSON:
            raise HTTPException(413, f"more than {LARGEST_JSON // MEGABYTE} MB of JSON")
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise HTTPException(422, "need a JSON object")
    return value


def doubts_of(request: Request) -> Doubts:
    """The proposals. HTTPException 404 where there are none."""
    found = desk_of(request).doubts
    if found is None:
        raise HTTPException(404, desk_of(request).notes.get("labels", "no proposals"))
    return found


async def doubts(request: Request) -> Response:
    """All proposals, with what was decided."""
    return JSONResponse(await run_in_threadpool(doubts_of(request).as_json))


async def decide(request: Request) -> Response:
    """Keep one decision; answered when it is on the disk."""
    found, body = doubts_of(request), await asked(request)
    try:
        await run_in_threadpool(found.decide, request.path_params["number"], body)
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    return JSONResponse({"saved": True, "decided": len(found.decided)})


async def jpeg_or_404(make: Callable[[], Any]) -> Response:
    """An image that `make` returns, as JPEG; 404 where there is none."""
    try:
        data = await run_in_threadpool(lambda: jpeg_of(make()))
    except (LookupError, ValueError, OSError) as error:
        raise HTTPException(404, f"no such picture ({error})") from None
    return Response(data, media_type="image/jpeg")


async def doubt_crop(request: Request) -> Response:
    """What a proposal is about, with what stands beside it."""
    return await jpeg_or_404(lambda: doubts_of(request).crop(request.path_params["number"]))


async def doubt_example(request: Request) -> Response:
    """Another crop of one of the two names."""
    number, category, k = (request.path_params[key] for key in ("number", "category", "k"))
    return await jpeg_or_404(lambda: doubts_of(request).example(number, category, k))


async def studio(request: Request) -> Response:
    """A product's studio photo."""
    return await jpeg_or_404(lambda: doubts_of(request).studio_photo(request.path_params["category"]))


# -- photos without labels -----------------------------------------------------------------------------------------------------


def labelling_of(request: Request) -> Labelling:
    """The photos to label. HTTPException 404 where there are none."""
    found = desk_of(request).labelling
    if found is None:
        raise HTTPException(404, desk_of(request).notes.get("confirm", "no photos without labels"))
    return found


async def labelling_queue(request: Request) -> Response:
    """The photos in the order in which to look at them, and how many are predicted so far."""
    found = labelling_of(request)
    return JSONResponse({"total": len(found.photos), "queue": found.queue()})


async def labelling_photo(request: Request) -> Response:
    """One photo's boxes."""
    try:
        return JSONResponse(labelling_of(request).photo_as_json(request.query_params.get("name", "")))
    except KeyError:
        raise HTTPException(404, "no such photo, or it is not predicted yet") from None


async def labelling_pixels(request: Request) -> Response:
    """One photo's pixels, in the size of the page."""
    found, desk = labelling_of(request), desk_of(request)
    photo = found.photos.get(request.query_params.get("name", ""))
    if photo is None:
        raise HTTPException(404, "no such photo")
    exif = desk.job.recogniser.pipeline.ensemble.exif
    return await jpeg_or_404(lambda: fitted(read_photo(photo, exif).image))


async def confirm(request: Request) -> Response:
    """Keep the boxes of one photo; answered when they are on the disk."""
    found, body = labelling_of(request), await asked(request)
    try:
        await run_in_threadpool(found.confirm, str(body.get("name")), body.get("boxes"))
    except KeyError:
        raise HTTPException(404, "no such photo, or it is not predicted yet") from None
    except ValueError as error:
        raise HTTPException(422, str(error)) from None
    return JSONResponse({"saved": True, "confirmed": len(found.confirmed), "products": [
        {"id": i, "name": name} for i, name in found.names().items()
    ]})  # fmt: skip
