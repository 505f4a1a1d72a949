"""Every channel over real sockets: the hub's own transport against fakes that judge and misbehave."""

from __future__ import annotations

import ssl
import threading
import time

import msgspec
import pytest

from tests.certificates import self_signed
from tests.fakes.server import Step
from tests.fakes.smtp import FakeSmtp
from tests.notify.channels import AT, NAMES, fake_for, settings_of
from tests.notify.messages import messages
from tests.waiting import allowed_s
from understudy.notify.apprise import call_apprise
from understudy.notify.base import ChannelSettings, Later, Message, Refused, Sent
from understudy.notify.channels import CHANNELS, EDITABLE
from understudy.runtime.transport import Transport
from understudy.wire.outbound import AppriseAnswer, AppriseRequest

SERVED = [name for name in NAMES if name != "apprise"]
HTTP = [name for name in SERVED if name != "email"]
CRITICAL = messages("en")["critical"]


@pytest.fixture
def transport():
    return Transport()


@pytest.fixture(params=SERVED)
def served(request):
    fake = fake_for(request.param)
    with fake:
        yield fake, settings_of(request.param, fake)


def outcomes(transport, settings, message, *, timeout_ms=5_000, is_plain=False):
    """What came of each request of a message."""
    channel = CHANNELS[settings.kind]
    requests = channel.requests_for(settings, message, is_plain=is_plain)
    return [
        channel.outcome_of(settings, transport.send(msgspec.structs.replace(request, timeout_ms=timeout_ms)))
        for request in requests
    ]


def test_every_message_arrives(served, transport):
    fake, settings = served
    for message in messages("ja").values():
        assert all(isinstance(outcome, Sent) for outcome in outcomes(transport, settings, message))
    assert fake.problems == []


def test_what_goes_wrong_is_for_later_and_then_arrives(served, transport):
    fake, settings = served
    is_mail = isinstance(fake, FakeSmtp)
    fake.plan([451 if is_mail else 503, "cut", 421 if is_mail else Step(429, retry_after_s=2)])
    found = [outcomes(transport, settings, CRITICAL)[0] for _ in range(4)]
    assert [type(outcome) for outcome in found] == [Later, Later, Later, Sent]
    assert found[2].after_ms == (0 if is_mail else 2000)
    assert fake.problems == []


def test_a_receiver_that_hangs_or_drips_is_left_in_time(served, transport):
    fake, settings = served
    fake.plan(["hang", Step(word="slow", seconds=3)])
    for _ in range(2):
        started = time.monotonic()
        (outcome,) = outcomes(transport, settings, CRITICAL, timeout_ms=200)
        assert isinstance(outcome, Later)
        assert time.monotonic() - started < allowed_s(2)


def test_a_slow_answer_is_an_answer(served, transport):
    fake, settings = served
    fake.plan([Step(word="slow", seconds=0.1)])
    assert isinstance(outcomes(transport, settings, CRITICAL)[0], Sent)


def test_a_receiver_that_is_away_is_for_later_and_then_found_again(served, transport):
    fake, settings = served
    fake.off()
    assert isinstance(outcomes(transport, settings, CRITICAL)[0], Later)
    fake.on()
    assert isinstance(outcomes(transport, settings, CRITICAL)[0], Sent)


def test_what_the_service_refuses_is_refused(served, transport):
    fake, settings = served
    fake.plan([535 if isinstance(fake, FakeSmtp) else 401, 550 if isinstance(fake, FakeSmtp) else 404])
    for _ in range(2):
        (outcome,) = outcomes(transport, settings, CRITICAL)
        assert isinstance(outcome, Refused)
        assert settings.address not in outcome.reason


def test_a_mailbox_that_is_no_more_keeps_no_alarm_from_the_others(transport):
    with FakeSmtp() as smtp:
        settings = ChannelSettings("mail", "email", smtp.address, "left@x.org, you@x.org", sender="hub@x.org")
        smtp.gone = {"left@x.org"}
        (sent,) = outcomes(transport, settings, CRITICAL)
        assert isinstance(sent, Sent)
        assert "550 no such person" in sent.remark
        assert [mail.recipients for mail in smtp.received] == [["you@x.org"]]
        smtp.gone.add("you@x.org")
        assert isinstance(outcomes(transport, settings, CRITICAL)[0], Refused)


