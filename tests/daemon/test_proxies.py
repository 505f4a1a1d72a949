"""Proxies of the environment: all that hub, daemon, guard and commands send goes through them, but for loopback."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from tests.certificates import self_signed
from tests.daemon.fake_hub import KEY, FakeHub
from tests.fakes.proxy import FakeProxy
from understudy.cli.client import HubClient as CommandClient
from understudy.cli.exits import UnreachableError
from understudy.clock import SystemClock
from understudy.daemon.hub_calls import HubCalls
from understudy.errors import ConfigError
from understudy.log import Log
from understudy.redact import secrets_of
from understudy.runtime.transport import Transport
from understudy.wire.outbound import HttpAnswer, HttpRequest, NoAnswer
from understudy.wire.proxies import ProxyUnusableError, proxy_for
from understudy.worker.effects import Call, Failed, HubAnswer
from understudy.worker.guard_policy import Hello, WatchedRun
from understudy.worker.last_will import release_all

NAMES = ("https_proxy", "http_proxy", "all_proxy", "no_proxy")
BEAT = Call("POST", "/api/queue/heartbeat", {"bootId": "b", "running": []}, 5_000)
BASIC = "Proxy-Authorization: Basic bWU6cCB3"  # me:p w


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"), "hub.example", "DNS:hub.example")


@pytest.fixture(params=["http", "https"])
def way(request: pytest.FixtureRequest, certificate: Path) -> Iterator[tuple[FakeHub, FakeProxy, str, str]]:
    """A hub that only its proxy can reach, the proxy, the hub's address, and the file of its authority."""
    hub = FakeHub()
    port = int(hub.url.rpartition(":")[2])
    if request.param == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
        hub.wrap(context)
    with FakeProxy(port) as proxy:
        yield hub, proxy, f"{request.param}://hub.example:9443", str(certificate / "cert.pem")
    hub.close()


@pytest.mark.parametrize("name", ["{}_PROXY", "{}_proxy", "ALL_PROXY", "all_proxy"])
def test_everything_goes_through_the_proxy(way, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, proxy, url, ca_file = way
    scheme = url.partition(":")[0]
    monkeypatch.setenv(
        name.format(scheme.upper() if name.isupper() or "PROXY" in name else scheme), proxy.url("me:p%20w")
    )
    daemon = HubCalls(url, KEY, version="0", ca_file=ca_file)
    assert isinstance(daemon.call(BEAT), HubAnswer)
    daemon.reset()
    headers = (("X-API-Key", KEY), ("content-type", "application/json"))
    request = HttpRequest("POST", f"{url}{BEAT.path}", headers, b'{"bootId":"b","running":[]}')
    assert isinstance(Transport(ca_file=ca_file).http(request), HttpAnswer)
    command = CommandClient(url, KEY, ca_file=ca_file)
    assert command.post(BEAT.path, BEAT.body)["success"] is True
    command.close()
    hub.leases["t1"] = 7
    hello = Hello(url, KEY, "mini", ca_file)
    release_all(hello, [WatchedRun("r1", "t1", 7, "requeue", 0)], Log(SystemClock(), StringIO()))
    assert len(hub.reported("/t1/release")) == 1
    assert len(proxy.asked) == 4
    for lines in proxy.asked:
        assert lines[0].startswith("CONNECT hub.example:9443 " if scheme == "https" else f"POST {url}/api/")
        assert BASIC in lines
        assert scheme == "http" or not any(KEY in line for line in lines)


def test_loopback_never_goes_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    for host in ("127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST.", "a.localhost", "[::1]"):
        assert proxy_for(f"http://{host}:1/") is None
    hub = FakeHub()
    assert isinstance(HubCalls(hub.url, KEY, version="0").call(BEAT), HubAnswer)
    hub.close()


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_past"),
    [
        ("example.org", "https://example.org/", True),
        ("example.org", "https://hub.example.org/", True),
        (".example.org", "https://hub.example.org/", True),
        ("example.org", "https://badexample.org/", False),
        ("a.b, EXAMPLE.org ", "https://hub.example.org/", True),
        ("example.org:8443", "https://example.org:8443/", True),
        ("example.org:8443", "https://example.org/", False),
        ("192.0.2.7", "http://192.0.2.7:3/", True),
        ("*", "https://x/", True),
        ("", "https://x/", False),
    ],
)
def test_no_proxy_is_read_as_python_reads_it(monkeypatch, no_proxy: str, url: str, is_past: bool) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example:3128")
    monkeypatch.setenv("http_proxy", "http://proxy.example")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    found = proxy_for(url)
    assert (found is None) == is_past
    if found is not None:
        assert (found.host, found.headers) == ("proxy.example", {})


@pytest.mark.parametrize("proxy", ["http://a..b:1", "http://[::1", f"http://{'x' * 64}", "h:99999", "h :1", "//h"])
def test_a_proxy_that_is_no_address_is_said_and_nothing_is_sent_past_it(monkeypatch, proxy: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(ProxyUnusableError, match="no address"):
        proxy_for("https://hub.example/")


def test_a_blank_proxy_is_none(monkeypatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "  ")
    assert proxy_for("https://hub.example/") is None


def test_lower_case_is_the_stronger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://upper")
    monkeypatch.setenv("https_proxy", "http://lower:8080")
    found = proxy_for("https://x")
    assert found is not None
    assert (found.host, found.port) == ("lower", 8080)


@pytest.mark.parametrize("url", ["http://hub.example/", "https://hub.example/"])
def test_a_proxy_that_refuses_is_named_and_never_taken_for_the_service(url: str, monkeypatch) -> None:
    with FakeProxy(1, "407 Proxy Authentication Required") as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url())
        answer = Transport().http(HttpRequest("GET", url))
        assert isinstance(answer, NoAnswer)
        assert answer.reason.startswith("proxy refused: 407")
        assert not answer.is_local
        assert isinstance(HubCalls(url, KEY, version="0").call(BEAT), Failed)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "https://p", "http://:80", "http://p:x"])
def test_a_proxy_that_cannot_be_used_is_named_and_nothing_goes_past_it(proxy: str, monkeypatch) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    answer = Transport().http(HttpRequest("GET", "https://hub.example/"))
    assert isinstance(answer, NoAnswer)
    assert "proxy" in answer.reason
    assert not answer.is_local
    with pytest.raises(ConfigError, match="proxy"):
        HubCalls("https://hub.example", KEY, version="0")
    with pytest.raises(UnreachableError, match="proxy"):
        CommandClient("https://hub.example").post("/api/x")


def test_the_password_of_a_proxy_is_a_secret() -> None:
    assert set(secrets_of({"https_proxy": "http://me:p%20w@p:1"})) == {"p%20w", "p w"}
