"""Over HTTP: one key cannot take what belongs to all, nor by being rotated; an admin's key may."""

from __future__ import annotations

from collections.abc import Callable

from tests.api.hubs import Hub
from tests.api.test_conversations import key_of
from tests.api.wire import ADMIN, OWNER
from understudy.coordinator.nouns import Policy


def test_a_rotated_key_keeps_its_share(start_hub: Callable[..., Hub]) -> None:
    hub = start_hub(policy=Policy(key_tasks_max=2))
    first = key_of(hub)
    hub.post("/api/queue", {"content": "x"}, key=first["key"]).of(201)
    second = hub.post(f"/api/keys/{first['id']}/rotate", key=ADMIN).of(201)
    hub.post("/api/queue", {"content": "x"}, key=second["key"]).of(201)
    for key in (first["key"], second["key"]):
        said = hub.post("/api/queue", {"content": "x"}, key=key).of(507)
        assert (said["code"], said["retryAfter"]) == ("key_tasks", 60)
        assert hub.post("/api/queue/batch", {"tasks": [{"content": "x"}]}, key=key).of(507)["code"] == "key_tasks"
    for key in (OWNER, key_of(hub)["key"], ADMIN, ADMIN, ADMIN):
        hub.post("/api/queue", {"content": "x"}, key=key).of(201)
    hub.post("/api/queue/batch", {"tasks": [{"content": "x"}] * 5}, key=ADMIN).of(200)
