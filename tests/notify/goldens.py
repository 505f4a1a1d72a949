"""The golden payloads: what goes over the wire for each message, channel and language.

To write them anew, then read the difference in version control:  .venv/bin/python -m tests.notify.goldens
"""

from __future__ import annotations

import email
import email.policy
import hashlib
import json
from pathlib import Path
from typing import Any

from tests.notify.channels import NAMES, REFS, offline
from tests.notify.messages import messages
from understudy.notify.channels import CHANNELS
from understudy.texts import LANGUAGES
from understudy.wire.outbound import AppriseRequest, HttpRequest, MailRequest, OutboundRequest

FOLDER = Path(__file__).parent / "golden"
WHOLE_CHARS_MAX = 700
SHOWN_CHARS = 160


def payloads(name: str, language: str) -> dict[str, Any]:
    """Every message's requests by the message's name, in a form that reads well."""
    fake, settings = offline(name, language)
    fake.off()
    said = messages(language, REFS.get(name, ""))
    channel = CHANNELS[settings.kind]
    return {key: [readable(request) for request in channel.requests_for(settings, one)] for key, one in said.items()}


def readable(request: OutboundRequest) -> dict[str, Any]:
    """One request as JSON; a mail with its text decoded."""
    match request:
        case HttpRequest():
            head = {"method": request.method, "url": request.url, "headers": dict(request.headers)}
            return head | {"body": abridged(json.loads(request.body))}
        case MailRequest():
            mail = email.message_from_bytes(request.content, policy=email.policy.default)
            envelope = {"security": request.security, "from": request.sender, "to": list(request.recipients)}
            return envelope | {"headers": dict(mail.items()), "text": abridged(mail.get_content())}
        case AppriseRequest():
            return {"title": request.title, "level": request.level, "body": abridged(request.body)}


def abridged(value: Any) -> Any:
    """`value` with the middle of long texts replaced by their length and hash, so that a golden can be read."""
    if isinstance(value, dict):
        return {key: abridged(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [abridged(inner) for inner in value]
    if not isinstance(value, str) or len(value) <= WHOLE_CHARS_MAX:
        return value
    middle = f"[… {len(value)} characters, sha256 {hashlib.sha256(value.encode()).hexdigest()[:16]} …]"
    return f"{value[:SHOWN_CHARS]}{middle}{value[-SHOWN_CHARS:]}"


def path_of(name: str, language: str) -> Path:
    return FOLDER / f"{name}.{language}.json"


def text_of(payload: dict[str, Any]) -> str:
    return json.dumps(payload, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in NAMES:
        for language in LANGUAGES:
            path_of(name, language).write_text(text_of(payloads(name, language)), "utf-8")
