"""The prompt as an assistant gets it: what came before first, the question last, whole and byte for byte."""

from __future__ import annotations

from typing import Any

from understudy.worker.executors import TaskToRun

CONTEXT_CHARS_MAX = 65_536  # of the memory; what is older is left out, never the question
DID_MAX = 50  # lines about the attempt before
CHANNEL_CHARS_MAX = 128
USER_CHARS_MAX = 512  # the hub cuts at 256, and puts the name of a key before that


def prompt_of(task: TaskToRun, *, with_context: bool = True, did: tuple[str, ...] = ()) -> bytes:
    """The bytes for stdin. Without context and history these are exactly the task's text."""
    question = task.content.encode("utf-8", "surrogatepass")
    parts = []
    context = task.context if isinstance(task.context, str) else ""
    if with_context and context:
        parts.append(f"<conversation_so_far>\n{context[-CONTEXT_CHARS_MAX:]}\n</conversation_so_far>\n\n")
    if did:
        parts.append(
            "<interrupted_attempt>\nAn earlier attempt at this task was interrupted. It may have changed things;"
            " look before you repeat anything. What it did:\n"
            + "\n".join(did[-DID_MAX:])
            + "\n</interrupted_attempt>\n\n"
        )
    return "".join(parts).encode("utf-8", "surrogatepass") + question


def conversation_of(task: TaskToRun) -> str:
    """The name of the task's conversation, as the hub understands it (its channel and user); "" for none."""
    given, metadata = task.conversation, task.metadata if isinstance(task.metadata, dict) else {}
    chosen: dict[str, Any] = given if isinstance(given, dict) else {}
    if isinstance(given, str) and given:
        channel, _, user = given.rpartition(":")
        chosen = {"channel": channel, "user_id": user}
    where = chosen.get("channel") or metadata.get("channel") or task.source or ""
    who = chosen.get("user_id") or chosen.get("userId") or metadata.get("user_id") or metadata.get("userId")
    if isinstance(who, dict):
        who = who.get("id")
    return f"{str(where).lower()[:CHANNEL_CHARS_MAX]}:{str(who)[:USER_CHARS_MAX]}" if who not in (None, "") else ""
