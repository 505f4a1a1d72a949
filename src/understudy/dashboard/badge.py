"""The badge: the state of all daemons, or of one, as a small picture for other pages. Its address is the secret."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from understudy.api.connections import address_of
from understudy.coordinator.nouns import Daemon
from understudy.dashboard.asked import Asked
from understudy.dashboard.frame import worst_of
from understudy.dashboard.render import rendered
from understudy.dashboard.safety import HEADERS
from understudy.dashboard.site import Site
from understudy.errors import NotFoundError, TooManyRequestsError, UnauthorizedError, UnderstudyError
from understudy.hub.views import View
from understudy.texts import LANGUAGES, t

LINE = "badge"  # of reads, and of the rate: strangers stand in it
KEPT_S = 60
LABEL = "understudy"
CHAR_PX, WIDE_CHAR_PX, PAD_PX = 6.6, 11.5, 16
WIDE_FROM = "\u2e80"  # characters of East Asia from here on
# white on these has a contrast of at least 4.5:1
COLOURS = {
    "healthy": "#17684a", "late": "#8a5200", "down": "#b3261e", "stuck": "#8b2f83", "asleep": "#3c5a94",
    "draining": "#3c5a94",
}  # fmt: skip
OTHER_COLOUR = "#566069"
_SEEN = HEADERS | {"Cross-Origin-Resource-Policy": "cross-origin"}  # it is made to be shown elsewhere


def badge_routes(site: Site, secret: str) -> list[Route]:
    """Its one route; it is there without a secret too, and then looks as it does to those who guess."""
    return [Route("/badge/{secret}.svg", BadgeApp(site, secret), methods=["GET"])]


class BadgeApp:
    """The badge."""

    def __init__(self, site: Site, secret: str) -> None:
        self._site = site
        self._secret = secret

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer; a wrong secret counts as a wrong key of the API does, and is held up as long."""
        asked = Asked(scope, receive, self._site.public_url)
        try:
            response = await self._answer(asked)
        except (UnauthorizedError, TooManyRequestsError) as error:
            await self._site.api.hold(error)
            response = _refused(NotFoundError() if isinstance(error, UnauthorizedError) else error)
        except UnderstudyError as error:
            response = _refused(error)
        await response(scope, receive, send)

    async def _answer(self, asked: Asked) -> Response:
        site, given = self._site, asked.request.path_params["secret"].encode("utf-8", "replace")
        if not self._secret or not hmac.compare_digest(given, self._secret.encode()):
            site.api.limit.wrong_key(address_of(asked.request.client))
        site.api.limit.take(LINE)
        daemon_id = asked.query("daemon")
        state = await site.api.hub.view(lambda view: _state(view, daemon_id), LINE)
        wished = asked.query("lang")
        body = badge_of(state, wished if wished in LANGUAGES else LANGUAGES[0])
        return _seen(asked, body)


def _state(view: View, daemon_id: str) -> str:
    """Of this daemon, else the worst of all; "" if there is none."""
    if not daemon_id:
        return worst_of(view.reader.daemon_states())
    found = view.reader.load_many(Daemon, (daemon_id,))
    return found[0].state if found else "unknown"


def badge_of(state: str, language: str) -> bytes:
    """The picture."""
    word = t(f"pages.state.{state}" if state else "pages.standing.none", language)
    left, right = _width(LABEL), _width(word)
    values = {"label": LABEL, "word": word, "left": left, "right": right, "colour": COLOURS.get(state, OTHER_COLOUR)}
    return rendered("badge.svg", language, values).encode()


def _width(text: str) -> int:
    return round(sum(WIDE_CHAR_PX if char >= WIDE_FROM else CHAR_PX for char in text)) + PAD_PX


def _seen(asked: Asked, body: bytes) -> Response:
    mark = f'"{hashlib.blake2b(body, digest_size=9).hexdigest()}"'
    headers = _SEEN | {"Cache-Control": f"max-age={KEPT_S}", "ETag": mark}
    if asked.headers.get("if-none-match") == mark:
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, "image/svg+xml")


def _refused(error: UnderstudyError) -> Response:
    again = {"Retry-After": str(error.fields["retryAfter"])} if "retryAfter" in error.fields else {}
    return Response(error.message, error.status, HEADERS | {"Cache-Control": "no-store"} | again, "text/plain")
