"""The root of all answers, and the words that they share."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from understudy.clock import iso

T = TypeVar("T")
Yes = Annotated[bool, Meta(extra_json_schema={"const": True})]
No = Annotated[bool, Meta(extra_json_schema={"const": False})]
Instant = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]  # UTC, to the millisecond


class Answer(Struct, rename="camel", frozen=True, gc=False):
    """The answer of an operation or a view, or a part of it; the only place where names are in camelCase.

    A tree, so the garbage collector need not follow it (`gc`).
    """


class ErrorAnswer(Answer, frozen=True):
    """A refusal: `error` for people, `code` where programs must distinguish cases."""

    error: str
    code: str | UnsetType = UNSET
    details: list[str] | UnsetType = UNSET  # an entry for each field that is wrong
    message: str | UnsetType = UNSET
    status: str | UnsetType = UNSET  # of the task that does not allow it
    held_by: str | UnsetType = UNSET
    limit_bytes: int | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET  # seconds


class Done(Answer, frozen=True):
    """It is done; there is no more to say."""

    success: Yes


DONE = Done(success=True)


def one_of(*words: str) -> Meta:
    """For the schema: the words that a text can be."""
    return Meta(extra_json_schema={"enum": list(words)})


def if_any(value: T) -> T | UnsetType:
    """The value; no key where it is empty or 0."""
    return value or UNSET


def instant_if_any(at: int) -> str | UnsetType:
    """An instant, in ms since the epoch; no key where it is 0."""
    return iso(at) if at else UNSET


def as_stored(text: str) -> Any:
    """JSON text as the value that it is, unread: its field says which shape it was stored in."""
    return Raw(text.encode())
