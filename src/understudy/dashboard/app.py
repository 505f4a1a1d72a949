"""The routes of the pages, as ASGI applications beside those of the API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from understudy.api.app import routed_part
from understudy.api.context import Api
from understudy.api.endpoint import Request as ApiRequest
from understudy.api.endpoint import check_path
from understudy.api.fields import beside_loop
from understudy.api.respond import ClientGoneError
from understudy.config.shown import SettingShown
from understudy.config.table import Settings
from understudy.dashboard.asked import Asked, ProxyTrust, Strangers
from understudy.dashboard.badge import badge_routes
from understudy.dashboard.logins import login_path, login_routes
from understudy.dashboard.once import ids_of
from understudy.dashboard.page import Act, FieldError, FormRefusal, Page
from understudy.dashboard.pages import ACTS, PAGES, settings
from understudy.dashboard.safety import HEADERS, own_path
from understudy.dashboard.site import Site
from understudy.dashboard.static_files import static_files, static_path, static_version
from understudy.dashboard.status_page import status_routes
from understudy.dashboard.stream import StreamApp
from understudy.errors import BadRequestError, ForbiddenError, NotFoundError, UnderstudyError
from understudy.hub.keys import KeyChange
from understudy.hub.operation import Operation
from understudy.texts import LANGUAGES

YEAR = "public, max-age=31536000, immutable"
LIVE = "/live"
FORM_STATUSES = (400, 409, 413, 422, 429, 507)  # who has filled in the form can do something about it
UNREADABLE = "pages.form.unreadable"
BY_SCRIPT = "x-requested-with"  # a browser's own code sends the act and shows the answer itself


Shown = Callable[[Any, Any, Any], Awaitable[bool]]


def routed_with_pages(api: Api, settings: Settings, shown: tuple[SettingShown, ...] = ()) -> Any:
    """All that is routed of the API, and the pages beside it; `shown` are the settings as people may see them."""
    trust = ProxyTrust(settings.trust_user_header, settings.trusted_proxies, dict(settings.trusted_users))
    strangers = Strangers(settings.badge, settings.status_page)
    return routed_part(api, *dashboard(api, trust, settings.public_url, shown, strangers))


def dashboard(
    api: Api,
    trust: ProxyTrust,
    public_url: str,
    shown: tuple[SettingShown, ...] = (),
    strangers: Strangers = Strangers(),  # noqa: B008 - frozen
) -> tuple[list[Route], Shown]:
    """The routes of the pages, and the answer to a browser that asks for what does not exist.

    `shown` are the settings that the hub was started with.
    """
    pages = tuple(settings.page_of(shown) if page is settings.PAGE else page for page in PAGES)
    site = Site(api, trust, pages, ACTS, public_url)
    own = _routes(site)
    own += [*badge_routes(site, strangers.badge), *status_routes(site, strangers.status_page)]
    return own, _unknown(site)


def _routes(site: Site) -> list[Route]:
    routes = [Route("/static/{version}/{name:path}", _static), Route("/manifest.webmanifest", _manifest)]
    routes += login_routes(site)
    routes += [Route(page.path, PageApp(site, page), methods=["GET"]) for page in site.pages]
    routes += [Route(f"{LIVE}{page.path}".rstrip("/"), StreamApp(site, page), methods=["GET"]) for page in site.pages]
    routes += [Route(act.path, ActApp(site, act), methods=["POST"]) for act in site.acts]
    return routes


def _unknown(site: Site) -> Shown:
    """False if it is no browser: then the API answers."""

    async def answer(scope: Any, receive: Any, send: Any) -> bool:
        asked = Asked(scope, receive, site.public_url)
        if scope["path"].startswith("/api/") or "text/html" not in asked.headers.get("accept", ""):
            return False
        await site.trouble(asked, NotFoundError())(scope, receive, send)
        return True

    return answer


class PageApp:
    """One page."""

    def __init__(self, site: Site, page: Page) -> None:
        self._site = site
        self._page = page

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        asked = Asked(scope, receive, self._site.public_url)
        response = await answered(self._site, asked, self._answer)
        await response(scope, receive, send)

    async def _answer(self, asked: Asked) -> Response:
        site = self._site
        language = asked.query("lang")
        if language in LANGUAGES:
            asked.keep_language(language)
            return site.see(asked, asked.in_language())
        if not await site.doorman.admit(asked):
            return site.see(asked, login_path(own_path(asked.path)))
        if not asked.caller.may(*self._page.scopes):
            raise ForbiddenError(code="scope")
        return await site.page(self._page, asked)


class ActApp:
    """One act: the operation of its endpoint, asked for by a form of ours."""

    def __init__(self, site: Site, act: Act) -> None:
        self._site = site
        self._act = act

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer."""
        asked = Asked(scope, receive, self._site.public_url)
        try:
            response = await answered(self._site, asked, self._answer)
        except ClientGoneError:
            return
        await response(scope, receive, send)

    async def _answer(self, asked: Asked) -> Response:
        site, act = self._site, self._act
        if not await site.doorman.admit(asked):
            return site.see(asked, "/login")
        form = await asked.form()
        if not await site.doorman.is_held(asked):
            return site.see(asked, "/login")
        asked.show_again(own_path(form.get("back", "/")))  # the links of an answer at this address lead there
        site.doorman.check_act(asked, form.get("token", ""))
        if not asked.caller.may(*act.endpoint.scopes):
            raise ForbiddenError(code="scope")
        try:
            answer = await self._do(asked, form)
        except UnderstudyError as error:
            if not act.page or error.status not in FORM_STATUSES:
                raise
            return await self._again(asked, form, error)
        if act.result:
            return site.plain(asked, act.result, answer=answer, form=form)
        if asked.headers.get(BY_SCRIPT):
            return Response(status_code=204, headers=HEADERS)
        return site.see(asked, own_path(act.leads_to(answer) if act.leads_to is not None else form.get("back", "/")))

    async def _again(self, asked: Asked, form: dict[str, str], error: UnderstudyError) -> Response:
        """Its page with the form as it was filled in, and the reason why it was refused."""
        fields = error.fields_by_name if isinstance(error, FormError) else {}
        said = () if fields else (error.message, *error.fields.get("details", ()))
        page = self._site.page_named(self._act.page)
        return await self._site.page(page, asked, FormRefusal(fields, said, error.status), form)

    async def _do(self, asked: Asked, form: dict[str, str]) -> Any:
        """The answer of the endpoint, which is the same as for a program."""
        act, api = self._act, self._site.api
        operation = await beside_loop(sum(map(len, form.values())), partial(self._operation, asked, form))
        answer = await api.hub.decide(operation)
        if isinstance(answer, UnderstudyError):
            raise answer
        if isinstance(operation, KeyChange):
            await api.key_changed()
        self._site.live.acted()
        return act.endpoint.shown(answer)

    def _operation(self, asked: Asked, form: dict[str, str]) -> Operation:
        act, api = self._act, self._site.api
        path = {name: str(value) for name, value in asked.request.path_params.items()}
        once = ids_of(form.get("once", ""), asked.request.scope["path"], asked.secret) if act.is_once else None
        now, ids = api.hub.clock.now_ms(), once or api.hub.ids
        request = ApiRequest(asked.caller, path, {}, _body(act, form), now, ids, redactor=api.redactor)
        check_path(request)
        assert act.endpoint.make is not None
        return act.endpoint.make(request)


