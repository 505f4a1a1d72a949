"""A machine whose launchd or systemd is played, with real hubs and daemons on it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from tests import prepared
from tests.cli.program import Done, prepared_one, understudy
from tests.fakes.launchd import FakeLaunchd
from tests.fakes.systemd import FakeSystemd

# Read by Python before anything else: our own commands believe to be on a Mac, libraries and daemons do not.
DARWIN = """
import sys
if {"service", "doctor"} & set(sys.orig_argv[2:5]):
    import psutil, sysconfig
    sysconfig.get_config_vars()
    sys.platform = "darwin"
"""

AS_DARWIN = """
import sys
from understudy.cli import main
from understudy.daemon.service import supervisor_of
sys.platform = supervisor_of.__kwdefaults__["platform"] = "darwin"
main()
"""


class ServicedMachine:
    """One person's machine: HOME, PATH with the played commands, and a shell in which `understudy` is typed."""

    def __init__(self, folder: Path, system: FakeSystemd | FakeLaunchd, **environ: str) -> None:
        self.folder = folder
        self.system = system
        self.home = folder / "home"
        self.data = folder / "data"
        self.home.mkdir(exist_ok=True)
        self.is_prepared = True  # its commands, daemons and hubs; else each is an interpreter of its own
        self.environ = {
            **os.environ,
            "HOME": str(self.home),
            "PATH": system.path,
            "UNDERSTUDY_DATA": str(self.data),
            "UNDERSTUDY_HEARTBEAT_INTERVAL": "500ms",
            "UNDERSTUDY_DRAIN": "1s",
            "UNDERSTUDY_DAEMON_ID": "mini",
            **environ,
        }
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            self.environ.pop(name, None)

    def __call__(self, *words: str, within_s: float = 90, **environ: str) -> Done:
        """`understudy` with these words."""
        self.system.is_prepared = self.is_prepared
        chosen = {**self.environ, **environ}
        plain = {name: value for name, value in chosen.items() if name != "PYTHONPATH"}  # on a Mac, of DARWIN alone
        own = {name: value for name, value in os.environ.items() if name == "PYTHONPATH"}
        is_text = all(isinstance(word, str) for word in words)
        is_a_mac = isinstance(self.system, FakeLaunchd)
        can_be = words[0] in ("service", "doctor") if is_a_mac else True
        if self.is_prepared and can_be and is_text and prepared.can_be(plain | own):
            return prepared_one(words, chosen, self.folder, within_s, AS_DARWIN if is_a_mac else "")
        return understudy(*words, env=chosen, cwd=self.folder, within_s=within_s)

    @property
    def unit(self) -> Path:
        return self.home / ".config/systemd/user/understudy-daemon.service"

    @property
    def plist(self) -> Path:
        return self.home / "Library/LaunchAgents/org.understudy.daemon.plist"


@contextlib.contextmanager
def on_linux(folder: Path, **environ: str) -> Iterator[ServicedMachine]:
    """A machine with a user's systemd."""
    with FakeSystemd(folder / "systemd", folder / "home/.config/systemd/user") as fake:
        yield ServicedMachine(folder, fake, **environ)


@contextlib.contextmanager
def on_a_mac(folder: Path, **environ: str) -> Iterator[ServicedMachine]:
    """A machine with launchd, as far as it is played: the rest of it is this one."""
    place = folder / "darwin"
    place.mkdir()
    (place / "sitecustomize.py").write_text(DARWIN)
    with FakeLaunchd(folder / "launchd") as fake:
        yield ServicedMachine(
            folder,
            fake,
            PYTHONPATH=os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH")])),
            **environ,
        )
