"""A daemon in a process of its own, for tests that kill it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil

from tests import prepared
from tests.daemon.fake_hub import KEY
from tests.waiting import eventually
from understudy.config import Settings
from understudy.daemon import DaemonInputs

_START = (
    "import sys, msgspec, understudy.daemon as d;"
    "sys.exit(d.run(msgspec.json.decode(sys.argv[1], type=d.DaemonInputs, dec_hook=lambda t, v: t(v))))"
)


class LiveDaemon:
    """One process with everything that it starts; `log` is what it said so far."""

    def __init__(
        self,
        hub_url: str,
        data_dir: Path,
        *command: str,
        env: dict[str, str] | None = None,
        start: tuple[str, ...] = (),  # what starts it in turn
        python: str = sys.executable,
        **more: Any,  # of DaemonInputs or Settings
    ):
        values = {"hub_url": hub_url, "api_key": KEY, "data_dir": data_dir, "command": command}
        values |= {name: more.pop(name) for name in DaemonInputs.__struct_fields__ if name in more}
        nobody = {"claude_cli": "not-installed", "codex_cli": "not-installed"}
        settings = Settings(**{"log_level": "debug", "daemon_id": "mini", **nobody, **more})
        given = DaemonInputs(settings=settings, **values)
        data_dir.mkdir(parents=True, exist_ok=True)
        self._log_path = data_dir / "log.txt"
        said = msgspec.json.encode(given, enc_hook=str).decode()
        environ = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | prepared.Program
        with self._log_path.open("a") as log:
            if start or python != sys.executable or not prepared.can_be(environ):
                command = [*start, python, "-P", "-c", _START, said]
                self.process = subprocess.Popen(command, stderr=log, env=environ)
            else:
                self.process = prepared.start([said], code=_START, stderr=log, env=environ)

    @property
    def log(self) -> str:
        return self._log_path.read_text()

    def guard_pid(self) -> int:
        def ask() -> int:
            for child in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.Error):
                    if "understudy.worker.guard" in child.cmdline():
                        return child.pid
            return 0

        return eventually(ask, what="a guard")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, within_s: float = 60.0) -> int:
        self.process.terminate()
        return self.process.wait(within_s)

    def close(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def living(*args: Any, **kwargs: Any) -> Iterator[LiveDaemon]:
    daemon = LiveDaemon(*args, **kwargs)
    try:
        yield daemon
    finally:
        daemon.close()
