"""Channels, routes, groups and maintenance from the environment and the file of settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from understudy import config
from understudy.config.channels import notes_of, notices_of
from understudy.config.policy import hub_inputs
from understudy.coordinator.routes import Routes
from understudy.errors import ConfigError
from understudy.notify.base import ChannelSettings

SLACK = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_CHANNEL_ID": "C1"}
HOUR = 3_600_000


def read(tmp_path: Path, toml: str = "", **environ: str) -> tuple[tuple[ChannelSettings, ...], Routes]:
    (tmp_path / "understudy.toml").write_text(toml)
    env = {"UNDERSTUDY_LANG": "en", **environ}
    return notices_of(config.load(env, tmp_path).settings, env, tmp_path)


@pytest.mark.parametrize(
    ("environ", "channel"),
    [
        (SLACK, ChannelSettings("slack", "slack", chat="C1", secret="xoxb-1")),
        ({"SLACK_WEBHOOK_URL": "https://h/1"}, ChannelSettings("slack", "slack_webhook", "https://h/1")),
        ({"DISCORD_WEBHOOK_URL": "https://d/1"}, ChannelSettings("discord", "discord", "https://d/1")),
        (
            {"TELEGRAM_BOT_TOKEN": "1:x", "TELEGRAM_CHAT_ID": "-5"},
            ChannelSettings("telegram", "telegram", chat="-5", secret="1:x"),
        ),
        (
            {"NTFY_URL": "https://ntfy.example/top", "NTFY_TOKEN": "tk"},
            ChannelSettings("ntfy", "ntfy", "https://ntfy.example", "top", "tk"),
        ),
        ({"NTFY_URL": "top"}, ChannelSettings("ntfy", "ntfy", "", "top")),
        ({"NTFY_URL": "ntfy.example/top"}, ChannelSettings("ntfy", "ntfy", "https://ntfy.example", "top")),
        (
            {"SMTP_URL": "smtps://me@host", "SMTP_PASSWORD": "p", "SMTP_TO": "a@x,b@x", "SMTP_FROM": "f@x"},
            ChannelSettings("email", "email", "smtps://me@host", "a@x,b@x", "p", "f@x"),
        ),
        (
            {"UNDERSTUDY_WEBHOOK_URL": "https://w", "UNDERSTUDY_WEBHOOK_SECRET": "s"},
            ChannelSettings("webhook", "webhook", "https://w", secret="s"),
        ),
        ({"APPRISE_URL": "json://h"}, ChannelSettings("apprise", "apprise", "json://h")),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_names_that_people_have_already_make_a_channel(tmp_path, environ, channel):
    assert read(tmp_path, **environ)[0] == (channel,)


def test_without_routes_every_channel_is_told_of_warnings_with_reminders(tmp_path):
    (route,) = read(tmp_path, **SLACK, NTFY_URL="top")[1].routes
    assert (route.channels, route.level, route.remind_ms) == (("slack", "ntfy"), "warning", 6 * HOUR)
    assert read(tmp_path) == ((), Routes())


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("slack", ["slack"]),
        ("ntfy,slack", ["slack", "ntfy"]),
        ("all", ["slack", "ntfy"]),
        ("none", []),
    ],
)
def test_notification_type_chooses_among_them(tmp_path, wanted, names):
    found = read(tmp_path, **SLACK, NTFY_URL="top", NOTIFICATION_TYPE=wanted)[0]
    assert [target.name for target in found] == names


def test_the_file_names_channels_groups_routes_and_maintenance(tmp_path):
    (tmp_path / "token").write_text("xoxb-2\n")
    targets, routes = read(
        tmp_path,
        f"""
        [channels.ops]
        kind = "slack"
        secret_file = "{tmp_path / "token"}"
        chat = "C9"
        language = "ja"
        [channels.pager]
        kind = "webhook"
        url = "https://events.pagerduty.example"
        secret = "routing-key"
        format = "pagerduty"
        [groups]
        home = ["mini", "mac*"]
        [[routes]]
        channels = ["pager"]
        level = "critical"
        groups = ["home"]
        delay = "2m"
        remind = "0s"
        [[routes]]
        channels = ["ops"]
        daemons = ["rack-1"]
        quiet = ["22:00-07:00@Asia/Tokyo", "12:00-13:00"]
        [[maintenance]]
        groups = ["home"]
        window = "03:00-03:30"
        [[maintenance]]
        from = "2026-12-01T02:00:00+09:00"
        to = 2026-12-01T03:00:00+09:00
        """,
        UNDERSTUDY_TIME_ZONE="Europe/Berlin",
    )
    ops, pager = targets
    assert (ops.secret, ops.chat, ops.language) == ("xoxb-2", "C9", "ja")
    assert (pager.address, pager.format) == ("https://events.pagerduty.example", "pagerduty")
    assert routes.joining == ("pager",)  # a receiver that keeps an alarm open until its recovery
    first, second = routes.routes
    assert (first.daemons, first.delay_ms, first.remind_ms) == (("mini", "mac*"), 120_000, 0)
    assert json.loads(second.quiet) == [
        {"from": "22:00", "to": "07:00", "tz": "Asia/Tokyo"},
        {"from": "12:00", "to": "13:00", "tz": "Europe/Berlin"},
    ]
    daily, once = routes.maintenance
    assert (daily.daemons, json.loads(daily.windows)[0]["tz"]) == (("mini", "mac*"), "Europe/Berlin")
    assert (once.from_at, once.to_at - once.from_at) == (1_796_058_000_000, HOUR)


@pytest.mark.parametrize(
    ("toml", "word"),
    [
        ('[channels.ops]\nkind = "fax"', "fax"),
        ('[channels."a b"]\nkind = "slack"', "a b"),
        ('[channels.ops]\nkind = "slack"\ncolour = "red"', "colour"),
        ('[channels.slack]\nlanguage = "fr"', "fr"),
        ('[channels.slack]\n[[routes]]\nchannels = ["nobody"]', "nobody"),
        ('[channels.slack]\n[[routes]]\nlevel = "loud"', "loud"),
        ('[channels.slack]\n[[routes]]\ngroups = ["home"]', "home"),
        ('[channels.slack]\n[[routes]]\ndelay = "90"', "90s"),
        ('[channels.slack]\n[[routes]]\nquiet = "22-7"', "22-7"),
        ('[channels.slack]\n[[routes]]\nquiet = "22:00-07:00@Mars/Crater"', "Mars/Crater"),
        ('[channels.slack]\n[[routes]]\nquiet = ["12:00-13:00", "22:00-22:00"]', "22:00-22:00"),
        ('[[maintenance]]\nwindow = "03:00-03:00"', "03:00-03:00"),
        ('[[maintenance]]\nwindow = "03:00-03:30@Mars/Crater"', "Mars/Crater"),
        ('[[maintenance]]\nfrom = 2026-12-01T02:00:00Z\nto = "2026-12-01T11:00:00+09:00"', "2026-12-01"),
        ("[[maintenance]]\nfrom = 2026-12-01T02:00:00Z\nto = 2026-12-01T01:00:00Z", "2026-12-01"),
        ('[[maintenance]]\ndaemons = ["mini"]', "window"),
        ('[[maintenance]]\nfrom = "2026-12-01T02:00:00+09:00"', "window"),
        ('[[maintenance]]\nfrom = "2026-12-01T02:00:00"\nto = "x"', "2026-12-01T02:00:00"),
        (
            '[channels.slack]\n[groups]\nhome = []\n[[maintenance]]\ngroups = ["home"]\nwindow = "03:00-03:30"',
            "groups.home",
        ),
        ('[[maintenance]]\ndaemons = []\nwindow = "03:00-03:30"', "daemons is empty"),
        ("[channels.slack]\n[[routes]]\nchannels = []", "routes.channels is empty"),
        ("[channels.slack]\n[[routes]]\ngroups = []", "groups is empty"),
        ('[channels.slack]\n[[routes]]\ndelay = "999999999999999d"', "999999999999999d"),
        ('[channels.slack]\n[[routes]]\nremind = "31d"', "31d"),
        ("channels = 3", "channels"),
        ("[routes]\nlevel = 1", "routes"),
    ],
)
def test_what_is_wrong_is_said_with_its_file(tmp_path, toml, word):
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, toml)
    assert word in refused.value.message
    assert "understudy.toml" in refused.value.message


def test_a_channel_that_is_not_set_up_is_no_channel(tmp_path):
    with pytest.raises(ConfigError, match="fax"):
        read(tmp_path, NOTIFICATION_TYPE="fax", **SLACK)


def test_a_choice_that_leaves_nobody_to_tell_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="telegram"):
        read(tmp_path, NOTIFICATION_TYPE="telegram", **SLACK)
    assert not read(tmp_path, NOTIFICATION_TYPE="none", **SLACK)[0]
    assert not read(tmp_path, NOTIFICATION_TYPE="telegram")[0]  # none is set up here at all


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"SLACK_BOT_TOKEN": "xoxb-1"}, "SLACK_CHANNEL_ID"),
        ({"TELEGRAM_CHAT_ID": "-5"}, "TELEGRAM_BOT_TOKEN"),
        ({"SMTP_URL": "smtps://me@host"}, "SMTP_TO"),
    ],
)
def test_half_a_channel_is_named_at_the_start(tmp_path, given, missing):
    notes = config.load({"UNDERSTUDY_LANG": "en", **given}, tmp_path).notes
    assert [missing in note and next(iter(given)) in note for note in notes] == [True]
    assert config.load({**SLACK}, tmp_path).notes == ()


def test_the_hub_is_given_channels_and_routes_without_secrets(tmp_path):
    env = {**SLACK, "UNDERSTUDY_REPLY_TO": "slack:C2", "UNDERSTUDY_PUBLIC_URL": "https://hub.example/"}
    targets, routes = notices_of(config.load(env, tmp_path).settings, env, tmp_path)
    assert [target.name for target in targets] == ["slack"]
    assert (routes.channels, routes.public_url) == (("slack",), "https://hub.example")
    assert json.loads(routes.reply_to) == {"channel": "slack", "chat": "C2", "thread": ""}
    assert "xoxb-1" not in repr(routes)


@pytest.mark.parametrize(
    "environ",
    [{"UNDERSTUDY_REPLY_TO": "fax"}, {"UNDERSTUDY_PUBLIC_URL": "hub.example"}],
    ids=["reply_to", "public_url"],
)
def test_what_cannot_be_is_refused_at_the_start(tmp_path, environ):
    env = {**SLACK, **environ}
    with pytest.raises(ConfigError):
        notices_of(config.load(env, tmp_path).settings, env, tmp_path)


@pytest.mark.parametrize("form", ["pagerduty", "alertmanager"])
def test_answers_go_to_no_channel_that_takes_alarms_only(tmp_path, form):
    env = {"UNDERSTUDY_WEBHOOK_URL": "https://w", "UNDERSTUDY_WEBHOOK_SECRET": "s", "UNDERSTUDY_WEBHOOK_FORMAT": form}
    assert read(tmp_path, **env)[1].joining == ("webhook",)
    for chosen, said in (("", 0), ("webhook", 1), ("webhook:chat", 1)):
        given = {**env, "UNDERSTUDY_REPLY_TO": chosen}
        settings = config.load(given, tmp_path).settings
        notes = notes_of(settings, notices_of(settings, given, tmp_path)[1])
        assert len([note for note in notes if "'webhook', which takes alarms only" in note]) == said
        assert hub_inputs(settings, given, tmp_path, {}).notes == notes


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UNDERSTUDY_TIME_ZONE", "Tokyo"),
        ("UNDERSTUDY_TIME_ZONE", "../../etc/passwd"),
        ("UNDERSTUDY_QUIET_HOURS", "22:00-07:00@Tokyo"),
        ("UNDERSTUDY_QUIET_HOURS", "22:00-22:00"),
        ("UNDERSTUDY_QUIET_HOURS", "22-7"),
    ],
)
def test_zones_and_windows_of_the_environment_are_refused_at_the_start(tmp_path, name, value):
    with pytest.raises(ConfigError) as refused:
        read(tmp_path, **SLACK, **{name: value})
    assert name in refused.value.message
    assert value.rpartition("@")[2] in refused.value.message


@pytest.mark.parametrize("wanted", ["Ops-Team", "ops-team", "OPS-TEAM"])
def test_a_name_with_capitals_is_chosen_however_it_is_written(tmp_path, wanted):
    toml = '[channels.Ops-Team]\nkind = "slack_webhook"\nurl = "https://h/1"\n[[routes]]\nchannels = ["Ops-Team"]'
    targets, routes = read(tmp_path, toml, NOTIFICATION_TYPE=wanted, UNDERSTUDY_REPLY_TO="Ops-Team")
    assert [target.name for target in targets] == ["Ops-Team"]
    assert routes.routes[0].channels == ("Ops-Team",)


def test_a_server_without_a_topic_is_no_topic_of_the_public_server(tmp_path):
    loaded = config.load({"NTFY_URL": "https://ntfy.private.example/"}, tmp_path)
    with pytest.raises(ConfigError, match="ntfy"):
        notices_of(loaded.settings, {}, tmp_path)


@pytest.mark.parametrize("name", ["SLACK_WEBHOOK_URL", "DISCORD_WEBHOOK_URL", "UNDERSTUDY_WEBHOOK_URL", "NTFY_URL"])
@pytest.mark.parametrize("host", ["[::1", "a..b", "a" * 64, "h:99999"])
def test_an_address_that_nobody_can_call_is_refused_at_the_start(tmp_path, name, host):
    with pytest.raises(ConfigError):
        notices_of(config.load({name: f"https://{host}/x"}, tmp_path).settings, {}, tmp_path)


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        ('url = "https://w"\nsecret = "one"\nsecret_file = "key"', "secret"),
        ('url = "https://w"\naddress_file = "key"', "address"),
        ('address = "https://w"\naddress_file = "key"', "address"),
    ],
)
def test_a_channel_has_no_value_beside_the_file_of_it(tmp_path, lines, name):
    (tmp_path / "key").write_text("https://other")
    with pytest.raises(ConfigError, match=rf"channels\.w\.{name} and channels\.w\.{name}_file are both set"):
        read(tmp_path, f'[channels.w]\nkind = "webhook"\n{lines}')


def test_a_secret_file_of_a_channel_is_seen_from_the_file_of_settings(tmp_path, monkeypatch):
    (tmp_path / "token").write_text("s3cret\n")
    monkeypatch.chdir("/")
    (channel,) = read(tmp_path, '[channels.w]\nkind = "webhook"\nurl = "https://w"\nsecret_file = "token"')[0]
    assert channel.secret == "s3cret"
