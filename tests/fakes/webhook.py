"""Anybody's webhook on loopback: checks signature and shape, and notices repetitions by their key.

`FakeWebhook(secret="s", format="pagerduty")`: plain, pagerduty, teams or alertmanager. `keys` are the delivery keys
in order of arrival, `deliveries` the bodies by key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from typing import Any

from tests.fakes.server import Answer, FakeServer, Received, Step, Wrong, retry_after

PLAIN_KEYS = {"key", "kind", "level", "about", "title", "text", "facts", "links", "linkFull", "chat", "thread"}
PATHS = {"plain": "/hook", "pagerduty": "/v2/enqueue", "teams": "/workflows/1", "alertmanager": "/api/v2/alerts"}


class FakeWebhook(FakeServer):
    """`is_fresh`: refuse timestamps more than 300 s off this machine's clock."""

    def __init__(self, secret: str = "fake-signing-secret", format: str = "plain", *, is_fresh: bool = True) -> None:  # noqa: A002
        super().__init__()
        self.secret = secret
        self.format = format
        self.is_fresh = is_fresh
        self.deliveries: dict[str, Any] = {}

    @property
    def address(self) -> str:
        return self.url if self.format == "alertmanager" else self.url + PATHS[self.format]

    @property
    def keys(self) -> list[str]:
        return [request.headers["x-understudy-delivery"] for request in self.received]

    def judge(self, request: Received) -> None:
        if request.method != "POST" or request.path != PATHS[self.format]:
            raise Wrong("no such address", self.refusal(Step(404)))
        if request.headers.get("content-type") != "application/json" or not request.headers.get(
            "x-understudy-delivery"
        ):
            raise Wrong("content-type or delivery key is missing", self.refusal(Step(400)))
        if self.format in {"plain", "teams"} and self.secret:
            self._judge_signature(request)
        try:
            problem = _PROBLEMS[self.format](request.json, self.secret)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            problem = f"malformed: {error!r}"
        if problem:
            raise Wrong(problem, self.refusal(Step(400)))

    def _judge_signature(self, request: Received) -> None:
        timestamp = request.headers.get("x-understudy-timestamp", "")
        said = request.headers.get("x-understudy-signature", "")
        base = b"v0:" + timestamp.encode() + b":" + request.body
        if not hmac.compare_digest("v0=" + hmac.new(self.secret.encode(), base, hashlib.sha256).hexdigest(), said):
            raise Wrong("wrong signature", self.refusal(Step(401)))
        if self.is_fresh and abs(int(timestamp) - time.time()) > 300:
            raise Wrong("stale timestamp", self.refusal(Step(401)))

    def answer(self, request: Received) -> Answer:
        self.deliveries[request.headers["x-understudy-delivery"]] = request.json
        if self.format == "pagerduty":
            return Answer(
                202, {"status": "success", "message": "Event processed", "dedup_key": request.json["dedup_key"]}
            )
        return Answer(202 if self.format == "teams" else 200)

    def refusal(self, step: Step) -> Answer:
        return Answer(
            step.status, {"status": "refused", "message": step.word or "refused by the fake"}, retry_after(step)
        )


def _plain(body: Any, secret: str) -> str:
    return "" if body.keys() == PLAIN_KEYS else f"keys {sorted(body)}"


def _pagerduty(body: Any, secret: str) -> str:
    if body["routing_key"] != secret:
        return "wrong routing key"
    if body["event_action"] not in {"trigger", "acknowledge", "resolve"} or not 0 < len(body["dedup_key"]) <= 255:
        return "wrong action or dedup_key"
    payload = body["payload"]
    if payload["severity"] not in {"critical", "error", "warning", "info"} or not 0 < len(payload["summary"]) <= 1024:
        return "wrong severity or summary"
    return "" if payload["source"] and all(link["href"] for link in body["links"]) else "no source, or an empty link"


def _teams(body: Any, secret: str) -> str:
    (attachment,) = body["attachments"]
    card = attachment["content"]
    if len(json.dumps(body, ensure_ascii=False).encode()) > 28_000:
        return "a card of more than 28 KB"
    if body["type"] != "message" or attachment["contentType"] != "application/vnd.microsoft.card.adaptive":
        return "no adaptive card"
    texts = [run["text"] for block in card["body"] for run in block["inlines"] if block["type"] == "RichTextBlock"]
    if card["type"] != "AdaptiveCard" or not texts or not all(texts):
        return "no text in the card"
    return "" if all(action["url"].startswith("http") for action in card["actions"]) else "an action without URL"


def _alertmanager(body: Any, secret: str) -> str:
    for alert in body:
        texts = [*alert["labels"].values(), *alert["annotations"].values()]
        if not all(isinstance(text, str) and text for text in texts) or "alertname" not in alert["labels"]:
            return "labels and annotations are texts, never empty"
        if not alert["endsAt"].endswith("Z"):
            return "endsAt is no instant"
    return "" if body else "no alerts"


_PROBLEMS = {"plain": _plain, "pagerduty": _pagerduty, "teams": _teams, "alertmanager": _alertmanager}
