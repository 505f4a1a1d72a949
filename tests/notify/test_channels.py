"""Any message at all becomes requests that the service takes, loses nothing, pings nobody and names no secret."""

from __future__ import annotations

import html
import json

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.fakes.alertmanager import FakeAlerts
from tests.notify.channels import AT, NAMES, REFS, judge, offline
from tests.notify.messages import messages
from tests.notify.test_fitting import bare
from understudy.config.channels import FORMATS, KINDS
from understudy.errors import ConfigError
from understudy.notify.base import ChannelSettings, Message
from understudy.notify.channels import CHANNELS, EDITABLE, check
from understudy.notify.email import requests_for as mail_for
from understudy.notify.fitting import JOINER, clean
from understudy.notify.webhook import BODIES
from understudy.wire.outbound import HttpRequest, MailRequest

RISE_AND_FALL = ("warning", "critical", "recovered")
PIECES = [
    *[
        "word ",
        "\n",
        "\n\n",
        "日本語。",
        "🔴",
        "👨‍👩‍👧",
        "```",
        "```py\n",
        "`",
        "&",
        "](",
        "(",
        '"',
        "\\",
        "    x",
        "_*~|",
    ],
    *["<!channel>", "<@U1>", "@everyone", "[click](http://evil.example)", "\x00", "\ud800", "\r\n"],
    *["x" * 500, "あ" * 700, "<&>" * 300],
]
anything = st.one_of(
    st.text(alphabet=st.characters(), max_size=200),
    st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
)
pairs = st.lists(st.tuples(anything, anything), max_size=30).map(tuple)
links = st.lists(
    st.tuples(anything, st.one_of(anything, st.just("https://hub.example.org/?a=1&b=(2)"))), max_size=8
).map(tuple)
any_message = st.builds(
    Message,
    key=st.from_regex(r"[a-z0-9:.-]{1,80}", fullmatch=True),
    kind=st.sampled_from(["notice", "progress", "answer"]),
    level=st.sampled_from(["info", "warning", "critical", "recovered", "other"]),
    title=anything,
    text=anything,
    facts=pairs,
    links=links,
    link_full=st.sampled_from(["", "https://hub.example.org/l/" + "s" * 40, "https://x.example/" + "y" * 1900]),
    about=st.sampled_from(["", "inc-01J9"]),
    at=st.just(AT),
)


