"""`doctor` and a hub that runs as a Cloudflare Worker: it says so, and sends nobody to a machine that is not there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.test_doctor import answering, found
from understudy import __version__
from understudy.cli.findings import worker
from understudy.clock import SystemClock, iso
from understudy.cloudflare import hub_object

STARTED = iso(0)
START = {"versionId": "v", "packageVersion": __version__, "configFingerprint": "f", "hub": "h", "running": True}
READY = {"ready": True, "store": {"writable": True, "commitMs": 1.0}}


def pages(host: str, **more: Any) -> dict[str, Any]:
    """The answers of a hub on this machine that was started this often within the hour."""
    starts = [{**START, "host": host, "createdAt": iso(SystemClock().now_ms())} for _ in range(more.pop("starts", 1))]
    return {
        "/health": (200, {"status": "ok", "version": __version__, "startedAt": STARTED}),
        "/ready": (200, more.pop("ready", READY)),
        "/api/deployments": (200, {"deployments": starts}),
        "/api/daemons": (200, {"daemons": []}),
        "/api/tasks": (200, {"tasks": []}),
        "/api/incidents": (200, {"incidents": []}),
        "/api/events": (200, {"events": []}),
        "/api/channels": (200, {"channels": []}),
    }


@pytest.mark.parametrize(("host", "is_one"), [(hub_object.HOST, True), ("mini.local", False)])
def test_it_says_that_the_hub_is_a_worker(tmp_path, host, is_one):
    with answering(pages(host)) as url:
        seen = found(tmp_path, UNDERSTUDY_HUB=url, UNDERSTUDY_API_KEY="k" * 32)
    assert ("worker" in seen) == is_one
    if is_one:
        assert "1.5 MiB" in seen["worker"].why
        assert "machine" not in seen


@pytest.mark.parametrize(
    ("ready", "name"),
    [
        ({"ready": False, "store": {"writable": False}}, "store"),
        ({"ready": False, "store": {"writable": True}}, "alarm"),
    ],
)
def test_what_is_wrong_there_is_looked_for_with_wrangler(tmp_path, ready, name):
    for host, word in ((hub_object.HOST, "wrangler"), ("mini.local", "log")):
        with answering(pages(host, ready=ready)) as url:
            seen = found(tmp_path, UNDERSTUDY_HUB=url, UNDERSTUDY_API_KEY="k" * 32)
        assert word in seen[name].fix
        assert ("wrangler" in seen[name].fix) == (host == hub_object.HOST)


def test_many_starts_there_are_deployments(tmp_path):
    with answering(pages(hub_object.HOST, starts=6)) as url:
        seen = found(tmp_path, UNDERSTUDY_HUB=url, UNDERSTUDY_API_KEY="k" * 32)
    assert "wrangler@4 deployments list" in seen["hub_churn"].fix


def test_a_key_that_may_not_read_is_no_reason_to_guess(tmp_path):
    refused = (403, {"error": "Forbidden", "code": "scope"})
    with answering({**pages(hub_object.HOST), "/api/deployments": refused}) as url:
        assert "worker" not in found(tmp_path, UNDERSTUDY_HUB=url, UNDERSTUDY_API_KEY="k" * 32)


def test_it_is_known_by_the_word_that_the_object_says():
    assert worker.HOST == hub_object.HOST
