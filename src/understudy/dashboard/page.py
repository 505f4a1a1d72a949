"""A page as data: its address, its template, the fragments that are kept up to date, the acts that it offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from understudy.api.endpoint import Endpoint
from understudy.hub.keys import Caller
from understudy.hub.views import View

ANONYMOUS = "pages"  # the line of reads in which fragments stand: what they show is nobody's own


class Given(Struct, frozen=True):
    """The facts that a fragment depends on beside the store: those with equal ones see the same bytes."""

    language: str
    scopes: frozenset[str]
    path: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()
    owner: str = ""  # of the session's own tasks, where it may steer no others; "": it may steer all, or none
    session: str = ""  # the id of the session, for fragments that mark it

    def __getitem__(self, name: str) -> str:
        """A parameter of the path, else of the query; "" if it is not there."""
        return dict((*self.query, *self.path)).get(name, "")

    @property
    def caller(self) -> Caller:
        """Somebody with these scopes, for views that ask."""
        return Caller(ANONYMOUS, self.scopes)

    def may_steer(self, submitter: str) -> bool:
        """True if the session may cancel, retry and move the tasks of this submitter."""
        return self.caller.may("work") or (self.caller.may("submit") and submitter == self.owner)


class Fragment(Struct, frozen=True):
    """A part of a page that is kept up to date: rendered once for all who look at it, sent if its bytes changed."""

    name: str  # of its template in `templates/fragments`, and of its place in the page
    show: Callable[[Given, View], Mapping[str, Any]]  # what its template is given
    nouns: frozenset[str] = frozenset()  # the first words of events after which it is rendered again: task, daemon, …
    every_s: float = 0  # and at least so often, for what changes without an event; 0: it does not
    pace_s: float = 0.25  # at most so often
    about: str = ""  # the part of the path that names its task: events of other tasks do not matter; "": all do
    is_common: bool = False  # it shows the same whatever the path and the query are
    is_own: bool = False  # it marks the session of who looks: rendered for each
    searches: Callable[[Given], bool] | None = None  # True if it may have to read everything: a search, not a look

    def is_search(self, given: Given) -> bool:
        """True if it stands in the line of searches."""
        return self.searches is not None and self.searches(given)


class Page(Struct, frozen=True):
    """A page; `pages.NAME.title` is its title."""

    path: str  # as Starlette writes it: `/tasks/{task_id}`
    name: str
    fragments: tuple[Fragment, ...] = ()
    show: Callable[[Given, View], Mapping[str, Any]] | None = None  # for what does not change while one looks
    query: tuple[str, ...] = ()  # the parameters of the query that it knows
    scopes: tuple[str, ...] = ("read",)
    under: str = ""  # the page of the navigation that it belongs to; "": itself

    @property
    def template(self) -> str:
        """Its file."""
        return f"{self.name}.html"


class FieldError(ValueError):
    """A field of a form that cannot be read; its text is a key of the catalogue that says what is expected."""


class Act(Struct, frozen=True):
    """A button or form: the operation of an endpoint, with a body made of the form's fields."""

    name: str
    path: str
    endpoint: Endpoint
    fields: Mapping[str, Callable[[str], Any]] = {}  # of the form that go into the body; FieldError, or ValueError
    result: str = ""  # the template that shows the answer, for what is shown once; "": back to the page
    page: str = ""  # the name of the page with its form, which says what was refused and keeps what was filled in
    required: frozenset[str] = frozenset()  # fields that are read even when they are empty
    is_once: bool = False  # its form has a name (`once`): sent again, it makes the same thing, with the same secret
    leads_to: Callable[[Any], str] | None = None  # from its answer to the page that follows; None: back to its own


class FormRefusal(Struct, frozen=True):
    """The reason why a form was refused, for the page that it is on."""

    fields: Mapping[str, str]  # by field, the key of a text
    said: tuple[str, ...] = ()  # what the endpoint says, in English
    status: int = 400
