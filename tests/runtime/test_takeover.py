"""A real hub and a fake of the Messages API: the hub answers while nobody is there, and gives way to who comes back."""

from __future__ import annotations

import contextlib
import threading

import pytest

from tests.fakes.claude import FakeClaude, last_question
from tests.hub_process import ADMIN_KEY, HubProcess
from tests.waiting import eventually

QUICK = {"late_after": "400ms", "down_after": "800ms", "heartbeat_interval": "200ms", "lease_duration": "2s"}


@pytest.fixture
def api():
    with FakeClaude() as fake:
        yield fake


@pytest.fixture
def standing_in(tmp_path, api):
    """A hub whose takeover is switched on."""
    with contextlib.ExitStack() as stack:

        def start(**settings) -> HubProcess:
            hub = HubProcess(tmp_path / "hub", **{**QUICK, "takeover": "answer", **settings})
            hub.data_dir.mkdir()
            keys = f'anthropic_api_key = "{api.key}"\nanthropic_base_url = "{api.url}"\n'
            (hub.data_dir / "understudy.toml").write_text(keys)
            stack.callback(hub.close)
            return hub.start()

        yield start


def beat(hub, seq=1, **said):
    body = {"daemonId": "mini", "machineId": "m", "bootId": "b", "seq": seq, "intervalSec": 0.2, **said}
    return hub.post("/api/queue/heartbeat", body)


def return_for_good(hub):
    """A sign of life after which no further one is needed, however slow this machine is."""
    limits = {"lateAfterSec": 600, "downAfterSec": 1200}
    assert hub.ask("PUT", "/api/daemons/mini/settings", limits, key=ADMIN_KEY).status == 200
    beat(hub, 2)


def ask(hub, content, **fields):
    return hub.post("/api/queue", {"content": content, "needs": [], **fields})["taskId"]


def result(hub, task_id, within_s=10.0):
    def ended():
        answer = hub.ask("GET", f"/api/result/{task_id}")
        return answer.body if answer.status == 200 else None

    return eventually(ended, within_s=within_s, what=f"the result of {task_id}")


def takeover(hub):
    return hub.get("/api/takeover")


@pytest.fixture
def held_back(api):
    """Every answer waits until this is set: a hub that is started again may call at once."""
    gate = threading.Event()

    def reply(body):
        gate.wait(60)
        return f"Answer to: {last_question(body)}"

    api.reply = reply
    yield gate
    gate.set()


def is_open(hub):
    return takeover(hub)["open"]


def test_the_hub_answers_when_the_daemon_is_down_and_gives_way_when_it_is_back(standing_in, api):
    hub = standing_in()
    beat(hub)
    task = ask(hub, "2 + 2?")
    machine = ask(hub, "look at my desk", needs=None)
    answered = result(hub, task)
    assert (answered["output"], answered["executor"], answered["degraded"]) == (
        "Answer to: 2 + 2?",
        "hub/claude-api",
        True,
    )
    assert hub.get(f"/api/queue/{machine}")["status"] == "pending"
    assert (api.questions, api.problems) == (["2 + 2?"], [])
    assert "tools" not in api.bodies[0]
    eventually(lambda: hub.get("/api/events?search=takeover.kept")["events"], what="a word to the sender")
    return_for_good(hub)
    eventually(lambda: not is_open(hub), what="the end of takeover")
    later = ask(hub, "and now?")
    claimed = hub.post("/api/queue/claim", {"daemonId": "mini", "bootId": "b", "max": 5})
    assert {item["task"]["id"] for item in claimed["tasks"]} == {machine, later}
    names = [e["name"] for e in hub.get("/api/events?search=takeover.")["events"]]
    assert (names[0], names[-1]) == ("takeover.opened", "takeover.closed")
    assert sorted(names[1:-1]) == ["takeover.answered", "takeover.kept"]


