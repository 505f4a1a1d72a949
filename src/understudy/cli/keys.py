"""`understudy keys`: create, list, revoke and rotate API keys; a secret is shown once, when it is made."""

from __future__ import annotations

from typing import Any

import click

from understudy.cli.client import path_of
from understudy.cli.commands import Group
from understudy.cli.connection import connect
from understudy.cli.exits import AbsentError, RejectedError
from understudy.cli.options import json_option
from understudy.cli.terminal import clock_time, note, safe, say, say_json, table
from understudy.texts import t

SCOPES = ("submit", "work", "memory", "read", "admin")


@click.group(
    "keys", cls=Group, help=t("cli.keys.help"), example="understudy keys create laptop --scope submit --scope read"
)
def keys() -> None:
    """See the commands below."""


@keys.command(
    "create",
    help=t("cli.keys.create"),
    example="understudy keys create mini --scope work --scope read\nunderstudy keys create ci --scope submit --json",
)
@click.argument("name", metavar="NAME")
@click.option("--scope", "scopes", type=click.Choice(SCOPES), multiple=True, help=t("cli.keys.scope"))
@json_option
def create(name: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """The only time its secret is shown."""
    body = {"name": name, "scopes": list(scopes or ("submit", "work", "memory", "read"))}
    _show(connect(admin=True).post("/api/keys", body), as_json=as_json)


@keys.command("list", help=t("cli.keys.list"), example="understudy keys list")
@json_option
def list_(as_json: bool) -> None:
    """Without their secrets."""
    found = connect(admin=True).get("/api/keys")
    if as_json:
        say_json(found)
        return
    rows = [
        (safe(row["id"]), safe(row["name"]), clock_time(row["createdAt"]), _state(row), " ".join(row["scopes"]))
        for row in found.get("keys", [])
    ]
    heads = ("id", "name", "created", "state", "scopes")
    say(table([t(f"cli.column.{head}") for head in heads], rows)) if rows else note(t("cli.keys.none"))


@keys.command("revoke", help=t("cli.keys.revoke"), example="understudy keys revoke key-01J9ZQ4X")
@click.argument("key_id", metavar="ID")
@json_option
def revoke(key_id: str, as_json: bool) -> None:
    """Refused from now on."""
    try:
        answer = connect(admin=True).post(path_of("keys", key_id, "revoke"), repeatable=True)
    except AbsentError:
        raise _unknown(key_id) from None
    say_json(answer) if as_json else say(t("cli.keys.revoked", id=key_id))


@keys.command("rotate", help=t("cli.keys.rotate"), example="understudy keys rotate key-01J9ZQ4X")
@click.argument("key_id", metavar="ID")
@json_option
def rotate(key_id: str, as_json: bool) -> None:
    """A successor; the old one stays valid until it is revoked."""
    try:
        answer = connect(admin=True).post(path_of("keys", key_id, "rotate"))
    except AbsentError:
        raise _unknown(key_id) from None
    except RejectedError as error:
        if error.fields.get("code") == "revoked":
            raise RejectedError(t("cli.keys.is_revoked", id=key_id)) from None
        raise
    _show(answer, as_json=as_json)
    if not as_json:
        note(t("cli.keys.old_stays", id=key_id))


def _show(answer: dict[str, Any], *, as_json: bool) -> None:
    """The secret alone on stdout, so that it can be piped into a file; everything else beside it."""
    if as_json:
        say_json(answer)
        return
    note(t("cli.keys.created", id=safe(answer["id"]), name=safe(answer["name"]), scopes=" ".join(answer["scopes"])))
    say(str(answer["key"]))


def _state(row: dict[str, Any]) -> str:
    if row.get("revokedAt"):
        return t("cli.keys.state_revoked")
    return t("cli.keys.state_rotated") if row.get("rotatedTo") else t("cli.keys.state_valid")


def _unknown(key_id: str) -> AbsentError:
    return AbsentError(t("cli.keys.unknown", id=key_id))
