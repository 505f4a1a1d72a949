"""A Discord on loopback: one webhook that posts and edits, judging every body against Discord's limits.

Words for `plan`: `unknown_message` (10008), `unknown_webhook` (10015), `unknown_channel` (10003), `invalid_form`
(50035), and the statuses; 429 carries `retry_after` in JSON too, `Step(429, "json_only", retry_after_s=1)` only there.

    with FakeDiscord() as discord:
        Target("d", "discord", address=discord.webhook)
        discord.messages["1001"]["embeds"][0]["title"]
"""

from __future__ import annotations

import itertools
from typing import Any

from tests.fakes.server import Answer, FakeServer, Received, Step, Wrong, retry_after
from tests.fakes.slack import units

PATH = "/api/webhooks/77/fake-webhook-token"
ERRORS = {
    "unknown_channel": (404, 10003, "Unknown Channel"),
    "unknown_message": (404, 10008, "Unknown Message"),
    "unknown_webhook": (404, 10015, "Unknown Webhook"),
    "invalid_form": (400, 50035, "Invalid Form Body"),
}
MESSAGES = {400: "Invalid Form Body", 401: "401: Unauthorized", 403: "Missing Access", 404: "Unknown Webhook"}


class FakeDiscord(FakeServer):
    """`messages` by id, edits applied; `threads` are the ids that exist."""

    def __init__(self, threads: tuple[str, ...] = ("500",)) -> None:
        super().__init__()
        self.threads = threads
        self.messages: dict[str, dict[str, Any]] = {}
        self._numbers = itertools.count(1001)

    @property
    def webhook(self) -> str:
        return f"{self.url}{PATH}"

    def judge(self, request: Received) -> None:
        if not request.path.startswith(PATH):
            raise Wrong("no such webhook", self._named("unknown_webhook"))
        thread = request.query.get("thread_id", [""])[0]
        if thread and thread not in self.threads:
            raise Wrong("no such thread", self._named("unknown_channel"))
        if request.headers.get("content-type") != "application/json":
            raise Wrong("content-type is not application/json", self._named("invalid_form"))
        try:
            body = request.json
        except ValueError:
            raise Wrong(
                "no JSON", Answer(400, {"code": 50109, "message": "The request body contains invalid JSON."})
            ) from None
        for problem in problems_of(body):
            raise Wrong(problem, self._named("invalid_form"))
        if request.method == "PATCH":
            known = self.messages.get(request.path.removeprefix(f"{PATH}/messages/"))
            if known is None or known["thread"] != thread:
                raise Wrong("no such message", self._named("unknown_message"))
        elif request.method != "POST" or request.path != PATH:
            raise Wrong("no such address", Answer(405, {"code": 0, "message": "405: Method Not Allowed"}))
        elif request.query.get("wait") != ["true"]:
            raise Wrong("without wait=true no id comes back", Answer(204))

    def answer(self, request: Received) -> Answer:
        ids = request.path.removeprefix(f"{PATH}/messages/") if request.method == "PATCH" else str(next(self._numbers))
        thread = request.query.get("thread_id", [""])[0]
        self.messages[ids] = self.messages.get(ids, {}) | request.json | {"thread": thread}
        return Answer(200, {"id": ids, "channel_id": thread or "400", "content": request.json.get("content", "")})

    def refusal(self, step: Step) -> Answer:
        if step.word in ERRORS:
            return self._named(step.word)
        if step.status == 429:
            body = {"message": "You are being rate limited.", "retry_after": step.retry_after_s or 0, "global": False}
            return Answer(429, body, {} if step.word == "json_only" else retry_after(step))
        return Answer(step.status, {"message": MESSAGES.get(step.status, "Internal"), "code": 0}, retry_after(step))

    def _named(self, word: str) -> Answer:
        status, code, message = ERRORS[word]
        return Answer(status, {"message": message, "code": code})


def problems_of(body: Any) -> list[str]:
    """What Discord would refuse, and mentions that would ping."""
    if not isinstance(body, dict):
        return ["the body is no object"]
    content, embeds = body.get("content") or "", body.get("embeds") or []
    found = [] if content.strip() or embeds else ["an empty message"]
    if units(content) > 2000:
        found.append("content is longer than 2000")
    if body.get("allowed_mentions") != {"parse": []}:
        found.append("mentions would ping")
    if len(embeds) > 10:
        found.append("more than 10 embeds")
    if sum(map(size_of, embeds)) > 6000:
        found.append("embeds are longer than 6000 in all")
    return found + [problem for embed in embeds for problem in problems_of_embed(embed)]


def problems_of_embed(embed: dict[str, Any]) -> list[str]:
    """What is wrong with one embed."""
    fields = embed.get("fields", [])
    found = ["more than 25 fields"] if len(fields) > 25 else []
    limits = [("title", embed.get("title", ""), 256), ("description", embed.get("description", ""), 4096)]
    found += [f"{name} is longer than {limit}" for name, text, limit in limits if units(text) > limit]
    for field in fields:
        found += [
            f"{name} of a field has {units(field[name])} characters"
            for name, limit in (("name", 256), ("value", 1024))
            if not field[name].strip() or units(field[name]) > limit
        ]
    return found if size_of(embed) else [*found, "an empty embed"]


def size_of(embed: dict[str, Any]) -> int:
    """What counts towards the 6000."""
    fields = "".join(field["name"] + field["value"] for field in embed.get("fields", []))
    return units(embed.get("title", "") + embed.get("description", "") + fields)
