"""A whole daemon with a stub of `claude` or `codex`: sessions, logins, workspaces, ends that leave nothing alive."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.fake_hub import KEY, FakeHub
from tests.daemon.live import LiveDaemon
from tests.daemon.live import living as daemon_living
from tests.waiting import allowed_s, eventually
from tests.worker.stubs import KINDS, Stub
from tests.worker.trees import living

SLOW_S = 30.0  # children run at a lower priority: on a busy machine they take their time
TALK = {"conversation": {"channel": "Slack", "user_id": "U1"}}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.next_s = 0.2
    yield hub
    hub.close()


def daemon_with(hub: FakeHub, folder: Path, stub: Stub, *, limits: dict[str, int] | None = None, **more: Any) -> Any:
    """A daemon whose default executor is the stub."""
    name = "claude_code" if stub.kind == "claude" else "codex"
    own = {"executor": name, f"{stub.kind}_cli": str(stub.cli), **(limits or {})}
    settings = {"heartbeat_interval_ms": 200, "drain_ms": 0, **own, **more}
    return daemon_living(hub.url, folder / "data", **settings)


def done(hub: FakeHub, task_id: str = "t1", **fields: Any) -> dict[str, Any]:
    hub.submit(task_id, "what is it?", **fields)
    return eventually(lambda: hub.results.get(task_id), within_s=SLOW_S, what=f"a result of {task_id}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_keeps_its_session_through_a_restart(hub: FakeHub, tmp_path: Path, kind: str) -> None:
    stub = Stub(tmp_path / "cli", kind, "ok")
    with daemon_with(hub, tmp_path, stub) as daemon:
        first = done(hub, "t1", context="[user] before", **TALK)
        assert (first["success"], first["output"]) == (True, "answer")
        assert first["usage"]["inputTokens"] > 0
        done(hub, "t2", context="[user] before", **TALK)
        assert daemon.stop() == 0
    boot = hub.boot
    with daemon_with(hub, tmp_path, stub):
        eventually(lambda: hub.boot != boot)
        done(hub, "t3", context="[user] before", **TALK)
        done(hub, "t4", conversation="slack:U2", context="[user] else")
    calls = stub.calls()
    flag = "--resume" if kind == "claude" else "resume"
    assert [flag in call["argv"] for call in calls] == [False, True, True, False]
    chosen = calls[0]["argv"][-1] if kind == "claude" else "thread-1"
    assert chosen in calls[1]["argv"]
    assert chosen in calls[2]["argv"]
    assert [b"before" in prompt for prompt in stub.prompts()] == [True, False, False, False]
    assert all("-s" in call["argv"] or "--permission-mode" in call["argv"] for call in calls)


@pytest.mark.parametrize("kind", KINDS)
def test_a_session_that_is_lost_is_begun_anew_once_with_the_memory(hub: FakeHub, tmp_path: Path, kind: str) -> None:
    stub = Stub(tmp_path / "cli", kind, "ok", "unknown_session" if kind == "claude" else "no_rollout", "ok")
    with daemon_with(hub, tmp_path, stub) as daemon:
        done(hub, "t1", **TALK)
        assert done(hub, "t2", context="[user] before", **TALK)["success"]
        assert "starting a new one" in daemon.log
    *_, resumed, anew = stub.prompts()
    assert resumed == b"what is it?"
    assert anew.endswith(b"what is it?")
    assert b"[user] before" in anew


def test_a_start_that_shows_no_life_is_tried_once_more(hub: FakeHub, tmp_path: Path) -> None:
    stub = Stub(tmp_path / "cli", "claude", "slow_start", "ok", "slow_start")
    with daemon_with(hub, tmp_path, stub, limits={"execution_start_ms": 700}) as daemon:
        assert done(hub, "t1")["success"]
        failed = done(hub, "t2")
        assert (failed["success"], failed["failure"]["class"]) == (False, "no_output")
        assert len(stub.calls()) == 4
        assert "no sign of life within 0.7 s" in daemon.log
        assert living([call["pid"] for call in stub.calls()]) == []


def test_a_run_without_events_is_ended(hub: FakeHub, tmp_path: Path) -> None:
    stub = Stub(tmp_path / "cli", "claude", "hang")
    with daemon_with(hub, tmp_path, stub, limits={"execution_idle_ms": 500}):
        result = done(hub)
        assert (result["failure"]["class"], result["error"]) == ("timed_out", "timed out: no event for 0.5 s")


# ---- ends --------------------------------------------------------------------------------------


def begun(hub: FakeHub, stub: Stub, **task: Any) -> list[int]:
    """Every process of the run, once it is named to the hub; two of them in sessions or groups of their own."""
    hub.submit("t1", "go", **task)
    pids = stub.pids()
    eventually(lambda: any(run["taskId"] == "t1" for beat in hub.beats() for run in beat["running"]))
    assert living(pids) == pids
    return pids


def cancel(hub: FakeHub, daemon: LiveDaemon) -> None:
    hub.cancel.add("t1")


def lose(hub: FakeHub, daemon: LiveDaemon) -> None:
    hub.lost.add("t1")


def kill(hub: FakeHub, daemon: LiveDaemon) -> None:
    daemon.kill()


def stop(hub: FakeHub, daemon: LiveDaemon) -> None:
    daemon.process.send_signal(signal.SIGSTOP)


def wait(hub: FakeHub, daemon: LiveDaemon) -> None:
    """For its time limit."""


@pytest.mark.parametrize(
    ("kind", "end"),
    [("claude", cancel), ("codex", lose), ("claude", kill), ("claude", stop), ("codex", wait)],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_nothing_of_a_run_survives_its_end(hub: FakeHub, tmp_path: Path, kind: str, end: Any) -> None:
    if end is stop:
        hub.lease_s, hub.on_loss = 4.0, "requeue"
    stub = Stub(tmp_path / "cli", kind, "own_session")
    with daemon_with(hub, tmp_path, stub) as daemon:
        pids = begun(hub, stub, timeoutSec=3 if end is wait else 60)
        end(hub, daemon)
        eventually(lambda: not living(pids), within_s=10.0, what="the end of the run")
        if end in (cancel, wait):
            result = eventually(lambda: hub.results.get("t1"))
            assert result["failure"]["class"] == ("cancelled" if end is cancel else "timed_out")


def test_who_ignores_term_is_killed_with_its_children(hub: FakeHub, tmp_path: Path) -> None:
    stub = Stub(tmp_path / "cli", "codex", "ignores_term")
    with daemon_with(hub, tmp_path, stub):
        pids = begun(hub, stub)
        hub.cancel.add("t1")
        eventually(lambda: not living(pids), within_s=10.0, what="the end of the run")


# ---- what a run may see ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_of_ours_and_no_prompt_is_seen_in_or_around_the_child(
    hub: FakeHub, tmp_path: Path, kind: str
) -> None:
    ambient = {
        "UNDERSTUDY_API_KEY": KEY,
        "ASSISTANT_API_KEY": "assistant-key-0001",
        "SLACK_BOT_TOKEN": "xoxb-0123456789",
        "TELEGRAM_BOT_TOKEN": "12345:abcdefgh",
        "DATABASE_URL": "postgres://u:pw@host/db",
        "ANTHROPIC_API_KEY": "sk-ant-api-0001",
        "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat-0001",
        "OPENAI_API_KEY": "sk-openai-0001",
        "GITHUB_TOKEN": "ghp-wanted",
        "SMUGGLED": "x=xoxb-0123456789",
        "CLAUDECODE": "1",
    }
    stub = Stub(tmp_path / "cli", kind, "ok")
    passed = ("GITHUB_TOKEN", "SMUGGLED", "SLACK_BOT_TOKEN", "UNDERSTUDY_API_KEY", "DATABASE_URL")
    with daemon_with(hub, tmp_path, stub, env=ambient, task_env_pass=passed):
        assert done(hub)["success"]
    (call,) = stub.calls()
    env, own = call["env"], "CLAUDE_CODE_OAUTH_TOKEN" if kind == "claude" else "OPENAI_API_KEY"
    assert set(env) & set(ambient) == {"GITHUB_TOKEN", own}, "exactly one login, and what the owner wants through"
    shown = " ".join([*env.values(), *call["ps"], *call["argv"]])
    hidden = [value for name, value in ambient.items() if name not in ("GITHUB_TOKEN", own, "CLAUDECODE")]
    assert [value for value in hidden if value in shown] == []
    assert "what is it?" not in " ".join(call["ps"])
    if kind == "claude":
        assert (env["CLAUDE_CODE_MAX_RETRIES"], env["DISABLE_AUTOUPDATER"]) == ("1", "1")


# ---- login -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_login_that_is_refused_gives_the_task_back_and_stops_claiming(
    hub: FakeHub, tmp_path: Path, kind: str
) -> None:
    stub = Stub(tmp_path / "cli", kind, "no_login")
    with daemon_with(hub, tmp_path, stub) as daemon:
        hub.submit("t1", "what is it?")
        eventually(lambda: hub.reported("/t1/release"))
        name = "claude_code" if kind == "claude" else "codex"
        eventually(lambda: hub.beats()[-1].get("auth", {}).get(name) == "logged_out")
        claims = len(hub.reported("/claim"))
        hub.submit("t2", "and this?")
        beats = len(hub.beats())
        eventually(lambda: len(hub.beats()) > beats + 3)
        assert len(hub.reported("/claim")) == claims
        assert hub.results == {}
        assert f"{name} cannot work: logged_out" in daemon.log
        assert daemon.log.count("cannot work") == 1, "said once"


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_not_logged_in_claims_nothing_from_the_start(hub: FakeHub, tmp_path: Path, kind: str) -> None:
    stub = Stub(tmp_path / "cli", kind)
    stub.says_of_login("logged_out")
    with daemon_with(hub, tmp_path, stub):
        name = "claude_code" if kind == "claude" else "codex"
        eventually(lambda: hub.beats() and hub.beats()[-1].get("auth", {}).get(name) == "logged_out")
        assert f"executor:{name}" in hub.beats()[-1]["provides"]
        assert hub.reported("/claim") == []


# ---- workspaces, output, progress --------------------------------------------------------------


def test_a_task_works_in_the_workspace_that_it_names_and_nowhere_else(hub: FakeHub, tmp_path: Path) -> None:
    root = tmp_path / "spaces"
    (root / "site").mkdir(parents=True)
    stub = Stub(tmp_path / "cli", "claude", "ok")
    with daemon_with(hub, tmp_path, stub, workspaces=str(root)):
        assert done(hub, "t1", workspace="site")["success"]
        assert done(hub, "t2")["success"]
        for n, name in enumerate(("../cli", "/etc", "..", "a/b", "missing", "si te")):
            refused = done(hub, f"r{n}", workspace=name)
            assert refused["failure"] == {"class": "not_possible", "final": True}
    named, default = (call["cwd"] for call in stub.calls())
    assert named == str(root / "site")
    assert default == str(tmp_path / "data" / "workspace")


def test_one_task_at_a_time_in_a_workspace_and_as_many_as_there_is_room_beside_it(hub: FakeHub, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "spaces" / name).mkdir(parents=True)
    stub = Stub(tmp_path / "cli", "claude", "slow")
    with daemon_with(hub, tmp_path, stub, workspaces=str(tmp_path / "spaces"), capacity=3) as daemon:
        for task_id, name in (("a1", "a"), ("a2", "a"), ("b1", "b")):
            hub.submit(task_id, "go", workspace=name)
        eventually(lambda: "Started a1" in daemon.log and "Started b1" in daemon.log)
        named = {run["taskId"] for run in hub.beats()[-1]["running"]}
        assert "Started a2" not in daemon.log
        (stub.folder / "go").touch()
        eventually(lambda: {"a1", "a2", "b1"} <= set(hub.results))
        assert daemon.log.index("Finished a1") < daemon.log.index("Started a2")
    assert named <= {"a1", "a2", "b1"}


def test_the_whole_output_is_kept_in_a_file(hub: FakeHub, tmp_path: Path) -> None:
    stub = Stub(tmp_path / "cli", "claude", "huge")
    with daemon_with(hub, tmp_path, stub):
        result = done(hub)
        assert result["output"] == "answer"
    (kept,) = (tmp_path / "data/daemons/mini/outputs").glob("*.out")
    assert kept.stat().st_size > 64 << 20
    assert kept.stat().st_mode & 0o077 == 0


def test_beats_tell_what_is_done_and_what_the_next_attempt_needs(hub: FakeHub, tmp_path: Path) -> None:
    stub = Stub(tmp_path / "cli", "claude", "slow")
    with daemon_with(hub, tmp_path, stub):
        hub.submit("t1", "go")
        eventually(lambda: "make all" in str([beat["running"] for beat in hub.beats()]))
        named = [run for beat in hub.beats() for run in beat["running"]]
        left = next(run["checkpoint"] for run in reversed(named) if "checkpoint" in run)
        assert any("Bash: make all · " in run.get("progress", "") for run in named)
        (stub.folder / "go").touch()
        eventually(lambda: "t1" in hub.results)
        stub.does("ok")
        done(hub, "t2", checkpoint=left)
    session = stub.calls()[0]["argv"][-1]
    assert stub.calls()[1]["argv"][-2:] == ["--resume", session]
    assert b"make all" in stub.prompts()[1]
    assert stub.prompts()[1].endswith(b"what is it?")


def test_children_run_at_a_lower_priority(hub: FakeHub, tmp_path: Path) -> None:
    import psutil

    stub = Stub(tmp_path / "cli", "claude", "own_session")
    with daemon_with(hub, tmp_path, stub) as daemon:
        pids = begun(hub, stub)
        assert {psutil.Process(pid).nice() for pid in pids} == {min(19, psutil.Process(daemon.process.pid).nice() + 10)}
        began = time.monotonic()
        daemon.stop()
        assert time.monotonic() - began < allowed_s(10)
    assert living(pids) == []
