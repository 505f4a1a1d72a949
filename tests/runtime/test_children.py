"""Real child processes: bytes in, bytes out, everything dead at the end."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.waiting import allowed_s, eventually
from tests.worker.trees import IGNORES_TERM, SLEEP, fresh, living, pids_in, stubborn
from understudy.clock import SystemClock
from understudy.runtime.machine import children
from understudy.runtime.machine.children import Child, HeadTail
from understudy.worker import process_tree
from understudy.worker.executors import Ended, PlainReading, Plan, RunProgress, TaskToRun
from understudy.worker.executors.command import CommandExecutor

ENV = {"PATH": os.environ["PATH"]}


def child(*argv: str, stdin: bytes = b"", **plan: int) -> tuple[Child, threading.Event]:
    news = threading.Event()
    run_id = fresh("c")
    env = {**ENV, "UNDERSTUDY_RUN_ID": run_id}
    return Child(run_id, Plan(argv=argv, env=env, stdin=stdin, **plan), PlainReading(), SystemClock(), news.set), news


def ended(started: Child) -> Ended:
    def look() -> Ended | None:
        news = started.look()
        return news if isinstance(news, Ended) else None

    return eventually(look, every_s=0.002)


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


@settings(max_examples=40)
@given(st.text(st.characters(codec=None), max_size=300))
def test_any_prompt_reaches_stdin_byte_for_byte(prompt: str) -> None:
    run_id = fresh("c")
    plan = CommandExecutor(("cat",), ENV).plan(TaskToRun(id="t", content=prompt), run_id)
    started = Child(run_id, plan, PlainReading(), SystemClock(), lambda: None)
    result = ended(started)
    assert (result.code, result.stdout) == (0, prompt.encode("utf-8", "surrogatepass"))


def test_prompt_larger_than_a_pipe_does_not_block() -> None:
    prompt = os.urandom(400_000)
    assert ended(child("cat", stdin=prompt)[0]).stdout == prompt


def test_prompt_that_nobody_reads_is_no_error() -> None:
    assert ended(child(*python("print('done')"), stdin=b"x" * 400_000)[0]).stdout == b"done\n"


def test_head_and_tail_of_a_long_output_are_kept() -> None:
    code = "import sys; sys.stdout.write('A' * 1000 + 'm' * 1_000_000 + 'Z' * 1000)"
    result = ended(child(*python(code), output_kept_bytes_max=2_000)[0])
    assert result.stdout.startswith(b"A" * 1000)
    assert result.stdout.endswith(b"Z" * 1000)
    assert result.left_out_bytes == 1_000_000
    assert b"1000000 bytes left out" in result.stdout


def test_output_without_end_is_ended() -> None:
    result = ended(child("yes", output_bytes_max=1 << 20)[0])
    assert result.ran_away
    assert len(result.stdout) < 1 << 20


def test_both_pipes_are_read_at_the_same_time() -> None:
    code = "import sys; sys.stderr.write('e' * 300_000); sys.stdout.write('o' * 300_000)"
    result = ended(child(*python(code))[0])
    assert (len(result.stdout), len(result.stderr) > 60_000) == (300_000, True)


def test_what_the_root_leaves_running_ends_with_it() -> None:
    code = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); print(p.pid)"
    result = ended(child(*python(code))[0])
    assert living([int(result.stdout)]) == []


def test_stop_with_grace_takes_the_whole_tree(tmp_path: Path) -> None:
    started, _ = child(*stubborn(tmp_path / "pids"))
    pids = pids_in(tmp_path / "pids")
    assert started.end(grace_ms=300).code == -signal.SIGKILL
    assert living(pids) == []


def test_polite_program_may_finish_its_words() -> None:
    code = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('bye'), sys.exit(0)))\n"
        "print('up', flush=True)\n"
        "time.sleep(60)"
    )
    started, news = child(*python(code))
    assert news.wait(60)
    began = time.monotonic()
    assert started.end(grace_ms=5_000).stdout == b"up\nbye\n"
    assert time.monotonic() - began < allowed_s(2)


def test_output_is_a_sign_of_life() -> None:
    started, news = child(*python(f"print('up', flush=True); {SLEEP}"))
    assert news.wait(60)
    assert isinstance(started.look(), RunProgress)
    started.end(0)


class Telling(PlainReading):
    """Leaves a checkpoint with its first words only."""

    def __init__(self) -> None:
        self.fed = 0

    def feed(self, chunk: bytes, at: int) -> RunProgress | None:
        self.fed += 1
        return RunProgress(at=at, text="begun", checkpoint="{}") if self.fed == 1 else RunProgress(at=at)


def test_a_checkpoint_that_nobody_looked_at_in_time_is_not_lost_to_the_next_sign_of_life() -> None:
    reading = Telling()
    code = "import time; print(1, flush=True); time.sleep(0.2); print(2, flush=True); time.sleep(60)"
    run_id = fresh("c")
    plan = Plan(argv=python(code), env={**ENV, "UNDERSTUDY_RUN_ID": run_id})
    started = Child(run_id, plan, reading, SystemClock(), lambda: None)
    eventually(lambda: reading.fed == 2, what="both lines")
    news = started.look()
    assert isinstance(news, RunProgress)
    assert (news.text, news.checkpoint) == ("begun", "{}")
    started.end(0)


def test_run_is_nicer_than_its_daemon() -> None:
    started, news = child(*python(f"{IGNORES_TERM}print('up', flush=True); {SLEEP}"))
    assert news.wait(60)
    assert os.getpriority(os.PRIO_PROCESS, started.pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
    started.end(0)


@given(st.lists(st.binary(max_size=40)), st.integers(2, 30))
def test_head_and_tail_are_those_of_the_stream(chunks: list[bytes], kept: int) -> None:
    stream = b"".join(chunks)
    kept_parts = HeadTail(kept)
    for chunk in chunks:
        kept_parts.add(chunk)
    head = kept // 2
    if len(stream) <= kept:
        assert kept_parts.kept() == stream
    else:
        first, _, last = kept_parts.kept().partition(b" bytes left out \xe2\x80\xa6\n")
        first, _, count = first.rpartition(b"\n\xe2\x80\xa6 ")
        assert stream[:head].startswith(first)
        assert stream[len(stream) - (kept - head) :].endswith(last)
        assert int(count) == len(stream) - len(first) - len(last)
        assert kept_parts.left_out() == len(stream) - kept


def test_no_word_is_cut_in_two_where_output_is_left_out() -> None:
    parts = HeadTail(20)
    parts.add(b"one password=secret1 " + b"x" * 50 + b" token=secret2 end")
    assert parts.kept() == "one\n… 83 bytes left out …\nend".encode()


@pytest.mark.parametrize("waits", [pytest.param(True, id="waitid"), pytest.param(False, id="without waitid")])
def test_what_a_root_that_ended_well_left_in_its_session_ends_too(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without our marker, never noted, descending from nobody: only the session tells whose it is."""
    if not waits:
        monkeypatch.delattr(os, "waitid", raising=False)
    result = ended(child("sh", "-c", "env -i sleep 60 >/dev/null 2>&1 & echo $!; sleep 0.2")[0])
    left = living([int(result.stdout)])
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert (result.code, left) == (0, [])


