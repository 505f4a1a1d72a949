"""A request by `fetch` comes to the same verdicts as on the server, and no secret is in any of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from understudy.cloudflare.fetching import ANSWER_BYTES_MAX, NOT_SENT, AnswerSoFar, UnsendableError, answer_of
from understudy.wire.outbound import HttpAnswer, HttpRequest, NoAnswer

Asked = tuple[str, str, dict[str, str], bytes]


def ask(request: HttpRequest, outcome: Any) -> tuple[HttpAnswer | NoAnswer, list[Asked]]:
    asked: list[Asked] = []

    async def fetch(method: str, url: str, headers: Mapping[str, str], body: bytes, heard: AnswerSoFar) -> None:
        asked.append((method, url, dict(headers), body))
        for part in outcome if isinstance(outcome, list) else [outcome]:
            if part == "never":
                await asyncio.Event().wait()
            if isinstance(part, Exception):
                raise part
            heard.status, heard.headers, heard.body = part[0], part[1], bytearray(part[2])

    return asyncio.run(answer_of(request, fetch, "understudy/1")), asked


def test_a_request_goes_out_as_it_is_and_its_answer_comes_back() -> None:
    request = HttpRequest("POST", "https://u%40x:p@hooks.test/in?a=1", (("Content-Type", "application/json"),), b"{}")
    answer, asked = ask(request, (201, {"Retry-After": "3"}, b"ok" + bytes(ANSWER_BYTES_MAX)))
    assert isinstance(answer, HttpAnswer)
    assert (answer.status, answer.headers) == (201, {"retry-after": "3"})
    assert len(answer.body) == ANSWER_BYTES_MAX
    headers = {"user-agent": "understudy/1", "authorization": "Basic dUB4OnA=", "content-type": "application/json"}
    assert asked == [("POST", "https://hooks.test/in?a=1", headers, b"{}")]


def test_what_takes_too_long_is_cut() -> None:
    answer, _ = ask(HttpRequest("GET", "https://hooks.test/", timeout_ms=1), "never")
    assert answer == NoAnswer("too slow", was_sent=True)


@pytest.mark.parametrize(
    ("then", "reason"), [("never", "too slow"), (RuntimeError("Network connection lost."), "connection cut")]
)
def test_of_an_answer_that_breaks_off_there_is_what_had_come(then: Any, reason: str) -> None:
    """A webhook confirms by its status: without it the same notice would be sent for a day and a half."""
    answer, _ = ask(HttpRequest("POST", "https://hooks.test/", timeout_ms=50), [(200, {"X-A": "b"}, b"o"), then])
    assert answer == NoAnswer(reason, begun=HttpAnswer(200, {"x-a": "b"}, b"o"))


@pytest.mark.parametrize(
    ("words", "reason", "was_sent"),
    [
        ("Error: connect(): Connection refused; peer = https://secret.test/", "connection refused", False),
        ("Error: DNS lookup failed.; params.host = secret.test", "unknown host", False),
        ("Error: Network connection lost. https://secret.test/", "network unreachable", True),
    ],
)
def test_only_what_was_certainly_not_sent_costs_nothing(words: str, reason: str, was_sent: bool) -> None:
    answer, _ = ask(HttpRequest("GET", "https://secret.test/"), RuntimeError(words))
    assert answer == NoAnswer(reason, was_sent=was_sent)


@pytest.mark.parametrize(
    "url", ["https://", "ftp://hooks.test/", "https://hooks.test:99999/", "https://[::1/", "hooks"]
)
def test_an_address_that_nobody_can_call_is_known_as_not_sent(url: str) -> None:
    assert ask(HttpRequest("GET", url), (200, {}, b"")) == (NOT_SENT, [])


def test_a_request_that_fetch_does_not_take_is_known_as_not_sent() -> None:
    answer, _ = ask(HttpRequest("GET", "https://hooks.test/", (("X-Key", "a\nb"),)), UnsendableError())
    assert answer == NoAnswer("cannot be sent", was_sent=False, is_local=True)
