"""Second tab: doubtful labels one by one, their pictures, and decisions."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reviewing.doubts import Doubts
from reviewing.http import as_jpeg, asked, desk_of, done, needed


def doubts_of(request: Request) -> Doubts:
    """The proposals. HTTPException 404 where there are none."""
    return needed(desk_of(request).doubts, request, "labels")


async def doubts(request: Request) -> Response:
    """All proposals, with what was decided."""
    return JSONResponse(await done(doubts_of(request).as_json))


async def decide(request: Request) -> Response:
    """Keep one decision; answered when it is on the disk."""
    found, body = doubts_of(request), await asked(request)
    revision = await done(lambda: found.decide(request.path_params["number"], body))
    return JSONResponse({"saved": True, "decided": len(found.decided), "revision": revision})


async def crop(request: Request) -> Response:
    """What a proposal is about, with what stands beside it."""
    return await as_jpeg(lambda: doubts_of(request).crop(request.path_params["number"]))


async def example(request: Request) -> Response:
    """Another crop of one of the two names."""
    number, category, k = (request.path_params[key] for key in ("number", "category", "k"))
    return await as_jpeg(lambda: doubts_of(request).example(number, category, k))


async def studio(request: Request) -> Response:
    """A product's studio photo."""
    return await as_jpeg(lambda: doubts_of(request).studio_photo(request.path_params["category"]))


ROUTES = [
    Route("/doubts", doubts),
    Route("/doubts/{number:int}/crop.jpg", crop),
    Route("/doubts/{number:int}/examples/{category:int}/{k:int}.jpg", example),
    Route("/doubts/{number:int}", decide, methods=["POST"]),
    Route("/studio/{category:int}.jpg", studio),
]
