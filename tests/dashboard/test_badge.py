"""The badge: off until a secret is set, unguessable, cacheable, and it says one word."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from tests.api.hubs import Hub
from tests.dashboard.browser import Browser
from understudy.config.relations import related
from understudy.config.table import Settings
from understudy.dashboard.badge import badge_of
from understudy.dashboard.frame import ICONS
from understudy.errors import ConfigError
from understudy.texts import LANGUAGES

Start = Callable[..., Hub]
Open = Callable[..., Browser]
SECRET = "0123456789abcdef0123456789abcdef"
PATH = f"/badge/{SECRET}.svg"


@pytest.fixture
def badged(start_hub: Start) -> Hub:
    """A hub with a badge."""
    return start_hub(settings=Settings(badge=SECRET))


def test_it_says_the_worst_state_in_a_word_and_nothing_else(badged: Hub, open_browser: Open) -> None:
    stranger = open_browser(badged, "")
    assert "No daemon yet" in stranger.get(PATH).text
    badged.beat("secret-name")
    seen = stranger.get(PATH)
    assert (seen.status, seen.headers["content-type"]) == (200, "image/svg+xml")
    assert "understudy: Healthy" in seen.text
    badged.advance(181_000)
    assert "understudy: Late" in stranger.get(PATH).text
    assert "secret-name" not in stranger.get(PATH).text
    assert "set-cookie" not in seen.headers


def test_one_daemon_has_its_own_and_a_name_from_outside_is_not_in_it(badged: Hub, open_browser: Open) -> None:
    badged.beat("a")
    badged.advance(181_000)
    badged.beat("b")
    stranger = open_browser(badged, "")
    assert "Late" in stranger.get(f"{PATH}?daemon=a").text
    assert "Healthy" in stranger.get(f"{PATH}?daemon=b").text
    assert "Unknown" in stranger.get(f"{PATH}?daemon=%3Cscript%3E").text
    assert "script" not in stranger.get(f"{PATH}?daemon=%3Cscript%3E").text
    assert "正常" in stranger.get(f"{PATH}?daemon=b&lang=ja").text
    assert "Healthy" in stranger.get(f"{PATH}?daemon=b&lang=xx", Accept_Language="ja").text


def test_it_is_kept_for_a_minute_and_asked_for_by_its_mark(badged: Hub, open_browser: Open) -> None:
    stranger = open_browser(badged, "")
    first = stranger.get(PATH)
    assert first.headers["cache-control"] == "max-age=60"
    assert first.headers["cross-origin-resource-policy"] == "cross-origin"
    again = stranger.get(PATH, If_None_Match=first.headers["etag"])
    assert (again.status, again.text) == (304, "")
    badged.beat()
    assert stranger.get(PATH, If_None_Match=first.headers["etag"]).status == 200


@pytest.mark.parametrize("secret", ["x", SECRET[:-1], SECRET + "0", "%20", "%C3%A9", "%E3%81%82"])
def test_any_other_secret_is_not_found(badged: Hub, open_browser: Open, secret: str) -> None:
    assert open_browser(badged, "").get(f"/badge/{secret}.svg").status == 404


def test_it_is_off_without_a_secret_and_looks_the_same(hub: Hub, open_browser: Open, badged: Hub) -> None:
    off, wrong = (open_browser(one, "").get("/badge/x.svg") for one in (hub, badged))
    assert (off.status, off.text) == (wrong.status, wrong.text) == (404, "Not found")


def test_guesses_count_as_wrong_keys_do(badged: Hub, open_browser: Open) -> None:
    stranger = open_browser(badged, "")
    answers = [stranger.get(f"/badge/{n}.svg") for n in range(21)]
    assert [seen.status for seen in answers] == [404] * 20 + [429]
    assert answers[-1].headers["retry-after"]
    assert badged.get("/api/daemons", key="wrong").status == 429
    assert stranger.get(PATH).status == 200


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("state", [*ICONS, "unknown", ""])
def test_every_state_is_a_picture(state: str, language: str) -> None:
    root = ET.fromstring(badge_of(state, language))
    assert root.attrib["aria-label"].startswith("understudy: ")
    assert 60 < int(root.attrib["width"]) < 300


@pytest.mark.parametrize("secret", ["short", "with/slash-and-more-than-twenty", "a" * 129])
def test_a_secret_that_can_be_guessed_or_is_no_address_is_refused(secret: str) -> None:
    with pytest.raises(ConfigError, match="UNDERSTUDY_BADGE"):
        related(Settings(badge=secret), {})
