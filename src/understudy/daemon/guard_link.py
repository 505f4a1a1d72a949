"""The daemon's end of the guard's pipe: starts it, writes to it without ever blocking, notices its death."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO

import msgspec

from understudy.wire.proxies import NAMES as PROXIES
from understudy.worker.guard_policy import Hello, Killed, Message, Ready, Word

READ_BYTES = 4_096
WATCH_S = 3_600.0
BACKLOG_BYTES_MAX = 1 << 20  # what the pipe does not hold (64 KiB), half a KiB a run
DEAF_S = 30.0  # a guard that takes nothing of that for so long is put down
FEED_S = 1.0
KILLED_MAX = 1_000  # runs that are remembered: each is asked about as soon as it has ended
HAND_OVER_S = 1.0  # at the end, for a guard that does not read at once
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
        self._writing = threading.Lock()
        self._backlog = bytearray()  # lines that the pipe has not taken yet
        self._fed: subprocess.Popen[bytes] | None = None  # the guard that a thread gives its backlog to
        self._took_s = 0.0  # when it last took something of that
        self._reading = threading.Lock()
        self._heard: dict[int, bytes] = {}  # half a line by guard
        self._killed: dict[str, None] = {}  # recent runs, oldest first
        self._is_first = True

    def start(self) -> None:
        """A fresh guard that knows no run yet; OSError or RuntimeError (no thread) if it cannot be started.

        One that replaces another is sent the key once it says that it is hidden: until then a run could read its pipe.
        """
        self._replaced = self._process
        with self._writing:
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
        self._process = process
        if self._is_first:  # no run is there yet that could read its pipe
            self._tell(process, self._hello)
            self._is_first = False
        try:
            threading.Thread(target=self._watch, args=(process,), name="guard:watch", daemon=True).start()
        except RuntimeError:  # its death would not be seen
            with self._writing:
                self._put_down()
            raise

    @property
    def pid(self) -> int:
        """Of the living guard; 0 if there is none."""
        return self._process.pid if self._process is not None else 0

    def tell(self, message: Message) -> bool:
        """Write one line → whether the guard's pipe has it, and so the guard, even if this daemon is killed.

        What the pipe does not take at once follows in order; False also if the guard is dead or deaf.
        """
        process = self._process
        return process is not None and self._tell(process, message)

    def _tell(self, process: subprocess.Popen[bytes], message: Message) -> bool:
        with self._writing:
            if process is not self._process:
                return False
            self._backlog += msgspec.json.encode(message) + b"\n"
            return self._flush(process)

    def _flush(self, process: subprocess.Popen[bytes]) -> bool:
        """Write what the pipe takes → whether that was all; a thread sees to the rest. The lock is held."""
        assert process.stdin is not None
        try:
            taken = process.stdin.write(self._backlog) or 0
            del self._backlog[:taken]
            if taken or self._fed is not process:
                self._took_s = time.monotonic()
            if self._backlog and self._fed is not process:
                threading.Thread(target=self._feed, args=(process,), name="guard:feed", daemon=True).start()
                self._fed = process
        except (OSError, ValueError, RuntimeError):  # RuntimeError: "can't start new thread"
            self._put_down()
            return False
        if len(self._backlog) > BACKLOG_BYTES_MAX or time.monotonic() - self._took_s > DEAF_S:
            self._put_down()
            return False
        return not self._backlog

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        """Until the guard has the whole backlog, or is no more."""
        while True:
            with contextlib.suppress(OSError, ValueError):
                _is_ready(process.stdin, select.POLLOUT, FEED_S)
            with self._writing:
                if process is not self._process or self._flush(process):
                    if self._fed is process:
                        self._fed = None
                    return

    def close(self) -> bool:
        """The end of this daemon → whether the guard has ended too, having killed what was left."""
        self._hand_over(time.monotonic() + HAND_OVER_S)
        with self._writing:
            process, self._process = self._process, None
            if process is None or process.stdin is None:
                return True
            _close(process.stdin)
        try:
            process.wait(EXIT_S_MAX)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _hand_over(self, until_s: float) -> None:
        """Give the guard what the pipe has not taken yet: a run that is done must not be in its last will."""
        while (left_s := until_s - time.monotonic()) > 0:
            with self._writing:
                process = self._process
                if process is None or not self._backlog or self._flush(process):
                    return
            with contextlib.suppress(OSError, ValueError):
                _is_ready(process.stdin, select.POLLOUT, left_s)

    def _put_down(self) -> None:
        process, self._process = self._process, None
        self._backlog.clear()
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
        if not _is_ready(process.stdout, select.POLLIN, timeout_s):
            return False
        with self._reading:
            if not _is_ready(process.stdout, select.POLLIN, 0):
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
            case Ready():
                self._tell(process, self._hello)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError, EOFError):
            while True:
                self._listen(process, timeout_s=WATCH_S)
        process.wait()
        self._heard.pop(process.pid, None)
        _close(process.stdout)
        with self._writing:
            if self._process is process:
                self._put_down()
            _close(process.stdin)  # not before it is dead: the end of this pipe is that of its runs
        if process is not self._replaced:  # else its successor is at work already
            self._died()


def _close(stream: IO[bytes] | None) -> None:
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.close()


def _is_ready(stream: IO[bytes] | None, what: int, timeout_s: float) -> bool:
    """True if it can be read or written, or has come to its end. Unlike select(2), for descriptors of any number."""
    assert stream is not None
    look = select.poll()
    look.register(stream, what)
    return bool(look.poll(timeout_s * 1000))
