"""Lines for a place that may stand still: nobody waits, what is missing is counted, nothing is written twice."""

from __future__ import annotations

import io
import os
import re
import select
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.unread import unread
from tests.waiting import allowed_s
from understudy import line_queue
from understudy.clock import ManualClock
from understudy.daemon import succession
from understudy.daemon.home import Home
from understudy.line_queue import LineQueue, QueuedStream, _Descriptor
from understudy.log import Log
from understudy.log_file import LogFile


class Gate:
    """A place that takes lines only while it is open, and refuses those that it is told to."""

    def __init__(self):
        self.opened = threading.Event()
        self.reached = threading.Event()
        self.refuses = False
        self.lines = []

    def write(self, text):
        self.reached.set()
        self.opened.wait(60)
        if self.refuses:
            raise OSError(28, "No space left on device")
        self.lines.append(text.decode().rstrip("\n"))


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.opened.set()


def queue_to(gate):
    queue = LineQueue(gate.write)
    queue.missing_line = lambda count: f"{count} missing"
    return queue


def put_and_wait_until_it_hangs(queue, gate):
    queue.put(b"first\n")
    assert gate.reached.wait(60)


def test_what_does_not_fit_is_said_where_it_is_missing(gate, monkeypatch):
    monkeypatch.setattr(line_queue, "LINES_MAX", 3)
    queue = queue_to(gate)
    put_and_wait_until_it_hangs(queue, gate)
    for number in range(8):
        queue.put(f"{number}\n".encode())
    gate.opened.set()
    assert queue.drain(60)
    queue.put(b"later\n")
    assert queue.drain(60)
    assert gate.lines == ["first", "0", "1", "2", "5 missing", "later"]


def test_bytes_are_bounded_too_and_one_long_line_passes(gate, monkeypatch):
    monkeypatch.setattr(line_queue, "BYTES_MAX", 10)
    queue = queue_to(gate)
    put_and_wait_until_it_hangs(queue, gate)
    for text in (b"a" * 50 + b"\n", b"lost\n", b"two\nlines\n"):
        queue.put(text)
    gate.opened.set()
    assert queue.drain(60)
    assert gate.lines == ["first", "a" * 50, "3 missing"]


def test_what_was_refused_is_said_once_it_is_taken_again(gate):
    queue = queue_to(gate)
    gate.refuses = True
    gate.opened.set()
    for number in range(3):
        queue.put(f"{number}\n".encode())
        assert queue.drain(60)
    gate.refuses = False
    queue.put(b"again\n")
    assert queue.drain(60)
    assert gate.lines == ["3 missing", "again"]


def test_draining_ends_in_time_and_says_whether_all_is_written(gate):
    queue = queue_to(gate)
    assert queue.drain(0)
    queue.put(b"first\n")
    assert not queue.drain(0.01)
    gate.opened.set()
    assert queue.drain(60)


def test_a_thread_that_cannot_be_started_is_tried_again(gate, monkeypatch):
    def refused(_):
        raise RuntimeError("can't start new thread")

    queue = queue_to(gate)
    gate.opened.set()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        queue.put(b"1\n")
        assert not queue.drain(60)
    queue.put(b"2\n")
    assert queue.drain(60)
    assert gate.lines == ["1", "2"]