@pytest.mark.parametrize("name", NAMES)
@given(message=any_message, is_plain=st.booleans(), language=st.sampled_from(["en", "ja"]))
@settings(max_examples=hypothesis.settings().max_examples // 2)  # of each of a dozen services
def test_the_service_takes_any_message(name, message, is_plain, language):
    fake, settings = offline(name, language)
    requests = CHANNELS[settings.kind].requests_for(settings, message, is_plain=is_plain)
    assert 1 <= len(requests) <= 8
    assert message.kind != "progress" or len(requests) == 1
    assert judge(fake, requests) == []


def said(name: str, request) -> str:
    """What a person reads of one request, for the channels that split."""
    body = json.loads(request.body)
    text = body.get("content") or body.get("message") or body.get("text")
    return html.unescape(text) if name.startswith("slack") else text.replace(JOINER, "")


@pytest.mark.parametrize("name", ["slack", "slack_webhook", "discord", "telegram", "ntfy"])
@given(text=anything)
def test_an_answer_that_fits_its_parts_loses_nothing(name, text):
    _, settings = offline(name)
    requests = CHANNELS[settings.kind].requests_for(settings, Message("k", "answer", text=text))
    shown = "".join(said(name, request) for request in requests)
    if bare(clean(text)) and "more characters" not in shown:
        assert bare(shown) == bare(clean(text))


@pytest.mark.parametrize("name", ["slack", "slack_webhook", "discord", "telegram", "ntfy"])
def test_a_very_long_answer_ends_with_a_link_to_all_of_it(name):
    _, settings = offline(name)
    message = Message("k", "answer", text="日本語 " * 40_000, link_full="https://hub.example.org/l/s")
    last = CHANNELS[settings.kind].requests_for(settings, message)[-1]
    assert "more characters: https://hub.example.org/l/s" in said(name, last)


@pytest.mark.parametrize(
    ("name", "char", "count"),
    [
        ("slack", "x", 3000),
        ("slack", "&", 600),
        ("slack", "🔴", 1500),
        ("discord", "x", 2000),
        ("discord", "🔴", 1000),
        ("telegram", "x", 4096),
        ("telegram", "🔴", 2048),
        ("ntfy", "x", 4096),
        ("ntfy", "あ", 1365),
    ],
)
def test_the_limit_itself_is_one_part_and_one_more_makes_two(name, char, count):
    fake, settings = offline(name)
    for more in (0, 1):
        requests = CHANNELS[name].requests_for(settings, Message("k", "answer", text=char * (count + more)))
        assert len(requests) == 1 + more
        assert judge(fake, requests) == []


@pytest.mark.parametrize("name", NAMES)
def test_many_facts_are_said_in_fields_or_in_the_text(name):
    fake, settings = offline(name)
    facts = tuple((f"fact {n:02}", f"{n:02}-" + "v" * 300) for n in range(40))
    requests = CHANNELS[settings.kind].requests_for(
        settings, Message("k", "notice", "critical", "t", "x", facts, at=AT)
    )
    assert judge(fake, requests) == []
    said = " ".join(str(getattr(request, "body", "") or request.content) for request in requests).replace("=\\r\\n", "")
    assert [value for _, value in facts if value not in said] == []


def test_a_card_of_many_lines_stays_within_what_teams_takes():
    fake, settings = offline("webhook-teams")
    (request,) = CHANNELS["webhook"].requests_for(settings, Message("k", "answer", text="x\n" * 9000, at=AT))
    assert judge(fake, (request,)) == []
    assert "more characters" in request.body.decode()


def test_pagerduty_resolves_what_was_triggered():
    _, settings = offline("webhook-pagerduty")
    said = {
        name: json.loads(CHANNELS["webhook"].requests_for(settings, messages("en")[name])[0].body)
        for name in RISE_AND_FALL
    }
    assert [said[name]["event_action"] for name in RISE_AND_FALL] == ["trigger", "trigger", "resolve"]
    assert {body["dedup_key"] for body in said.values()} == {"inc-01J9"}


@pytest.mark.parametrize("ahead_ms", [-60_000, 0, 1_000, 600_000])
@pytest.mark.parametrize("after_ms", [0, 50, 300_000, 86_400_000])
def test_a_recovery_ends_every_alert_whatever_the_clock_of_alertmanager_says(ahead_ms, after_ms):
    _, settings = offline("webhook-alertmanager")
    alertmanager = FakeAlerts()
    for at, name, firing in ((AT, "warning", 1), (AT, "critical", 2), (AT + after_ms, "recovered", 0)):
        message = replace(messages("en")[name], at=at)
        theirs = at - ahead_ms
        alertmanager.put(json.loads(CHANNELS["webhook"].requests_for(settings, message)[0].body), theirs)
        assert len(alertmanager.firing(theirs)) == firing
    assert len(alertmanager.alerts) == 3


def test_an_alarm_after_its_recovery_fires_anew_on_alertmanager():
    _, settings = offline("webhook-alertmanager")
    alertmanager = FakeAlerts()
    for at, name, firing in ((AT, "critical", 1), (AT + 50, "recovered", 0), (AT + 100, "critical", 1)):
        message = replace(messages("en")[name], at=at)
        alertmanager.put(json.loads(CHANNELS["webhook"].requests_for(settings, message)[0].body), at)
        assert len(alertmanager.firing(at)) == firing


def test_an_alert_of_alertmanager_begins_now_and_not_when_it_ends():
    _, settings = offline("webhook-alertmanager")
    for name in ("warning", "critical"):
        (alert,) = json.loads(CHANNELS["webhook"].requests_for(settings, messages("en")[name])[0].body)
        assert (alert["startsAt"], alert["endsAt"]) == ("2026-11-22T16:00:00.000Z", "2026-11-29T16:00:00.000Z")


def test_a_storm_of_three_hundred_names_each_daemon():
    names = [f"office-{n:03}" for n in range(300)]
    message = Message(
        "k", "notice", "critical", "300 notices", "\n".join(f"CRITICAL: {name} is down" for name in names)
    )
    for name in ("slack", "discord", "telegram", "ntfy"):
        _, settings = offline(name)
        whole = " ".join(request.body.decode() for request in CHANNELS[name].requests_for(settings, message))
        assert [missing for missing in names if missing not in whole] == [], name


@pytest.mark.parametrize("name", NAMES)
def test_nobody_is_pinged_by_what_a_task_wrote(name):
    _, settings = offline(name)
    bad = "<!channel> <@U1> <@&7> <https://evil.example|hub> @everyone [hub](https://evil.example)"
    for kind in ("notice", "answer"):
        message = Message("k", kind, "critical", bad, bad, facts=((bad, bad),), at=AT)
        for request in CHANNELS[settings.kind].requests_for(settings, message):
            if name.startswith("slack"):
                header, others = json.loads(request.body).pop("blocks", [{}])[0], request.body.decode()
                assert header.get("text", {}).get("type", "plain_text") == "plain_text"  # read by nothing
                assert "<" not in others.replace(json.dumps(header.get("text", {}).get("text"), ensure_ascii=False), "")
            if name == "discord":
                assert json.loads(request.body)["allowed_mentions"] == {"parse": []}
                assert "](https://evil" not in request.body.decode()
            if name == "telegram":
                assert "parse_mode" not in json.loads(request.body)
                assert {"@U1", "@everyone"} <= set(covered(json.loads(request.body), "code"))
            if name == "apprise":
                said = request.title + request.body
                assert not [ping for ping in ("@everyone", "@U1", "!channel>", "@&7") if ping in said]


def covered(body, kind: str) -> list[str]:
    """The text of each entity of a kind, in a message for Telegram."""
    text = body["text"].encode("utf-16-le")
    found = [entity for entity in body.get("entities", []) if entity["type"] == kind]
    return [text[2 * e["offset"] : 2 * (e["offset"] + e["length"])].decode("utf-16-le") for e in found]


def test_a_name_on_telegram_is_code_and_the_title_around_it_bold():
    fake, settings = offline("telegram")
    message = Message("k", "notice", "info", "🔴 ask @owner now", "x@y.org @me https://medium.com/@bob/x 日本語@her")
    for is_plain in (False, True):
        requests = CHANNELS["telegram"].requests_for(settings, message, is_plain=is_plain)
        body = json.loads(requests[0].body)
        assert covered(body, "bold") == ([] if is_plain else ["🔴 ask ", " now"])
        assert covered(body, "code") == ([] if is_plain else ["@owner", "@me", "@her"])
        assert (f"@{JOINER}owner" in body["text"], "https://medium.com/@bob/x" in body["text"]) == (is_plain, True)
        assert judge(fake, requests) == []


def test_names_beyond_the_entities_of_a_message_are_covered_too_on_telegram():
    fake, settings = offline("telegram")
    requests = CHANNELS["telegram"].requests_for(settings, Message("k", "answer", title="t", text="@me " * 3000))
    assert judge(fake, requests) == []
    for body in (json.loads(request.body) for request in requests):
        assert len(body["entities"]) <= 100
        assert "".join(covered(body, "code")).count("@me") == body["text"].count("@me")


def test_a_title_full_of_names_leaves_room_for_those_of_the_text_on_telegram():
    _, settings = offline("telegram")
    title, text = " ".join(f"@u{n}" for n in range(20)), "\n".join(f"@user{n:03d}" for n in range(120))
    request, *_ = CHANNELS["telegram"].requests_for(settings, Message("k", "answer", title=title, text=text))
    body = json.loads(request.body)
    entities = body["entities"]
    assert len(entities) == 100
    assert sum(entity["type"] == "bold" for entity in entities) == 10
    assert entities[-1]["offset"] + entities[-1]["length"] == len(body["text"])


@pytest.mark.parametrize("text", ['"', "\\", 'x"', 'あ"', '\t"'])
def test_the_json_of_a_text_full_of_escapes_is_not_too_large_for_ntfy(text):
    _, settings = offline("ntfy")
    link = "https://hub.example.org/" + "l" * 400
    message = Message("k", "answer", "critical", '"' * 400, text * 20_000, link_full=link, chat="t" * 64)
    requests = CHANNELS["ntfy"].requests_for(settings, message)
    assert len(requests) == 4
    assert max(len(request.body) for request in requests) <= 8192


COPIED = [
    "npm install -g @anthropic-ai/claude-code",
    "git clone git@github.com:o/r.git",
    "ssh deploy@10.0.0.5",
    "mail bob@example.org",
    "https://medium.com/@bob/x",
    "if (!done) a();",
]


@pytest.mark.parametrize("text", COPIED)
@pytest.mark.parametrize("name", ["telegram", "apprise"])
def test_a_command_or_an_address_can_be_copied(name, text):
    _, settings = offline(name)
    (request,) = CHANNELS[name].requests_for(settings, Message("k", "answer", text=text))
    assert (request.body if name == "apprise" else json.loads(request.body)["text"]) == text


@pytest.mark.parametrize(
    "text", ["x@everyone", "/@here/", "<@123456789012345678>", "a@U6TTX1F9R>", "!here|x>", "<@!9>"]
)
def test_a_sure_mention_is_none_by_apprise_wherever_it_stands(text):
    _, settings = offline("apprise")
    (request,) = CHANNELS["apprise"].requests_for(settings, Message("k", "answer", text=text))
    assert JOINER in request.body


@pytest.mark.parametrize(
    "text",
    [
        r"\`[hub](https://evil.example)\`",
        "``a`[hub](https://evil.example)`",
        "`x ``` ` [hub](https://evil.example) ```",
        "```[hub](https://evil.example)",
        "`[hub](https://evil.example)`",
    ],
)
@pytest.mark.parametrize("kind", ["notice", "answer"])
def test_no_backtick_hides_where_a_link_leads_on_discord(kind, text):
    """Each of the first four looks like code, and Discord draws a link."""
    _, settings = offline("discord")
    message = Message("k", kind, title=text, text=text, facts=((text, text),))
    for request in CHANNELS["discord"].requests_for(settings, message):
        assert b"](https://evil" not in request.body


@pytest.mark.parametrize("name", sorted(EDITABLE))
def test_only_the_first_part_is_an_edit_and_the_rest_follow_in_the_thread(name):
    fake, settings = offline(name)
    thread = {"slack": "1795363200.000001", "discord": "", "telegram": "1"}[name]
    message = Message("k", "answer", text="word " * 2000, edits=REFS[name], thread=thread)
    requests = CHANNELS[name].requests_for(settings, message)
    assert len(requests) > 1
    assert judge(fake, requests) == []
    edits = [r.method == "PATCH" or r.url.endswith(("chat.update", "editMessageText")) for r in requests]
    assert edits == [True] + [False] * (len(requests) - 1)
    if name == "slack":
        assert json.loads(requests[1].body)["thread_ts"] == thread
    if name == "telegram":
        assert json.loads(requests[1].body)["reply_parameters"]["message_id"] == 1


WITHOUT = {"allow_sending_without_reply": True}


@pytest.mark.parametrize(
    ("name", "thread", "found"),
    [
        ("slack", "1795.1", {"thread_ts": "1795.1", "channel": "C1"}),
        ("slack", "C2/1795.1", {"thread_ts": "1795.1", "channel": "C2"}),
        ("slack_webhook", "1795.1", {"thread_ts": "1795.1"}),
        ("telegram", "topic:7", {"message_thread_id": 7}),
        ("telegram", "-7/99", {"chat_id": "-7", "reply_parameters": {"message_id": 99, **WITHOUT}}),
        ("telegram", "/99", {"chat_id": "-100", "reply_parameters": {"message_id": 99, **WITHOUT}}),
        ("telegram", "99", {"chat_id": "-100", "reply_parameters": {"message_id": 99, **WITHOUT}}),
        ("discord", "500", {}),
    ],
)
def test_an_answer_goes_into_its_thread(name, thread, found):
    _, settings = offline(name)
    (request,) = CHANNELS[name].requests_for(settings, Message("k", "answer", text="yes", thread=thread))
    body = json.loads(request.body)
    assert {key: body[key] for key in found} == found
    if name == "discord":
        assert "thread_id=500" in request.url


@pytest.mark.parametrize("edits", ["5", "/5", "C1/1795363200.000001", "-100/", "x"])
def test_a_ref_that_names_no_message_of_this_chat_changes_none_on_telegram(edits):
    """Each chat counts its messages: one of another place, or of before a move, is not that of this number here."""
    _, settings = offline("telegram")
    (request,) = CHANNELS["telegram"].requests_for(settings, Message("k", "notice", text="back", edits=edits))
    assert request.url.endswith("/sendMessage")
    assert json.loads(request.body)["chat_id"] == "-100"


def test_a_message_is_changed_in_the_chat_where_it_stands_on_telegram():
    _, settings = offline("telegram")
    (request,) = CHANNELS["telegram"].requests_for(settings, Message("k", "notice", text="back", edits="-7/5"))
    assert request.url.endswith("/editMessageText")
    body = json.loads(request.body)
    assert (body["chat_id"], body["message_id"]) == ("-7", 5)


def test_a_ref_of_another_service_is_no_part_of_an_address_on_discord():
    _, settings = offline("discord")
    (request,) = CHANNELS["discord"].requests_for(settings, Message("k", "notice", text="back", edits="-100/5"))
    assert (request.method, "-100" in request.url) == ("POST", False)


def test_a_message_in_a_discord_thread_is_changed_there():
    _, settings = offline("discord")
    (request,) = CHANNELS["discord"].requests_for(
        settings, Message("k", "progress", text="on", thread="500", edits="1001")
    )
    assert request.url.endswith("/messages/1001?thread_id=500")


@pytest.mark.parametrize("name", NAMES)
def test_the_secret_is_where_it_belongs_and_nowhere_else(name):
    _, settings = offline(name)
    for request in CHANNELS[settings.kind].requests_for(settings, messages("en")["critical"]):
        if isinstance(request, HttpRequest) and settings.secret:
            assert (settings.secret in request.url) == (name == "telegram")
            assert (settings.secret.encode() in request.body) == (name == "webhook-pagerduty")


def test_a_repeated_delivery_is_the_same_request():
    for name in NAMES:
        _, settings = offline(name)
        channel, message = CHANNELS[settings.kind], messages("en")["critical"]
        assert channel.requests_for(settings, message) == channel.requests_for(settings, message)


def test_mails_about_one_incident_are_one_thread():
    _, settings = offline("email")
    said = [
        mail_for(settings, message)[0]
        for name, message in messages("en").items()
        if name in {"warning", "critical", "recovered"}
    ]
    roots = {line for mail in said for line in mail.content.decode().split("\r\n") if line.startswith("References:")}
    ids = {line for mail in said for line in mail.content.decode().split("\r\n") if line.startswith("Message-ID:")}
    assert (len(roots), len(ids)) == (1, 3)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("smtps://me%40x.org@mail.x.org", ("mail.x.org", 465, "tls", "me@x.org")),
        ("smtp://me%40x.org@mail.x.org:2525", ("mail.x.org", 2525, "starttls", "me@x.org")),
        ("smtp+plain://localhost", ("localhost", 25, "none", "")),
    ],
)
def test_mail_addresses_say_how_to_connect(address, expected):
    settings = ChannelSettings("m", "email", address, "you@x.org", sender="Hub <hub@x.org>")
    (mail,) = mail_for(settings, Message("k", "answer", text="x"))
    assert isinstance(mail, MailRequest)
    assert (mail.host, mail.port, mail.security, mail.user) == expected
    assert (mail.sender, mail.recipients) == ("hub@x.org", ("you@x.org",))


