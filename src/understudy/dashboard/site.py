"""Everything that the pages of one hub share: who may come in, what is live, how a page becomes a response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace
from starlette.responses import RedirectResponse, Response

from understudy.api.context import Api
from understudy.dashboard.asked import Asked, ProxyTrust
from understudy.dashboard.doorman import Doorman
from understudy.dashboard.frame import NAVIGATION, STANDING
from understudy.dashboard.live import Live, RenderedFragment, shown_of
from understudy.dashboard.once import FORM
from understudy.dashboard.page import ANONYMOUS, Act, FormRefusal, Fragment, Given, Page
from understudy.dashboard.render import Buttons, given_values, rendered
from understudy.dashboard.safety import PAGE_HEADERS
from understudy.dashboard.static_files import static_version
from understudy.errors import SlowReadError, TooManyRequestsError, UnavailableError, UnderstudyError
from understudy.hub.keys import Caller
from understudy.hub.views import View

SEE_OTHER = 303


class Site:
    """The pages of one hub."""

    def __init__(
        self, api: Api, trust: ProxyTrust, pages: tuple[Page, ...], acts: tuple[Act, ...], public_url: str
    ) -> None:
        self.api = api
        self.pages = pages
        self.acts = acts
        self.public_url = public_url
        self.doorman = Doorman(api, trust)
        self._in_order = [page for name in NAVIGATION for page in pages if page.name == name]
        self._acts = {act.name: act for act in acts}
        self.live = Live(api.hub, self.fragment_html, self._held)

    async def _held(self, session_ids: tuple[str, ...]) -> frozenset[str]:
        await self.api.load_keys()  # a key that was revoked just now counts as such
        return frozenset(await self.doorman.load(session_ids, ANONYMOUS))

    # ---- fragments

    def given(self, page: Page, asked: Asked) -> Given:
        """The facts that the fragments of this page depend on, for this request."""
        path = tuple(sorted((name, str(value)) for name, value in asked.request.path_params.items()))
        query = tuple((name, value) for name in page.query if (value := asked.query(name)))
        session = asked.session.id if asked.session is not None else ""
        return Given(asked.language, asked.caller.scopes, path, query, _owner_of(asked.caller), session)

    def fragments(self, page: Page, given: Given) -> list[tuple[Fragment, Given]]:
        """Those of the frame around each page, and its own."""
        common = Given(given.language, given.scopes)
        shared = replace(given, session="")
        own = ((f, given if f.is_own else common if f.is_common else shared) for f in page.fragments)
        return [(STANDING, common), *own]

    def fragment_html(self, fragment: Fragment, given: Given, view: View) -> str:
        """A fragment as it is now; called where reads are."""
        values = given_values(given, self._acts, fragment.show(given, view))
        return rendered(f"fragments/{fragment.name}.html", given.language, values)

    async def _searched(self, fragment: Fragment, given: Given, asked: Asked) -> RenderedFragment:
        """A fragment that searches, in the line of searches of this key; in its place the reason why there is none."""
        if (known := self.live.shown(fragment, given)) is not None:
            return known
        try:
            return shown_of(fragment.name, await self._search(fragment, given, asked.caller.key_id))
        except (UnavailableError, TooManyRequestsError) as error:
            word = "too_slow" if isinstance(error, SlowReadError) else "too_many"
            values = {"word": word, "retry_s": error.fields.get("retryAfter", 1)}
            return RenderedFragment(fragment.name, rendered("fragments/search_failed.html", given.language, values), "")

    async def _search(self, fragment: Fragment, given: Given, key_id: str) -> str:
        return await self.api.hub.search(key_id, lambda view: self.fragment_html(fragment, given, view))

    # ---- pages

    async def page(
        self, page: Page, asked: Asked, refused: FormRefusal | None = None, form: Mapping[str, str] | None = None
    ) -> Response:
        """The whole page, as it is now; with the form that was refused, if one was."""
        given, live = self.given(page, asked), self.live
        wanted = self.fragments(page, given)
        known = {fragment.name: live.shown(fragment, own) for fragment, own in wanted}
        known |= {f.name: await self._searched(f, own, asked) for f, own in wanted if f.is_search(own)}
        frame = self.frame(asked, page.name) | {"refused": refused, "form": form or {}}

        def show(view: View) -> str:
            shown = {f.name: known[f.name] or shown_of(f.name, self.fragment_html(f, own, view)) for f, own in wanted}
            values = page.show(given, view) if page.show is not None else {}
            more = {"live": _live_of(shown), "page": page, "parts": shown}
            return rendered(page.template, asked.language, {**frame, **given_values(given, self._acts, values), **more})

        html = await self.api.hub.view(show, asked.caller.key_id)
        return self.html(asked, html, refused.status if refused is not None else 200)

    def page_named(self, name: str) -> Page:
        """The page."""
        return next(page for page in self.pages if page.name == name)

    def frame(self, asked: Asked, name: str) -> dict[str, Any]:
        """The values for the layout, with or without a session; only pages that it may see are linked."""
        return {
            "asked": asked,
            "name": name,
            "navigation": [page for page in self._in_order if asked.session and asked.caller.may(*page.scopes)],
            "token": asked.token,
            "now_ms": self.api.hub.clock.now_ms(),
            "version": self.api.hub.version,
            "static_version": static_version(),
            "parts": {},
            "once": self.api.hub.ids.new(FORM),  # a name for what a form makes, so that it is made once
            "refused": None,
            "form": {},
        }

    def plain(self, asked: Asked, template: str, status: int = 200, /, **values: Any) -> Response:
        """A page that shows nothing of the store."""
        name = template.removesuffix(".html")
        caller = {"button": Buttons(self._acts, asked.caller)} if asked.session is not None else {}
        html = rendered(template, asked.language, {**self.frame(asked, name), **caller, **values})
        return self.html(asked, html, status)

    def html(self, asked: Asked, html: str, status: int = 200) -> Response:
        """A page as a response."""
        return asked.with_cookies(Response(html, status, PAGE_HEADERS, "text/html; charset=utf-8"))

    def trouble(self, asked: Asked, error: UnderstudyError) -> Response:
        """An error as a page, in words for people."""
        response = self.plain(asked, "trouble.html", error.status, status=error.status)
        if "retryAfter" in error.fields:
            response.headers["Retry-After"] = str(error.fields["retryAfter"])
        return response

    def see(self, asked: Asked, path: str) -> Response:
        """On to another page of ours."""
        return asked.with_cookies(RedirectResponse(path, SEE_OTHER, PAGE_HEADERS))


def _owner_of(caller: Caller) -> str:
    """The owner of the only tasks that a session may steer; "" if it may steer all or none."""
    return caller.owner if caller.may("submit") and not caller.may("work") else ""


def _live_of(shown: Mapping[str, RenderedFragment]) -> Any:
    """`live("NAME")` in a template: the place of a fragment, with what it shows now."""
    from markupsafe import Markup  # noqa: PLC0415 - with the engine

    def live(name: str, kind: str = "") -> Markup:
        part = shown[name]
        place = Markup('<div data-live="{}" data-mark="{}" class="live {}">').format(name, part.mark, kind)
        return place + Markup(part.html) + Markup("</div>")  # noqa: S704 - it was escaped when it was rendered

    return live
