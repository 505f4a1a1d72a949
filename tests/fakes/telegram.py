"""A Telegram Bot API on loopback: `sendMessage` and `editMessageText`, judging every body.

Words for `plan`: `cant_parse` (400), `not_modified` (400), `edit_not_found` (400), `thread_not_found` (400),
`chat_not_found` (400), `migrated` (400), `blocked` (403), and the statuses; 429 says when in `parameters`.

    with FakeTelegram() as telegram:
        Target("t", "telegram", address=telegram.url, chat="-100", secret=telegram.token)
        telegram.messages["-100"][1]["text"]
"""

from __future__ import annotations

import itertools
from typing import Any

from tests.fakes.server import Answer, FakeServer, Received, Step, Wrong
from tests.fakes.slack import units

DESCRIPTIONS = {
    "cant_parse": (400, "Bad Request: can't parse entities: Can't find end of the entity starting at byte offset 7"),
    "not_modified": (400, "Bad Request: message is not modified: specified new message content is the same"),
    "edit_not_found": (400, "Bad Request: message to edit not found"),
    "thread_not_found": (400, "Bad Request: message thread not found"),
    "chat_not_found": (400, "Bad Request: chat not found"),
    "too_long": (400, "Bad Request: message is too long"),
    "empty": (400, "Bad Request: message text is empty"),
    "migrated": (400, "Bad Request: group chat was upgraded to a supergroup chat"),
    "blocked": (403, "Forbidden: bot was blocked by the user"),
    "unauthorized": (401, "Unauthorized"),
    "not_found": (404, "Not Found"),
}
STATUSES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden: bot was kicked",
    404: "Not Found",
    429: "Too Many Requests",
}


class FakeTelegram(FakeServer):
    """`messages` by chat and id, edits applied; `topics` are the thread ids that exist."""

    def __init__(
        self,
        token: str = "1234567:fake-bot-token",
        chats: tuple[str, ...] = ("-100", "42"),
        topics: tuple[int, ...] = (7,),
    ) -> None:
        super().__init__()
        self.token = token
        self.topics = topics
        self.messages: dict[str, dict[int, dict[str, Any]]] = {chat: {} for chat in chats}
        self._numbers = itertools.count(1)

    def judge(self, request: Received) -> None:
        if request.path not in {f"/bot{self.token}/sendMessage", f"/bot{self.token}/editMessageText"}:
            raise Wrong("wrong token or method", self._named("not_found"))
        if request.headers.get("content-type") != "application/json":
            raise Wrong("content-type is not application/json", self._named("empty"))
        try:
            body = request.json
        except ValueError:
            raise Wrong("no JSON", self._named("empty")) from None
        word, problem = problem_of(body)
        if problem:
            raise Wrong(problem, self._named(word))
        there = self.messages.get(str(body.get("chat_id")))
        if there is None:
            raise Wrong("unknown chat", self._named("chat_not_found"))
        if body.get("message_thread_id", self.topics[0]) not in self.topics:
            raise Wrong("unknown topic", self._named("thread_not_found"))
        if request.path.endswith("editMessageText") and body.get("message_id") not in there:
            raise Wrong("no such message", self._named("edit_not_found"))

    def answer(self, request: Received) -> Answer:
        body = request.json
        there = self.messages[str(body["chat_id"])]
        is_edit = request.path.endswith("editMessageText")
        if is_edit and there[body["message_id"]]["text"] == body["text"]:
            return self._named("not_modified")
        number = body["message_id"] if is_edit else next(self._numbers)
        there[number] = body
        return Answer(200, {"ok": True, "result": {"message_id": number, "chat": {"id": body["chat_id"]}}})

    def refusal(self, step: Step) -> Answer:
        if step.word in DESCRIPTIONS:
            return self._named(step.word)
        body: dict[str, Any] = {"ok": False, "error_code": step.status}
        body["description"] = STATUSES.get(step.status, "Internal Server Error")
        if step.retry_after_s is not None:
            body["parameters"] = {"retry_after": step.retry_after_s}
        return Answer(step.status, body)

    def _named(self, word: str) -> Answer:
        status, description = DESCRIPTIONS[word]
        body: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
        if word == "migrated":
            body["parameters"] = {"migrate_to_chat_id": -100200}
        return Answer(status, body)


def problem_of(body: Any) -> tuple[str, str]:
    """(word, problem) of the first thing that Telegram would refuse, or two empty ones."""
    text = body.get("text", "") if isinstance(body, dict) else ""
    if not text.strip():
        return "empty", "an empty message"
    if units(text) > 4096:
        return "too_long", f"{units(text)} units of text"
    if "parse_mode" in body:
        return "cant_parse", "parse_mode: output of a task would be parsed"
    for entity in body.get("entities", []):
        if entity["length"] < 1 or entity["offset"] + entity["length"] > units(text):
            return "cant_parse", "an entity beyond the text"
    return "", ""
