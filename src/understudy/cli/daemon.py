"""`understudy daemon`: settings, the hub and its key, then one life of a daemon."""

from __future__ import annotations

import os
from pathlib import Path

import click

from understudy import config
from understudy.cli import parent
from understudy.cli.commands import Command
from understudy.cli.options import data_dir_of, data_option, eof_option, told
from understudy.texts import t

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
@eof_option
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def daemon(daemon_id: str | None, data: Path | None, stop_at_eof: bool, command: tuple[str, ...]) -> int:
    """Live until SIGTERM or SIGINT."""
    from understudy.cli.connection import connect_place
    from understudy.daemon import DaemonSettings, run

    data_dir = data_dir_of(data)
    settings = told(config.load(os.environ, data_dir, daemon_id=daemon_id))
    place = connect_place()
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if stop_at_eof:
        parent.watch()
    return run(
        DaemonSettings(
            hub_url=place.url,
            api_key=place.key,
            data_dir=data_dir,
            daemon_id=settings.daemon_id,
            command=command,
            command_cwd=settings.task_cwd or None,
            capacity=settings.capacity,
            provides=settings.provides,
            heartbeat_interval_ms=settings.heartbeat_interval_ms,
            poll_wait_ms=settings.poll_wait_ms,
            drain_ms=settings.drain_ms,
            ca_file=place.ca_file,
            env_pass=settings.task_env_pass,
            secrets=tuple(config.environment_keys(settings).values()),
            log_level=settings.log_level,
            log_form=settings.log_form,
        )
    )
