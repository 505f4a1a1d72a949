"""Real hubs, real receivers on loopback: nothing is lost, nothing waits for a channel that hangs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import understudy
from tests.fakes.discord import FakeDiscord
from tests.fakes.ntfy import FakeNtfy
from tests.fakes.server import FakeServer, Step
from tests.fakes.slack import FakeSlack
from tests.fakes.smtp import FakeSmtp
from tests.fakes.telegram import FakeTelegram
from tests.fakes.webhook import FakeWebhook
from tests.hub_process import ADMIN_KEY, HubProcess, running_hub
from tests.waiting import eventually

BOOT = {"bootId": "b1", "machineId": "m1", "intervalSec": 0.2}


def configured(folder: Path, **channels: dict[str, str]) -> None:
    """Channels in the hub's file of settings."""
    lines = []
    for name, table in channels.items():
        lines += [f"[channels.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    (folder / "hub").mkdir()
    (folder / "hub" / "understudy.toml").write_text("\n".join(lines))


def webhook(fake: FakeWebhook) -> dict[str, str]:
    return {"kind": "webhook", "address": fake.address, "secret": fake.secret}


def beat(hub: HubProcess, daemon: str = "mini", seq: int = 1) -> None:
    hub.post("/api/queue/heartbeat", {"daemonId": daemon, "seq": seq, "running": [], **BOOT})


def return_for_good(hub: HubProcess) -> None:
    """A sign of life after which no further one is needed, however slow this machine is."""
    limits = {"lateAfterSec": 600, "downAfterSec": 1200}
    assert hub.ask("PUT", "/api/daemons/mini/settings", limits, key=ADMIN_KEY).status == 200
    beat(hub, seq=2)


def answered(hub: HubProcess, task_id: str, channel: str, text: str = "Fine.") -> None:
    """A task with an answer for `channel`."""
    hub.post("/api/queue", {"id": task_id, "content": "?", "replyTo": channel})
    lease = hub.post("/api/queue/claim", {"workerId": "w", "requestId": task_id})["lease"]
    hub.post(f"/api/result/{task_id}", {"success": True, "output": text, "token": lease["token"]})


@pytest.fixture
def hook() -> Iterator[FakeWebhook]:
    with FakeWebhook() as fake:
        yield fake
        assert fake.problems == []


def test_each_channel_that_is_set_up_takes_a_test_and_an_incident(tmp_path):
    slack, discord, telegram, ntfy, hook, smtp = fakes = (
        FakeSlack(),
        FakeDiscord(),
        FakeTelegram(),
        FakeNtfy(),
        FakeWebhook(),
        FakeSmtp(),
    )
    with ExitStack() as stack:
        for fake in fakes:
            stack.enter_context(fake)
        configured(
            tmp_path,
            slack={"address": slack.api, "secret": slack.token, "chat": "C1"},
            discord={"address": discord.webhook, "language": "ja"},
            telegram={"address": telegram.url, "secret": telegram.token, "chat": "42"},
            ntfy={"address": ntfy.url, "secret": ntfy.token, "chat": "topic"},
            webhook=webhook(hook),
            email={
                "address": f"smtp+plain://127.0.0.1:{smtp.url.rpartition(':')[2]}",
                "chat": "me@example.org",
                "sender": "hub@example.org",
            },
        )
        with running_hub(tmp_path, late_after="500ms", down_after="1s", heartbeat_interval="200ms") as hub:
            done = understudy("notify", "test", env=hub.env)
            assert (done.code, len(re.findall("✓", done.out))) == (0, 6), done.out + done.err
            beat(hub)
            eventually(lambda: len(hook.deliveries) == 3, what="warning and critical")
            return_for_good(hub)
            eventually(lambda: len(hook.deliveries) == 4, what="recovered")
            eventually(lambda: all(not row["waiting"] for row in hub.get("/api/channels")["channels"]))
            assert [fake.problems for fake in fakes] == [[]] * 6
            critical = next(m for m in slack.messages["C1"].values() if "mini" in json.dumps(m, ensure_ascii=False))
            assert critical  # Slack and Telegram changed it instead of sending a third
            assert len(slack.messages["C1"]) == len(telegram.messages["42"]) == 3
            assert len(ntfy.messages) == len(smtp.mails) == 4
            assert hub.get("/ready", key="")["outbox"] == {"oldestSec": 0}
            for secret in (slack.token, telegram.token, discord.webhook, hook.secret):
                assert secret not in hub.log


def test_a_receiver_that_is_down_for_a_while_gets_five_of_five(tmp_path, hook):
    configured(tmp_path, hook=webhook(hook))
    with running_hub(tmp_path) as hub:
        hook.always(503)
        for n in range(5):
            answered(hub, f"t{n}", "hook")
        eventually(lambda: len(hook.received) >= 3, what="some tries in vain")
        assert hook.deliveries == {}
        assert hub.get("/api/channels")["channels"][0]["waiting"] == 5
        hook.always(None)
        eventually(lambda: len(hook.deliveries) == 5, within_s=20, what="five of five")
        assert sorted(body["about"] for body in hook.deliveries.values()) == [f"t{n}" for n in range(5)]


def test_a_hub_that_is_killed_while_it_sends_sends_again_with_the_same_key(tmp_path):
    with ExitStack() as stack:
        hooks = {f"hook{n}": stack.enter_context(FakeWebhook()) for n in range(4)}
        configured(tmp_path, **{name: webhook(fake) for name, fake in hooks.items()})
        with running_hub(tmp_path) as hub:
            for fake in hooks.values():
                fake.always("hang")
            for name in hooks:
                answered(hub, f"task-{name}", name)
            eventually(lambda: all(fake.received for fake in hooks.values()), what="four deliveries in flight")
            first = [fake.keys[0] for fake in hooks.values()]
            hub.kill()
            for fake in hooks.values():
                fake.always(None)
            hub.start()
            eventually(lambda: all(len(fake.received) > 1 for fake in hooks.values()), what="four of four again")
            assert [fake.keys[1] for fake in hooks.values()] == first
            eventually(lambda: hub.get("/api/notices?state=waiting")["notices"] == [], what="all settled")


def test_what_arrives_while_a_hub_is_stopped_is_not_sent_again_by_the_next(tmp_path, hook):
    configured(tmp_path, hook=webhook(hook))
    with running_hub(tmp_path) as hub:
        hook.plan([Step(word="slow", seconds=1.0)])
        answered(hub, "t1", "hook")
        hook.wait_for(1)
        assert hub.stop() == 0
        hub.start()
        (answer,) = [n for n in hub.get("/api/notices")["notices"] if n["kind"] == "answer"]
        assert (answer["state"], len(hook.received)) == ("sent", 1)


def test_a_receiver_that_hangs_delays_no_other_channel_and_not_the_alarm(tmp_path, hook):
    with FakeNtfy() as ntfy:
        ntfy.always("hang")
        configured(
            tmp_path,
            hook=webhook(hook),
            ntfy={"address": ntfy.url, "secret": ntfy.token, "chat": "topic"},
        )
        with running_hub(tmp_path, late_after="500ms", down_after="1s", heartbeat_interval="200ms") as hub:
            beat(hub)
            eventually(lambda: ntfy.received, what="the one that hangs")
            eventually(lambda: len(hook.deliveries) == 2, within_s=5, what="both at the other")
            assert hub.get("/ready", key="")["ready"]


def test_a_dead_letter_is_shown_by_status_and_doctor_and_sent_again_by_hand(tmp_path, hook):
    configured(tmp_path, hook=webhook(hook))
    with running_hub(tmp_path) as hub:
        hook.plan([404])
        answered(hub, "t1", "hook")
        (dead,) = eventually(lambda: hub.get("/api/notices?state=dead")["notices"], what="a dead letter")
        assert dead["taskId"] == "t1"
        for command in (("notices", "--dead"), ("status",), ("doctor",)):
            done = understudy(*command, env=hub.env)
            assert "hook" in done.out, (command, done)
            assert dead["lastError"][:20] in done.out
        assert understudy("notices", "--resend", dead["id"], env=hub.env).code == 0
        eventually(lambda: list(hook.deliveries) == [dead["id"]], what="the dead letter")
        assert understudy("notices", "--resend", dead["id"], env=hub.env).code != 0


def test_a_test_says_why_it_did_not_arrive(tmp_path, hook):
    configured(tmp_path, hook=webhook(hook))
    with running_hub(tmp_path) as hub:
        hook.plan([401])
        done = understudy("notify", "test", "hook", env=hub.env)
        assert (done.code, "401" in done.out) == (1, True), done
        hook.off()
        assert understudy("notify", "test", "hook", env=hub.env).code == 1
        hook.on()
        unknown = hub.ask("POST", "/api/channels/test", {"channel": "nobody"}, key=ADMIN_KEY)
        assert (unknown.status, unknown.body["details"]) == (400, ["channel: Expected one of hook"])


def test_links_show_and_act_once_somebody_presses_the_button(tmp_path, hook):
    configured(tmp_path, hook=webhook(hook))
    limits = {"late_after": "500ms", "down_after": "1s", "heartbeat_interval": "200ms"}
    with running_hub(tmp_path, public_url="https://hub.example/x", **limits) as hub:
        beat(hub)
        critical = eventually(lambda: _critical(hook), what="the critical notice")
        links = {link["label"]: link["url"].removeprefix("https://hub.example/x") for link in critical["links"]}
        path = links["I have seen it"]
        for _ in range(2):  # chats fetch what they preview
            page = hub.ask("GET", path, key="")
            assert (page.status, b"mini" in page.raw, b"<form method=post>" in page.raw) == (200, True, True)
        (incident,) = hub.get("/api/incidents")["incidents"]
        assert "acknowledgedBy" not in incident
        for _ in range(2):
            assert hub.ask("POST", path, key="").status == 200
        (incident,) = hub.get("/api/incidents")["incidents"]
        assert incident["acknowledgedBy"] == "link"
        assert hub.ask("POST", links["Snooze for an hour"], key="").status == 200
        assert "snoozedUntil" in hub.get("/api/incidents")["incidents"][0]
        assert hub.ask("GET", "/l/usl_guessed", key="").status == 404
        assert path.rpartition("/")[2].encode() not in (tmp_path / "hub" / "hub.db").read_bytes()


def _critical(hook: FakeWebhook) -> Any:
    return next((body for body in hook.deliveries.values() if body["level"] == "critical"), None)


def test_the_whole_answer_can_be_read_by_its_link(tmp_path, hook):
    configured(tmp_path, hook=webhook(hook))
    with running_hub(tmp_path, public_url="https://hub.example") as hub:
        answered(hub, "t1", "hook", "<b>whole</b> " + "x" * 1000)
        (body,) = eventually(lambda: list(hook.deliveries.values()), what="the answer")
        page = hub.ask("GET", body["linkFull"].removeprefix("https://hub.example"), key="")
        assert page.status == 200
        assert b"&lt;b&gt;whole&lt;/b&gt; xxx" in page.raw
        assert page.headers["referrer-policy"] == "no-referrer"
        for _ in range(25):  # no guess: it is a link of this hub
            refused = hub.ask("POST", body["linkFull"].removeprefix("https://hub.example"), key="")
            assert (refused.status, b"nothing here any more" in refused.raw) == (404, True)


def test_snooze_and_acknowledge_by_command(tmp_path, hook):
    configured(tmp_path, hook=webhook(hook))
    with running_hub(tmp_path, late_after="300ms", down_after="600ms", heartbeat_interval="100ms") as hub:
        beat(hub)
        incident = eventually(lambda: hub.get("/api/incidents")["incidents"], what="an incident")[0]["id"]
        done = understudy("incidents", "snooze", incident, "--for", "2h", env=hub.env)
        assert (done.code, "2 h" in done.out) == (0, True), done
        assert hub.post(f"/api/incidents/{incident}/snooze", {"forSec": 0})["incident"]["snoozedUntil"]
        assert understudy("incidents", "snooze", "incident-none", "--for", "2h", env=hub.env).code != 0


def test_the_watchdog_is_told_while_everything_works(tmp_path):
    with FakeServer() as outside:
        with running_hub(tmp_path, watchdog_url=f"{outside.url}/ping/secret", watchdog_interval="1s") as hub:
            outside.wait_for(2)
            assert "ping/secret" not in hub.log
        assert {request.path for request in outside.received} == {"/ping/secret"}
