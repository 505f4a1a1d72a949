"""The hub inside the object, under plain Python: it starts from its environment, is evicted, and goes on."""

from __future__ import annotations

import asyncio
import json
from typing import NoReturn

import pytest

from tests.cloudflare.evicted import ENVIRONMENT, Place, on_a_loop
from understudy.cloudflare.hub_object import BODY_BYTES_MAX, refusal_of
from understudy.config.worker_inputs import inputs_of
from understudy.errors import ConfigError, StoreError
from understudy.runtime.one_loop.woken import START_AGAIN_MS
from understudy.store.durable_rows import ROW_BYTES_MAX


@on_a_loop
async def test_a_task_survives_the_eviction_of_the_object(place: Place) -> None:
    assert (await place.ask("POST", "/api/queue", {"id": "t1", "content": "x"}))[0] == 201
    place.evict()
    status, claim = await place.ask("POST", "/api/queue/claim", {"workerId": "w"})
    assert (status, claim["taskId"]) == (200, "t1")
    place.evict()
    assert (await place.ask("POST", "/api/result/t1", {"success": True}))[0] == 200
    _, shown = await place.ask("GET", "/api/deployments")
    assert len(shown["deployments"]) == 1  # an object that is made again is no other hub


@on_a_loop
async def test_the_alarm_is_set_at_the_start_and_rings_what_is_due(place: Place) -> None:
    await place.hub.ring()
    assert place.bells
    await place.ask("POST", "/api/queue/heartbeat", {"workerId": "w"})
    assert 0 < min(place.bells) <= 20_000
    before = len(place.bells)
    place.evict()
    await place.hub.ring()
    assert len(place.bells) > before


@on_a_loop
async def test_the_alarm_is_set_also_if_the_start_meets_a_defect(place: Place) -> None:
    def broken() -> NoReturn:
        raise KeyError("odd")

    place.hub._make_store = broken
    with pytest.raises(KeyError):
        await place.hub.ring()
    assert place.bells == [START_AGAIN_MS]


@on_a_loop
async def test_an_object_that_sleeps_between_beats_makes_no_gap_and_no_alarm(place: Place) -> None:
    for seq in range(1, 60):
        await place.beat(seq)
        await place.sleep_through(5_000)
    assert {"hub.gap", "daemon.late"}.isdisjoint(await place.names())


@on_a_loop
async def test_silence_adds_up_while_the_object_sleeps_and_is_said_at_its_deadline(place: Place) -> None:
    await place.beat(1)
    await place.sleep_through(19_999)
    assert "daemon.late" not in await place.names()
    await place.sleep_through(1)
    assert "daemon.late" in await place.names()
    await place.sleep_through(20_000)
    assert "daemon.down" in await place.names()
    await place.beat(2)
    assert "daemon.recovered" in await place.names()
    assert "hub.gap" not in await place.names()


@on_a_loop
async def test_silence_adds_up_while_the_object_is_kept_awake_too(place: Place) -> None:
    began = place.clock.now_ms()
    await place.beat(1)
    await place.pass_until(began + 19_999)
    assert "daemon.late" not in await place.names()
    await place.pass_until(began + 20_000)
    assert "daemon.late" in await place.names()
    await place.pass_until(began + 40_000)
    assert "daemon.down" in await place.names()
    assert "hub.gap" not in await place.names()


@on_a_loop
async def test_an_object_that_sleeps_for_minutes_between_beats_makes_no_gap_and_no_alarm(place: Place) -> None:
    for seq in (1, 2):
        body = {"daemonId": "mini", "machineId": "m", "bootId": "b", "seq": seq, "intervalSec": 240}
        assert (await place.ask("POST", "/api/queue/heartbeat", body))[0] == 200
        await place.sleep_through(240_000)
    assert {"hub.gap", "daemon.late"}.isdisjoint(await place.names())


@on_a_loop
async def test_a_place_that_was_down_is_a_gap_and_makes_no_false_alarm(place: Place) -> None:
    await place.beat(1)
    await place.sleep_through(3_000)
    await place.away(600_000)
    assert "hub.gap" in await place.names()
    await place.beat(2)
    await place.sleep_through(15_000)
    assert "daemon.late" not in await place.names()
    await place.sleep_through(30_000)
    assert "daemon.late" in await place.names()


@on_a_loop
async def test_what_changes_nothing_writes_nothing(place: Place) -> None:
    await place.beat(1)
    await place.ask("POST", "/api/queue/claim", {"workerId": "w"})
    for _ in range(3):
        before = place.storage.connection.total_changes
        place.clock.advance(700)
        assert (await place.ask("POST", "/api/queue/claim", {"workerId": "w", "provides": ["machine"]}))[0] == 200
        assert place.storage.connection.total_changes == before