@pytest.mark.parametrize("waits", [pytest.param(True, id="waitid"), pytest.param(False, id="without waitid")])
def test_an_exit_code_that_the_system_has_taken_is_unknown(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGCHLD is ignored: no child can be waited for."""
    if not waits:
        monkeypatch.delattr(os, "waitid", raising=False)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        result = ended(child("sh", "-c", "echo half an answer; exit 3")[0])
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert (result.code, result.stdout, result.was_interrupted) == (None, b"half an answer\n", True)


def test_grace_is_not_cut_short_by_a_wrapper_that_goes_at_once(tmp_path: Path) -> None:
    code = (
        "import os, signal, time\n"
        "def bye(*_): time.sleep(0.7); os.write(1, b'bye\\n'); os._exit(0)\n"  # print may be interrupted in a print
        "signal.signal(signal.SIGTERM, bye)\n"
        "print('up', flush=True)\n"
        "time.sleep(60)"
    )
    program = tmp_path / "slow.py"
    program.write_text(code)
    started, news = child("sh", "-c", f"{shlex.quote(sys.executable)} {program} & wait")
    assert news.wait(60)
    began = time.monotonic()
    assert started.end(grace_ms=8_000).stdout == b"up\nbye\n"
    assert time.monotonic() - began < allowed_s(6)


def test_end_without_grace_cuts_a_grace_that_is_under_way(tmp_path: Path) -> None:
    started, _ = child(*stubborn(tmp_path / "pids"))
    pids = pids_in(tmp_path / "pids")
    polite = threading.Thread(target=started.end, args=(30_000,))
    polite.start()
    began = time.monotonic()
    assert started.end(0).survivors == 0
    polite.join(60)
    assert not polite.is_alive()
    assert time.monotonic() - began < allowed_s(8)
    assert living(pids) == []


def test_end_tells_of_those_who_survived_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the kernel held it, or it belonged to somebody else."""
    monkeypatch.setattr(children, "END_S", 0.1)
    started, _ = child(*python(SLEEP))
    with monkeypatch.context() as patch:
        patch.setattr(process_tree, "_send", lambda *_: None)
        assert started.end(0) == Ended(code=None, survivors=1)
    assert started.end(0).survivors == 0
    assert living([started.pid]) == []


# has our pipes, and nothing by which it could be found: no parent, session or marker of ours
HOLDS = """
import os, time
parent = os.getpid()
os.fork() and os._exit(0)
os.setsid()
while os.getppid() == parent:
    time.sleep(0.01)
print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("ends", [pytest.param(True, id="ended"), pytest.param(False, id="by itself")])
def test_output_is_kept_although_somebody_holds_its_pipes(ends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "DRAIN_S", 0.3)
    script = 'env -i "$1" -c "$2"; sleep "$3"'
    started, news = child("sh", "-c", script, "sh", sys.executable, HOLDS, "60" if ends else "0.2")
    assert news.wait(60)
    try:
        result = started.end(1_000) if ends else ended(started)
        holder = int(result.stdout)
        assert (result.code, living([holder])) == (-signal.SIGTERM if ends else 0, [holder])
    finally:
        os.kill(int(started._stdout.kept()), signal.SIGKILL)


def test_what_a_root_that_cannot_be_killed_has_said_so_far_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "END_S", 0.1)
    started, news = child(*python(f"print('so far', flush=True); {SLEEP}"))
    assert news.wait(60)
    with monkeypatch.context() as patch:
        patch.setattr(process_tree, "_send", lambda *_: None)
        assert started.end(0) == Ended(code=None, stdout=b"so far\n", survivors=1)
    assert started.end(0).survivors == 0


@pytest.mark.parametrize("text", ["あ", "é", "🤖", "aあ🤖é"])
@pytest.mark.parametrize("kept_bytes", range(40, 52))
def test_no_character_is_cut_in_its_middle(text: str, kept_bytes: int) -> None:
    parts = HeadTail(kept_bytes)
    parts.add((text * 100).encode())
    said = parts.kept().decode()
    head, number, tail = re.split(r"\n… (\d+) bytes left out …\n", said)
    assert len(head.encode()) + int(number) + len(tail.encode()) == len((text * 100).encode())
    assert (text * 100).startswith(head)
    assert (text * 100).endswith(tail)


def test_bytes_that_are_no_text_are_kept_as_they_are() -> None:
    parts = HeadTail(20)
    parts.add(b"\x80" * 50 + b"\xbf" * 50)
    assert parts.kept() == b"\x80" * 10 + "\n… 80 bytes left out …\n".encode() + b"\xbf" * 10
