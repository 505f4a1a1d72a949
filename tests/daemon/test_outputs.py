"""Whole outputs, sessions and the copy of the log: bounded, private, and never in the way."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from understudy import log_file
from understudy.daemon import outputs
from understudy.daemon.outputs import Outputs
from understudy.daemon.sessions import SessionFile
from understudy.log_file import LogFile
from understudy.runtime.machine.whole_file import WholeFile
from understudy.worker.executors import AssistantSession


def test_the_oldest_outputs_give_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outputs, "FILES_MAX", 3)
    kept = Outputs(tmp_path / "o")
    for n in range(5):
        path = kept.begin(f"run-{n}")
        path.write_bytes(b"x" * 10)
        os.utime(path, (n, n))
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["run-2.out", "run-3.out", "run-4.out"]
    monkeypatch.setattr(outputs, "BYTES_MAX", 10)
    kept.begin("run-9")
    assert [p.name for p in (tmp_path / "o").iterdir()] == ["run-4.out"]


def test_a_file_that_cannot_be_written_does_not_end_the_run(tmp_path: Path):
    for path in (tmp_path / "no" / "such", Path("/dev/full"), None):
        whole = WholeFile(path)
        whole.add(b"x")
        whole.add(b"y")
        whole.close()


def test_a_run_that_is_started_again_goes_on_in_its_file(tmp_path: Path):
    for part in (b"a", b"b"):
        whole = WholeFile(tmp_path / "f")
        whole.add(part)
        whole.close()
    assert (tmp_path / "f").read_bytes() == b"ab"


def test_sessions_come_back_in_the_order_of_their_use(tmp_path: Path):
    file = SessionFile(tmp_path / "s.json")
    assert file.load() == {}
    file.save({"b": AssistantSession("2", {"input_tokens": 7}, 20), "a": AssistantSession("1", used_at=10)})
    assert list(file.load()) == ["a", "b"]
    assert file.load()["b"] == AssistantSession("2", {"input_tokens": 7}, 20)
    (tmp_path / "s.json").write_bytes(b'{"a": \xff')
    assert file.load() == {}


def test_a_full_disk_loses_a_session_and_nothing_else(tmp_path: Path):
    SessionFile(tmp_path / "gone" / "s.json").save({"a": AssistantSession("1")})


def test_the_copy_of_the_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(log_file, "BYTES_MAX", 20)
    log = LogFile(tmp_path / "logs")
    for n in range(6):
        log.write(f"line {n} 質問\n")
    assert log.queue.drain(60)
    assert sorted(p.name for p in (tmp_path / "logs").iterdir()) == ["daemon.log", "daemon.log.1"]
    assert (tmp_path / "logs/daemon.log").read_text().endswith("line 5 質問\n")


def test_nothing_is_written_into_the_file_that_is_opened_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A survivor of a run may write while the end of the run closes the file: its number is soon another file's."""
    whole, other, real = WholeFile(tmp_path / "f"), tmp_path / "other", os.write

    def close() -> None:
        whole.close()
        other.touch()
        opened.append(os.open(other, os.O_WRONLY))

    def write(fd: int, chunk: bytes) -> int:
        closing = threading.Thread(target=close)
        closing.start()
        closing.join(60)
        return real(fd, chunk)

    opened: list[int] = []
    monkeypatch.setattr("understudy.runtime.machine.whole_file.os.write", write)
    whole.add(b"said")
    os.close(*opened)
    assert (other.read_bytes(), (tmp_path / "f").read_bytes()) == (b"", b"said")