def test_without_a_thread_a_line_that_need_not_wait_is_written_at_once(monkeypatch):
    def refused(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    read, write = os.pipe()
    descriptor = _Descriptor(write)
    with os.fdopen(read, "rb", 0) as stream:
        queue = LineQueue(descriptor.write, descriptor.would_block)
        queue.put(b"cannot start a thread\n")
        assert stream.read(100) == b"cannot start a thread\n"
        os.set_blocking(write, False)
        while not descriptor.would_block(b"."):
            os.write(write, b"." * 4096)
        queue.put(b"waits\n")
        assert not queue.drain(0)
        os.set_blocking(read, False)
        while stream.read(1 << 20):
            pass
        queue.put(b"goes on\n")
        assert stream.read(100) == b"waits\ngoes on\n"
    os.close(write)


@pytest.mark.parametrize("is_blocking", [True, False])
def test_a_line_longer_than_the_pipe_arrives_whole(is_blocking):
    read, write = os.pipe()
    os.set_blocking(write, is_blocking)
    text = bytes(range(65, 91)) * 20_000
    queue = LineQueue(_Descriptor(write).write)
    queue.put(text)
    with ThreadPoolExecutor(1) as pool, os.fdopen(read, "rb") as stream:
        arrived = pool.submit(stream.read)
        assert queue.drain(60)
        os.close(write)
        assert arrived.result() == text


def stream_to(fd):
    return QueuedStream(
        open(fd, "w", encoding="ascii", errors="replace", closefd=False), LineQueue(_Descriptor(fd).write)
    )


def test_a_stream_encodes_as_the_one_before_it():
    read, write = os.pipe()
    stream = stream_to(write)
    assert (stream.fileno(), stream.isatty(), stream.encoding) == (write, False, "ascii")
    stream.write("質問\n")
    assert os.read(read, 100) == b"??\n"
    for end in (read, write):
        os.close(end)


def test_a_reader_that_has_gone_is_noticed_as_with_a_pipe():
    read, write = os.pipe()
    os.close(read)
    stream = stream_to(write)
    stream.write("nobody gets it\n")
    assert stream.queue.drain(60)
    with pytest.raises(BrokenPipeError):
        stream.write("nor this\n")
    os.close(write)


def test_a_stderr_without_reader_does_not_end_the_copy(tmp_path):
    """The copy in LOG_DIR stopped with the first line that stderr refused."""

    class Gone(io.StringIO):
        def write(self, _):
            raise BrokenPipeError

    copy = LogFile(tmp_path)
    log = Log(ManualClock(), Gone(), copy=copy)
    for number in range(3):
        log.emit("info", "Test", f"line {number}")
    assert copy.queue.drain(60)
    assert re.findall(r"line \d", (tmp_path / "daemon.log").read_text()) == ["line 0", "line 1", "line 2"]


def test_a_copy_that_hangs_does_not_stop_stderr(tmp_path, gate, monkeypatch):
    monkeypatch.setattr(LogFile, "_append", lambda _, text: gate.write(text))
    monkeypatch.setattr(line_queue, "LINES_MAX", 1)
    stderr, copy = io.StringIO(), LogFile(tmp_path)
    log = Log(ManualClock(), stderr, copy=copy, form="json")
    log.emit("info", "Test", "line 0")
    assert gate.reached.wait(60)
    for number in range(1, 5):
        log.emit("info", "Test", f"line {number}")
    assert stderr.getvalue().count("\n") == 5
    gate.opened.set()
    assert copy.queue.drain(60)
    assert '"message":"Lines are missing here: they could not be written","fields":{"lines":3}}' in gate.lines[-1]


FORKS = """
import os, sys
from understudy.line_queue import LineQueue
read, write = os.pipe()
os.set_blocking(write, False)
filled = 0
try:
    while True: filled += os.write(write, b"." * 4096)
except BlockingIOError: os.set_blocking(write, True)
queue = LineQueue(lambda text: os.write(write, text))
for number in range(3): queue.put(b"parent %d\\n" % number)
pid = os.fork()
if pid == 0:
    queue.put(b"child\\n")
    os._exit(0 if queue.drain(60) else 1)
while filled: filled -= len(os.read(read, min(filled, 65536)))
assert os.waitpid(pid, 0)[1] == 0 and queue.drain(60)
os.close(write)
print(sorted(os.read(read, 65536).decode().split("\\n")))
"""


def test_a_forked_child_writes_its_own_lines_and_no_others():
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "['', 'child', 'parent 0', 'parent 1', 'parent 2']\n", done.stderr


SPEAKS = """
import logging, sys, threading, warnings
from understudy.clock import SystemClock
from understudy.line_queue import queue_streams
from understudy.log import Log
queue_streams("stderr")
log = Log(SystemClock())
for number in range(6_000): log.emit("info", "Test", f"line {number}")
for _ in range(100):
    warnings.warn("x" * 9000, stacklevel=1)
    logging.getLogger("uvicorn.error").error("y" * 9000)
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
print("alive", flush=True)
sys.stdin.read()
log.emit("info", "Test", "the last words")
"""


def test_a_program_whose_stderr_is_not_read_goes_on_and_says_later_what_is_missing():
    """Its own log, warnings, the logging of libraries and tracebacks of threads alike."""
    with unread() as pipe:
        command = [sys.executable, "-c", SPEAKS]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with subprocess.Popen(command, stderr=pipe.end, **pipes) as process:
            try:
                assert select.select([process.stdout], [], [], allowed_s(30))[0], (
                    "it waits for the reader of its stderr"
                )
                assert process.stdout.read(6) == b"alive\n"
                said = pipe.read_until("Lines are missing here")
                process.stdin.close()
                said += pipe.read_until("the last words")
                assert process.wait(60) == 0
            finally:
                process.kill()
    lines = [int(number) for number in re.findall(r"line (\d+)\n", said)]
    assert lines == list(range(len(lines)))
    assert len(lines) > 1000
    assert int(re.search(r"lines=(\d+)", said)[1]) >= 6_000 - len(lines)


CRASHES = """
import sys
from understudy.clock import SystemClock
from understudy.line_queue import queue_streams
from understudy.log import Log
queue_streams("stdout", "stderr")
log = Log(SystemClock())
for number in range(1_000):
    log.emit("info", "Test", f"line {number}")
    print("beside", number)
raise SystemError("the last words")
"""


def test_a_program_that_crashes_has_said_everything_in_order():
    command = [sys.executable, "-c", CRASHES]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120, check=False
    )
    lines = done.stdout.splitlines()
    assert [re.split(r"line |beside ", line)[1] for line in lines[:2000]] == [str(n // 2) for n in range(2000)]
    assert lines[-1] == "SystemError: the last words"


def test_nothing_queued_is_lost_when_a_process_becomes_another(tmp_path, gate, monkeypatch):
    queue = queue_to(gate)
    monkeypatch.setattr(succession.os, "execve", lambda *_: gate.lines.append("execve"))
    queue.put(b"first\n")
    monkeypatch.setattr(succession, "drain", lambda: gate.opened.set() or line_queue.drain(60))
    succession.Succession(Home(tmp_path, "mini"), "boot").begin()
    assert gate.lines == ["first", "execve"]
