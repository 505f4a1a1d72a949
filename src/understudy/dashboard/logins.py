"""Getting in and out: a one-time link, a key in a form, the logout."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.routing import Route

from understudy.api.connections import address_of
from understudy.api.respond import ClientGoneError
from understudy.dashboard.asked import Asked
from understudy.dashboard.safety import is_ahead_of_time, is_from_us, own_path
from understudy.dashboard.site import Site
from understudy.errors import ForbiddenError, NotFoundError, TooManyRequestsError, UnauthorizedError, UnderstudyError
from understudy.hub.sessions import LOGIN_PATH, FollowLoginLink
from understudy.texts import LANGUAGES

SECRET_CHARS_MAX = 128
LOGIN_BYTES_MAX = 16 << 10  # of a form that strangers send
LOGIN_TEMPLATE = "login.html"
Answer = Callable[[Site, Asked], Awaitable[Response]]


def login_routes(site: Site) -> list[Route]:
    """The routes that need no session."""
    return [
        Route("/login", _LoginApp(site, {"GET": _show, "HEAD": _show, "POST": _take_key})),
        Route(f"{LOGIN_PATH}{{secret}}", _LoginApp(site, {"GET": _follow, "HEAD": _wait_for_person})),
        Route("/logout", _LoginApp(site, {"POST": _leave})),
    ]


class _LoginApp:
    """One address and its methods."""

    def __init__(self, site: Site, methods: dict[str, Answer]) -> None:
        self._site = site
        self._methods = methods

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer; a wrong key or link counts as wrong keys of the API do, and is held up as long."""
        site, asked = self._site, Asked(scope, receive, self._site.public_url)
        answer = self._methods.get(scope["method"])
        try:
            if answer is None:
                raise NotFoundError
            response = await answer(site, asked)
        except ClientGoneError:
            return
        except (UnauthorizedError, TooManyRequestsError) as error:
            await site.api.hold(error)
            response = _refused(site, asked, error)
        except UnderstudyError as error:
            response = site.trouble(asked, error)
        await response(scope, receive, send)


def _refused(site: Site, asked: Asked, error: UnderstudyError) -> Response:
    is_link = asked.request.scope["path"].startswith(LOGIN_PATH)
    word = "too_many" if isinstance(error, TooManyRequestsError) else "bad_link" if is_link else "bad_key"
    if is_link:
        asked.show_again("/login")  # in another language, the page does not try the link once more
    return site.plain(asked, LOGIN_TEMPLATE, error.status, trouble=word, next=_wanted(asked))


def login_path(wanted: str) -> str:
    """The login, and from there back to where somebody wanted to go."""
    return "/login" if wanted == "/" else f"/login?next={quote(wanted, safe='/=')}"


def _wanted(asked: Asked) -> str:
    """The path of the page to which the login leads."""
    return own_path(QueryParams(asked.path.partition("?")[2]).get("next", "/"))


async def _show(site: Site, asked: Asked) -> Response:
    wanted = _wanted(asked)
    language = asked.query("lang")
    if language in LANGUAGES:
        asked.keep_language(language)
        asked.language = language
    elif await site.doorman.admit(asked):
        return site.see(asked, wanted)
    return site.plain(asked, LOGIN_TEMPLATE, trouble="", next=wanted)


async def _take_key(site: Site, asked: Asked) -> Response:
    """A key that was pasted: a session with its scopes. A missing one is no guess."""
    form = await asked.form(LOGIN_BYTES_MAX)
    if not is_from_us(asked.headers, asked.public_url):
        raise ForbiddenError(code="foreign")
    wanted = own_path(form.get("next", "/"))
    asked.show_again(login_path(wanted))  # a key that is refused can be corrected there
    secret = form.get("key", "").strip()
    if not secret:
        raise UnauthorizedError
    caller = await site.api.caller_with(secret, asked.request.client)
    await site.doorman.begin_with_key(asked, caller)
    return site.see(asked, wanted)


async def _wait_for_person(site: Site, asked: Asked) -> Response:
    """The link is not used up by who only looks where it leads."""
    return site.plain(asked, LOGIN_TEMPLATE, trouble="", next="/")


async def _follow(site: Site, asked: Asked) -> Response:
    """A login link: works once."""
    if is_ahead_of_time(asked.headers):
        return await _wait_for_person(site, asked)
    login, secret = site.doorman.new_login(asked)
    wanted = asked.request.path_params["secret"][:SECRET_CHARS_MAX]
    try:
        session = await site.api.hub.decide(FollowLoginLink(wanted, login, site.api.keys.is_same))
    except NotFoundError:
        site.api.limit.wrong_key(address_of(asked.request.client))
        raise
    await site.doorman.welcome(asked, session, secret)
    return site.see(asked, "/")


async def _leave(site: Site, asked: Asked) -> Response:
    """The logout: the session ends, in all its pages."""
    form = await asked.form(LOGIN_BYTES_MAX)
    if not is_from_us(asked.headers, asked.public_url):  # a browser sends no cookie then, but would forget it
        raise ForbiddenError(code="foreign")
    if await site.doorman.admit(asked):
        site.doorman.check_act(asked, form.get("token", ""))
        await site.doorman.end(asked)
        asked.session = None
    asked.forget_session()
    return site.see(asked, "/login")
