"""`understudy daemon`: settings, the hub and its key, then one life of a daemon."""

from __future__ import annotations

import os
from pathlib import Path

import click

from understudy import config
from understudy.cli import starter
from understudy.cli.commands import Command
from understudy.cli.options import data_dir_of, data_option, eof_option, hub_options, own_data_dir, with_warnings
from understudy.line_queue import queue_streams
from understudy.texts import t
from understudy.worker.hidden import hide

EXAMPLE = """understudy daemon
understudy daemon --id mini -- claude -p"""


@click.command(
    "daemon",
    cls=Command,
    help=t("cli.daemon.help"),
    example=EXAMPLE,
    context_settings={"allow_interspersed_args": False},
)
@click.option("--id", "daemon_id", metavar="ID", help=t("cli.daemon.id"))
@data_option
@hub_options
@eof_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def daemon(
    daemon_id: str | None,
    data: Path | None,
    env_file: str | None,
    is_agreed: bool,
    stop_at_eof: bool,
    command: tuple[str, ...],
) -> int:
    """Live until SIGTERM or SIGINT."""
    hide()
    queue_streams("stderr")
    from understudy.cli.connection import place_to_serve
    from understudy.cli.env_file import read_anew, with_env_file
    from understudy.cli.given_command import absolute_command
    from understudy.config.channels import channels_of
    from understudy.daemon import DaemonInputs, run

    added = with_env_file(os.environ, env_file)
    of_env_file = read_anew(added, os.environ)
    os.environ.update(added)
    hide()  # of what came with the file, too
    data_dir = data_dir_of(data)
    settings = with_warnings(config.load(os.environ, data_dir, daemon_id=daemon_id))
    place = place_to_serve(os.environ, data_dir, is_agreed=is_agreed)
    own_data_dir(data_dir)
    if stop_at_eof:
        starter.watch()
    return run(
        DaemonInputs(
            settings=settings,
            data_dir=data_dir,
            hub_url=place.url,
            api_key=place.key,
            ca_file=place.ca_file,
            command=absolute_command(command),
            channels=channels_of(settings, os.environ, data_dir),
            of_env_file=of_env_file,
            can_update=not stop_at_eof,  # `up` updates itself by starting anew
        )
    )
