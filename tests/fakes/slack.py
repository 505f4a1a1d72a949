"""A Slack on loopback: incoming webhook and Web API (`chat.postMessage`, `chat.update`), judging every body.

Words for `plan`: any error of the Web API (`"channel_not_found"`, `"invalid_auth"`, `"invalid_blocks"`...: 200 with
`ok: false`, as Slack does) and the statuses; a webhook answers errors in text.

    with FakeSlack() as slack:
        Target("s", "slack", address=slack.api, chat="C1", secret=slack.token)
        Target("w", "slack_webhook", address=slack.webhook)
        slack.messages["C1"][ts]["text"]
"""

from __future__ import annotations

import itertools
from typing import Any

from tests.fakes.server import Answer, FakeServer, Received, Step, Wrong, retry_after

TEXT_MAX = 40_000
BLOCKS_MAX = 50
SECTION_MAX = 3000
FIELD_MAX = 2000
HEADER_MAX = 150


class FakeSlack(FakeServer):
    """`messages` is what stands in each channel by ts, edits applied; a webhook posts to `hook`."""

    def __init__(self, token: str = "xoxb-fake-token-for-tests", channels: tuple[str, ...] = ("C1", "C2")) -> None:
        super().__init__()
        self.token = token
        self.messages: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in (*channels, "hook")}
        self._numbers = itertools.count(1)

    @property
    def api(self) -> str:
        return f"{self.url}/api"

    @property
    def webhook(self) -> str:
        return f"{self.url}/services/T1/B1/fake-secret-path"

    def judge(self, request: Received) -> None:
        is_hook = request.path == "/services/T1/B1/fake-secret-path"
        if request.method != "POST" or not (is_hook or request.path.startswith("/api/chat.")):
            raise Wrong(
                "no such address", Answer(404, b"no_service" if is_hook else {"ok": False, "error": "unknown_method"})
            )
        if not is_hook and request.headers.get("authorization") != f"Bearer {self.token}":
            raise Wrong("wrong token", self._no("invalid_auth"))
        if request.headers.get("content-type") != "application/json; charset=utf-8":
            raise self._wrong(is_hook, "invalid_payload", "content-type is not application/json; charset=utf-8")
        try:
            body = request.json
        except ValueError:
            raise self._wrong(is_hook, "invalid_payload", "no JSON") from None
        for error, problem in problems_of(body):
            raise self._wrong(is_hook, error, problem)
        if not is_hook:
            self._judge_place(request.path, body)

    def _judge_place(self, path: str, body: dict[str, Any]) -> None:
        there = self.messages.get(body.get("channel", ""))
        if there is None:
            raise Wrong("unknown channel", self._no("channel_not_found"))
        if path == "/api/chat.update" and body.get("ts") not in there:
            raise Wrong("no such message", self._no("message_not_found"))
        if path == "/api/chat.update" and body.get("parse") != "none":
            raise Wrong("chat.update reads mentions unless parse is none", self._no("invalid_arguments"))
        if "thread_ts" in body and body["thread_ts"] not in there:
            raise Wrong("no such thread", self._no("thread_not_found"))

    def answer(self, request: Received) -> Answer:
        body = request.json
        if not request.path.startswith("/api/"):
            self._post("hook", body)
            return Answer(200, b"ok")
        channel = body["channel"]
        ts = body["ts"] if request.path == "/api/chat.update" else self._post(channel, body)
        self.messages[channel][ts] = body
        return Answer(200, {"ok": True, "channel": channel, "ts": ts, "message": {"text": body["text"]}})

    def refusal(self, step: Step) -> Answer:
        if step.word:
            return self._no(step.word)
        error = {
            429: "ratelimited",
            401: "invalid_auth",
            400: "invalid_payload",
            404: "no_service",
            403: "invalid_token",
        }
        return Answer(step.status, error.get(step.status, "internal error").encode(), retry_after(step))

    def _post(self, channel: str, body: dict[str, Any]) -> str:
        ts = f"1795363200.{next(self._numbers):06}"
        self.messages[channel][ts] = body
        return ts

    def _no(self, error: str) -> Answer:
        return Answer(200, {"ok": False, "error": error})

    def _wrong(self, is_hook: bool, error: str, problem: str) -> Wrong:
        return Wrong(problem, Answer(400, error.encode()) if is_hook else self._no(error))


def problems_of(body: Any) -> list[tuple[str, str]]:
    """(error, problem) for each thing that Slack would refuse."""
    if not isinstance(body, dict):
        return [("invalid_payload", "the body is no object")]
    text, blocks = body.get("text", ""), body.get("blocks", [])
    found = [] if str(text).strip() or blocks else [("no_text", "neither text nor blocks")]
    if units(text) > TEXT_MAX:
        found.append(("msg_too_long", "text is too long"))
    if len(blocks) > BLOCKS_MAX:
        found.append(("invalid_blocks", "too many blocks"))
    return found + [("invalid_blocks", problem) for block in blocks for problem in problems_of_block(block)]


def problems_of_block(block: dict[str, Any]) -> list[str]:
    """What is wrong with one block."""
    if block["type"] == "header":
        return too_long(block["text"], HEADER_MAX, "plain_text")
    if block["type"] != "section":
        return [f"block of type {block['type']}"]
    fields = block.get("fields", [])
    problems = ["neither text nor fields"] if not fields and "text" not in block else []
    problems += ["more than 10 fields"] if len(fields) > 10 else []
    problems += too_long(block["text"], SECTION_MAX, "mrkdwn") if "text" in block else []
    return problems + [problem for one in fields for problem in too_long(one, FIELD_MAX, "mrkdwn")]


def too_long(text: dict[str, Any], limit: int, kind: str) -> list[str]:
    """What is wrong with a text object."""
    size = units(text["text"])
    problems = [] if text["type"] == kind else [f"text of type {text['type']}, not {kind}"]
    return problems + ([] if 0 < size <= limit else [f"{size} characters in a text of at most {limit}"])


def units(text: str) -> int:
    """UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
