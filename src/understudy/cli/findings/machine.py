"""Checks of the machine: full disks, sleep, sessions that end, nobody logged in."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from understudy import config
from understudy.cli.connection import HubAddress
from understudy.cli.findings.finding import NOTICE, PROBLEM, AutomaticFix, Finding, Here
from understudy.cli.findings.service import Services
from understudy.cli.machine import is_lingering
from understudy.errors import ConfigError
from understudy.store.opening import FILE_NAME
from understudy.store_address import is_postgres
from understudy.texts import t

DISK_FREE_BYTES_MIN = 512 << 20
NO_SLEEP = "sudo pmset -a sleep 0 disksleep 0 powernap 0"
_PMSET = re.compile(r"^ ?(?P<name>[a-z]{1,40})\s{1,40}+(?P<value>\d{1,18})", re.MULTILINE)


def look(here: Here, place: HubAddress | None, services: Services) -> Iterator[Finding]:
    """Only what can be seen on the hub's or daemon's own machine."""
    yield from _disk(here, place, services)
    if not services.found:
        return
    if here.is_darwin:
        yield from _sleep(here)
        yield from _login(here)
    else:
        yield from _linger(here)


def data_dirs(here: Here, place: HubAddress | None, services: Services) -> list[Path]:
    """The data directories that hubs and daemons of this machine may use."""
    chosen = {state.env["UNDERSTUDY_DATA"] for _, state in services.found.values() if "UNDERSTUDY_DATA" in state.env}
    more = {config.user_data_dir(here.environ), *((place.data,) if place and place.data else ())}
    return sorted(path for path in {*map(Path, chosen), *more} if path.exists())


def stores(here: Here, place: HubAddress | None, services: Services) -> list[Path]:
    """The files that hubs of this machine may keep everything in: the usual ones and those that a setting names."""
    found = {directory / FILE_NAME for directory in data_dirs(here, place, services)}
    named = (chosen for chosen, _ in _named(here, place, services) if not is_postgres(chosen))
    return sorted(found | {here.cwd / Path(chosen).expanduser() for chosen in named})


def databases(here: Here, place: HubAddress | None, services: Services) -> list[tuple[str, str]]:
    """The addresses of PostgreSQL, as they are given, that hubs of this machine may use, each with its password."""
    return sorted({named for named in _named(here, place, services) if is_postgres(named[0])})


def _named(here: Here, place: HubAddress | None, services: Services) -> Iterator[tuple[str, str]]:
    """Each store that a setting of this shell, of a service or of a data directory names, with its password.

    A settings file may leave the password to the environment.
    """
    directories = data_dirs(here, place, services)
    places: list[tuple[Mapping[str, str], Path | None]] = [({}, directory) for directory in directories]
    places += [(here.environ, None), *((state.env, None) for _, state in services.found.values())]
    for environ, directory in places:
        with contextlib.suppress(ConfigError):  # said by the look at settings
            values = config.read(environ, directory, frozenset({"store", "store_password"}))[0]
            if chosen := values.get("store", ""):
                ours = config.read(here.environ, None, frozenset({"store_password"}))[0]
                yield chosen, (ours | values).get("store_password", "")


def _disk(here: Here, place: HubAddress | None, services: Services) -> Iterator[Finding]:
    chosen = {
        Path(state.env["UNDERSTUDY_DATA"]) for _, state in services.found.values() if "UNDERSTUDY_DATA" in state.env
    }
    for path in sorted(chosen):
        if not path.exists():
            what, automatic = t("cli.doctor.data.missing", path=path), AutomaticFix("make_directory", str(path))
            yield Finding("data", PROBLEM, what, t("cli.doctor.data.why"), f"mkdir -p '{path}'", automatic)
        elif not os.access(path, os.W_OK | os.X_OK):
            fix = f"sudo chown -R $USER '{path}'"
            yield Finding("data", PROBLEM, t("cli.doctor.data.read_only", path=path), t("cli.doctor.data.why"), fix)
    beside = {store.parent for store in stores(here, place, services) if store.exists()}
    for path in sorted({*data_dirs(here, place, services), *beside}):
        free = shutil.disk_usage(path).free
        if free < DISK_FREE_BYTES_MIN:
            what = t("cli.doctor.disk.what", path=path, free=free >> 20)
            yield Finding("disk", PROBLEM, what, t("cli.doctor.disk.why"), t("cli.doctor.disk.fix", path=path))


def _linger(here: Here) -> Iterator[Finding]:
    if is_lingering(here.run) is False:
        what, why = t("cli.doctor.linger.what"), t("cli.doctor.linger.why")
        yield Finding("linger", PROBLEM, what, why, "loginctl enable-linger", AutomaticFix("let_linger"))


def _sleep(here: Here) -> Iterator[Finding]:
    """A Mac that sleeps is silent; Power Nap wakes it for seconds, which looks like flapping."""
    ran = here.run(("pmset", "-g"))
    values = {found["name"]: int(found["value"]) for found in _PMSET.finditer(ran.out)}
    asleep = [name for name in ("sleep", "powernap") if values.get(name)]
    if asleep:
        shown = ", ".join(f"{name} {values[name]}" for name in asleep)
        yield Finding("sleep", NOTICE, t("cli.doctor.sleep.what", settings=shown), t("cli.doctor.sleep.why"), NO_SLEEP)


def _login(here: Here) -> Iterator[Finding]:
    """A user agent runs only while its user is logged in at the screen."""
    auto = here.run(("defaults", "read", "/Library/Preferences/com.apple.loginwindow", "autoLoginUser"))
    if auto.code == 0 and auto.out.strip():
        return
    is_locked = "FileVault is On" in here.run(("fdesetup", "status")).out
    why = t("cli.doctor.autologin.filevault") if is_locked else t("cli.doctor.autologin.why")
    yield Finding("autologin", NOTICE, t("cli.doctor.autologin.what"), why, t("cli.doctor.autologin.fix"))
