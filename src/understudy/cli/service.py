"""`understudy service`: has the system keep hub or daemon running, and reports success only once it is proven."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from understudy.cli.commands import Command, Group
from understudy.cli.connection import HubAddress, find_place, place_to_serve, with_key
from understudy.cli.env_file import with_env_file
from understudy.cli.exits import Exit
from understudy.cli.given_command import absolute_command
from understudy.cli.options import DurationType, data_dir_of, data_option, hub_options, json_option, own_data_dir
from understudy.cli.service_program import DAEMON, HUB, program_of, secret_files, with_hub, write_secrets
from understudy.cli.terminal import columns, note, paint, safe, say, say_json
from understudy.errors import ConfigError
from understudy.texts import t

if TYPE_CHECKING:
    from understudy.daemon.service import Older, Program, State, Supervisor

COLOURS = {"running": "green", "starting": "yellow", "parked": "red", "stopped": "red", "absent": "dim"}
EXAMPLE = """understudy service install
understudy service install --id mini -- my-assistant --stdin
understudy service status hub"""
WITH_VALUE = ("--id", "--data", "--env-file")  # options of `install` whose next word is no role
role_argument = click.argument("role", type=click.Choice((DAEMON, HUB)), default=DAEMON)
no_verify_option = click.option("--no-verify", is_flag=True, help=t("cli.service.no_verify"))


@click.group("service", cls=Group, help=t("cli.service.help"), example=EXAMPLE)
def service() -> None:
    """See the commands below."""


class InstallCommand(Command):
    """`install -- COMMAND` is `install daemon -- COMMAND`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default role in front of the command."""
        if "--" in args:
            at = args.index("--")
            values = [word for before, word in zip(["", *args], args[:at], strict=False) if before not in WITH_VALUE]
            if not {DAEMON, HUB} & {*values}:
                args = [*args[:at], DAEMON, *args[at:]]
        return super().parse_args(ctx, args)


@service.command(
    "install",
    cls=InstallCommand,
    help=t("cli.service.install"),
    example="understudy service install\n"
    "understudy service install hub --dry-run\n"
    "understudy service install --id mini -- my-assistant --stdin",
    context_settings={"allow_interspersed_args": True},
)
@role_argument
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.option("--id", "daemon_id", metavar="ID", help=t("cli.daemon.id"))
@data_option
@hub_options
@click.option("--force", is_flag=True, help=t("cli.service.force"))
@no_verify_option
@click.option("--dry-run", is_flag=True, help=t("cli.service.dry_run"))
@json_option
def install(
    role: str,
    command: tuple[str, ...],
    daemon_id: str | None,
    data: Path | None,
    force: bool,
    no_verify: bool,
    dry_run: bool,
    as_json: bool,
    **hub: Any,
) -> None:
    """Write plist or unit and the files with keys, start it, see it work."""
    if role == HUB and (command or daemon_id):
        raise click.UsageError(t("cli.service.daemon_only"))
    supervisor = _supervisor(role)
    if not dry_run:
        _refuse_suicide(supervisor)
    environ = with_env_file(os.environ, hub["env_file"])
    data_dir = data_dir_of(data, environ)
    place = _hub_of(environ, data_dir, is_agreed=hub["is_agreed"], is_dry=dry_run) if role == DAEMON else None
    chosen = {"UNDERSTUDY_DAEMON_ID": daemon_id} if daemon_id else {}
    environ |= {"UNDERSTUDY_DATA": str(data_dir), **chosen}
    words = ("--", *absolute_command(command)) if command else ()
    program = program_of(role, environ, data_dir, program_words(role, data_dir), words)
    secrets = secret_files(role, environ, data_dir, place)
    program = with_hub(program, place) if place else program
    program = replace(program, env={**program.env, **{name: str(path) for name, (path, _) in secrets.items()}})
    if dry_run:
        _show_plan(supervisor, program, tuple(path for path, value in secrets.values() if value), as_json=as_json)
        return
    if role == DAEMON and not force:
        refuse_others(supervisor, data_dir, program.env)
    own_data_dir(data_dir)
    write_secrets(secrets)
    if role == DAEMON:
        from understudy.daemon.installation import launcher

        launcher(data_dir)
    _proven(role, supervisor, lambda: supervisor.install(program), program.env, verify=not no_verify)
    _tell(role, supervisor, as_json=as_json)


def _hub_of(environ: Mapping[str, str], data_dir: Path, *, is_agreed: bool, is_dry: bool) -> HubAddress:
    """The hub that the daemon will work for. ConfigError, RefusedError."""
    if is_dry:
        return with_key(find_place(environ, None, data_dir=data_dir))
    return place_to_serve(environ, data_dir, is_agreed=is_agreed)


@service.command("uninstall", help=t("cli.service.uninstall"), example="understudy service uninstall")
@role_argument
@json_option
def uninstall(role: str, as_json: bool) -> None:
    """Data, keys and logs stay."""
    supervisor = _supervisor(role)
    _refuse_suicide(supervisor)
    with _explained_if_interrupted(role):
        supervisor.uninstall()
    _tell(role, supervisor, as_json=as_json)


@service.command("start", help=t("cli.service.start"), example="understudy service start")
@role_argument
@no_verify_option
@json_option
def start(role: str, no_verify: bool, as_json: bool) -> None:
    """Start it, also if the supervisor had given up restarting it (parked)."""
    supervisor = _supervisor(role)
    state = supervisor.state()
    if state.pid and not state.is_stopping:
        note(t("cli.service.already", pid=state.pid))
    else:
        _proven(role, supervisor, supervisor.start, state.env, verify=not no_verify)
    _tell(role, supervisor, as_json=as_json)


@service.command(
    "stop",
    help=t("cli.service.stop"),
    example="understudy service stop\nunderstudy service stop --planned --for 2h",
)
@role_argument
@click.option("--planned", is_flag=True, help=t("cli.service.planned"))
@click.option("--for", "for_ms", type=DurationType("400d", "1s"), metavar="DURATION", help=t("cli.service.planned_for"))
@json_option
def stop(role: str, planned: bool, for_ms: int | None, as_json: bool) -> None:
    """Until it is started, or the owner logs in again."""
    if for_ms and not planned:
        raise click.UsageError(t("cli.service.for_needs_planned"))
    if planned and role != DAEMON:
        raise click.UsageError(t("cli.service.planned_daemon_only"))
    supervisor = _supervisor(role)
    _refuse_suicide(supervisor)
    with _explained_if_interrupted(role):
        if planned:
            stop_as_planned(supervisor, for_ms or 0)
        else:
            supervisor.stop()
    _tell(role, supervisor, as_json=as_json)


@service.command(
    "restart", help=t("cli.service.restart"), example="understudy service restart\nunderstudy service restart hub"
)
@role_argument
@no_verify_option
@json_option
def restart(role: str, no_verify: bool, as_json: bool) -> None:
    """An orderly end, then a new start that is seen at the hub."""
    supervisor = _supervisor(role)
    _refuse_suicide(supervisor)
    _proven(role, supervisor, supervisor.restart, supervisor.state().env, verify=not no_verify)
    _tell(role, supervisor, as_json=as_json)


@service.command("status", help=t("cli.service.status"), example="understudy service status --json")
@role_argument
@json_option
def status(role: str, as_json: bool) -> int:
    """0 only if it runs."""
    supervisor = _supervisor(role)
    state = _tell(role, supervisor, as_json=as_json)
    return Exit.OK if state.pid else Exit.FAILED


def stop_as_planned(supervisor: Supervisor, for_ms: int) -> None:
    """The daemon announces the stop with its last beat, so it must still run when it is asked."""
    from understudy.cli.service_proof import daemon_id_of
    from understudy.clock import SystemClock
    from understudy.daemon.home import Home
    from understudy.daemon.planned_stop import announce, withdraw

    state = supervisor.state()
    daemon_id = daemon_id_of(state.env)
    if not state.pid:
        supervisor.stop()
        note(t("cli.service.not_announced", id=daemon_id))
        return
    home = Home(Path(state.env.get("UNDERSTUDY_DATA") or data_dir_of(None)), daemon_id)
    announce(home, for_ms, SystemClock().now_ms())
    try:
        supervisor.stop()
    finally:
        withdraw(home)


def program_words(role: str, data_dir: Path) -> tuple[str, ...]:
    """The command that starts this program; for a daemon the version that is current at its start."""
    if role == HUB:
        return (sys.executable, "-P", "-m", "understudy")
    from understudy.daemon.installation import PACKAGE, Installation

    return (str(Installation(data_dir).current / "bin" / PACKAGE),)


def older_here(environ: Mapping[str, str]) -> tuple[Older, ...]:
    """Older daemons on this machine."""
    from understudy.daemon.service import find_older, run

    home = Path(environ.get("HOME") or Path.home())
    return find_older(run, home=home, is_darwin=sys.platform == "darwin")


def refuse_others(supervisor: Supervisor, data_dir: Path, env: Mapping[str, str]) -> None:
    """ConfigError with the exact commands if another daemon is here, older or by hand."""
    if found := older_here(os.environ):
        lines = [f"  {reported_older(one)}\n" + "\n".join(f"    {command}" for command in one.stop) for one in found]
        raise ConfigError(t("cli.service.older", found="\n".join(lines)))
    from understudy.cli.service_proof import daemon_id_of
    from understudy.cli.unmanaged_daemon import pid_by_hand

    if pid := pid_by_hand(data_dir, daemon_id_of(env), supervisor.state().pid):
        raise ConfigError(t("cli.service.by_hand", pid=pid))


def reported_older(one: Older) -> str:
    """One older daemon as a line."""
    return t(f"cli.service.older.{one.kind}", where=safe(one.where), pid=one.pid or "–")


def _supervisor(role: str) -> Supervisor:
    from understudy.daemon.service import supervisor_of

    return supervisor_of(role, os.environ)


def _refuse_suicide(supervisor: Supervisor) -> None:
    """A task that stops its own daemon dies in the middle, and nobody starts it again (openclaw#89174)."""
    import psutil

    pid = supervisor.state().pid
    if pid and pid in {parent.pid for parent in psutil.Process().parents()}:
        raise ConfigError(t("cli.service.inside"))


def _proven(
    role: str, supervisor: Supervisor, act: Callable[[], None], env: Mapping[str, str], *, verify: bool
) -> None:
    """Do it, and wait until the hub itself gives the proof."""
    from understudy.cli.service_proof import proof_of

    proof = proof_of(role, env) if verify and env else None
    heeded = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # of a terminal that is closed: the new program still starts
    try:
        with _explained_if_interrupted(role):
            act()
    finally:
        signal.signal(signal.SIGHUP, heeded)
    if proof is not None:
        note(t("cli.service.waiting"))
        proof.wait(supervisor)


@contextmanager
def _explained_if_interrupted(role: str) -> Iterator[None]:
    """A program that was asked to end may run on for a while, and `start` would find it running."""
    try:
        yield
    except KeyboardInterrupt:
        note(t("cli.service.interrupted", role=role))
        raise


def _show_plan(supervisor: Supervisor, program: Program, key_files: tuple[Path, ...], *, as_json: bool) -> None:
    content = supervisor.file(program).decode()
    if as_json:
        files = [str(path) for path in key_files]
        say_json({"kind": supervisor.kind, "path": str(supervisor.path), "content": content, "keyFiles": files})
        return
    say(f"# {supervisor.path}")
    say(content.rstrip("\n"))
    for path in key_files:
        say(t("cli.service.key_file", path=path))


def _tell(role: str, supervisor: Supervisor, *, as_json: bool) -> State:
    state = supervisor.state()
    if as_json:
        known = {**asdict(state), "env": dict(state.env)}
        say_json({"role": role, "kind": supervisor.kind, "name": supervisor.name, "state": state.word, **known})
        return state
    word = paint(t(f"cli.service.state.{state.word}"), COLOURS[state.word])
    say(f"{role}  {word}" + (f"  pid {state.pid}" if state.pid else ""))
    rows = {"file": supervisor.path if state.is_installed else "", "starts": state.starts or ""}
    rows |= {"hub": state.env.get("UNDERSTUDY_HUB", ""), "data": state.env.get("UNDERSTUDY_DATA", "")}
    rows |= {"parked": state.parked, "exit": state.last_exit}
    rows |= {"log": supervisor.log_hint() if state.is_installed else ""}
    shown = {t(f"cli.service.row.{name}"): safe(value) for name, value in rows.items() if value}
    width = max((columns(label) for label in shown), default=0)
    for label, value in shown.items():
        say(f"  {label}{' ' * (width - columns(label))}  {value}")
    if supervisor.kind == "systemd" and state.is_installed:
        _hint_linger()
    return state


def _hint_linger() -> None:
    """Without it, systemd ends the user's services when the last session ends, and starts none with the machine."""
    from understudy.cli.machine import is_lingering
    from understudy.daemon.service import run

    if shutil.which("loginctl") and is_lingering(run) is False:
        note(t("cli.service.linger"))
