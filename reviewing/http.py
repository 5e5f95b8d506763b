"""What the routes share: the desk of a request, JSON that is asked, work in a thread, and what is answered where it fails."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

import cv2
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from reviewing.decision_log import NotKept, Outdated
from reviewing.desk import Desk
from reviewing.recognised import Image, jpeg_of
from reviewing.uploads import MEGABYTE

START = "x-server-start"  # header: the start of the server that the page was loaded from; programs send none
LARGEST_JSON = 2 * MEGABYTE  # chosen: of a request that is no photo; a shelf of 1,000 boxes has 100 kB
Result = TypeVar("Result")


def desk_of(request: Request) -> Desk:
    """What the server works with. HTTPException 409 for a page of an earlier start: its numbers and names mean others now."""
    desk: Desk = request.app.state.desk
    if request.headers.get(START, desk.start) != desk.start:
        raise HTTPException(409, "the server was started anew since this page was loaded; reload the page")
    return desk


def needed(part: Result | None, request: Request, tab: str) -> Result:
    """The part of the desk that a tab shows. HTTPException 404 where there is none, with what to do about it."""
    if part is None:
        raise HTTPException(404, desk_of(request).notes.get(tab, "there is nothing to show"))
    return part


async def asked(request: Request) -> dict[str, Any]:
    """The JSON object in the body of a request. HTTPException for anything else, and for a large one."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST_JSON:
            raise HTTPException(413, f"more than {LARGEST_JSON // MEGABYTE} MB of JSON")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):  # the latter of thousands of brackets
        value = None
    if not isinstance(value, dict):
        raise HTTPException(422, "need a JSON object")
    return value


async def done(work: Callable[[], Result]) -> Result:
    """What `work` returns, in a thread.

    HTTPException 404 where nothing is there (LookupError, OSError), 409 where a decision is outdated, 507 where it is not kept,
    422 for other ValueErrors and for pixels that cannot be decoded.
    """
    try:
        return await run_in_threadpool(work)
    except (LookupError, OSError) as error:
        raise HTTPException(404, f"not there, or not yet ({error}); reload the page") from None
    except Outdated as error:
        raise HTTPException(409, str(error)) from None
    except NotKept as error:
        raise HTTPException(507, str(error)) from None
    except (ValueError, cv2.error) as error:
        raise HTTPException(422, str(error)) from None


async def as_jpeg(make: Callable[[], Image]) -> Response:
    """The image that `make` returns, as JPEG. HTTPException as in `done`."""
    return Response(await done(lambda: jpeg_of(make())), media_type="image/jpeg")
