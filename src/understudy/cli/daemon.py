"""`understudy daemon`: settings, the hub and its key, then one life of a daemon."""

from __future__ import annotations

import os
from pathlib import Path

import click

from understudy import config
from understudy.cli import parent
from understudy.cli.commands import Command
from understudy.cli.options import data_dir_of, data_option, eof_option, hub_options, own_data_dir, told
from understudy.clock import parse_iso
from understudy.line_queue import queue_streams
from understudy.texts import t
from understudy.worker.hidden import hide

TOKEN_LASTS_MS = 365 * 86_400_000  # `claude setup-token`: docs/measured.md, Logins

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
    from understudy.cli.assistants import absolute, absolute_command, claude_options, codex_options
    from understudy.cli.connection import place_to_serve
    from understudy.cli.env_file import with_env_file
    from understudy.cli.notifying import channels_of
    from understudy.daemon import DaemonSettings, run

    os.environ.update(with_env_file(os.environ, env_file))
    hide()  # of what came with the file, too
    data_dir = data_dir_of(data)
    settings = told(config.load(os.environ, data_dir, daemon_id=daemon_id))
    place = place_to_serve(os.environ, data_dir, is_agreed=is_agreed)
    own_data_dir(data_dir)
    if stop_at_eof:
        parent.watch()
    return run(
        DaemonSettings(
            hub_url=place.url,
            api_key=place.key,
            data_dir=data_dir,
            daemon_id=settings.daemon_id,
            executor=settings.executor,
            command=absolute_command(command),
            command_cwd=absolute(settings.task_cwd) or None,
            workspaces=absolute(settings.workspaces),
            claude=claude_options(settings),
            codex=codex_options(settings),
            run_ms_max=settings.execution_timeout_ms,
            capacity=settings.capacity,
            hub_away_ms=settings.hub_away_after_ms,
            channels=channels_of(settings, os.environ, data_dir),
            provides=settings.provides,
            heartbeat_interval_ms=settings.heartbeat_interval_ms,
            poll_wait_ms=settings.poll_wait_ms,
            drain_ms=settings.drain_ms,
            token_ends_at=token_end(settings.token_issued_at),
            may_update=settings.allow_update and not stop_at_eof,  # `up` updates itself by starting anew
            update_confirm_ms=settings.update_confirm_ms,
            caffeinate=settings.caffeinate,
            ca_file=place.ca_file,
            env_pass=settings.task_env_pass,
            secrets=config.secrets_in(settings),
            redacts_results=settings.redact_results,
            log_level=settings.log_level,
            log_form=settings.log_form,
            log_dir=absolute(settings.log_dir),
            log_stderr=settings.log_stderr,
        )
    )


def token_end(issued_at: str) -> int:
    """When a token that was made on that day ends, in ms since the epoch; 0 if nobody knows."""
    return parse_iso(f"{issued_at}T00:00:00Z") + TOKEN_LASTS_MS if issued_at else 0
