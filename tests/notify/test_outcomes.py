"""What each answer of each service means: there, later, or never, with a reason for people that tells no secret."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from tests.notify.channels import NAMES, offline
from understudy.notify.base import ChannelSettings, Later, Refused, Sent
from understudy.notify.channels import CHANNELS
from understudy.notify.outcomes import no_answer
from understudy.wire import causes, foreign_json
from understudy.wire.outbound import AppriseAnswer, HttpAnswer, MailAnswer, NoAnswer

HTTP = [name for name in NAMES if name not in {"email", "apprise"}]
PLAIN, WITHOUT_EDIT = {"as_plain": True}, {"without_edit": True}


def outcome(name, answer):
    _, settings = offline(name)
    return CHANNELS[settings.kind].outcome_of(settings, answer)


def http(status, body=b"", **headers):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw)


@pytest.mark.parametrize("name", NAMES)
def test_no_answer_is_for_later(name):
    found = outcome(name, NoAnswer("too slow"))
    assert found == Later("No answer: too slow")


STATUS_IS_ALL = {"slack_webhook", "webhook-plain", "webhook-alertmanager", "webhook-pagerduty"}


@pytest.mark.parametrize("name", HTTP)
def test_a_success_whose_body_is_cut_is_one_where_the_status_says_it_all(name):
    """Any other answer would send the same notice for a day and a half."""
    cut = NoAnswer("connection cut", begun=http(200, b'{"id": 1, "ok"'))
    assert isinstance(outcome(name, cut), Sent if name in STATUS_IS_ALL else Later)
    assert isinstance(outcome(name, NoAnswer("connection cut", begun=http(503))), Later)
    page = NoAnswer("too slow", begun=http(200, b"<html>"))
    is_anybodys = name in {"webhook-plain", "webhook-alertmanager"}  # it may answer as its owner likes
    assert isinstance(outcome(name, page), Sent if is_anybodys else Later)


@pytest.mark.parametrize("name", HTTP)
def test_trouble_at_the_service_is_for_later(name):
    for status in (500, 502, 503, 504, 408):
        assert isinstance(outcome(name, http(status)), Later), status


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize("status", [200, 400, 429])
def test_an_answer_of_too_many_values_is_not_parsed(name, status, monkeypatch):
    """One such answer would stop the whole hub, and the next try again."""
    monkeypatch.setattr(foreign_json, "parsed", pytest.fail)
    assert isinstance(outcome(name, http(status, b'{"id":[' + b"[]," * 200_000 + b"[]]}")), Sent | Later | Refused)


@pytest.mark.parametrize("name", HTTP)
def test_retry_after_is_honoured_in_seconds_and_as_a_date(name):
    assert outcome(name, http(429, retry_after="7")).after_ms == 7000
    assert outcome(name, http(503, retry_after="0.5")).after_ms == 500
    date = {"retry_after": "Sun, 22 Nov 2026 16:01:30 GMT", "date": "Sun, 22 Nov 2026 16:00:00 GMT"}
    assert outcome(name, http(429, **date)).after_ms == 90_000


@pytest.mark.parametrize("name", HTTP)
def test_an_odd_retry_after_is_no_trouble(name):
    for value in ("", "soon", "-5", "nan", "inf", "1e99", "Sun, 22 Nov 2026 16:01:30 GMT", "9" * 5000):
        found = outcome(name, http(429, retry_after=value))
        assert 0 <= found.after_ms <= 86_400_000, value


@pytest.mark.parametrize("name", HTTP)
def test_what_will_never_pass_is_refused(name):
    for status in (401, 403, 404, 410, 413, 301, 302, 405, 418):
        found = outcome(name, http(status))
        assert isinstance(found, Refused), status
        assert not found.as_plain, status


PAGE = b"<!DOCTYPE html><p>Access denied</p>"
OWN_HOSTS = [
    ("slack", ""),
    ("slack_webhook", "https://hooks.slack.com/services/T/B/x"),
    ("discord", "https://discord.com/api/webhooks/1/x"),
    ("telegram", ""),
    ("telegram", "https://api.telegram.org"),
    ("ntfy", "https://ntfy.sh"),
    ("webhook-pagerduty", ""),
    ("webhook-pagerduty", "https://events.eu.pagerduty.com/v2/enqueue"),
]


@pytest.mark.parametrize(("name", "address"), OWN_HOSTS)
def test_the_page_of_a_proxy_is_no_refusal_of_a_service_that_sends_none(name, address):
    settings = replace(offline(name)[1], address=address)
    for status, expected in ((302, Later), (400, Later), (403, Later), (404, Later), (301, Refused), (401, Refused)):
        assert isinstance(CHANNELS[settings.kind].outcome_of(settings, http(status, PAGE)), expected), status


@pytest.mark.parametrize("name", HTTP)
@pytest.mark.parametrize("status", [301, 302, 308, 401, 403, 404, 413])
def test_the_page_of_a_server_of_ones_own_is_its_word(name, status):
    assert isinstance(outcome(name, http(status, PAGE)), Refused)
    settings = replace(offline(name)[1], address="https://notslack.com/discord.com?ntfy.sh")
    assert isinstance(CHANNELS[settings.kind].outcome_of(settings, http(status, PAGE)), Refused)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>log in</html>",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'"text"',
        b'{"ok":1,"id":null,"result":[]}',
        b'{"code":[],"error":{},"parameters":5,"retry_after":"x"}',
    ],
)
def test_odd_bodies_are_no_trouble(body):
    for name in HTTP:
        for status in (200, 400, 401, 429, 500):
            found = outcome(name, http(status, body))
            assert isinstance(found, Later | Refused | Sent), (name, status)
            is_anybodys = name.startswith("webhook-") and name != "webhook-pagerduty"  # may answer as its owner likes
            if body.startswith(b"<") and not (is_anybodys and status == 200):
                assert not isinstance(found, Sent), (name, status)


@pytest.mark.parametrize("name", ["slack", "discord", "telegram", "ntfy"])
def test_a_success_that_names_no_message_is_none(name):
    assert isinstance(outcome(name, http(200, {})), Later)


SERVICES = [
    ("slack", http(200, {"ok": True, "channel": "C1", "ts": "1.2"}), Sent("C1/1.2"), {}),
    ("slack", http(200, {"ok": False, "error": "invalid_auth"}), Refused, {}),
    ("slack", http(200, {"ok": False, "error": "channel_not_found"}), Refused, {}),
    ("slack", http(200, {"ok": False, "error": "not_in_channel"}), Refused, {}),
    ("slack", http(200, {"ok": False, "error": "missing_scope", "needed": "chat:write"}), Refused, {}),
    ("slack", http(200, {"ok": False, "error": "a_new_error"}), Refused, {}),
    ("slack", http(200, {"ok": False, "error": "invalid_blocks"}), Refused, PLAIN),
    ("slack", http(200, {"ok": False, "error": "message_not_found"}), Refused, WITHOUT_EDIT),
    ("slack", http(200, {"ok": False, "error": "edit_window_closed"}), Refused, WITHOUT_EDIT),
    ("slack", http(200, {"ok": False, "error": "thread_not_found"}), Refused, WITHOUT_EDIT),
    ("slack", http(200, {"ok": False, "error": "ratelimited"}, retry_after="3"), Later, {"after_ms": 3000}),
    ("slack", http(200, {"ok": False, "error": "fatal_error"}), Later, {}),
    ("slack", http(200, {"ok": False}), Later, {}),
    ("slack_webhook", http(200, b"ok"), Sent(), {}),
    ("slack_webhook", http(400, b"invalid_payload"), Refused, PLAIN),
    ("slack_webhook", http(400, b"no_text"), Refused, PLAIN),
    ("slack_webhook", http(403, b"action_prohibited"), Refused, {}),
    ("slack_webhook", http(404, b"no_service"), Refused, {}),
    ("slack_webhook", http(410, b"channel_is_archived"), Refused, {}),
    ("slack_webhook", http(500, b"rollup_error"), Later, {}),
    ("discord", http(200, {"id": "1001"}), Sent("1001"), {}),
    ("discord", http(429, {"retry_after": 0.25, "global": False}), Later, {"after_ms": 250}),
    ("discord", http(400, {"code": 50035, "message": "Invalid Form Body"}), Refused, PLAIN),
    ("discord", http(404, {"code": 10008, "message": "Unknown Message"}), Refused, WITHOUT_EDIT),
    ("discord", http(404, {"code": 10003, "message": "Unknown Channel"}), Refused, WITHOUT_EDIT),
    ("discord", http(404, {"code": 10015, "message": "Unknown Webhook"}), Refused, {}),
    ("telegram", http(200, {"ok": True, "result": {"message_id": 5, "chat": {"id": -100}}}), Sent("-100/5"), {}),
    ("telegram", http(200, {"ok": True, "result": {"message_id": 5}}), Sent("/5"), {}),
    ("telegram", http(400, {"ok": False, "description": "Bad Request: message is not modified"}), Sent(), {}),
    ("telegram", http(400, {"description": "Bad Request: message to edit not found"}), Refused, WITHOUT_EDIT),
    ("telegram", http(400, {"description": "Bad Request: message thread not found"}), Refused, WITHOUT_EDIT),
    ("telegram", http(400, {"ok": False, "description": "Bad Request: can't parse entities"}), Refused, PLAIN),
    ("telegram", http(400, {"ok": False, "description": "Bad Request: chat not found"}), Refused, {}),
    ("telegram", http(403, {"ok": False, "description": "Forbidden: bot was blocked by the user"}), Refused, {}),
    ("telegram", http(429, {"ok": False, "parameters": {"retry_after": 11}}), Later, {"after_ms": 11_000}),
    ("ntfy", http(200, {"id": "abc", "event": "message"}), Sent(), {}),
    ("ntfy", http(429, {"code": 42901, "error": "limit reached: too many requests"}), Later, {}),
    ("ntfy", http(507, {"code": 50701}), Later, {}),
    ("webhook-plain", http(204), Sent(), {}),
    ("webhook-plain", http(201, {"id": 1}), Sent(), {}),
    ("webhook-plain", http(200, b"<!DOCTYPE html><p>thanks</p>"), Sent(), {}),
    ("webhook-alertmanager", http(200, b"<html></html>"), Sent(), {}),
    ("webhook-teams", http(200, b"<html></html>"), Sent(), {}),
    ("webhook-pagerduty", http(200, b"<html></html>"), Later, {}),
    ("webhook-pagerduty", http(202, {"status": "success"}), Sent(), {}),
    ("webhook-teams", http(202), Sent(), {}),
    ("webhook-teams", http(200, b"Webhook message delivery failed with error: HTTP error 429"), Later, {}),
    ("email", MailAnswer(250, "Ok"), Sent(), {}),
    ("email", MailAnswer(451, "greylisted"), Later, {}),
    ("email", MailAnswer(535, "wrong password"), Refused, {}),
    ("email", MailAnswer(550, "no such person"), Refused, {}),
    ("apprise", AppriseAnswer(ok=True), Sent(), {}),
    ("apprise", AppriseAnswer(ok=False, reason="failed"), Later, {}),
    ("apprise", AppriseAnswer(ok=False, reason="missing"), Refused, {}),
    ("apprise", AppriseAnswer(ok=False, reason="bad_url"), Refused, {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "expected", "flags"), SERVICES)
def test_answers_of_the_services(name, answer, expected, flags):
    found = outcome(name, answer)
    if isinstance(expected, Sent):
        assert found == expected
        return
    assert isinstance(found, expected)
    defaults = {"as_plain": False, "without_edit": False} if expected is Refused else {"after_ms": 0}
    assert {flag: getattr(found, flag) for flag in defaults} == defaults | flags
    assert found.reason


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_written_is_not_tried_again(name):
    found = outcome(name, NoAnswer("cannot be sent: UnicodeEncodeError", was_sent=False, is_local=True))
    assert isinstance(found, Refused)
    assert "UnicodeEncodeError" in found.reason


def test_a_failure_of_apprise_may_be_that_of_one_of_several_targets():
    assert outcome("apprise", AppriseAnswer(ok=False, reason="failed", targets=2)).is_partial
    assert not outcome("apprise", AppriseAnswer(ok=False, reason="failed")).is_partial


def test_an_error_of_apprise_itself_is_not_tried_again():
    assert isinstance(outcome("apprise", AppriseAnswer(ok=False, reason="cannot be sent: x", is_local=True)), Refused)


@pytest.mark.parametrize("word", causes.ALL)
def test_every_cause_is_named_in_both_languages(word):
    for language in ("en", "ja"):
        _, settings = offline("ntfy", language)
        found = no_answer(settings, NoAnswer(f"{word}: detail"))
        assert (word in found.reason) == (language == "en")
        assert "detail" in found.reason


def test_a_group_that_moved_says_where_to():
    body = {"ok": False, "description": "group chat was upgraded", "parameters": {"migrate_to_chat_id": -100200}}
    assert "-100200" in outcome("telegram", http(400, body)).reason


@pytest.mark.parametrize(
    "odd", ["x" * 1_000_000, "\0", "a b", "1\n2", {"a": 1}], ids=["long", "NUL", "blank", "line", "object"]
)
def test_a_name_that_no_service_gives_a_message_is_not_kept(odd):
    """It goes into the store, and into the address of the next request."""
    bodies = {
        "discord": {"id": odd},
        "slack": {"ok": True, "channel": "C1", "ts": odd},
        "telegram": {"ok": True, "result": {"message_id": odd}},
    }
    for name, body in bodies.items():
        assert outcome(name, http(200, body)) == Sent("")


def test_the_place_to_which_a_group_moved_is_shown_short():
    moved = {"ok": False, "parameters": {"migrate_to_chat_id": "\x1b[31m" + "9" * 1_000_000}}
    reason = outcome("telegram", http(400, moved)).reason
    assert len(reason) < 400
    assert "\x1b" not in reason


@pytest.mark.parametrize("name", HTTP)
def test_reasons_tell_no_address_and_no_secret(name):
    _, settings = offline(name)
    said = (
        f"cannot POST {settings.address} https://x.example/bot1:AA/send bot1234567:fake-bot-token {settings.secret} "
        + "y" * 900
    )
    for answer in (
        http(400, {"message": said, "error": said, "description": said}),
        http(500, said.encode()),
        NoAnswer(said),
    ):
        reason = CHANNELS[settings.kind].outcome_of(settings, answer).reason
        assert "://" not in reason
        assert settings.address not in reason
        assert not settings.secret or settings.secret not in reason
        assert len(reason) < 300


def test_reasons_are_in_the_receivers_language():
    _, settings = offline("slack", "ja")
    found = CHANNELS["slack"].outcome_of(settings, http(200, {"ok": False, "error": "invalid_auth"}))
    assert found.reason == "キー、トークン、またはパスワードが拒否されました(200 invalid_auth)"


PATH = "/services/T0AAAAAAA/B0BBBBBBB/q8Xw2ZrTt5Yv9LmN4KpJ7HsD"
SECRET_PATHS = [
    ("slack_webhook", f"https://hooks.slack.example{PATH}", f"Cannot POST {PATH}"),
    ("webhook", f"https://hub.example{PATH}", f"Cannot POST {PATH}"),
    ("webhook", f"https://hub.example{PATH}", f'{{"path":"{PATH}"}}'.replace("/", "\\/").replace("{", "(")),
    ("webhook", "https://n8n.example/webhook/my-own-path", 'The webhook "POST my-own-path" is not registered.'),
    ("webhook", "https://flow.example/run?api-version=1&sig=9f%2Ba8-secret", "bad signature 9f+a8-secret"),
    ("discord", "https://discord.example/api/webhooks/123/t0k3n-t0k3n-t0k3n", "no webhook t0k3n-t0k3n-t0k3n"),
]


@pytest.mark.parametrize(("kind", "address", "said"), SECRET_PATHS)
def test_a_part_of_a_secret_address_is_in_no_reason(kind, address, said):
    settings = ChannelSettings("x", kind, address)
    for body in (said.encode(), json.dumps({"message": said, "error": said}).encode()):
        reason = CHANNELS[kind].outcome_of(settings, http(404, body)).reason
        for part in ("q8Xw2Zr", "T0AAAAAAA", "my-own-path", "a8-secret", "t0k3n-"):
            assert part not in reason


def test_a_secret_at_the_border_of_what_is_shown_is_not_cut_in_half():
    settings = ChannelSettings("x", "webhook", f"https://hub.example{PATH}")
    body = ("x" * 60 + " ").encode() + "あ".encode() * 35 + PATH.encode()
    assert "q8Xw" not in CHANNELS["webhook"].outcome_of(settings, http(404, body)).reason


WORDY = [
    ("webhook", "https://n8n.corp.example/webhook/understudy-production", "Daemon understudy-production is down"),
    ("webhook", "https://am.example/api/v1/notifications", "POST /api/v1/notifications"),
    (
        "webhook",
        "https://hooks.example/k8s-cluster-production-eu1?from=understudy-hub-2026",
        "k8s-cluster-production-eu1",
    ),
    ("webhook", "https://hooks.example/run?from=understudy-hub-2026", "understudy-hub-2026"),
    ("apprise", "mailtos://u:p@smtp.corp-mail1.example?to=alerts@corp-mail1.example", "bob@smtp.corp-mail1.example"),
]


@pytest.mark.parametrize(("kind", "address", "text"), WORDY)
def test_words_of_a_secret_address_are_masked_in_no_text(kind, address, text):
    assert [part for part in ChannelSettings("x", kind, address).secrets if part in text] == []


KEYS = [
    ("webhook", "https://hub.example/services/incoming/KEY", "q8Xw2ZrTt5Yv9LmN4KpJ7HsD"),
    ("webhook", "https://hub.example/run?api-version=1&sig=KEY", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
    ("discord", "https://discord.example/api/webhooks/1234567890/KEY", "a9_Zk3-Xw81mQ7v_t0k3n"),
    ("apprise", "slack://KEY/general", "q8Xw2ZrTt5Yv9LmN4KpJ7HsD"),
]


@pytest.mark.parametrize(("kind", "address", "key"), KEYS)
def test_a_key_within_a_secret_address_is_masked_in_every_text(kind, address, key):
    address = address.replace("KEY", key)
    assert set(ChannelSettings("x", kind, address).secrets) == {address, key}
