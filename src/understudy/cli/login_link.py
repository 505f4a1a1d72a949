"""`understudy login-link`: a link that logs a browser in to the hub's pages, once."""

from __future__ import annotations

import click

from understudy.cli.client import HubClient
from understudy.cli.commands import Command
from understudy.cli.connection import connect_place
from understudy.cli.options import json_option
from understudy.cli.terminal import note, say, say_json
from understudy.spans import span
from understudy.texts import t

SCOPES = ("read", "admin")


@click.command(
    "login-link",
    cls=Command,
    help=t("cli.login-link.help"),
    example="understudy login-link\nunderstudy login-link --scope admin",
)
@click.option("--scope", type=click.Choice(SCOPES), default="read", show_default=True, help=t("cli.login-link.scope"))
@json_option
def login_link(scope: str, as_json: bool) -> None:
    """The link alone on the last line, so that a program can take it from there."""
    place = connect_place(admin=True)
    answer = HubClient(place.url, place.key, ca_file=place.ca_file).post("/api/login-links", {"scope": scope})
    url = f"{place.url}{answer['path']}"
    if as_json:
        say_json(answer | {"url": url})
        return
    note(t("cli.login-link.use", span=span(int(answer["expiresInSec"]) * 1000)))
    say(url)
