"""From settings to what a daemon goes by: each default is one, and a daemon's host may keep updates to itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.clock import parse_iso
from understudy.config import Settings
from understudy.daemon.duties import duties_of, token_end
from understudy.daemon.executors import claude_options, codex_options, workspaces_of
from understudy.daemon.inputs import DaemonInputs
from understudy.errors import ConfigError
from understudy.notify.base import ChannelSettings
from understudy.redact import Redactor
from understudy.worker.executors import TaskToRun
from understudy.worker.executors.claude_code import ClaudeOptions
from understudy.worker.executors.codex import CodexOptions
from understudy.worker.state import Duties


def given(**more: object) -> DaemonInputs:
    own = {name: more.pop(name) for name in ("can_update",) if name in more}
    return DaemonInputs(hub_url="http://h", api_key="k", data_dir=Path("/d"), settings=Settings(**more), **own)  # type: ignore[arg-type]


def test_the_defaults_of_settings_and_of_a_daemon_are_the_same() -> None:
    assert duties_of(given()) == Duties()
    assert claude_options(Settings()) == ClaudeOptions()
    assert codex_options(Settings()) == CodexOptions()


def test_an_update_needs_the_owner_and_a_host_that_can() -> None:
    assert duties_of(given()).may_update
    assert not duties_of(given(allow_update=False)).may_update
    assert not duties_of(given(can_update=False)).may_update


def test_a_workspace_that_cannot_be_made_keeps_no_daemon_from_its_spool_and_is_there_when_it_can(
    tmp_path: Path,
) -> None:
    """A link to a volume that is not mounted ended each start."""
    place, volume = tmp_path / "workspace", tmp_path / "volume"
    place.symlink_to(volume)
    spaces = workspaces_of(DaemonInputs(hub_url="http://h", api_key="k", data_dir=tmp_path))
    assert spaces.directory(TaskToRun("t1"), "claude_code") == str(place)
    place.unlink()
    assert spaces.directory(TaskToRun("t1"), "command") is None
    assert not place.exists()
    assert spaces.directory(TaskToRun("t1"), "claude_code") == str(place)
    assert place.is_dir()


def test_a_token_lasts_a_year() -> None:
    assert (token_end(""), token_end("2026-01-01")) == (0, parse_iso("2027-01-01T00:00:00Z"))


def test_every_secret_of_a_daemon_is_known_to_it() -> None:
    assert set(given(ntfy_token="tk-1", api_key="usk-2").secrets) == {"k", "tk-1", "usk-2"}


@pytest.mark.parametrize(
    "more",
    [
        *(
            {"claude_budget_usd": text}
            for text in ("much", "0", "0.0", "inf", "1e400", "nan", "1_0", "-1", "0.0000001")
        ),
        {"prices": ("m=cheap",)},
    ],
)
def test_a_malformed_budget_or_price_is_refused(more: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        claude_options(Settings(**more))  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "amount"), [("", ""), ("2.50", "2.5"), ("$0.05", "0.05"), ("٥", "5"), (" 3 ", "3")])
def test_a_budget_is_passed_on_as_the_assistant_reads_it(text: str, amount: str) -> None:
    assert claude_options(Settings(claude_budget_usd=text)).budget_usd == amount


def test_no_run_or_log_of_a_daemon_shows_a_secret_of_its_own_channels() -> None:
    channels = (
        ChannelSettings("bot", "slack", chat="C1", secret="bot-secret-1"),
        ChannelSettings("hook", "webhook", "https://hook.example/path-that-is-secret", secret="signing-secret-2"),
        ChannelSettings("phone", "ntfy", "https://me:pass%20word-3@ntfy.example", "topic"),
    )
    has = DaemonInputs(hub_url="http://h", api_key="k", data_dir=Path("/d"), channels=channels)
    said = "bot-secret-1 signing-secret-2 https://hook.example/path-that-is-secret 'pass word-3' https://ntfy.example"
    masked = Redactor(has.secrets).by_value_only().clean(said)
    assert masked == "[REDACTED] [REDACTED] [REDACTED] '[REDACTED]' https://ntfy.example"
