"""Pages of links that act: GET shows what would happen (chat previews fetch links), POST does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from understudy.api.connections import address_of
from understudy.api.context import Api
from understudy.errors import NotFoundError, TooManyRequestsError, UnauthorizedError, UnderstudyError
from understudy.hub.links import EmptyLinkError, FollowLink, LinkShown, shown_by
from understudy.hub.messages import LINK_PATH
from understudy.texts import t

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
}
SECRET_CHARS_MAX = 128
LINE = "links"  # a line of reads of their own: strangers open them


def link_routes(api: Api) -> list[Route]:
    """The public pages of links."""
    return [
        Route(f"{LINK_PATH}{{secret}}", _guarded(api, _look), methods=["GET", "HEAD"]),
        Route(f"{LINK_PATH}{{secret}}", _guarded(api, _act), methods=["POST"]),
    ]


Page = Callable[[Api, str, str], Awaitable[Response]]


def _guarded(api: Api, page: Page) -> Callable[[Request], Awaitable[Response]]:
    async def guarded(request: Request) -> Response:
        language = "ja" if request.headers.get("accept-language", "").lower().startswith("ja") else "en"
        secret = request.path_params["secret"][:SECRET_CHARS_MAX]
        try:
            return await page(api, secret, language)
        except EmptyLinkError:
            return _page(t("links.empty", language), language, 404)
        except NotFoundError:
            return await _refused(api, request, language)
        except UnderstudyError as error:
            return _page(t("links.trouble", language), language, error.status)

    return guarded


async def _refused(api: Api, request: Request, language: str) -> Response:
    """Guessing counts as guessing keys does, and is held up as long."""
    try:
        api.limit.wrong_key(address_of(request.client))
    except TooManyRequestsError as error:
        await api.hold(error)
        return _page(t("links.too_many", language), language, 429)
    except UnauthorizedError:
        pass
    return _page(t("links.gone", language), language, 404)


async def _look(api: Api, secret: str, language: str) -> Response:
    shown = await api.hub.view(lambda view: shown_by(view.reader, secret, view.now.wall), LINE)
    if shown.purpose == "read":
        return _page(_answer(shown, language), language, is_html=True)
    if shown.is_used:
        return _page(t("links.used", language), language)
    asked = t(f"links.{shown.purpose}.ask", language, daemon=shown.daemon_id)
    button = t(f"links.{shown.purpose}.button", language)
    form = f"<p>{escape(asked)}</p><form method=post><button>{escape(button)}</button></form>"
    return _page(form, language, is_html=True)


async def _act(api: Api, secret: str, language: str) -> Response:
    shown = await api.hub.view(lambda view: shown_by(view.reader, secret, view.now.wall), LINE)
    if shown.is_used:
        return _page(t("links.used", language), language)
    await api.hub.decide(FollowLink(secret))
    return _page(t(f"links.{shown.purpose}.done", language, daemon=shown.daemon_id), language)


def _answer(shown: LinkShown, language: str) -> str:
    label = f"<p>{escape(t('answers.degraded', language))}</p>" if shown.degraded else ""
    return f"<h1>{escape(shown.subject)}</h1>{label}<pre>{escape(shown.text)}</pre>"


def _page(content: str, language: str, status: int = 200, *, is_html: bool = False) -> Response:
    body = content if is_html else f"<p>{escape(content)}</p>"
    style = "body{font:18px system-ui;max-width:50rem;margin:15vh auto;padding:0 1rem}"
    style += "button{font:inherit;padding:.6rem 1.2rem}pre{white-space:pre-wrap;overflow-wrap:anywhere}"
    head = f"<!doctype html><html lang={language}><meta charset=utf-8><title>understudy</title>"
    head += f"<meta name=viewport content='width=device-width'><style>{style}</style>"
    return HTMLResponse(f"{head}{body}</html>", status, _HEADERS)