@on_a_loop
async def test_a_result_that_no_row_would_hold_is_refused_as_too_large_and_one_below_is_kept(place: Place) -> None:
    await place.ask("POST", "/api/queue", {"id": "t1", "content": "x"})
    await place.ask("POST", "/api/queue/claim", {"workerId": "w"})
    status, said = await place.ask("POST", "/api/result/t1", {"success": True, "output": "x" * BODY_BYTES_MAX})
    assert (status, said["limitBytes"]) == (413, BODY_BYTES_MAX)
    output = "x" * (BODY_BYTES_MAX - 100)
    assert (await place.ask("POST", "/api/result/t1", {"success": True, "output": output}))[0] == 200
    assert (await place.ask("GET", "/api/result/t1"))[1]["output"] == output


@on_a_loop
async def test_numbers_that_no_row_would_hold_once_they_are_written_out_are_refused_as_too_large(place: Place) -> None:
    numbers = b"[%s]" % b",".join([b"1e15"] * 150_000)  # each is 1000000000000000.0 in the store
    status, said = await place.ask("POST", "/api/queue", b'{"content":"x","metadata":{"n":%s}}' % numbers)
    assert (status, said["limitBytes"]) == (413, ROW_BYTES_MAX)
    await place.ask("POST", "/api/queue", {"id": "t1", "content": "x"})
    await place.ask("POST", "/api/queue/claim", {"workerId": "w"})
    status, _ = await place.ask("POST", "/api/result/t1", b'{"success":true,"output":%s}' % numbers)
    assert status == 413
    assert place.hub._hub is not None
    assert not place.hub._hub.engine.is_deaf
    assert (await place.ask("POST", "/api/result/t1", {"success": True, "output": "short"}))[0] == 200


@on_a_loop
async def test_pages_and_metrics_are_those_of_every_hub(place: Place) -> None:
    status, page = await place.ask("GET", "/login")
    assert status == 200
    assert b"understudy" in page
    status, metrics = await place.ask("GET", "/metrics")
    assert status == 200
    assert b"understudy_store_up 1.0" in metrics


@on_a_loop
async def test_what_looks_wrong_in_its_settings_is_said_once_and_in_the_form_that_is_wanted(place: Place) -> None:
    place.environ = {**ENVIRONMENT, "UNDERSTUDY_LOG_FORM": "json", "UNDERSTUDY_LATE_AFTR": "1m"}
    for _ in range(2):
        place.evict()
        await place.hub.app()
    lines = [json.loads(line) for line in place.lines.getvalue().splitlines()]
    assert [line["level"] for line in lines if "UNDERSTUDY_LATE_AFTR" in line["message"]] == ["warning"]


def test_its_settings_are_shown_with_where_they_come_from() -> None:
    rows = {row.name: row for row in inputs_of({**ENVIRONMENT, "UNDERSTUDY_LATE_AFTER": "1s"}).shown}
    assert [rows[name].origin for name in ("down_after", "late_after", "port")] == ["environment", "adapted", "default"]
    assert rows["api_key"].is_set
    assert rows["api_key"].value == ""


@on_a_loop
async def test_two_events_at_once_start_one_hub(place: Place) -> None:
    apps = await asyncio.gather(place.hub.app(), place.hub.app())
    assert apps[0] is apps[1]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"UNDERSTUDY_API_KEY": ""}, "wrangler secret put"),
        ({"SMTP_URL": "smtp://mail.test", "SMTP_FROM": "b@b.test", "SMTP_TO": "a@b.test"}, "email"),
        ({"APPRISE_URL": "json://x.test"}, "apprise"),
        ({"UNDERSTUDY_LATE_AFTER": "soon"}, "UNDERSTUDY_LATE_AFTER"),
        ({"ADMIN_API_KEY": "changeme-changeme"}, "ADMIN_API_KEY: too easy to guess"),
        ({"UNDERSTUDY_API_KEY": "", "UNDERSTUDY_API_KEY_FILE": __file__}, "UNDERSTUDY_API_KEY_FILE names a file"),
        ({"UNDERSTUDY_CONFIG": __file__}, "UNDERSTUDY_CONFIG names a file"),
    ],
)  # fmt: skip
def test_what_cannot_work_there_is_refused_with_a_sentence(more: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        inputs_of({name: value for name, value in {**ENVIRONMENT, **more}.items() if value})


def test_a_hub_that_cannot_start_answers_so_without_the_stores_own_words() -> None:
    status, body = refusal_of(StoreError("Store unavailable: SQLITE_CORRUPT: /secret"))
    assert (status, body["error"]) == (503, "Store unavailable")
    assert refusal_of(ConfigError("UNDERSTUDY_LATE_AFTER: odd"))[1]["error"] == "UNDERSTUDY_LATE_AFTER: odd"
    assert "/secret" not in refusal_of(KeyError("/secret"))[1]["error"]
