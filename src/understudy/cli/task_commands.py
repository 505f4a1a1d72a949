"""`understudy cancel`, `retry` and `move`: the changes that an owner may make to a task."""

from __future__ import annotations

import click

from understudy.cli.client import path_of
from understudy.cli.commands import Command
from understudy.cli.connection import connect
from understudy.cli.exits import AbsentError, RejectedError
from understudy.cli.options import json_option
from understudy.cli.terminal import say, say_json
from understudy.texts import t

CONFLICT = 409


def _change(verb: str, task_id: str, *, as_json: bool) -> None:
    try:
        answer = connect().post(path_of("tasks", task_id, verb), repeatable=verb == "cancel")
    except AbsentError:
        raise AbsentError(t("cli.task.unknown", id=task_id)) from None
    except RejectedError as error:
        if error.fields.get("status") == CONFLICT:
            raise RejectedError(t(f"cli.{verb}.conflict", id=task_id)) from None
        raise
    say_json(answer) if as_json else say(t(f"cli.{verb}.done", id=task_id))


@click.command("cancel", cls=Command, help=t("cli.cancel.help"), example="understudy cancel task-01J9ZQ4X")
@click.argument("task_id", metavar="ID")
@json_option
def cancel(task_id: str, as_json: bool) -> None:
    """Final at once."""
    _change("cancel", task_id, as_json=as_json)


@click.command("retry", cls=Command, help=t("cli.retry.help"), example="understudy retry task-01J9ZQ4X")
@click.argument("task_id", metavar="ID")
@json_option
def retry(task_id: str, as_json: bool) -> None:
    """Start a failed or cancelled one anew."""
    _change("retry", task_id, as_json=as_json)


@click.command("move", cls=Command, help=t("cli.move.help"), example="understudy move task-01J9ZQ4X")
@click.argument("task_id", metavar="ID")
@json_option
def move(task_id: str, as_json: bool) -> None:
    """Let one that waits for its machine run elsewhere."""
    _change("move", task_id, as_json=as_json)
