"""Both who speak HTTP with the hub, over TLS with a certificate of one's own."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from tests.certificates import self_signed
from tests.daemon.fake_hub import KEY, FakeHub
from understudy.cli.client import HubClient as CommandClient
from understudy.cli.exits import UnreachableError
from understudy.clock import SystemClock
from understudy.daemon.hub_calls import HubCalls
from understudy.log import Log
from understudy.runtime.transport import Transport
from understudy.wire.causes import cause_of
from understudy.wire.outbound import HttpAnswer, HttpRequest, MailRequest, NoAnswer
from understudy.worker.effects import Call, Failed, HubAnswer
from understudy.worker.guard_policy import Hello, WatchedRun
from understudy.worker.last_will import release_all

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
BEAT = Call("POST", "/api/queue/heartbeat", {"bootId": "b", "running": []}, 5_000)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"), "localhost", "DNS:localhost", "IP:127.0.0.1")


@pytest.fixture
def hub(certificate: Path) -> Iterator[FakeHub]:
    hub = FakeHub()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    hub.wrap(context)
    yield hub
    hub.close()


def test_certificate_of_the_owner_is_trusted_and_no_other(hub: FakeHub, certificate: Path) -> None:
    trusting = HubCalls(hub.url, KEY, version="0", ca_file=str(certificate / "cert.pem"))
    assert isinstance(trusting.call(BEAT), HubAnswer)
    answer = HubCalls(hub.url, KEY, version="0").call(BEAT)
    assert isinstance(answer, Failed)
    assert answer.reason == "certificate not trusted: self-signed certificate"


def test_certificates_that_were_renewed_are_trusted_without_a_new_start(
    hub: FakeHub, certificate: Path, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes((self_signed(tmp_path, "other", "DNS:other") / "cert.pem").read_bytes())
    daemon = HubCalls(hub.url, KEY, version="0", ca_file=str(trusted))
    assert isinstance(daemon.call(BEAT), Failed)
    trusted.write_bytes((certificate / "cert.pem").read_bytes())
    assert isinstance(daemon.call(BEAT), HubAnswer)


def test_every_way_to_the_hub_names_a_certificate_that_is_not_trusted(hub: FakeHub) -> None:
    named = "certificate not trusted: self-signed certificate"
    assert Transport().send(HttpRequest("GET", hub.url)) == NoAnswer(named, was_sent=False)
    with pytest.raises(UnreachableError, match=named):
        CommandClient(hub.url).post("/api/x")
    mail = MailRequest("127.0.0.1", int(hub.url.rpartition(":")[2]), "tls", "", "", "a@x", ("b@x",), b"")
    assert Transport().send(mail) == NoAnswer(named)


def test_other_servers_are_trusted_by_the_system_although_the_hub_has_an_authority_of_its_own(
    hub: FakeHub, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = str(self_signed(tmp_path, "own", "DNS:own") / "cert.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))  # what OpenSSL takes for the system's
    for ca_file in (own, str(tmp_path / "absent")):
        assert isinstance(Transport(ca_file=ca_file).send(HttpRequest("GET", hub.url)), HttpAnswer)
    assert isinstance(HubCalls(hub.url, KEY, version="0", ca_file=own).call(BEAT), Failed)
    monkeypatch.setenv("SSL_CERT_FILE", own)
    added = Transport(ca_file=str(certificate / "cert.pem"))
    assert isinstance(added.send(HttpRequest("GET", hub.url)), HttpAnswer)


def test_a_certificate_of_another_name_is_told_without_the_name() -> None:
    error = ssl.SSLCertVerificationError(1, "CERTIFICATE_VERIFY_FAILED")
    error.verify_message = "Hostname mismatch, certificate is not valid for 'secret.example'."
    assert cause_of(error) == "certificate not trusted: Hostname mismatch"


def test_last_will_is_spoken_over_tls(hub: FakeHub, certificate: Path) -> None:
    hub.leases["t1"] = 7
    hello = Hello(hub.url, KEY, "mini", str(certificate / "cert.pem"))
    release_all(hello, [WatchedRun("r1", "t1", 7, "requeue", 0)], Log(SystemClock(), StringIO()))
    assert hub.reported("/t1/release") == [{"workerId": "mini", "token": 7, "reason": "daemon_gone"}]
