"""Deployments: which version of what was started when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.api.hubs import MINUTE, Hub, KeptStore
from tests.dashboard.browser import Browser
from tests.dashboard.test_home import HOSTILE
from understudy.coordinator.nouns import Deployment
from understudy.hub.deployments import STARTS_SHOWN
from understudy.store.base import Store

Open = Callable[..., Browser]
PATH = "/deployments"


def test_every_start_of_the_hub_is_listed(kept_store: KeptStore, start_hub: Any, open_browser: Open) -> None:
    first = start_hub(store=kept_store)
    first.begin_stop().result(30)
    second = start_hub(store=kept_store, clock=first.clock)
    seen = open_browser(second).get(PATH)
    assert len(set(seen.attribute("data-deployment"))) == 2
    assert "host-of-the-tests" in seen.text
    assert "9.9.9" in seen.text


def kept(store: Store, hub: Hub, version: str, fingerprint: str) -> None:
    """A start of a while ago."""
    row = Deployment(f"v-{version}-{fingerprint}", hub.now - MINUTE, version, fingerprint, "h")
    store.transaction(lambda tx: tx.save_many([row]))


def test_an_update_of_the_hub_says_from_which_version(hub: Hub, admin: Browser) -> None:
    kept(hub.store, hub, "9.9.8", "other")
    text = admin.get(PATH).text
    assert "updated from 9.9.8" in text
    assert "with other settings" not in text


def test_other_settings_are_said(hub: Hub, admin: Browser) -> None:
    kept(hub.store, hub, "9.9.9", "other")
    assert "with other settings" in admin.get(PATH).text


def test_starts_of_daemons_are_listed_with_the_version_before(hub: Hub, admin: Browser) -> None:
    hub.beat("a/b", version="0.1.0")
    hub.beat("studio", machine="m2")
    hub.advance(MINUTE)
    hub.beat("a/b", boot="b2", version="0.2.0")
    seen = admin.get(PATH)
    assert seen.attribute("data-start") == sorted(seen.attribute("data-start"), key=int, reverse=True)
    assert seen.attribute("href").count("/daemons/a%2Fb") == 2
    assert "updated from 0.1.0" in seen.text
    assert "version not reported" in seen.text


def test_a_start_is_pushed(hub: Hub, admin: Browser) -> None:
    stream = admin.stream(PATH)
    stream.fragment("deployments_daemons", "None in the time that is kept")
    hub.beat()
    assert stream.fragment("deployments_daemons", "first seen")


def test_the_list_is_bounded(hub: Hub, admin: Browser) -> None:
    for n in range(STARTS_SHOWN + 5):
        hub.beat(boot=f"b{n}", version=f"0.0.{n}")
    assert len(admin.get(PATH).attribute("data-start")) == STARTS_SHOWN


def test_versions_from_outside_do_nothing(hub: Hub, admin: Browser) -> None:
    for n, name in enumerate(HOSTILE):
        hub.beat(name, machine=f"m{n}", version=name[:128])
    seen = admin.get(PATH)
    assert seen.status == 200
    for raw in ("<script>alert", "<img", "\u202e", "\x1b"):
        assert raw not in seen.text
