"""The services of this machine, and whatever else keeps a daemon from beating: why heartbeats are not sent."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from understudy import config
from understudy.cli.connection import HubAddress, is_same_hub
from understudy.cli.env_file import ENV_FILE
from understudy.cli.findings.finding import NOTICE, OK, PROBLEM, AutomaticFix, Finding, Here
from understudy.cli.service_program import DAEMON, HUB, stop_s_of
from understudy.errors import ConfigError, UnderstudyError
from understudy.texts import t

if TYPE_CHECKING:
    from understudy.daemon.service import State, Supervisor

KEY_FILES = ("api-key", "admin-key", "client.json")


@dataclass(frozen=True, slots=True)
class Services:
    """The installed ones by role, and the name of this machine's daemon."""

    found: Mapping[str, tuple[Supervisor, State]]
    daemon_id: str

    def __contains__(self, role: str) -> bool:
        return role in self.found


def services_of(here: Here) -> Services:
    """The services installed for this user."""
    from understudy.daemon.home import default_daemon_id
    from understudy.daemon.service import supervisor_of

    found = {}
    for role in (DAEMON, HUB):
        supervisor = supervisor_of(role, here.environ, platform=here.platform, runner=here.run)
        state = supervisor.state()
        if state.is_installed:
            found[role] = (supervisor, state)
    env = found[DAEMON][1].env if DAEMON in found else here.environ
    with contextlib.suppress(UnderstudyError):
        from understudy.cli.service_proof import daemon_id_of

        return Services(found, daemon_id_of(env))
    return Services(found, default_daemon_id())


def look(here: Here, place: HubAddress | None, services: Services) -> Iterator[Finding]:
    """Services, their keys, and what runs beside them."""
    for role, (supervisor, state) in services.found.items():
        yield _running(role, supervisor, state)
        yield from _program(role, state)
        yield from _stop(role, state)
        yield from _keys(role, state)
    if place is not None and DAEMON in services:
        yield from _same_hub(place, services.found[DAEMON][1])
    yield from _private(here)
    yield from _older(here)


def _running(role: str, supervisor: Supervisor, state: State) -> Finding:
    automatic = AutomaticFix("start_service", role)
    start = f"understudy service start {role}"
    match state.word:
        case "running":
            return Finding("service", OK, t(f"cli.doctor.service.{role}.ok", pid=state.pid))
        case "parked":
            what = t(f"cli.doctor.service.{role}.parked", why=state.parked)
            return Finding("parked", PROBLEM, what, t("cli.doctor.service.parked.why"), start, automatic)
        case _ if state.last_exit:
            what = t(f"cli.doctor.service.{role}.ended", exit=state.last_exit, starts=state.starts)
            return Finding("crash", PROBLEM, what, t("cli.doctor.service.ended.why"), supervisor.log_hint(), automatic)
        case _:
            what = t(f"cli.doctor.service.{role}.stopped")
            return Finding("service", PROBLEM, what, t(f"cli.doctor.service.{role}.why"), start, automatic)


def _program(role: str, state: State) -> Iterator[Finding]:
    """A virtual environment was moved or removed, or the Python of one: the service starts nothing."""
    from understudy.daemon.interpreter import missing_part

    if state.program and (missing := missing_part(Path(state.program))):
        what = t("cli.doctor.program.what", path=missing)
        yield Finding("program", PROBLEM, what, fix=f"understudy service install {role}")


def _stop(role: str, state: State) -> Iterator[Finding]:
    """A drain that has become longer than the plist of the installation says; systemd is asked for more time."""
    plain = {name: value for name, value in state.env.items() if not name.endswith("_FILE")}
    with contextlib.suppress(ConfigError):
        needed = stop_s_of(role, config.load(plain, config.user_data_dir(plain)).settings)
        if 0 < state.stop_s < needed:
            what = t("cli.doctor.drain.what", given=state.stop_s, needed=needed)
            yield Finding("drain", NOTICE, what, t("cli.doctor.drain.why"), f"understudy service install {role}")


def _keys(role: str, state: State) -> Iterator[Finding]:
    """The files that the service takes its secrets from; certificates (`CA_FILE`) may be everybody's."""
    secrets = {f"{env}_FILE" for row in config.table().values() if row.is_secret for env in row.env} | {ENV_FILE}
    for name, path in state.env.items():
        if name not in secrets:
            continue
        try:
            config.secret_text(Path(path), name)
        except ConfigError as error:
            fix = t("cli.doctor.key_file.fix", role=role)
            yield Finding("key_file", PROBLEM, error.message, t("cli.doctor.key_file.why"), fix)
        yield from _open_to_others(Path(path))


def _private(here: Here) -> Iterator[Finding]:
    """Keys that a hub here made."""
    for name in KEY_FILES:
        yield from _open_to_others(config.user_data_dir(here.environ) / name)


def _open_to_others(path: Path) -> Iterator[Finding]:
    with contextlib.suppress(OSError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            what = t("cli.doctor.mode.what", path=path, mode=f"{mode:o}")
            automatic = AutomaticFix("make_private", str(path))
            yield Finding("mode", PROBLEM, what, t("cli.doctor.mode.why"), f"chmod 600 '{path}'", automatic)


def _same_hub(place: HubAddress, state: State) -> Iterator[Finding]:
    theirs = state.env.get("UNDERSTUDY_HUB", "")
    if theirs and not is_same_hub(theirs, place.url):
        what = t("cli.doctor.other_hub.what", theirs=theirs, ours=place.url, origin=place.url_from)
        fix = t("cli.doctor.other_hub.fix")
        yield Finding("other_hub", NOTICE, what, t("cli.doctor.other_hub.why"), fix)


def _older(here: Here) -> Iterator[Finding]:
    from understudy.cli.service import reported_older
    from understudy.daemon.service import find_older

    for one in find_older(here.run, home=here.home, uid=here.uid, is_darwin=here.is_darwin):
        what = t("cli.doctor.older.what", found=reported_older(one))
        yield Finding("older", PROBLEM, what, t("cli.doctor.older.why"), " && ".join(one.stop))