@pytest.mark.parametrize("name", sorted(EDITABLE))
def test_a_message_is_changed_by_its_ref_and_gone_it_is_sent_anew(name, transport):
    with fake_for(name) as fake:
        settings = settings_of(name, fake)
        (sent,) = outcomes(transport, settings, CRITICAL)
        recovered = msgspec.structs.replace(messages("en")["recovered"], edits=sent.ref)
        assert isinstance(outcomes(transport, settings, recovered)[0], Sent)
        (gone,) = outcomes(
            transport,
            settings,
            msgspec.structs.replace(recovered, edits={"slack": "C1/9", "telegram": "-100/9"}.get(name, "9")),
        )
        assert gone.without_edit
        count = len([request for request in fake.received if request.method == "POST"])
        assert count == (1 if name == "discord" else 3)


def test_the_same_text_again_is_no_failure_on_telegram(transport):
    with fake_for("telegram") as fake:
        settings = settings_of("telegram", fake)
        (sent,) = outcomes(transport, settings, CRITICAL)
        again = msgspec.structs.replace(CRITICAL, edits=sent.ref)
        assert outcomes(transport, settings, again) == [Sent()]


@pytest.mark.parametrize(
    ("name", "step"), [("slack", "invalid_blocks"), ("discord", "invalid_form"), ("telegram", "cant_parse")]
)
def test_formatting_refused_passes_as_plain_text(name, step, transport):
    with fake_for(name) as fake:
        settings = settings_of(name, fake)
        fake.plan([step])
        (refused,) = outcomes(transport, settings, CRITICAL)
        assert refused.as_plain
        assert isinstance(outcomes(transport, settings, CRITICAL, is_plain=True)[0], Sent)
        assert not {"blocks", "entities"} & fake.received[-1].json.keys()
        assert fake.received[-1].json.get("embeds", []) == []


def test_a_receiver_that_hangs_delays_no_other(transport):
    with fake_for("slack") as hangs, fake_for("discord") as quick:
        hangs.plan(["hang"])
        slow = threading.Thread(target=outcomes, args=(transport, settings_of("slack", hangs), CRITICAL))
        slow.start()
        hangs.wait_for(1)
        assert isinstance(outcomes(transport, settings_of("discord", quick), CRITICAL)[0], Sent)
        hangs.off()
        slow.join(60)
        assert not slow.is_alive()


def test_a_wrong_signature_and_a_stale_one_are_noticed_by_the_fake(transport):
    with fake_for("webhook-plain") as fake:
        fake.is_fresh = True
        for settings, at in (
            (settings_of("webhook-plain", fake), AT - 10**9),
            (ChannelSettings("w", "webhook", fake.address, secret="x"), AT),
        ):
            assert isinstance(outcomes(transport, settings, Message("k", "answer", text="x", at=at))[0], Refused)
        assert [problem.rpartition(": ")[2] for problem in fake.problems] == ["stale timestamp", "wrong signature"]


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_goes_over_tls_with_a_password_and_only_then(security, tmp_path):
    self_signed(tmp_path, "localhost", "IP:127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with FakeSmtp("me@example.org", "p/w: %", security, context) as fake:
        settings = ChannelSettings("m", "email", fake.address, "you@example.org", "p/w: %")
        trusting = Transport(ca_file=str(tmp_path / "cert.pem"))
        assert outcomes(trusting, settings, CRITICAL) == [Sent()]
        assert isinstance(outcomes(Transport(), settings, CRITICAL)[0], Later)
        wrong = msgspec.structs.replace(settings, secret="wrong")
        assert isinstance(outcomes(trusting, wrong, CRITICAL)[0], Refused)
        assert len(fake.mails) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Apprise itself
def test_apprise_is_called_with_the_text_as_it_is(transport):
    pytest.importorskip("apprise")
    with fake_for("slack") as fake:
        fake.judge = lambda _: None
        url = fake.url.replace("http://", "json://")
        done = call_apprise(AppriseRequest(url, "<b> & title", "text <e> & *x*", "failure", timeout_ms=5000))
        assert (done.ok, done.reason) == (True, "")
        assert fake.received[0].json["message"] == "text <e> & *x*"
        assert fake.received[0].json["type"] == "failure"
        assert not call_apprise(AppriseRequest("nonsense://x", "t", "b", "info")).ok
        fake.plan([500])
        assert call_apprise(AppriseRequest(url, "t", "b", "info")) == AppriseAnswer(ok=False, reason="failed")
