"""The routed part of a hub comes with the first request for it; health does not need it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import pytest

from tests.api.hubs import Hub
from understudy.dashboard import app
from understudy.runtime.hub import late_pages


def test_pages_that_cannot_be_loaded_are_an_error_and_tried_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(late_pages, "PAGES", "understudy.dashboard.taken_away")
    assert hub.get("/login", key=None).status == 500
    assert "The pages cannot be loaded" in hub.log.getvalue()
    assert hub.answered()["other", "other", 500] == 1, "a failure that `/metrics` shows"
    hub.get("/health", key=None).of(200)
    monkeypatch.undo()
    hub.get("/login", key=None).of(200)


def test_those_who_come_first_together_are_all_answered_by_the_same_application(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    make = app.routed_with_pages
    monkeypatch.setattr(app, "routed_with_pages", lambda *given: made.append(given) or make(*given))
    clients = [hub.new_client(None) for _ in range(4)]
    with ThreadPoolExecutor(len(clients)) as pool:
        answers = [*pool.map(lambda client: client.get("/login"), clients)]
    assert {answer.status for answer in answers} == {200}
    assert len(made) == 1


@pytest.mark.parametrize("path", ["/health", "/health/", "/ready", "/ready/"])
def test_health_is_answered_by_head_too_and_by_no_other_method(shared_hub: Hub, path: str) -> None:
    with closing(HTTPConnection("127.0.0.1", shared_hub.port, timeout=60)) as line:
        line.request("HEAD", path)
        answer = line.getresponse()
        assert (answer.status, answer.read()) == (200, b"")
        assert answer.getheader("content-type") == "application/json"
    assert shared_hub.post(path, key=None).status == 401


def test_a_bug_in_readiness_is_an_error_and_a_line(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.runtime, "pulse", lambda: 1 / 0)
    assert hub.get("/ready", key=None).status == 500
    assert "Internal error in GET /ready: ZeroDivisionError" in hub.log.getvalue()


def test_a_bug_in_a_page_without_a_handler_of_its_own_is_an_error_a_line_and_a_count(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.get("/login", key=None).of(200)
    monkeypatch.setattr(hub.runtime, "view", lambda *_: 1 / 0)
    assert hub.get("/l/secret", key=None).of(500) == {"error": "Internal error"}
    assert "Internal error in GET /l/{secret}: ZeroDivisionError" in hub.log.getvalue()
    assert hub.answered()["GET", "/l/{secret}", 500] == 1
    assert hub.get("/l/a/b", key=None).status == 401, "what no route knows is no bug"
