"""`understudy submit`: hands a task in, and waits for its answer if asked to."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable
from typing import Any

import click

from understudy import config
from understudy.cli.client import HubClient, path_of
from understudy.cli.commands import Command
from understudy.cli.connection import connect
from understudy.cli.exits import AbsentError, ClientError, Exit, UnreachableError
from understudy.cli.options import DurationType, json_option
from understudy.cli.terminal import note, safe, safe_lines, say, say_json
from understudy.clock import SystemClock
from understudy.errors import ConfigError
from understudy.spans import span
from understudy.texts import t
from understudy.worker.hidden import hide

CONTENT_BYTES_MAX = 1 << 20  # as the hub takes it
PAUSE_S_MIN, PAUSE_S_MAX = 0.05, 1.0
TELL_AFTER_MS = 5_000
LOOK_EVERY_MS = 60_000  # whether the hub still has the task
UNREACHABLE_MS_MAX = 120_000
WAIT_MS_MAX = 8 * 86_400_000  # the longest time limit of a task is 7 d
NOTHING = "none"  # as `--needs`: text is enough
PRIORITIES = ("critical", "high", "medium", "low")


@click.command(
    "submit",
    cls=Command,
    help=t("cli.submit.help"),
    example='understudy submit "What can you do?" --wait\ngit diff | understudy submit - --priority high',
)
@click.argument("text", metavar="TEXT")
@click.option("--wait", is_flag=True, help=t("cli.submit.wait"))
@click.option("--id", "task_id", metavar="ID", help=t("cli.submit.id"))
@click.option("--priority", type=click.Choice(PRIORITIES), help=t("cli.submit.priority"))
@click.option("--needs", metavar="TAG,…", help=t("cli.submit.needs"))
@click.option("--on-loss", type=click.Choice(("requeue", "wait", "ask")), help=t("cli.submit.on_loss"))
@click.option(
    "--timeout", "timeout_ms", type=DurationType("7d", "1s"), metavar="DURATION", help=t("cli.submit.timeout")
)
@click.option("--delay", "delay_ms", type=DurationType("366d"), metavar="DURATION", help=t("cli.submit.delay"))
@click.option("--max-attempts", type=click.IntRange(1, 100), metavar="N", help=t("cli.submit.max_attempts"))
@click.option("--executor", metavar="NAME", help=t("cli.submit.executor"))
@click.option("--workspace", metavar="NAME", help=t("cli.submit.workspace"))
@click.option("--conversation", metavar="CHANNEL:USER", help=t("cli.submit.conversation"))
@click.option("--reply-to", metavar="CHANNEL[:CHAT[:THREAD]]", help=t("cli.submit.reply_to"))
@click.option("--takeover", type=click.Choice(("allow", "never")), help=t("cli.submit.takeover"))
@click.option("--source", metavar="NAME", default="cli", help=t("cli.submit.source"))
@click.option("--dedup-key", metavar="KEY", help=t("cli.submit.dedup_key"))
@json_option
def submit(text: str, wait: bool, as_json: bool, **given: Any) -> int:
    """Enqueue, then print the id, or the answer alone."""
    needs = None if given["needs"] is None else _tags(given["needs"])
    content = _stdin() if text == "-" else text
    if not content.strip():
        raise click.UsageError(t("cli.submit.empty"))
    hub = connect()
    answer = enqueue(hub, content, **given | {"needs": needs})
    task_id = str(answer["taskId"])
    if not wait:
        say_json(answer) if as_json else say(task_id)
        if not as_json and sys.stdout.isatty():
            note(t("cli.submit.next", id=task_id))
        return Exit.OK
    hide()  # from the run that it waits for
    try:
        result = wait_for_result(hub, task_id)
    except KeyboardInterrupt:
        note(t("cli.submit.goes_on", id=task_id))
        raise
    return _show(task_id, result, as_json=as_json)


def _tags(text: str) -> list[str]:
    """The tags that a machine must offer. UsageError."""
    tags = [tag for part in text.split(",") if (tag := part.strip())]
    if NOTHING in tags and {*tags} != {NOTHING}:
        raise click.UsageError(t("cli.none_and_more", option="--needs"))
    return [tag for tag in tags if tag != NOTHING]


def enqueue(hub: HubClient, content: str, **given: Any) -> dict[str, Any]:
    """Hand it in; safe to be sent again, because it carries a key of its own if it has no other name."""
    body: dict[str, Any] = {
        "content": content,
        "id": given.get("task_id"),
        "source": given.get("source"),
        "needs": given.get("needs"),
        "priority": given.get("priority"),
        "onLoss": given.get("on_loss"),
        "maxAttempts": given.get("max_attempts"),
        "executor": given.get("executor"),
        "workspace": given.get("workspace"),
        "conversation": given.get("conversation"),
        "replyTo": given.get("reply_to"),
        "takeover": given.get("takeover"),
        "dedupKey": given.get("dedup_key"),
    }
    if given.get("timeout_ms") is not None:
        body["timeoutSec"] = max(1, -(-given["timeout_ms"] // 1000))
    if given.get("delay_ms") is not None:
        body["delaySec"] = given["delay_ms"] / 1000
    sent = {name: value for name, value in body.items() if value is not None}
    has_name = "id" in sent or "dedupKey" in sent
    headers = {} if has_name else {"Idempotency-Key": f"cli-{uuid.uuid4()}"}
    return hub.post("/api/queue", sent, repeatable=True, headers=headers)


def wait_for_result(
    hub: HubClient, task_id: str, *, within_ms: int = WAIT_MS_MAX, look: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """The result of the task, requested again and again, with a call of `look` in between. ClientError."""
    clock = SystemClock()
    started = clock.mono_ms()
    heard = started
    look_at = started + TELL_AFTER_MS
    pause_s = PAUSE_S_MIN
    is_reported = False
    while clock.mono_ms() - started < within_ms:
        look()
        record = None
        is_due = clock.mono_ms() >= look_at
        try:
            return hub.get(path_of("result", task_id))
        except AbsentError:
            heard = clock.mono_ms()
            record = _record(hub, task_id) if is_due else None
        except UnreachableError:
            if clock.mono_ms() - heard > UNREACHABLE_MS_MAX:
                raise
        if is_due:
            if not is_reported:
                _tell(record)
            is_reported = True
            look_at = clock.mono_ms() + LOOK_EVERY_MS
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.5, PAUSE_S_MAX)
    raise ClientError(t("cli.submit.gave_up", id=task_id, span=span(within_ms)))


def _record(hub: HubClient, task_id: str) -> dict[str, Any] | None:
    """The whole record, None if it is not to be had now. AbsentError if the hub no longer has the task."""
    try:
        return hub.get(path_of("tasks", task_id))
    except AbsentError:
        raise AbsentError(t("cli.submit.gone", id=task_id)) from None
    except ClientError:
        return None


def _tell(record: dict[str, Any] | None) -> None:
    """Print why it takes long."""
    if record is None:
        note(t("cli.submit.unheard"))
        return
    if record.get("status") == "claimed":
        workers = [attempt.get("workerId", "?") for attempt in record.get("attempts", [])]
        note(t("cli.submit.running", worker=safe(workers[-1] if workers else "?")))
    elif record.get("status") == "pending":
        note(t("cli.submit.queued", needs=", ".join(map(safe, record.get("needs", []))) or "–"))


def _show(task_id: str, result: dict[str, Any], *, as_json: bool) -> int:
    is_done = bool(result.get("success"))
    if as_json:
        say_json({"taskId": task_id, **result})
    elif is_done:
        show_output(result.get("output"))
    else:
        raise ClientError(t("cli.submit.failed", id=task_id, error=safe(result.get("error") or "?")))
    return Exit.OK if is_done else Exit.FAILED


def show_output(output: Any) -> None:
    """The answer alone; on a terminal without what could steer it."""
    if output is None:
        return
    if not isinstance(output, str):
        say_json(output)
        return
    say((safe_lines(output) if sys.stdout.isatty() else output).removesuffix("\n"))


def _stdin() -> str:
    raw = sys.stdin.buffer.read(CONTENT_BYTES_MAX + 1)
    if len(raw) > CONTENT_BYTES_MAX:
        raise click.UsageError(t("cli.submit.too_long", limit="1 MiB"))
    try:
        return config.decoded_as_is(raw, t("cli.submit.stdin"))
    except ConfigError as error:
        raise click.UsageError(error.message) from None
