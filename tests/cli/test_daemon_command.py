"""`understudy daemon` as its owner starts it: settings of today and names of yesterday reach the assistant."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import prepared
from tests.daemon.fake_hub import KEY, FakeHub
from tests.waiting import eventually
from tests.worker.stubs import Stub
from understudy.cli.env_file import read_anew, with_env_file


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.next_s = 0.2
    yield hub
    hub.close()


@contextlib.contextmanager
def daemon(hub: FakeHub, data: Path, **env: str) -> Iterator[prepared.Program]:
    data.mkdir()
    environ = {**os.environ, "UNDERSTUDY_HUB": hub.url, "UNDERSTUDY_API_KEY": KEY, "UNDERSTUDY_DATA": str(data), **env}
    with (data / "stderr").open("wb") as stderr:
        process = prepared.start(["daemon"], stderr=stderr, env=environ)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def test_old_names_choose_the_assistant_its_directory_its_limits_and_the_log(hub: FakeHub, tmp_path: Path) -> None:
    stub = Stub(tmp_path / "cli", "codex", "ok")
    (tmp_path / "work").mkdir()
    old = {
        "UNDERSTUDY_CODEX_CLI": "",
        "CODEX_CLI": str(stub.cli),
        "WORK_DIR": str(tmp_path / "work"),
        "EXECUTION_TIMEOUT": "300000",
    }
    old |= {"POLL_INTERVAL": "1000", "WORKER_ID": "mini-7", "LOG_DIR": str(tmp_path / "logs")}
    with daemon(hub, tmp_path / "data", **old):
        hub.submit("t1", "what is it?")
        result = eventually(lambda: hub.results.get("t1"))
        assert result["output"] == "answer"
        beat = hub.beats()[-1]
        assert beat["daemonId"] == "mini-7"
        assert next(tag for tag in beat["provides"] if tag.startswith("executor:")) == "executor:codex"
        assert {body["waitSec"] for body in hub.reported("/claim")} == {1}
    (call,) = stub.calls()
    assert call["cwd"] == str(tmp_path / "work")
    assert "Started t1" in (tmp_path / "logs/daemon.log").read_text()
    assert KEY not in (tmp_path / "logs/daemon.log").read_text()


def test_which_assistant_runs_when_both_are_there_is_a_setting(hub: FakeHub, tmp_path: Path) -> None:
    both = {kind: Stub(tmp_path / kind, kind, "ok") for kind in ("claude", "codex")}
    clis = {f"UNDERSTUDY_{kind.upper()}_CLI": str(stub.cli) for kind, stub in both.items()}
    with daemon(hub, tmp_path / "auto", **clis):
        hub.submit("t1", "what is it?")
        hub.submit("t2", "what is it?", executor="codex")
        eventually(lambda: {"t1", "t2"} <= set(hub.results))
    assert [len(both[kind].calls()) for kind in ("claude", "codex")] == [1, 1]
    boot = hub.boot
    with daemon(hub, tmp_path / "chosen", **clis, UNDERSTUDY_EXECUTOR="codex", UNDERSTUDY_CODEX_SANDBOX="read-only"):
        eventually(lambda: hub.boot != boot)
        hub.submit("t3", "what is it?")
        eventually(lambda: "t3" in hub.results)
    assert "read-only" in both["codex"].calls()[-1]["argv"]


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"UNDERSTUDY_EXECUTOR": "gpt"}, "none of auto, claude_code"),
        ({"UNDERSTUDY_EXECUTOR": "command"}, "there is no command"),
        ({"UNDERSTUDY_PRICES": "x"}, "model=input/output"),
        ({"UNDERSTUDY_CLAUDE_BUDGET_USD": "much"}, "not an amount of money"),
        ({"UNDERSTUDY_CODEX_SANDBOX": "none"}, "read-only"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_at_the_start(hub: FakeHub, tmp_path: Path, env, said: str) -> None:
    with daemon(hub, tmp_path / "data", **env) as process:
        assert process.wait(60) != 0
    assert said in (tmp_path / "data/stderr").read_text()


def test_the_next_life_keeps_what_came_through_a_pipe_and_reads_a_file_anew(tmp_path: Path) -> None:
    """A pipe is empty by then: without its key the daemon would end at its first restart from afar."""
    out, into = os.pipe()
    os.write(into, b"UNDERSTUDY_API_KEY=key\n")
    os.close(into)
    (tmp_path / "env").write_text("UNDERSTUDY_API_KEY=key\nHOME=/other\n")
    environ = {"HOME": str(tmp_path)}
    try:
        of_pipe = with_env_file(environ, f"/dev/fd/{out}")
    finally:
        os.close(out)
    assert of_pipe["UNDERSTUDY_API_KEY"] == "key"
    assert read_anew(of_pipe, environ) == frozenset()
    of_file = with_env_file(environ, str(tmp_path / "env"))
    assert read_anew(of_file, environ) == {"UNDERSTUDY_API_KEY", "UNDERSTUDY_ENV_FILE"}
