"""An ntfy on loopback: JSON publishing to topics, judging every body."""

from __future__ import annotations

import itertools
from typing import Any

from tests.fakes.server import Answer, FakeServer, Received, Step, Wrong, retry_after

KEYS = {"topic", "message", "title", "tags", "priority", "actions", "click", "markdown", "icon", "delay"}
CODES = {400: 40024, 401: 40101, 403: 40301, 413: 41301, 429: 42901, 500: 50001, 507: 50701}


class FakeNtfy(FakeServer):
    """`messages` in order; with a token every request needs it (Bearer, or Basic for `user:password`)."""

    def __init__(self, token: str = "tk_fake_token_for_tests") -> None:
        super().__init__()
        self.token = token
        self.messages: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)

    def judge(self, request: Received) -> None:
        if self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            raise Wrong("wrong token", self.refusal(Step(401)))
        if request.method not in {"POST", "PUT"} or request.path != "/":
            raise Wrong("JSON is published at the root", self.refusal(Step(404)))
        try:
            body = request.json
        except ValueError:
            raise Wrong("no JSON", self.refusal(Step(400))) from None
        for problem in problems_of(body):
            raise Wrong(problem, self.refusal(Step(400)))

    def answer(self, request: Received) -> Answer:
        self.messages.append(request.json)
        return Answer(200, {"id": f"ntfy{next(self._numbers):06}", "event": "message"} | request.json)

    def refusal(self, step: Step) -> Answer:
        body = {"code": CODES.get(step.status, step.status * 100), "http": step.status, "error": "refused by the fake"}
        return Answer(step.status, body | {"link": "https://ntfy.sh/docs/publish/"}, retry_after(step))


def problems_of(body: Any) -> list[str]:
    """What ntfy would refuse, or turn into something else."""
    if not isinstance(body, dict) or not body.get("topic"):
        return ["no topic"]
    found = [f"unknown key {name}" for name in body.keys() - KEYS]
    size = len(str(body.get("message", "")).encode())
    if not 0 < size <= 4096:
        found.append(f"{size} bytes of message: it would become an attachment")
    if body.get("priority", 3) not in {1, 2, 3, 4, 5}:
        found.append("no such priority")
    if not all(isinstance(tag, str) for tag in body.get("tags", [])):
        found.append("tags are words")
    return found
