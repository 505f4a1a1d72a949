"""The daemon's end of the guard's pipe: starts it, writes to it without ever blocking, notices its death."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

import msgspec

from understudy.wire.proxies import NAMES as PROXIES
from understudy.worker.guard_policy import Hello, Killed, Message, Ready, Word

READ_BYTES = 4_096
WATCH_S = 3_600.0
KILLED_MAX = 1_000  # runs that are remembered: each is asked about as soon as it has ended
EXIT_S_MAX = 8.0  # killing a second, last will a few
ENV_KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "HOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


class GuardLink:
    """At most one guard at a time; a new one replaces a dead or deaf one."""

    def __init__(self, hello: Hello, ambient: Mapping[str, str], died: Callable[[], None]) -> None:
        self._hello = hello
        self._env = {name: value for name, value in ambient.items() if name in ENV_KEPT or name.lower() in PROXIES}
        self._died = died
        self._process: subprocess.Popen[bytes] | None = None
        self._replaced: subprocess.Popen[bytes] | None = None
        self._reading = threading.Lock()
        self._heard: dict[int, bytes] = {}  # half a line by guard
        self._killed: dict[str, None] = {}  # recent runs, oldest first
        self._is_first = True

    def start(self) -> None:
        """A fresh guard that knows no run yet; OSError or RuntimeError (no thread) if it cannot be started.

        One that replaces another is sent the key once it says that it is hidden: until then a run could read its pipe.
        """
        self._replaced = self._process
        self._put_down()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "understudy.worker.guard"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,  # says whom it killed; its end is the guard's death
            bufsize=0,
            env=self._env,
            start_new_session=True,
        )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        if self._is_first:  # no run is there yet that could read its pipe
            process.stdin.write(msgspec.json.encode(self._hello) + b"\n")
            self._is_first = False
        self._process = process
        try:
            threading.Thread(target=self._watch, args=(process,), name="guard:watch", daemon=True).start()
        except RuntimeError:  # its death would not be seen
            self._put_down()
            raise

    @property
    def pid(self) -> int:
        """Of the living guard; 0 if there is none."""
        return self._process.pid if self._process is not None else 0

    def tell(self, message: Message) -> bool:
        """Write one line; False if the guard is dead or does not read."""
        process = self._process
        if process is None or process.stdin is None or process.stdin.closed:
            return False
        line = msgspec.json.encode(message) + b"\n"
        try:
            is_whole = process.stdin.write(line) == len(line)
        except (OSError, ValueError):
            is_whole = False
        if not is_whole:  # half a line cannot be taken back: such a guard is of no use
            self._put_down()
        return is_whole

    def close(self) -> bool:
        """The end of this daemon → whether the guard has ended too, having killed what was left."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return True
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(EXIT_S_MAX)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _put_down(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()

    def has_killed(self, run_id: str) -> bool:
        """True if a guard said so; what it wrote before the killing is read first."""
        process = self._process
        with contextlib.suppress(OSError, ValueError, EOFError):
            while process is not None and self._listen(process, timeout_s=0):
                pass
        with self._reading:
            return run_id in self._killed

    def _listen(self, process: subprocess.Popen[bytes], timeout_s: float) -> bool:
        """Read what the guard wrote → whether there was anything; EOFError at its end."""
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], timeout_s)[0]:
            return False
        with self._reading:
            if not select.select([process.stdout], [], [], 0)[0]:
                return True  # the other reader was faster
            chunk = os.read(process.stdout.fileno(), READ_BYTES)
            if not chunk:
                raise EOFError
            *lines, self._heard[process.pid] = (self._heard.get(process.pid, b"") + chunk).split(b"\n")
            for line in lines:
                self._heed(process, msgspec.json.decode(line, type=Word))
        return True

    def _heed(self, process: subprocess.Popen[bytes], word: Word) -> None:
        match word:
            case Killed(run_id):
                self._killed[run_id] = None
                for oldest in list(self._killed)[:-KILLED_MAX]:
                    del self._killed[oldest]
            case Ready() if process.stdin is not None and not process.stdin.closed:
                with contextlib.suppress(OSError, ValueError):  # it is dead: its end is noticed
                    process.stdin.write(msgspec.json.encode(self._hello) + b"\n")

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError, EOFError):
            while True:
                self._listen(process, timeout_s=WATCH_S)
        process.wait()
        self._heard.pop(process.pid, None)
        if process.stdout is not None:
            process.stdout.close()
        if process is self._replaced:  # its successor is at work already
            return
        if self._process is process:
            self._process = None
        self._died()
