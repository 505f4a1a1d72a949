"""The real `claude` and `codex` work on tasks through a real hub and a real daemon; only their services are fake."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli_real.model_api import ANSWER, ModelApi
from tests.daemon.live import LiveDaemon
from tests.daemon.live import living as daemon_living
from tests.daemon.real_hub import RealHub, real_hub
from tests.waiting import eventually
from tests.worker.trees import living

pytestmark = pytest.mark.real_cli
TALK = {"conversation": {"channel": "slack", "user_id": "U1"}}
KINDS = ("claude_code", "codex")
REFUSAL = {"error": {"type": "authentication_error", "message": "invalid x-api-key"}}
CODEX_CONFIG = """
model = "gpt-5"
model_provider = "fake"
[model_providers.fake]
name = "fake"
base_url = "{url}/v1"
wire_api = "responses"
env_key = "OPENAI_API_KEY"
request_max_retries = 0
stream_max_retries = 0
"""


@pytest.fixture
def api() -> Iterator[ModelApi]:
    api = ModelApi()
    yield api
    api.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[RealHub]:
    with real_hub(tmp_path / "hub") as hub:
        yield hub


@contextmanager
def daemon_with(kind: str, programs: Path, api: ModelApi, hub: RealHub, folder: Path, **more: Any) -> Iterator[Any]:
    home = folder / "home"
    (home / "codex").mkdir(parents=True, exist_ok=True)
    (home / "codex/config.toml").write_text(CODEX_CONFIG.format(url=api.url))
    env = {"HOME": str(home), "ANTHROPIC_BASE_URL": api.url, "ANTHROPIC_API_KEY": "sk-ant-fake-0001"}
    env |= {"CODEX_HOME": str(home / "codex"), "OPENAI_API_KEY": "sk-fake-00000001"}
    own = {"claude_cli": str(programs / "claude"), "codex_cli": str(programs / "codex")}
    settings = {"executor": kind, "heartbeat_interval_ms": 500, **own, **more}
    with daemon_living(hub.url, folder / "data", env=env, **settings) as daemon:
        yield daemon


def result_of(hub: RealHub, task_id: str) -> dict[str, Any]:
    return hub.result(task_id, within_s=60.0)


def attempt_of(hub: RealHub, task_id: str) -> str:
    return hub.task(task_id)["attempts"][-1]["outcome"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_conversation_of_two_questions_is_answered_in_one_session(
    kind: str, programs: Path, api: ModelApi, hub: RealHub, tmp_path: Path
) -> None:
    with daemon_with(kind, programs, api, hub, tmp_path):
        hub.submit("t1", "2+2?\n\tand a tab, 質問", **TALK)
        assert result_of(hub, "t1")["output"] == ANSWER
        hub.submit("t2", "and 1 more?", **TALK)
        assert result_of(hub, "t2")["output"] == ANSWER
    whole = str(api.seen[-1])
    assert "and a tab, 質問" in whole, "the session knows the first question"
    assert "and 1 more?" in whole
    tokens = [hub.task(task)["result"]["usage"]["inputTokens"] for task in ("t1", "t2")]
    assert tokens[0] == tokens[1], "each run is counted for itself"


@pytest.mark.parametrize("kind", KINDS)
def test_a_tool_is_used_in_the_workspace_and_told_in_the_beats(
    kind: str, programs: Path, api: ModelApi, hub: RealHub, tmp_path: Path
) -> None:
    (tmp_path / "spaces/site").mkdir(parents=True)
    options = {"claude_allowed_tools": "Bash", "workspaces": str(tmp_path / "spaces")}
    with daemon_with(kind, programs, api, hub, tmp_path, **options):
        hub.submit("t1", "TOOL echo made > made.txt; env > env.txt; sleep 1", workspace="site")
        assert result_of(hub, "t1")["output"] == ANSWER
    assert (tmp_path / "spaces/site/made.txt").read_text() == "made\n"
    seen = (tmp_path / "spaces/site/env.txt").read_text()
    assert "usk_" not in seen, "not the hub's key"
    assert "UNDERSTUDY_RUN_ID" in seen or kind == "codex"


def test_a_tool_that_claude_may_not_use_blocks_the_task(
    programs: Path, api: ModelApi, hub: RealHub, tmp_path: Path
) -> None:
    with daemon_with("claude_code", programs, api, hub, tmp_path):
        hub.submit("t1", f"TOOL curl {api.url}/secret")
        result = result_of(hub, "t1")
        assert not result["success"]
        assert "was not allowed to use Bash" in result["error"]
        assert attempt_of(hub, "t1") == "blocked"


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_key_gives_the_task_back_and_shows_in_the_daemons_login(
    kind: str, programs: Path, api: ModelApi, hub: RealHub, tmp_path: Path
) -> None:
    api.refuses = (401, REFUSAL)
    with daemon_with(kind, programs, api, hub, tmp_path) as daemon:
        hub.submit("t1", "2+2?")
        eventually(lambda: f"{kind} cannot work: logged_out" in daemon.log, within_s=60)
        eventually(lambda: hub.task("t1")["status"] == "pending")
        assert attempt_of(hub, "t1") == "released"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_survives_a_cancel_in_the_middle_of_a_tool(
    kind: str, programs: Path, api: ModelApi, hub: RealHub, tmp_path: Path
) -> None:
    with daemon_with(kind, programs, api, hub, tmp_path, claude_allowed_tools="Bash") as daemon:
        pids = _in_a_tool(hub, daemon)
        hub.ask("/api/tasks/t1/cancel", {})
        eventually(lambda: not living(pids), within_s=10.0, what="the end of the run")


@pytest.mark.parametrize(("kind", "sandbox"), [("claude_code", "workspace-write"), ("codex", "danger-full-access")])
def test_nothing_survives_the_killing_of_the_daemon_in_the_middle_of_a_tool(
    kind: str, sandbox: str, programs: Path, api: ModelApi, hub: RealHub, tmp_path: Path
) -> None:
    options = {"claude_allowed_tools": "Bash", "codex_sandbox": sandbox}
    with daemon_with(kind, programs, api, hub, tmp_path, **options) as daemon:
        pids = _in_a_tool(hub, daemon)
        daemon.kill()
        eventually(lambda: not living(pids), within_s=10.0, what="the end of the run")


def _in_a_tool(hub: RealHub, daemon: LiveDaemon) -> list[int]:
    """Every process of a run whose tool sleeps; the tool is in a session of its own."""
    hub.submit("t1", "TOOL sleep 321")

    def ask() -> list[psutil.Process]:
        below = psutil.Process(daemon.process.pid).children(recursive=True)
        return below if any(process.cmdline()[:2] == ["sleep", "321"] for process in below) else []

    def ask_again() -> list[psutil.Process]:
        try:
            return ask()
        except psutil.Error:
            return []

    below = eventually(ask_again, within_s=60, what="a tool at work")
    sessions = {os.getsid(process.pid) for process in below}
    assert len(sessions) > 2, "guard, assistant, and its tool"
    return [process.pid for process in below if "understudy.worker.guard" not in process.cmdline()]
