"""First tab and programs: photos that are tried, what stands on them, and downloads."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reviewing.http import desk_of
from reviewing.recognised import DOWNLOADS, Recognised, boxes_as_json, download, shelf_as_json
from reviewing.uploads import Refused, opened, received, scratch_folder

WAITING = 16  # chosen: uploads that are taken at once; more are told to come again
LONGEST_NAME = 200  # chosen: letters of a photo's name


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
            frame = await run_in_threadpool(opened, path, name, desk.exif, desk.limits)
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
    boxes = boxes_as_json(photo, desk.job.recogniser.names, desk.job.min_score)
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


ROUTES = [
    Route("/predict", predict, methods=["POST"]),
    Route("/photos", upload, methods=["POST"]),
    Route("/photos/{photo}/shelf", shelf),
    Route("/photos/{photo}/shown.jpg", shown),
    Route("/photos/{photo}/{file}", downloaded),
]