def test_a_wrong_key_opens_the_circuit_once_and_an_owner_closes_it(standing_in, api):
    hub = standing_in()
    api.plan([401])
    beat(hub)
    task = ask(hub, "2 + 2?")
    eventually(lambda: takeover(hub).get("circuit"), what="an open circuit")
    assert takeover(hub)["circuit"]["reason"] == "authentication"
    assert hub.get(f"/api/queue/{task}")["status"] == "pending"
    assert len(hub.get("/api/events?search=takeover.circuit_open")["events"]) == 1
    hub.post("/api/takeover/resume", key=ADMIN_KEY)
    assert result(hub, task)["output"] == "Answer to: 2 + 2?"


def test_a_hub_that_is_killed_in_a_call_counts_it_as_spent_and_answers_once(standing_in, api, held_back):
    hub = standing_in()
    api.plan(["hang"])
    beat(hub)
    task = ask(hub, "2 + 2?")
    api.wait_for(1)
    reserved = takeover(hub)["budget"]["day"]["reservedUsd"]
    assert reserved > 0
    hub.kill()
    hub.start()
    assert takeover(hub)["budget"]["day"]["spentUsd"] == pytest.approx(reserved)
    held_back.set()
    assert result(hub, task, within_s=15)["output"] == "Answer to: 2 + 2?"
    record = hub.get(f"/api/tasks/{task}")
    assert [attempt["outcome"] for attempt in record["attempts"]] == ["lost", "done"]


def test_a_hub_that_is_stopped_in_a_call_waits_for_no_answer_counts_it_as_spent_and_answers_once(
    standing_in, api, held_back
):
    hub = standing_in()
    api.plan(["hang"])
    beat(hub)
    task = ask(hub, "2 + 2?")
    api.wait_for(1)
    reserved = takeover(hub)["budget"]["day"]["reservedUsd"]
    assert hub.stop() == 0
    assert "Takeover met" not in hub.log
    hub.start()
    budget = takeover(hub)["budget"]["day"]
    assert budget["spentUsd"] == pytest.approx(reserved)
    held_back.set()
    assert result(hub, task, within_s=15)["output"] == "Answer to: 2 + 2?"
    assert [attempt["outcome"] for attempt in hub.get(f"/api/tasks/{task}")["attempts"]] == ["lost", "done"]


def test_a_probe_that_fails_keeps_it_shut(standing_in, api, tmp_path):
    hub = standing_in(probe_url="http://127.0.0.1:1/")
    beat(hub)
    ask(hub, "2 + 2?")
    eventually(lambda: hub.get("/api/daemons/mini")["state"] == "down", what="a daemon that is down")
    eventually(lambda: takeover(hub)["waitsForProbe"], what="the wait for a probe")
    assert (is_open(hub), api.questions) == (False, [])


def test_without_a_key_it_is_off_and_says_so(tmp_path):
    hub = HubProcess(tmp_path / "hub", **QUICK, takeover="answer")
    with contextlib.closing(hub.start()):
        shown = takeover(hub)
        assert (shown["ready"], shown["lacks"]) == (False, "no_key")


def test_interim_shows_a_provisional_answer_on_a_task_that_stays_queued(standing_in, api):
    hub = standing_in(takeover="interim")
    beat(hub)
    task = ask(hub, "tidy my desk", needs=None)
    shown = eventually(lambda: hub.get(f"/api/tasks/{task}").get("provisional"), what="a provisional answer")
    assert (shown["output"], shown["executor"], shown["degraded"]) == (
        "Answer to: tidy my desk",
        "hub/claude-api",
        True,
    )
    assert hub.get(f"/api/tasks/{task}")["status"] == "pending"
    return_for_good(hub)
    claimed = hub.post("/api/queue/claim", {"daemonId": "mini", "bootId": "b"})
    hub.post(f"/api/result/{task}", {"success": True, "output": "tidy", "token": claimed["lease"]["token"]})
    record = hub.get(f"/api/tasks/{task}")
    assert (record["result"]["output"], record["result"].get("degraded")) == ("tidy", None)
    assert len(api.questions) == 1
