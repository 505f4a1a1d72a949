"""Programs that start at once: one process a session has imported everything, and each program is a fork of it.

An interpreter that imports a hub takes a second of a core, a fork a few milliseconds. What follows is the same: the
program has a process, an environment, a directory and files of its own, and ends by itself or by a signal. Where the
start is what a test is about (arguments that others can see, the environment before the first line, encodings,
directories of code), it starts an interpreter instead.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

IMPORTED = (
    "runtime.hub.server",
    "api.routed",
    "daemon",
    "daemon.assembly",
    "config.policy",
    "cli.start",
    "cli.terminal",
)
READ_AT_THE_START = ("LANG", "LC_", "UNDERSTUDY_LANG", "PYTHON", "COLUMNS", "TZ")
INHERITED = (
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGTERM,
)  # ignored by whoever starts a program, they are by the program
File = int | IO[Any]


class Program:
    """As `subprocess.Popen`, as far as the tests need it."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._reading = threading.Lock()  # a test waits for it while a fake service manager polls it
        self._unread = b""
        self.returncode: int | None = None
        self.pid = self._number(60)

    def _number(self, within_s: float | None) -> int:
        """The next line; a program that ends at once has written two before the first is read."""
        self._line.settimeout(within_s)
        while b"\n" not in self._unread:
            received = self._line.recv(32)
            assert received, "the keeper of a prepared program is gone"
            self._unread += received
        number, _, self._unread = self._unread.partition(b"\n")
        return int(number)

    def poll(self) -> int | None:
        with contextlib.suppress(BlockingIOError, subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self._reading.acquire(timeout=-1 if timeout is None else timeout):
            raise subprocess.TimeoutExpired("a prepared program", timeout or 0)
        try:
            if self.returncode is None:
                self.returncode = self._number(timeout)
                self._line.close()
        except TimeoutError:
            raise subprocess.TimeoutExpired("a prepared program", timeout or 0) from None
        finally:
            self._reading.release()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Maker:
    """The process that is forked, started when the first program is wanted."""

    def __init__(self) -> None:
        self._line: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def _started(self) -> socket.socket:
        with self._lock:
            if self._line is None:
                line, theirs = socket.socketpair()
                with theirs:
                    command = [sys.executable, "-P", "-m", "tests.prepared", str(theirs.fileno())]
                    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
                    self._process = subprocess.Popen(command, env=env, pass_fds=[theirs.fileno()])
                self._line = line
            return self._line

    def ask(self, request: dict[str, Any], files: list[int]) -> None:
        line = self._started()
        with tempfile.TemporaryFile() as written:
            written.write(json.dumps(request).encode())
            written.flush()
            socket.send_fds(line, [b"."], [written.fileno(), *files])

    def close(self) -> None:
        if self._line is not None and self._process is not None:
            self._line.close()
            self._process.wait(30)
            self._line = None


_maker = _Maker()
close = _maker.close


def can_be(env: Mapping[str, str]) -> bool:
    """Whether nothing works before the first line of a program: this environment, and signals that are ignored."""

    def early(environ: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in environ.items() if name.startswith(READ_AT_THE_START)}

    is_ignored = any(signal.getsignal(number) is signal.SIG_IGN for number in INHERITED)
    return early(env) == early(os.environ) and not is_ignored


def start(
    argv: list[str],
    *,
    code: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: File = subprocess.DEVNULL,
    stdout: File = 1,
    stderr: File = 2,
    has_session: bool = False,
) -> Program:
    """Run `understudy` with these arguments; or `code`, which finds them in `sys.argv[1:]`."""
    environ = dict(os.environ if env is None else env)
    request = {"argv": argv, "code": code, "env": environ, "cwd": str(cwd or Path.cwd())}
    request["has_session"] = has_session
    ours, theirs = socket.socketpair()
    with theirs, open(os.devnull, "rb") as nothing:  # noqa: PTH123
        streams = [nothing if stream == subprocess.DEVNULL else stream for stream in (stdin, stdout, stderr)]
        numbers = [stream if isinstance(stream, int) else stream.fileno() for stream in streams]
        _maker.ask(request, [*numbers, theirs.fileno()])
    return Program(ours)


# ---- on the other side


def _serve(line: socket.socket) -> dict[str, Any]:
    """Fork for each request; returns in the new program only."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the keepers need nobody who waits for them
    while True:
        said, files, _, _ = socket.recv_fds(line, 1, 5)
        if not said:
            os._exit(0)
        if not os.fork():
            line.close()
            return _keep(files)
        for number in files:
            os.close(number)


def _keep(files: list[int]) -> dict[str, Any]:
    """Start the program, and tell its number and its end; returns in the program."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    written, *streams, told = files
    if pid := os.fork():
        for number in (written, *streams):
            os.close(number)
        with contextlib.suppress(OSError):  # the test may be over
            os.write(told, b"%d\n" % pid)
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(OSError):
            os.write(told, b"%d\n" % os.waitstatus_to_exitcode(status))
        os._exit(0)
    os.close(told)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    with open(written, "rb") as file:  # noqa: PTH123
        file.seek(0)
        request: dict[str, Any] = json.load(file)
    return request


def _work_out() -> None:
    """Do what every program does at its start from the sources alone, and each time the same: half of a start."""
    from starlette import routing

    from tests.new_stores import copying
    from understudy.api.app import ENDPOINTS
    from understudy.config.table import table
    from understudy.dashboard.app import LIVE
    from understudy.dashboard.pages import ACTS, PAGES
    from understudy.store import sqlite

    table()
    sqlite.migrate = copying(sqlite3.connect(":memory:", check_same_thread=False))
    routing.compile_path = functools.cache(routing.compile_path)
    for path in (*(one.path for one in (*ENDPOINTS, *PAGES, *ACTS)), *(f"{LIVE}{page.path}" for page in PAGES)):
        routing.compile_path(path.rstrip("/") or "/")


def _become(request: dict[str, Any]) -> None:
    """What an interpreter does before the first line."""
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    if request["has_session"]:
        os.setsid()
    sys.argv = ["understudy", *request["argv"]]
    sys.orig_argv = [
        sys.executable,
        *(("-c", request["code"], *request["argv"]) if request["code"] else ("-m", *sys.argv)),
    ]
    time.tzset()


def _run(request: dict[str, Any]) -> None:
    """Run it; `sys.exit` ends it without taking apart, object by object, what was imported before it began."""
    try:
        if request["code"]:
            exec(request["code"], {"__name__": "__main__"})
        else:
            from understudy.cli import main

            main()
    except SystemExit as end:
        if not isinstance(end.code, int | None):
            raise
        threading._shutdown()  # type: ignore[attr-defined]  # as an interpreter: the threads, atexit, the streams
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit((end.code or 0) & 0xFF)


if __name__ == "__main__":
    import gc
    import importlib
    import pkgutil

    from tests import forgetful
    from understudy import cli

    forgetful.forget()
    commands = sorted(found.name for found in pkgutil.walk_packages(cli.__path__, "understudy.cli."))
    for name in (*(f"understudy.{name}" for name in IMPORTED), *commands):
        importlib.import_module(name)
    _work_out()
    gc.freeze()
    request = _serve(socket.socket(fileno=int(sys.argv[1])))
    _become(request)
    _run(request)
