"""What a beat says of loops, runs and logins, and when that makes its daemon stuck."""

from __future__ import annotations

from typing import Any

import pytest

from understudy.coordinator.nouns import Daemon, Now
from understudy.coordinator.stuck import auth_of, fix_of, login_events, trouble_of, trouble_said

NOW = Now(1_770_000_000_000, 1_770_000_000_000)


def loop(ago: Any, limit: Any) -> dict[str, Any]:
    return {"claim": {"agoSec": ago, "limitSec": limit}}


@pytest.mark.parametrize(("ago", "is_stopped"), [(120, False), (120.001, True)])
def test_a_loop_is_stopped_beyond_its_limit_not_at_it(ago: float, is_stopped: bool) -> None:
    trouble = trouble_of(loop(ago, 120), {}, ())
    assert (trouble is not None) == is_stopped
    if trouble is not None:
        assert (trouble.code, trouble.what, trouble.limit_s) == ("loop_stopped", "claim", 120)
        assert trouble.reason == "its claim loop made no progress for more than 120 s"


@pytest.mark.parametrize(
    "loops",
    [
        loop(500, 0),
        loop("500", 1),
        loop(500, None),
        {"claim": "2026-02-04T14:13:28.213Z"},
        {"claim": 1},
        {"claim": None},
        {"claim": []},
    ],
    ids=str,
)
def test_what_is_no_pair_of_numbers_tells_nothing(loops: dict[str, Any]) -> None:
    assert trouble_of(loops, {}, ()) is None


@pytest.mark.parametrize(("idle", "limit", "is_stalled"), [(660, 660, False), (661, 660, True), (661, None, False)])
def test_a_run_is_stalled_beyond_its_own_limit(idle: float, limit: float | None, is_stalled: bool) -> None:
    trouble = trouble_of({}, {}, [("t1", 0, 660), ("t2", idle, limit)])
    assert (trouble is not None) == is_stalled
    if trouble is not None:
        assert (trouble.code, trouble.what) == ("task_stalled", "t2")


@pytest.mark.parametrize(
    ("auth", "is_stuck"),
    [
        ({"claude_code": "ok"}, False),
        ({"claude_code": "expiring:2026-03-01"}, False),
        ({"claude_code": "expired", "codex": "ok"}, True),  # the first is that of tasks that name none
        ({"claude_code": "ok", "codex": "expired"}, False),
        ({"claude_code": "unknown"}, True),  # it was asked, and gave no answer: it claims nothing
        ({}, False),
        ({"claude_code": 3}, False),
    ],
    ids=str,
)
def test_a_daemon_whose_first_login_does_not_work_is_stuck(auth: dict[str, Any], is_stuck: bool) -> None:
    trouble = trouble_of({}, auth, ())
    assert (trouble is not None) == is_stuck


def test_the_most_mendable_trouble_comes_first_with_its_mend() -> None:
    trouble = trouble_of(loop(500, 1), {"codex": "logged_out"}, [("t1", 9, 1)])
    assert trouble is not None
    assert (trouble.code, trouble.what, trouble.word, trouble.fix) == (
        "auth_failed",
        "codex",
        "logged_out",
        "codex login",
    )
    assert trouble.reason == "codex cannot work: logged_out; fix it with `codex login`"


@pytest.mark.parametrize(
    ("executor", "state", "mend"),
    [
        ("claude_code", "expired", "claude setup-token"),
        ("claude_code", "expired:401 from the API", "claude setup-token"),
        ("claude_code", "missing", "npm install -g @anthropic-ai/claude-code"),
        ("codex", "no_credit", "open https://platform.openai.com/settings/organization/billing"),
        ("my-own", "expired", ""),
    ],
)
def test_fixes_are_known_by_executor_and_word(executor: str, state: str, mend: str) -> None:
    assert fix_of(executor, state) == mend


def names(before: str, auth: dict[str, Any]) -> list[tuple[str, str]]:
    return [(event.name, event.level) for event in login_events(Daemon("mini", auth=before), auth, NOW)]


def test_each_change_of_a_login_is_told_once() -> None:
    assert names("{}", {"claude_code": "ok"}) == []
    assert names("{}", {"claude_code": "expired"}) == [("daemon.auth_failed", "critical")]
    assert names('{"claude_code":"expired"}', {"claude_code": "expired:still"}) == []
    assert names('{"claude_code":"expired"}', {"claude_code": "no_credit"}) == [("daemon.auth_failed", "critical")]
    assert names('{"claude_code":"expired"}', {"claude_code": "ok"}) == [("daemon.auth_restored", "info")]
    assert names('{"claude_code":"ok"}', {"claude_code": "expiring:2026-03-01"}) == [
        ("daemon.token_expiring", "warning")
    ]
    assert names('{"claude_code":"expiring:2026-03-01"}', {"claude_code": "ok"}) == []
    assert names('{"claude_code":"expired"}', {"claude_code": "expiring:2026-03-01"}) == [
        ("daemon.auth_restored", "info"),
        ("daemon.token_expiring", "warning"),
    ]


def test_a_daemon_that_lies_without_end_is_told_of_shortly() -> None:
    told = login_events(Daemon("mini"), {f"{n}{'x' * 9_999}": "y" * 9_999 for n in range(1_000)}, NOW)
    assert len(told) <= 16
    assert all(len(event.message) < 1_000 and len(str(event.fields)) < 2_000 for event in told)
    trouble = trouble_of({}, {"x" * 9_999: "y" * 9_999}, ())
    assert trouble is not None
    assert len(trouble.reason) < 1_000


def test_a_failed_login_is_told_with_its_mend() -> None:
    (event,) = login_events(Daemon("mini"), {"claude_code": "keychain_locked:the login keychain"}, NOW)
    assert event.fields == {
        "daemonId": "mini",
        "executor": "claude_code",
        "state": "keychain_locked",
        "detail": "the login keychain",
        "mend": "claude setup-token",
    }


def test_a_start_does_not_mend_a_login() -> None:
    stuck = Daemon("mini", auth='{"claude_code":"expired"}')
    assert auth_of(stuck, None) == {"claude_code": "expired"}
    assert auth_of(stuck, {"claude_code": "ok"}) == {"claude_code": "ok"}
    assert auth_of(Daemon("mini"), None) == {}


def test_the_trouble_can_be_read_from_what_is_kept() -> None:
    run = '[{"taskId":"t1","token":1},{"taskId":"t2","token":2,"idleSec":661,"idleLimitSec":660}]'
    trouble = trouble_said(Daemon("mini", running=run))
    assert trouble is not None
    assert (trouble.code, trouble.what) == ("task_stalled", "t2")