def test_mail_goes_to_the_owners_addresses_whatever_a_task_asks_for():
    _, settings = offline("email")
    (mail,) = mail_for(settings, Message("k", "answer", text="buy", chat="everybody@example.com"))
    assert mail.recipients == ("owner@example.org",)
    assert b"everybody" not in mail.content


def test_a_mail_header_cannot_be_injected():
    settings = ChannelSettings("m", "email", "smtp+plain://localhost", "you@x.org", sender="hub@x.org")
    (mail,) = mail_for(settings, Message("k\r\nBcc: all@x.org", "notice", title="x\r\nBcc: all@x.org", text="y"))
    assert b"\r\nBcc:" not in mail.content


@pytest.mark.parametrize(
    "settings",
    [
        ChannelSettings("x", "fax"),
        ChannelSettings("x", "slack", secret="t"),
        ChannelSettings("x", "slack", chat="C1"),
        ChannelSettings("x", "slack_webhook", "hooks.slack.com/services/1"),
        ChannelSettings("x", "discord"),
        ChannelSettings("x", "telegram", chat="1"),
        ChannelSettings("x", "ntfy", "https://ntfy.sh"),
        ChannelSettings("x", "email", "mail.x.org", "you@x.org", sender="me@x.org"),
        ChannelSettings("x", "email", "smtp://mail.x.org:port", "you@x.org", sender="me@x.org"),
        ChannelSettings("x", "email", "smtp://mail.x.org", "you@x.org"),
        ChannelSettings("x", "email", "smtp://me:password@mail.x.org", "you@x.org", sender="me@x.org"),
        ChannelSettings("x", "webhook"),
        ChannelSettings("x", "webhook", format="pagerduty"),
        ChannelSettings("x", "webhook", "https://x.example", format="morse"),
        ChannelSettings("x", "discord", "https://[bad"),
        ChannelSettings("x", "apprise"),
    ],
)
def test_a_target_that_cannot_work_is_found_before_it_is_needed(settings):
    with pytest.raises(ConfigError, match="x"):
        check(settings)


def test_good_targets_pass_the_check():
    for name in NAMES:
        check(offline(name)[1])
    check(ChannelSettings("p", "webhook", secret="routing-key", format="pagerduty"))


def test_settings_know_the_same_kinds_and_formats():
    assert set(KINDS) == set(CHANNELS)
    assert set(FORMATS) == set(BODIES)
