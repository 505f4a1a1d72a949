"""Child processes of `understudy up` and `drill`: their lines go to a file, the important ones also to the terminal."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from understudy.cli.terminal import note, paint, safe
from understudy.errors import UnderstudyError
from understudy.private import open_private, own_directory

LOG_BYTES_MAX = 10 << 20  # a longer one becomes .1
LINES_KEPT = 12
LINE_CHARS_MAX = 4000
KILL_S = 5.0
LAST_WORDS_S = 1.0
_NEWS = ("[Daemon] Started", "[Daemon] Finished")
_BANNER = re.compile(r"^={1,200}$|\(ClaimTask API \+ Lease Management\)")
_LINE = re.compile(r"\[\d{4}-\d\d-\d\dT(?P<at>\d\d:\d\d:\d\d)\S{0,16}\] \[(?P<level>[A-Z]{1,10})\] (?P<rest>.*+)")


class LoggedChild:
    """One `understudy` command in a session of its own; it ends with us, because it watches our end of its stdin."""

    def __init__(
        self,
        name: str,
        arguments: list[str],
        env: Mapping[str, str],
        log: Path,
        ended: Callable[[], None],
        command: tuple[str, ...] = (),
        *,
        is_quiet: bool = False,
    ) -> None:
        """Start it; a quiet one writes its log only. OSError if that cannot be written."""
        self.name = name
        self.log = log
        self.recent: deque[str] = deque(maxlen=LINES_KEPT)
        self._ended = ended
        self._is_quiet = is_quiet
        self.is_talkative = False  # whether the terminal also gets what happens to tasks
        own_directory(log.parent)
        if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
            log.replace(log.with_name(f"{log.name}.1"))
        self._file = open_private(log)
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "understudy",
                *arguments,
                "--stop-at-eof",
                *(("--", *command) if command else ()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=dict(env),
            start_new_session=True,  # Ctrl-C is for us alone: we stop them in order
        )
        self._reader = threading.Thread(target=self._read, name=name, daemon=True)
        self._reader.start()
        threading.Thread(target=self._await_end, name=f"{name}:end", daemon=True).start()

    @property
    def is_alive(self) -> bool:
        """True if it still runs."""
        return self.process.poll() is None

    def last_words(self) -> str:
        """The last lines of one that has ended, indented; waits a little until they are read."""
        self._reader.join(LAST_WORDS_S)
        return "\n".join(f"    {safe(line)}" for line in [*self.recent])  # its reader may still add to it

    def stop(self, within_s: float) -> bool:
        """TERM, then KILL → whether it ended by itself. Returns when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(within_s)
            return True
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        finally:
            self._close()

    def kill(self) -> None:
        """At once, and whatever is left in its session."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(KILL_S)

    def _close(self) -> None:
        self._reader.join(KILL_S)
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        with contextlib.suppress(OSError):
            self._file.close()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for raw in iter(lambda: stream.readline(LINE_CHARS_MAX), b""):
                line = raw.decode("utf-8", "replace").rstrip("\n")
                self.recent.append(line)
                with contextlib.suppress(OSError, ValueError):
                    self._file.write(line.encode() + b"\n")
                    self._file.flush()
                    self._turn_over()
                self._show(line)

    def _turn_over(self) -> None:
        """A log that has become too long makes way for a new one; the one before is kept."""
        if self._file.tell() > LOG_BYTES_MAX:
            with contextlib.suppress(FileNotFoundError):  # moved already, but then no new one could be opened
                self.log.replace(self.log.with_name(f"{self.log.name}.1"))
            full, self._file = self._file, open_private(self.log)
            full.close()

    def _await_end(self) -> None:
        """Not by the end of its stderr: a guard may hold that open a little longer."""
        self.process.wait()
        self._ended()

    def _show(self, line: str) -> None:
        """Show warnings, what happens to tasks, and lines that are no log lines: those are sentences for the owner."""
        found = _LINE.fullmatch(line)
        if self._is_quiet or not (self._is_shown(found) if found else line.strip() and not _BANNER.search(line)):
            return
        text, colour = line, "yellow"
        if found:
            rest = found["rest"]
            is_news = found["level"] == "INFO"
            text = f"{found['at']} {rest.partition(' executor=')[0] if is_news else found['level'] + ' ' + rest}"
            colour = {"INFO": "dim", "CRITICAL": "red"}.get(found["level"], "yellow")
        with contextlib.suppress(OSError, ValueError):
            note(f"{paint(self.name, 'dim', sys.stderr)} │ {paint(safe(text), colour, sys.stderr)}")

    def _is_shown(self, found: re.Match[str]) -> bool:
        if found["level"] in ("WARNING", "CRITICAL"):
            return True
        return self.is_talkative and found["rest"].startswith(_NEWS)


class EndedError(UnderstudyError):
    """A child ended that should not have."""

    code = "child_ended"
