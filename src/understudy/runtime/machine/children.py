"""A run's real process: started from a plan, read with caps, ended with everything it started."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from understudy.clock import Clock
from understudy.runtime.machine.whole_file import WholeFile
from understudy.worker.executors import Ended, Plan, Reading, RunProgress
from understudy.worker.process_tree import KILL_MS_MAX, ProcessTree, birth_of, is_living

READ_BYTES = 65_536
DRAIN_S = 2.0  # for both pipes after everybody is dead; a survivor may hold them open
END_S = DRAIN_S + KILL_MS_MAX / 1000 + 1.0  # until the end of a killed root is known: a look for others, its pipes
LOOK_S = 0.05  # where the system cannot wait for an end without burying the dead
NICE_MAX = 19
CHARACTER_BYTES_MAX, CONTINUES, BEGINS = 4, 0x80, 0xC0  # of UTF-8
PROGRESS_MS = 1_000  # signs of life are passed on at most so often


class HeadTail:
    """Keeps the first and the last bytes of a stream, and counts the rest."""

    def __init__(self, kept_max: int) -> None:
        self._head_max = kept_max // 2
        self._tail_max = kept_max - self._head_max
        self._head = bytearray()
        self._tail = bytearray()
        self.total = 0

    def add(self, chunk: bytes) -> None:
        """The next bytes."""
        self.total += len(chunk)
        room = self._head_max - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        if len(self._tail) > 2 * self._tail_max:
            del self._tail[: -self._tail_max]

    def left_out(self) -> int:
        """The number of bytes in neither part."""
        return max(0, self.total - self._head_max - self._tail_max)

    def kept(self) -> bytes:
        """Head and tail, with a line in between that says what is missing."""
        head, tail = bytes(self._head), bytes(self._tail[-self._tail_max :])
        if not self.left_out():
            return head + tail
        words, end = head.rsplit(None, 1), tail.split(None, 1)  # half a secret would not be recognised as one
        head = words[0] if len(words) > 1 else _without_begun(head)
        tail = end[1] if len(end) > 1 else _without_rest(tail)
        return head + f"\n… {self.total - len(head) - len(tail)} bytes left out …\n".encode() + tail


class Child:
    """One process tree with its pipes; `news` is called from other threads whenever there is some."""

    def __init__(
        self,
        run_id: str,
        plan: Plan,
        reading: Reading,
        clock: Clock,
        news: Callable[[], None],
        whole: Path | None = None,
    ) -> None:
        """Start it, all of stdout into the file `whole`; OSError or ValueError if that is not possible."""
        self._plan = plan
        self._reading = reading
        self._clock = clock
        self._news = news
        self._news_lock = threading.Lock()
        self._progress: RunProgress | None = None  # since the last look
        self._passed_on_ms = -PROGRESS_MS
        self._stdout = HeadTail(plan.output_kept_bytes_max)
        self._stderr = HeadTail(plan.errors_kept_bytes_max)
        self._ran_away = False
        self._ended: Ended | None = None
        self._is_over = threading.Event()
        self._grace = threading.Lock()  # held while the tree may end in its own time
        self.tree = ProcessTree(run_id, clock)
        self._process: subprocess.Popen[bytes] | None = None
        self._begun = threading.Event()
        try:
            readers = (("stdout", self._read_stdout), ("stderr", self._read_stderr))
            self._readers = [self._thread(f"{run_id}:{name}", target) for name, target in readers]
            self._thread(f"{run_id}:stdin", self._write)
            self._thread(f"{run_id}:end", self._await_end)
            self._start(plan, whole)
        except RuntimeError as error:  # "can't start new thread": known before there is a process
            raise OSError(errno.EAGAIN, str(error)) from error
        finally:
            self._begun.set()

    def _start(self, plan: Plan, whole: Path | None) -> None:
        process = subprocess.Popen(
            plan.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=plan.env,
            cwd=plan.cwd,
            start_new_session=True,
        )
        self._whole = WholeFile(whole)
        self.pid = process.pid
        try:
            self.birth = birth_of(self.pid)
        except OSError:  # it could not be distinguished from others, so not be ended
            with process:
                process.kill()
            self._whole.close()
            raise
        self.tree.root(self.pid, self.birth)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self.pid, min(NICE_MAX, os.getpriority(os.PRIO_PROCESS, 0) + plan.nice))
        self._process = process

    def look(self) -> Ended | RunProgress | None:
        """News since the last look."""
        if self._ended is not None:
            return self._ended
        with self._news_lock:
            progress, self._progress = self._progress, None
        return progress

    def end(self, grace_ms: int) -> Ended:
        """End the tree: TERM, grace, KILL. Returns when nothing of it lives, or says how many survived."""
        if grace_ms:
            with self._grace:
                survivors = self.tree.end(grace_ms)
        else:
            survivors = self.tree.kill()
        self._is_over.wait(END_S)
        return msgspec.structs.replace(self._ended or self._as_of_now(), survivors=survivors)

    def _thread(self, name: str, target: Callable[[subprocess.Popen[bytes]], None]) -> threading.Thread:
        """A thread that waits for the start and ends if that fails; RuntimeError if the machine has none to give."""

        def work() -> None:
            self._begun.wait()
            if self._process is not None:
                target(self._process)

        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread

    def _write(self, process: subprocess.Popen[bytes]) -> None:
        stream = _pipe(process.stdin)
        with contextlib.suppress(OSError, ValueError):  # it need not read its prompt
            view = memoryview(self._plan.stdin)
            while view:
                view = view[stream.write(view) :]
        with contextlib.suppress(OSError, ValueError):
            stream.close()

    def _read_stdout(self, process: subprocess.Popen[bytes]) -> None:
        for chunk in _chunks(_pipe(process.stdout)):
            self._stdout.add(chunk)
            self._whole.add(chunk)
            if self._stdout.total > self._plan.output_bytes_max:
                self._ran_away = True
                self.tree.kill()
                return
            self._pass_on(self._reading.feed(chunk, self._clock.now_ms()))

    def _read_stderr(self, process: subprocess.Popen[bytes]) -> None:
        for chunk in _chunks(_pipe(process.stderr)):
            self._stderr.add(chunk)

    def _pass_on(self, progress: RunProgress | None) -> None:
        if progress is None:
            return
        with self._news_lock:
            before = self._progress or progress
            text, checkpoint = progress.text or before.text, progress.checkpoint or before.checkpoint
            self._progress = RunProgress(progress.at, text, checkpoint)
        now_ms = self._clock.mono_ms()
        if progress.text or progress.checkpoint or now_ms - self._passed_on_ms >= PROGRESS_MS:
            self._passed_on_ms = now_ms
            self._news()

    def _await_end(self, process: subprocess.Popen[bytes]) -> None:
        """The run is over only when the root and everything it started are gone.

        The root is buried last: while it holds its pid, its session can be distinguished from a later one. And if it
        is a wrapper that TERM ends at once, those it wrapped keep their grace.
        """
        self._await_zombie()
        with self._grace:
            survivors = self.tree.kill()
        code = self._bury(process)
        until_s = time.monotonic() + DRAIN_S
        for reader in self._readers:
            reader.join(max(0.0, until_s - time.monotonic()))
        self._whole.close()
        self._ended = msgspec.structs.replace(self._as_of_now(), code=code, survivors=survivors)
        self._is_over.set()
        self._news()

    def _bury(self, process: subprocess.Popen[bytes]) -> int | None:
        """The exit code of the dead root; None if somebody else has taken it, for which Popen would say 0."""
        code = None
        with contextlib.suppress(ChildProcessError):
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        process.returncode = 0 if code is None else code  # it need not look any more
        return code

    def _as_of_now(self) -> Ended:
        """Its end as far as it is known before the root is buried: the output so far."""
        return Ended(
            code=None,
            stdout=self._stdout.kept(),
            stderr=self._stderr.kept(),
            left_out_bytes=self._stdout.left_out(),
            ran_away=self._ran_away,
        )

    def _await_zombie(self) -> None:
        """Until the root is dead, without taking its pid from it; macOS has no waitid before Python 3.13."""
        if hasattr(os, "waitid"):
            with contextlib.suppress(ChildProcessError):  # buried by the system: SIGCHLD is ignored here
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            return
        while is_living(self.pid, self.birth):
            time.sleep(LOOK_S)


def _without_begun(raw: bytes) -> bytes:
    """Without the bytes at the end that begin a character of UTF-8 and lack its rest."""
    for back, byte in enumerate(reversed(raw[-CHARACTER_BYTES_MAX:]), 1):
        if byte < CONTINUES:
            return raw
        if byte >= BEGINS:
            is_whole = back >= (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4)  # noqa: PLR2004 - RFC 3629
            return raw if is_whole else raw[:-back]
    return raw


def _without_rest(raw: bytes) -> bytes:
    """Without the bytes at the beginning that are the rest of a character of UTF-8."""
    begins = (n for n, byte in enumerate(raw[:CHARACTER_BYTES_MAX]) if not CONTINUES <= byte < BEGINS)
    return raw[next(begins, 0) :]


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    with contextlib.suppress(OSError, ValueError), stream:
        while chunk := stream.read(READ_BYTES):
            yield chunk


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
