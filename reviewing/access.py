"""Who may ask: a check of Host, Origin and token before any request is answered, and headers that keep other origins out.

On the loopback address the Host must be one of its names, so that no page elsewhere reaches the server by a name that it lets
resolve to 127.0.0.1 (DNS rebinding). On any other address a token is asked for instead. What changes something (POST) must
come from the page itself (CSRF); programs such as curl send no Origin and are taken.
"""

import hmac
import ipaddress
import secrets
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
VISITOR, TOKEN = "hylle_visitor", "hylle_token"  # cookies
SAFE = frozenset({"GET", "HEAD"})
HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}  # fmt: skip


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on `host`.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("shop.local")
    (True, True, False, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """The name in a Host header, without its port; "" where it is malformed.

    >>> host_name("localhost:8000"), host_name("[::1]:8000"), host_name("a b")
    ('localhost', '::1', '')
    """
    try:
        parts = urlsplit(f"//{header}")
        return (parts.hostname or "") if parts.netloc == header and not set(header) & set(" /@\\") else ""
    except ValueError:
        return ""


@dataclass(frozen=True)
class Access:
    """Who may ask: with a `token` whoever has it, else whoever names the server by one of `hosts`."""

    hosts: frozenset[str] = LOOPBACK_NAMES
    token: str = ""

    def refusal(self, scope: Scope) -> Response | None:
        """The answer to a request that is not allowed; None for one that is."""
        headers, method = Headers(scope=scope), scope["method"]
        if not self.token and host_name(headers.get("host", "")) not in self.hosts:
            return refused(421, "this server answers to 127.0.0.1 and localhost only; open it by one of these")
        if method not in SAFE and not from_own_page(headers):
            return refused(403, "this request comes from another page; open the server's own")
        if self.token and not self._has_token(scope, headers):
            return refused(401, "a token is needed: open the address with ?token=... that the server printed")
        return None

    def _has_token(self, scope: Scope, headers: Headers) -> bool:
        given = [
            headers.get("authorization", "").removeprefix("Bearer "),
            cookies(headers).get(TOKEN, ""),
            QueryParams(scope["query_string"]).get("token", ""),
        ]
        return any(hmac.compare_digest(one.encode(), self.token.encode()) for one in given)


def from_own_page(headers: Headers) -> bool:
    """Whether a request comes from a page of this server, or from a program that is no browser."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def cookies(headers: Headers) -> dict[str, str]:
    """The cookies of a request; none where they are malformed."""
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def refused(status: int, message: str) -> Response:
    """An answer that tells in one line why there is none."""
    return JSONResponse({"error": message}, status)


class AccessControl:
    """Answers what is not allowed, gives every visitor an id (`scope["visitor"]`, a cookie), and adds HEADERS."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        known = cookies(Headers(scope=scope)).get(VISITOR, "")
        visitor = known if len(known) == VISITOR_LENGTH else secrets.token_urlsafe(VISITOR_BYTES)
        scope["visitor"] = visitor

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                if visitor != known:
                    headers.append("set-cookie", f"{VISITOR}={visitor}; Path=/; HttpOnly; SameSite=Strict")
            await send(message)

        answer = self.access.refusal(scope) or self._token_kept(scope) or self.app
        await answer(scope, receive, with_headers)

    def _token_kept(self, scope: Scope) -> Response | None:
        """Where the page is opened with ?token=, the cookie that holds it from then on, and the address without it."""
        if not (self.access.token and scope["path"] == "/" and b"token=" in scope["query_string"]):
            return None
        answer = RedirectResponse("/", 303)
        answer.set_cookie(TOKEN, self.access.token, httponly=True, samesite="strict")
        return answer


VISITOR_BYTES = 24  # chosen: 192 bits, which nobody guesses
VISITOR_LENGTH = len(secrets.token_urlsafe(VISITOR_BYTES))
