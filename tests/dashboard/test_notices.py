"""The page of notices: what was sent, what waits, what is dead and why; each channel with a test of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from msgspec.structs import replace

from tests.api.hubs import Hub
from tests.dashboard.browser import Browser
from understudy.coordinator.nouns import Notice, Policy
from understudy.coordinator.routes import Route, Routes
from understudy.notify.fixes import FIXES, OTHER, WORDS, fix_of
from understudy.texts import LANGUAGES, catalogue, t

Start = Callable[..., Hub]
Open = Callable[..., Browser]
BAD = "<img src=x onerror=alert(1)>\u202egnp\x1b[31m" + "x" * 10_000

CHANNELS = ("ops", "家")


@pytest.fixture
def noticing(start_hub: Start) -> Hub:
    """A hub with two channels that nobody empties."""
    return start_hub(policy=Policy(routes=Routes(CHANNELS, (Route(CHANNELS),))))


def save(hub: Hub, *rows: Struct) -> None:
    hub.store.transaction(lambda tx: tx.save_many(rows))


def notice(hub: Hub, n: int = 1, channel: str = "ops", **more: Any) -> Notice:
    given = {"kind": "notice", "cause": "daemon.late", "level": "warning", "daemon_id": "mini"}
    at = hub.now + n
    return Notice(f"notice-{n}", channel, **(given | {"created_at": at, "due_at": at, "next_at": at} | more))


def test_without_a_channel_it_says_how_to_set_one_up(hub: Hub, admin: Browser) -> None:
    text = admin.get("/notices").text
    assert "No channel is set up." in text
    assert "understudy notify test" in text
    assert "data-notice" not in text


def test_a_daemon_that_falls_silent_is_listed_with_its_level_channel_and_subject(
    noticing: Hub, open_browser: Open
) -> None:
    noticing.beat("mini")
    noticing.advance(181_000)
    seen = open_browser(noticing).get("/notices")
    assert sorted(seen.attribute("data-channel")) == ["ops", "家"]
    assert seen.attribute("data-level") == ["warning", "warning"]
    assert "mini is late" in seen.text
    assert 'href="/daemons/mini"' in seen.text
    assert 'href="/incidents?incident=' in seen.text


def test_the_filter_is_in_the_address_and_the_stream_keeps_it(noticing: Hub, open_browser: Open) -> None:
    save(noticing, notice(noticing, 1), notice(noticing, 2, state="dead", last_error="x"))
    admin = open_browser(noticing)
    assert admin.get("/notices").attribute("data-notice") == ["notice-2", "notice-1"]
    assert admin.get("/notices?state=dead").attribute("data-notice") == ["notice-2"]
    assert admin.get("/notices?state=waiting").attribute("data-notice") == ["notice-1"]
    assert "notice-1" not in admin.stream("/notices?state=dead").fragment("notices")
    assert admin.get("/notices?state=other").status == 400


def test_older_ones_are_a_page_further(noticing: Hub, open_browser: Open) -> None:
    save(noticing, *[notice(noticing, n, state="sent", sent_at=noticing.now) for n in range(1, 71)])
    admin = open_browser(noticing)
    first = admin.get("/notices?state=sent")
    assert len(first.attribute("data-notice")) == 50
    (older,) = [link for link in first.attribute("href") if "cursor=" in link]
    assert admin.get(older).attribute("data-notice") == [f"notice-{n}" for n in range(20, 0, -1)]


def test_a_dead_one_has_its_error_its_fix_and_is_sent_again(noticing: Hub, open_browser: Open) -> None:
    reason = t("channel.unauthorized", "ja", said="401 invalid_auth")
    save(noticing, notice(noticing, 1, state="dead", attempts=3, last_error=reason, next_at=0))
    admin = open_browser(noticing)
    seen = admin.get("/notices?state=dead")
    assert reason in seen.text
    assert "Give this channel a valid key" in seen.text
    assert "tries:\u00a03" in seen.text
    assert "/notices/notice-1/resend" in seen.acts
    answer = admin.act("/notices/notice-1/resend", "/notices?state=dead")
    assert answer.location == "/notices?state=dead"
    assert noticing.get("/api/notices/notice-1", key="admin-key-of-the-tests").of(200)["state"] == "waiting"


def test_what_goes_to_a_channel_that_is_no_more_is_not_sent_again(noticing: Hub, open_browser: Open) -> None:
    save(noticing, notice(noticing, 1, channel="old", state="dead", last_error="x"))
    seen = open_browser(noticing).get("/notices")
    assert "/notices/notice-1/resend" not in seen.acts
    assert seen.attribute("data-channel") == ["ops", "家", "old"]
    assert "Not configured" in seen.text


def test_a_test_of_a_channel_is_shown_to_its_end(noticing: Hub, open_browser: Open) -> None:
    admin = open_browser(noticing)
    stream = admin.stream("/notices")
    assert "data-test=" not in stream.fragment("notices_channels")
    assert admin.act("/channels/test", "/notices", channel="家").location == "/notices"
    assert 'data-test="waiting"' in stream.fragment("notices_channels", "data-test=")
    (row,) = noticing.store.read(lambda reader: reader.load_all(Notice, 9))
    assert (row.channel, row.kind) == ("家", "test")
    reason = t("channel.unanswered", said="connection refused")
    save(noticing, replace(row, state="dead", last_error=reason))
    html = stream.fragment("notices_channels", 'data-test="dead"')
    assert reason in html
    assert "Check that the hub reaches the service" in html
    save(noticing, replace(row, state="sent", sent_at=noticing.now))
    assert "The test has arrived." in stream.fragment("notices_channels", 'data-test="sent"')


def test_each_channel_has_its_state_and_last_success(noticing: Hub, open_browser: Open) -> None:
    admin = open_browser(noticing)
    assert states(admin) == ["untried", "untried"]
    save(noticing, notice(noticing, 1, state="sent", sent_at=noticing.now))
    assert states(admin) == ["works", "untried"]
    save(noticing, notice(noticing, 2, attempts=2, last_error="x"))
    noticing.advance(10)
    assert states(admin) == ["failing", "untried"]
    save(noticing, notice(noticing, 2, state="dead", last_error="x"))
    assert states(admin) == ["dead", "untried"]


def states(admin: Browser) -> list[str]:
    return [state for state in admin.get("/notices").attribute("data-state") if state not in ("sent", "waiting")][:2]


def test_an_unknown_channel_is_refused_in_words(noticing: Hub, open_browser: Open) -> None:
    assert open_browser(noticing).act("/channels/test", "/notices", channel="nothing").status == 400


def test_what_comes_from_outside_is_text(noticing: Hub, open_browser: Open) -> None:
    name = '<b>"mini'
    hostile = {
        "daemon_id": name,
        "task_id": name,
        "last_error": BAD,
        "facts": msgspec.json.encode({"message": BAD}).decode(),
    }
    save(noticing, notice(noticing, 1, channel=name, state="dead", cause="x", **hostile))
    save(noticing, notice(noticing, 2, channel=name, state="dead", cause=BAD, facts="no JSON"))
    text = open_browser(noticing).get("/notices").text
    assert "<img" not in text
    assert "<b>" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "x" * 1_000 not in text


def test_titles_are_in_the_language_of_the_page_and_without_secrets(noticing: Hub, open_browser: Open) -> None:
    secret = "sk-ant-api03-" + "a" * 40
    save(
        noticing,
        notice(noticing, 1),
        notice(noticing, 2, cause="unknown", facts=f'{{"message":"the key {secret} is bad"}}'),
        notice(noticing, 3, cause="storm"),
    )
    text = open_browser(noticing, Accept_Language="ja").get("/notices").text
    assert "mini の応答が遅れています" in text
    assert secret not in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_of_a_channel_has_its_fix(language: str) -> None:
    values = {"said": "403 x", "name": "ops", "chat": "5", "value": "x"}
    for key, fix in FIXES.items():
        assert fix_of(t(key, language, **values)) == fix, key
        assert fix_of(t(key, language, **(values | {"said": "y" * 400}))) == fix, key
    assert fix_of("there is no channel x") == fix_of("") == OTHER
    assert all(f"pages.notices.fix.{word}" in catalogue(language) for word in WORDS)
    known = {key for key in catalogue(language) if key.count(".") == 1 and key.startswith("channel.")}
    assert known - set(FIXES) == {"channel.more", "channel.more_at", "channel.empty"}
