"""What the played launchd and systemd share: commands that come in by a socket, and real processes that are kept."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests import prepared
from tests.fakes import system_command
from tests.waiting import eventually
from understudy.daemon.service import CommandOutcome

Process = subprocess.Popen[bytes] | prepared.Program
Said = tuple[int, str, str]  # exit code, stdout, stderr


class Keeper:
    """Answers the commands `names`; `with keeper:` starts and ends it with everything that it runs."""

    names: tuple[str, ...] = ()

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.asked: list[tuple[str, ...]] = []
        self.lock = threading.RLock()
        self.nook = Path(tempfile.mkdtemp(prefix="kept-"))  # names of sockets must be short
        self._address = self.nook / "commands"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._processes: list[Process] = []
        self.is_over = False
        self.closing: list[socket.socket] = []
        self.is_prepared = True  # where it can be, a daemon or hub is the fork of a prepared process

    def __enter__(self) -> Any:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._listener.bind(str(self._address))
        self._listener.listen(16)
        for name in self.names:
            self._put_on_path(name)
        self._server = threading.Thread(target=self._serve, name="keeper", daemon=True)
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self.lock:  # what is just being done is done, so all that was started is known
            self.is_over = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # else its thread would go on with whoever gets this number next
        self._server.join(60)
        self._listener.close()
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.terminate()
        for process in self._processes:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for one in self.closing:
            one.close()
        shutil.rmtree(self.nook, ignore_errors=True)

    @property
    def path(self) -> str:
        """A PATH on which the played commands come first."""
        return f"{self.bin}:{os.environ['PATH']}"

    def run(self, argv: Sequence[str], within_s: float = 15.0) -> CommandOutcome:
        """Its commands without the detour over processes."""
        self.asked.append(tuple(argv))
        return CommandOutcome(*self.answer(argv[0], list(argv[1:])))

    def times(self, *words: str) -> int:
        """How often a command that begins like this was given."""
        return sum(asked[: len(words)] == words for asked in self.asked)

    def answer(self, name: str, arguments: list[str]) -> Said:
        raise NotImplementedError

    def spawn(self, argv: list[str], env: Mapping[str, str], output: Path | None, cwd: str | None = None):
        """A real process with nothing of the test's own environment but what it needs to be measured."""
        given = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        words = words_of(argv) if self.is_prepared and prepared.can_be(os.environ) else None
        process: Process
        with (output or Path(os.devnull)).open("ab") as log:
            if words is None:
                process = subprocess.Popen(
                    argv,
                    env={**given, **env},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=cwd,
                    start_new_session=True,
                )
            else:
                at = Path(cwd) if cwd else None
                process = prepared.start(words, env={**given, **env}, cwd=at, stdout=log, stderr=log, has_session=True)
        self._processes.append(process)
        return process

    def after(self, seconds: float, action: Any) -> None:
        """Later, unless all is over by then."""

        def wait() -> None:
            until = time.monotonic() + seconds
            while not self.is_over and time.monotonic() < until:
                time.sleep(0.01)
            with self.lock:
                if not self.is_over:
                    action()

        threading.Thread(target=wait, daemon=True).start()

    def _serve(self) -> None:
        while not self.is_over:
            try:
                there, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(there,), daemon=True).start()

    def _answer(self, there: socket.socket) -> None:
        with there:
            asked = b""
            while chunk := there.recv(65_536):
                asked += chunk
            words = [os.fsdecode(word) for word in asked.split(b"\0")]
            self.asked.append(tuple(words))
            try:
                said = self.answer(words[0], words[1:])
            except Exception as error:  # noqa: BLE001 - a fake that broke says so where the test looks
                said = (99, "", f"the fake broke: {type(error).__name__}: {error}\n")
            there.sendall("\0".join(map(str, said)).encode())

    def _put_on_path(self, name: str) -> None:
        """A command that asks us."""
        self.bin.mkdir(parents=True, exist_ok=True)
        script = self.bin / name
        words = shlex.join([sys.executable, "-I", "-S", system_command.__file__, str(self._address), name])
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        script.chmod(0o755)


def words_of(argv: Sequence[str]) -> list[str] | None:
    """What `understudy` is given by a command line that this interpreter runs, by our script too; None if other."""
    ours = [sys.executable, "-P", "-m", "understudy"]
    if list(argv[:4]) == ours:
        return list(argv[4:])
    script = Path(argv[0])
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if script.read_text() == f'#!/bin/sh\nexec {shlex.quote(ours[0])} {shlex.join(ours[1:])} "$@"\n':
            return list(argv[1:])
    return None


def gone(process: Process, within_s: float = 10) -> None:
    """Until it has ended."""
    eventually(lambda: process.poll() is not None, within_s=within_s, what="the end of the process")