class FormError(BadRequestError):
    """Fields of a form that cannot be read."""

    def __init__(self, fields_by_name: dict[str, str]) -> None:
        super().__init__("Validation failed")
        self.fields_by_name = fields_by_name  # the key of a text for each


def _body(act: Act, form: dict[str, str]) -> bytes:
    """The JSON that the endpoint expects; a field that is empty is left out. FormError."""
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, read in act.fields.items():
        if form.get(name, "") != "" or name in act.required:
            try:
                values[name] = read(form.get(name, ""))
            except ValueError as error:
                wrong[name] = str(error) if isinstance(error, FieldError) else UNREADABLE
    if wrong:
        raise FormError(wrong)
    return msgspec.json.encode(values) if act.fields else b""


async def answered(site: Site, asked: Asked, answer: Callable[[Asked], Awaitable[Response]]) -> Response:
    """The answer; every error of ours becomes a page here and nowhere else."""
    try:
        return await answer(asked)
    except UnderstudyError as error:
        await site.api.hold(error)
        return site.trouble(asked, error)
    except ClientGoneError:
        raise
    except Exception as bug:  # noqa: BLE001 - the outermost place of a page
        site.api.hub.log.emit("critical", "Pages", f"Internal error in {asked.request.scope['path'][:100]}: {bug!r}")
        return site.trouble(asked, UnderstudyError("Internal error"))


async def _static(request: Any) -> Response:
    """A file of the fixed set; any version is answered with what there is now."""
    file = static_files().get(request.path_params["name"])
    if file is None:
        return Response("Not found", 404, HEADERS, "text/plain")
    is_current = request.path_params["version"] == static_version()
    headers = HEADERS | {
        "ETag": file.etag,
        "Cache-Control": YEAR if is_current else "no-cache",
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    if file.compressed and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.compressed, 200, headers | {"Content-Encoding": "gzip"}, file.media_type)
    return Response(file.content, 200, headers, file.media_type)


async def _manifest(_: Any) -> Response:
    """For those who install it on a phone."""
    icons = [
        {"src": static_path("icon.svg"), "type": "image/svg+xml", "sizes": "any"},
        *(
            {"src": static_path(f"icon-{size}.png"), "type": "image/png", "sizes": f"{size}x{size}"}
            for size in (192, 512)
        ),
    ]
    body = {
        "name": "understudy", "short_name": "understudy", "start_url": "/", "scope": "/", "display": "standalone",
        "background_color": "#ffffff", "theme_color": "#1f6f54", "icons": icons,
    }  # fmt: skip
    headers = HEADERS | {"Cache-Control": "public, max-age=86400"}
    return Response(msgspec.json.encode(body), 200, headers, "application/manifest+json")
