"""Failures of assistants: one table from their texts to a stable class, and what that shows about the login."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import NamedTuple

from understudy.services.claude import OVERLOADED
from understudy.texts import t
from understudy.worker.executors import Ended, Outcome
from understudy.worker.executors.fault_words import OTHER, fault_of

REASON_CHARS_MAX = 1_000
WORDS_CHARS_MAX = 8_000  # of what is looked at, from each end: an answer may be megabytes long


class Failure(NamedTuple):
    """A class; whether trying again is useless; what it shows about the login; whether nothing was done yet."""

    name: str
    is_final: bool = False
    auth: str = ""


_LOGGED_OUT = (
    r"not logged in|please run /login|log ?in again|codex login|invalid.{0,80}api.?key|missing bearer|unauthorized"
    r"|authentication|\b401\b"
)
_NO_CREDIT = r"credit balance|insufficient.?quota|exceeded your current quota|billing|usage limit|spend.?limit"
# By what is said, first match wins; both assistants use the words of their APIs.
_BY_WORDS = (
    (r"keychain.{0,200}(lock|interaction)|lock.{0,200}keychain", Failure("auth", auth="keychain_locked")),
    (
        r"(token|login|session|credential)s? (has |have |is |was )?expired|expired.{0,80}token",
        Failure("auth", auth="expired"),
    ),
    (_LOGGED_OUT, Failure("auth", auth="logged_out")),
    (_NO_CREDIT, Failure("credit", auth="no_credit")),
    (r"rate.?limit|too many requests|\b429\b", Failure("rate_limited")),
    (r"overloaded|at capacity|\b529\b|\b503\b", Failure("overloaded")),
    (r"context window|prompt is too long|maximum context", Failure("too_long", is_final=True)),
    (r"(?<!conn)(?<!connection )refus", Failure("refused", is_final=True)),  # a connection is refused by no model
)
_BY_STATUS = {
    401: Failure("auth", auth="logged_out"),
    402: Failure("credit", auth="no_credit"),
    403: Failure("auth", auth="logged_out"),
    429: Failure("rate_limited"),
    503: Failure("overloaded"),
    OVERLOADED: Failure("overloaded"),
}


def api_failure(status: int, words: str) -> Failure:
    """The class of an error of the API behind an assistant; `status` 0 if it is not known.

    The status decides, but words tell more about a login; and a limit on spending comes as 429 too, which no
    waiting fixes.
    """
    if len(words) > 2 * WORDS_CHARS_MAX:
        words = f"{words[:WORDS_CHARS_MAX]}\n{words[-WORDS_CHARS_MAX:]}"
    said = next((f for pattern, f in _BY_WORDS if re.search(pattern, words, re.IGNORECASE | re.DOTALL)), None)
    known = _BY_STATUS.get(status)
    if known is None:
        is_refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
        return said or Failure("api_error", is_final=is_refused)
    return said if said is not None and said.auth and (known.auth or said.name == "credit") else known


_NAMES_OPTION = re.compile(r"--[a-z]|\b(option|argument|usage)s?\b", re.IGNORECASE)


def not_begun(fault: str, words: str, *, is_usage: bool = False) -> Failure:
    """The failure of a process that ended before it did anything: its machine's fault until it shows to be the task's.

    Nothing of a task is among its arguments, so a call that it refuses is refused for each task alike.
    """
    if not fault and (is_usage or _NAMES_OPTION.search(words[-WORDS_CHARS_MAX:])):
        return Failure("usage", is_final=True, auth=OTHER)
    return Failure("exit_code", auth=fault or OTHER)


def not_ready(probed: Ended, words: str, *, is_logged_out: bool) -> str:
    """The word for a check of the login that did not end well: what it said of the login, or why it said nothing."""
    if fault := fault_of(probed, words):
        return fault
    if said := api_failure(0, words).auth:
        return said
    if is_logged_out:
        return "logged_out"
    return "unknown" if probed.was_interrupted else OTHER


def failed(failure: Failure, cli: str, reason: str, *, is_untouched: bool = False) -> Outcome:
    """The outcome, with a sentence for people: the failure in the assistant's own words, and the fix."""
    words = reason.strip()[:REASON_CHARS_MAX]
    key = f"executors.{failure.name}"
    return Outcome(
        success=False,
        error=t(key, cli=cli, reason=words or "–"),
        failure_class=failure.name,
        failure_final=failure.is_final,
        auth=failure.auth,
        is_untouched=is_untouched and bool(failure.auth),
    )
