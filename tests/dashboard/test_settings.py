"""Settings: what is in force, from where; no secret, and only for who may do everything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.api.hubs import Hub
from tests.dashboard.browser import Browser
from understudy import config
from understudy.config.shown import settings_shown
from understudy.texts import LANGUAGES, catalogue

Open = Callable[..., Browser]
PATH = "/settings"
ENVIRON = {"UNDERSTUDY_DOWN_AFTER": "11m", "UNDERSTUDY_WEBHOOK_SECRET": "very-secret-value-0123456789"}


def started(start_hub: Any, folder: Path, **environ: str) -> Hub:
    """A hub with these settings."""
    loaded = config.load(ENVIRON | environ, folder)
    hub: Hub = start_hub(shown=settings_shown(loaded, config.secrets_in(loaded.settings)))
    return hub


def test_every_setting_of_the_hub_is_shown_with_its_origin(start_hub: Any, open_browser: Open, tmp_path: Path) -> None:
    seen = open_browser(started(start_hub, tmp_path)).get(PATH)
    origins = dict(zip(seen.attribute("data-setting"), seen.attribute("data-came-from"), strict=True))
    assert origins["down_after"] == origins["webhook_secret"] == "environment"
    assert origins["late_after"] == "default"
    assert len(origins) > 60
    assert "UNDERSTUDY_LATE_AFTER" in seen.text
    assert "silent for this long is late" in seen.text


def test_what_is_typed_stands_in_elements_of_its_own(start_hub: Any, open_browser: Open, tmp_path: Path) -> None:
    text = open_browser(started(start_hub, tmp_path)).get(PATH).text
    assert "<code>hub.db</code>" in text
    assert "`" not in text


def test_a_secret_is_only_set(start_hub: Any, open_browser: Open, tmp_path: Path) -> None:
    text = open_browser(started(start_hub, tmp_path)).get(PATH).text
    assert "very-secret" not in text
    assert "set (not shown)" in text


def test_what_was_changed_can_be_seen_alone(start_hub: Any, open_browser: Open, tmp_path: Path) -> None:
    seen = open_browser(started(start_hub, tmp_path)).get(f"{PATH}?only=set")
    assert sorted(seen.attribute("data-setting")) == ["down_after", "webhook_secret"]


def test_with_defaults_alone_it_says_so(hub: Hub, admin: Browser) -> None:
    assert "Every setting has its default value" in admin.get(f"{PATH}?only=set").text


def test_a_value_is_text(start_hub: Any, open_browser: Open, tmp_path: Path) -> None:
    hub = started(start_hub, tmp_path, UNDERSTUDY_TAKEOVER_MODEL="<script>alert(1)</script>\u202e" + "x" * 9000)
    text = open_browser(hub).get(PATH).text
    assert "<script>alert" not in text
    assert "\u202e" not in text
    assert "x" * 400 not in text


def test_who_may_only_look_is_led_nowhere_near(hub: Hub, reader: Browser, admin: Browser) -> None:
    assert reader.get(PATH).status == 403
    assert PATH not in reader.get("/").attribute("href")
    assert PATH in admin.get("/").attribute("href")


def test_every_setting_has_its_meaning_and_section_in_both_languages() -> None:
    for language in LANGUAGES:
        texts = catalogue(language)
        for row in config.table().values():
            assert texts[f"config.help.{row.name}"]
            assert texts[f"config.section.{row.of.section}"]
