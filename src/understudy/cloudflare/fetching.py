"""One HTTP exchange by `fetch`: the same verdicts as the transport of the server (runtime/transport.py).

Redirects are not followed: a key goes nowhere else. No secret is in a reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit, urlunsplit

from understudy.addresses import is_web_address, log_in_of
from understudy.wire.causes import CUT, REFUSED, TOO_SLOW, UNKNOWN_HOST, UNREACHABLE, UNSENDABLE
from understudy.wire.outbound import HttpAnswer, HttpRequest, NoAnswer

ANSWER_BYTES_MAX = 8 << 20
NOT_SENT = NoAnswer(UNSENDABLE, was_sent=False, is_local=True)
_UNSENT = (("refused", REFUSED), ("dns", UNKNOWN_HOST), ("resolve", UNKNOWN_HOST))  # words of workerd


class UnsendableError(Exception):
    """It is no request that can be sent: an address or a header that `fetch` does not take."""


class AnswerSoFar:
    """An answer as far as it has come."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.body = bytearray()

    def answer(self) -> HttpAnswer:
        """As far as it has come."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        return HttpAnswer(self.status, headers, bytes(memoryview(self.body)[:ANSWER_BYTES_MAX]))


# method, address, headers, body → nothing: the answer is what was heard
# raises UnsendableError, or whatever JavaScript throws
Fetch = Callable[[str, str, Mapping[str, str], bytes, AnswerSoFar], Awaitable[None]]


async def answer_of(request: HttpRequest, fetch: Fetch, user_agent: str) -> HttpAnswer | NoAnswer:
    """The answer, or why there is none, at the latest when `timeout_ms` is over."""
    if not is_web_address(request.url):
        return NOT_SENT
    url, headers = _addressed(request, user_agent)
    heard = AnswerSoFar()
    try:
        await asyncio.wait_for(fetch(request.method, url, headers, request.body, heard), request.timeout_ms / 1000)
    except TimeoutError:
        return NoAnswer(TOO_SLOW, was_sent=True, begun=heard.answer() if heard.status else None)
    except UnsendableError:
        return NOT_SENT
    except Exception as error:  # noqa: BLE001 - whatever JavaScript throws; its words may hold the address
        if heard.status:
            return NoAnswer(CUT, was_sent=True, begun=heard.answer())
        return _no_answer(str(error).lower())
    return heard.answer()


def _no_answer(words: str) -> NoAnswer:
    """Only what is certain was not sent: a call that may have been made is paid for."""
    reason = next((reason for word, reason in _UNSENT if word in words), "")
    return NoAnswer(reason or UNREACHABLE, was_sent=not reason)


def _addressed(request: HttpRequest, user_agent: str) -> tuple[str, dict[str, str]]:
    """Address and headers; `fetch` takes no name and password in an address."""
    parts = urlsplit(request.url)
    headers = {"user-agent": user_agent}
    if log_in := log_in_of(parts):
        headers["authorization"] = log_in
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return urlunsplit(parts), headers | {name.lower(): value for name, value in request.headers}
