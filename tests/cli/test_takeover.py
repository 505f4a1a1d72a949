"""`takeover`, `status` and `doctor`: whether the hub could answer, what stops it, and the command that fixes it."""

from __future__ import annotations

import json

import pytest

from tests.cli.program import understudy
from tests.fakes.claude import FakeClaude
from tests.hub_process import ADMIN_KEY, KEY, HubProcess
from understudy.cli.findings import examine


@pytest.fixture(scope="module")
def api():
    with FakeClaude() as fake:
        yield fake


@pytest.fixture(scope="module")
def hub(tmp_path_factory, api):
    process = HubProcess(tmp_path_factory.mktemp("takeover") / "hub", takeover="answer", takeover_sources="cron=off")
    process.data_dir.mkdir()
    text = f'anthropic_api_key = "{api.key}"\nanthropic_base_url = "{api.url}"\n'
    (process.data_dir / "understudy.toml").write_text(text)
    yield process.start()
    process.close()


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Switched on, but without a key."""
    process = HubProcess(tmp_path_factory.mktemp("bare") / "hub", takeover="answer")
    yield process.start()
    process.close()


@pytest.fixture(scope="module")
def notifying(tmp_path_factory):
    """Without calls, and paused, which stops nothing then."""
    process = HubProcess(tmp_path_factory.mktemp("notifying") / "hub", takeover="notify")
    process.start()
    assert process.ask("POST", "/api/takeover/pause", key=ADMIN_KEY).status == 200
    yield process
    process.close()


def doctor(hub, here, **environ):
    keys = {"UNDERSTUDY_HUB": hub.url, "UNDERSTUDY_API_KEY": KEY, "UNDERSTUDY_DATA": str(here / "data")}
    return [finding for finding in examine({**keys, **environ}, here) if finding.name == "takeover"]


def test_it_is_shown_paused_and_resumed(hub):
    shown = understudy("takeover", "status", env=hub.env)
    assert shown.code == 0, shown.err
    assert "takeover: answers tasks that need no machine" in shown.out
    assert "claude-haiku-5-5, 0.1 / 0.5 USD per million tokens" in shown.out
    assert "sources: cron off" in shown.out
    assert "today: 1 of 1 USD left, 0 calls" in shown.out
    assert understudy("takeover", "pause", env=hub.env).code == 0
    assert "paused by an owner" in understudy("takeover", "status", env=hub.env).out
    assert understudy("takeover", "resume", "--json", env=hub.env).out.strip() == '{"success": true}'
    seen = json.loads(understudy("takeover", "status", "--json", env=hub.env).out)
    assert (seen["paused"], seen["ready"], seen["budget"]["month"]["limitUsd"]) == (False, True, 10)


def test_only_an_admin_steers_it(hub):
    assert hub.ask("POST", "/api/takeover/pause", key=KEY).status == 403
    assert hub.ask("POST", "/api/takeover/pause", key=ADMIN_KEY).status == 200
    assert hub.ask("POST", "/api/takeover/resume", key=ADMIN_KEY).status == 200
    assert hub.ask("GET", "/api/takeover", key="").status == 401


def test_status_says_that_it_is_off_without_a_key(bare):
    shown = understudy("status", env=bare.env)
    assert "takeover: off: ANTHROPIC_API_KEY is not set" in shown.out, shown
    assert json.loads(understudy("status", "--json", env=bare.env).out)["takeover"]["lacks"] == "no_key"


def test_a_mode_without_calls_is_stopped_by_no_pause(notifying, tmp_path):
    shown = understudy("takeover", "status", env=notifying.env).out
    assert shown.startswith("takeover: notifies the senders of waiting tasks\n")
    (finding,) = doctor(notifying, tmp_path)
    assert (finding.level, finding.what) == (
        "ok",
        "Takeover notifies the senders of waiting tasks; it makes no calls.",
    )


def test_status_says_it_in_japanese_too(bare):
    shown = understudy("status", env={**bare.env, "UNDERSTUDY_LANG": "ja"})
    assert "代行: 無効: ANTHROPIC_API_KEY が設定されていません" in shown.out


def test_doctor_finds_the_missing_key(bare, tmp_path):
    (finding,) = doctor(bare, tmp_path)
    assert (finding.level, "no Claude API key" in finding.what, "ANTHROPIC_API_KEY" in finding.fix) == (
        "problem",
        True,
        True,
    )


def test_doctor_asks_the_service_where_it_has_the_key(hub, tmp_path, api):
    there, pinged = doctor(hub, tmp_path, ANTHROPIC_API_KEY=api.key, ANTHROPIC_BASE_URL=api.url)
    assert [there.level, pinged.level] == ["ok", "ok"]
    assert "claude-haiku-5-5" in pinged.what
    assert api.bodies[-1]["max_tokens"] == 1
    there, elsewhere = doctor(hub, tmp_path)
    assert "on the hub's machine" in elsewhere.what


@pytest.mark.parametrize(
    ("fallback", "level", "words"),
    [
        ("claude-sonnet-5-5", "ok", "claude-sonnet-5-5"),
        ("claude-sonnet-4", "problem", "claude-sonnet-4"),  # the service knows it no more
        ("some-model", "notice", "some-model"),  # without a price
    ],
)
def test_doctor_asks_the_fallback_model_too(hub, api, tmp_path, fallback, level, words):
    """It is needed while the other one is overloaded, and one that is refused then stops takeover."""
    keys = {"ANTHROPIC_API_KEY": api.key, "ANTHROPIC_BASE_URL": api.url}
    *others, last = doctor(hub, tmp_path, UNDERSTUDY_TAKEOVER_FALLBACK_MODEL=fallback, **keys)
    assert [finding.level for finding in (*others, last)] == ["ok", "ok", level]
    assert words in last.what


@pytest.mark.parametrize(
    ("step", "level", "mend"),
    [
        (401, "problem", "valid ANTHROPIC_API_KEY"),
        (404, "problem", "UNDERSTUDY_TAKEOVER_MODEL"),
        ("credit", "problem", "Buy credit"),
        (529, "notice", "Try again"),
        ("max_tokens", "ok", ""),
        ("cut", "notice", "ANTHROPIC_BASE_URL"),
        ("cut_stream", "notice", "ANTHROPIC_BASE_URL"),
    ],
)
def test_doctor_tells_what_the_service_says_and_the_fix(hub, tmp_path, api, step, level, mend):
    api.plan([step])
    *_, finding = doctor(hub, tmp_path, ANTHROPIC_API_KEY=api.key, ANTHROPIC_BASE_URL=api.url)
    assert (finding.level, mend in finding.fix) == (level, True)
    assert api.key not in finding.what + finding.fix


def test_doctor_says_long_before_that_a_price_is_not_known(tmp_path, api):
    process = HubProcess(tmp_path / "hub", takeover="answer", takeover_model="claude-unheard-of-9")
    process.data_dir.mkdir()
    (process.data_dir / "understudy.toml").write_text(f'anthropic_api_key = "{api.key}"\n')
    try:
        (finding,) = doctor(process.start(), tmp_path)
    finally:
        process.close()
    assert (finding.level, "UNDERSTUDY_PRICES=claude-unheard-of-9=" in finding.fix) == ("problem", True)
