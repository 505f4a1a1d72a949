"""What whoever asked is told: begun, how far it is, one answer; in the place of origin."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.hub.desk import Desk, Said, beat, bench_with, live, rows
from understudy.coordinator.answers import add_answer, add_progress
from understudy.coordinator.changes import Event
from understudy.coordinator.notices import OutboxDraft, notice_id
from understudy.coordinator.nouns import Link, Notice, Now, Progress, Task
from understudy.coordinator.routes import Routes
from understudy.coordinator.takeover_nouns import TaskTakeover
from understudy.errors import BadRequestError
from understudy.hub.claims import ClaimTasks
from understudy.hub.enqueue import EnqueueTasks
from understudy.hub.leases import RenewLease
from understudy.hub.links import EmptyLinkError, shown_by
from understudy.hub.outbox import ResendNotice, SettleNotice, TakeNotice, hash_of_link
from understudy.hub.results import ReportResult
from understudy.hub.retention import PurgeRows
from understudy.hub.task_commands import CommandTask
from understudy.notify.base import Message, Refused, Sent
from understudy.redact import Redactor
from understudy.wire.tasks import ClaimBody, EnqueueBody, FailureBody, RenewBody, ResultBody

PLACE = {"channel": "ops", "chat": "C1", "thread": "17.5"}


class Asker:
    """Somebody who asks one thing, and a worker that does it."""

    def __init__(self, reply_to: Any = PLACE, content: str = "How are you?", default: str = "", **more: Any) -> None:
        self.bench = bench_with(reply_to=default, **more)
        self.desk = Desk(self.bench)
        self.token = 0
        (answer,) = self.bench.ask(EnqueueTasks([EnqueueBody(content, reply_to=reply_to)], ["t1"], "key"))
        assert not isinstance(answer, BaseException), answer

    def claim(self) -> None:
        beat(self.bench)
        (answer,) = self.bench.ask(ClaimTasks(ClaimBody(worker_id="mini", daemon_id="mini", boot_id="b1"), "mini"))
        self.token = answer["lease"]["token"]

    def progress(self, text: str) -> None:
        self.bench.ask(RenewLease("t1", RenewBody(worker_id="mini", token=self.token, progress=text)))

    def report(self, success: bool = True, output: Any = "Fine.", **more: Any) -> Any:
        body = ResultBody(success=success, token=self.token, worker_id="mini", output=output, **more)
        return self.bench.ask(ReportResult("t1", body))[0]

    def wait(self, ms: int) -> None:
        live(self.bench, ms, self.desk)

    @property
    def said(self) -> list[tuple[str, str]]:
        return [(message.kind, message.text) for message in self.desk.got if message.kind != "notice"]


def test_a_quick_task_is_one_answer_in_the_thread_of_origin():
    asker = Asker()
    asker.claim()
    asker.report()
    asker.wait(8_000)
    (message,) = asker.desk.got
    assert (message.kind, message.text, message.chat, message.thread) == ("answer", "Fine.", "C1", "17.5")
    assert message.title == ""  # the thread shows what was asked


def test_a_longer_task_has_one_message_that_changes_and_then_an_answer():
    asker = Asker()
    asker.claim()
    asker.wait(2_000)
    asker.progress("reading")
    asker.wait(1_000)
    asker.progress("writing")
    asker.wait(3_000)
    asker.report()
    asker.wait(4_000)
    assert asker.said == [
        ("progress", "Working on it (mini) …"),
        ("progress", "Working on it …\nwriting"),
        ("answer", "Fine."),
        ("progress", "Done."),
    ]
    assert [message.edits for message in asker.desk.got] == ["", "ref-1", "", "ref-1"]


def test_progress_changes_its_message_at_most_every_three_seconds():
    asker = Asker()
    asker.claim()
    for step in range(30):
        asker.progress(f"step {step}")
        asker.wait(1_000)
    assert 9 <= len(asker.desk.got) <= 11


def test_where_a_message_cannot_be_changed_only_its_first_and_the_answer_are_sent():
    asker = Asker()
    asker.desk.says.append(Sent(""))
    asker.claim()
    asker.wait(2_000)
    asker.progress("reading")
    asker.wait(5_000)
    asker.report()
    asker.wait(5_000)
    assert [kind for kind, _ in asker.said] == ["progress", "answer"]
    assert {row.state for row in rows(asker.bench)} == {"sent"}


def test_a_failure_is_told_with_its_reason():
    asker = Asker()
    asker.claim()
    asker.report(success=False, output=None, error="the tests are red", failure=FailureBody("failed", final=True))
    asker.wait(1_000)
    assert asker.said == [("answer", "This failed: the tests are red")]
    assert asker.desk.got[0].level == "warning"


def test_a_cancelled_task_is_told():
    asker = Asker()
    asker.bench.ask(CommandTask("cancel", "t1", "me"))
    asker.wait(1_000)
    assert asker.said == [("answer", "This was cancelled.")]


def test_the_answer_is_told_once_however_often_its_result_comes():
    asker = Asker()
    asker.claim()
    for _ in range(3):
        asker.report()
    asker.wait(1_000)
    asker.report()
    asker.wait(10_000)
    assert [text for kind, text in asker.said if kind == "answer"] == ["Fine."]


def test_a_retry_has_its_own_answer():
    asker = Asker()
    asker.bench.ask(CommandTask("cancel", "t1", "me"))
    asker.wait(1_000)
    asker.bench.ask(CommandTask("retry", "t1", "me"))
    asker.claim()
    asker.report()
    asker.wait(1_000)
    assert [text for _, text in asker.said] == ["This was cancelled.", "Fine."]


def test_what_was_given_up_and_finished_after_all_changes_its_answer():
    asker = Asker()
    for _ in range(5):  # lost each time: the daemon is started anew
        asker.claim()
        asker.wait(31_000)
    assert [text for _, text in asker.said][-1] == "Failed."
    given_up = next(message for message in asker.desk.got if message.kind == "answer")
    asker.report()
    asker.wait(5_000)
    answers = [message for message in asker.desk.got if message.kind == "answer"]
    assert [message.text for message in answers] == [
        "This failed: poison: lost 5 times without a result",
        "Fine.",
    ]
    assert answers[1].edits
    (final,) = (row.id for row in rows(asker.bench) if row.kind == "answer")
    # a receiver that drops repetitions takes the second one; the first keeps the key that it had in earlier versions
    assert [given_up.key, answers[1].key] == [final, f"{final}:task.done"]


def test_the_answer_of_a_default_place_says_what_was_asked():
    asker = Asker(None, default='{"channel":"ops"}')
    asker.claim()
    asker.report()
    asker.wait(1_000)
    (message,) = asker.desk.got
    assert (message.title, message.text, message.chat) == ("How are you?", "Fine.", "")


SECRET = "sk-ant-api03-" + "q8Xw2ZrTt5Yv9LmN4KpJ7HsD" * 3


@pytest.mark.parametrize("before", [10, 50, 75])
def test_no_half_of_a_secret_is_in_the_title_of_an_answer(before):
    asker = Asker(None, content=f"{'x' * before} {SECRET} why?", default='{"channel":"ops"}')
    asker.desk.delivery._clean = Redactor().clean
    asker.claim()
    asker.report()
    asker.wait(1_000)
    (message,) = asker.desk.got
    assert "sk-a" not in message.title
    assert message.title.startswith("x" * before)


@pytest.mark.parametrize("before", [430, 490, 499])
def test_no_half_of_a_secret_is_in_a_message_about_progress(before):
    asker = Asker()
    asker.desk.delivery._clean = Redactor().clean
    asker.claim()
    asker.progress(f"{'x' * before} {SECRET} done")
    asker.wait(5_000)
    (said,) = [message.text for message in asker.desk.got if message.kind == "progress"]
    assert "sk-" not in said
    assert "x" * before in said


def test_a_task_without_a_place_is_told_nowhere():
    asker = Asker(None)
    asker.claim()
    asker.progress("x")
    asker.report()
    asker.wait(5_000)
    assert rows(asker.bench) == []


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("", "Done; there was no output."),
        (None, "Done; there was no output."),
        ({"text": "from an object"}, "from an object"),
        (["a", 1], '[\n  "a",\n  1\n]'),
    ],
)
def test_any_output_is_told_as_text(output, text):
    asker = Asker()
    asker.claim()
    asker.report(output=output)
    asker.wait(1_000)
    assert asker.said == [("answer", text)]


def test_a_long_answer_has_a_link_to_the_whole():
    asker = Asker(public_url="https://hub.example")
    asker.claim()
    asker.report(output="x" * 100_000)
    asker.wait(1_000)
    (message,) = asker.desk.got
    assert message.link_full.startswith("https://hub.example/l/usl_")
    assert len(message.text) == 100_000  # each channel cuts by its own limits


@pytest.mark.parametrize("reply_to", ["ops", "ops:C1", "ops:C1:17.5", {"channel": "ops", "chat": 7}])
def test_a_place_may_be_written_shortly(reply_to):
    asker = Asker(reply_to)
    asker.claim()
    asker.report()
    asker.wait(1_000)
    assert len(asker.desk.got) == 1


@pytest.mark.parametrize(
    "reply_to", ["slack", "slack:C1", {"chat": "C1"}, {"channel": "ops", "chat": ["x"]}, {"channel": "x" * 300}]
)
def test_a_place_that_this_hub_does_not_have_is_refused(reply_to):
    bench = bench_with()
    (refused,) = bench.ask(EnqueueTasks([EnqueueBody("x", reply_to=reply_to)], ["t1"], "key"))
    assert isinstance(refused, BadRequestError)
    assert refused.fields["details"][0].startswith("replyTo.")


def test_a_place_that_takes_alarms_only_is_refused_by_name_with_the_reason():
    """PagerDuty would page somebody for each message, and nothing would end that alarm."""
    bench = bench_with(channels=("ops", "pager"), joining=("pager",))
    (refused,) = bench.ask(EnqueueTasks([EnqueueBody("x", reply_to="pager")], ["t1"], "key"))
    assert isinstance(refused, BadRequestError)
    assert refused.fields["details"][0].startswith("replyTo.channel: pager takes alarms only")
    (unknown,) = bench.ask(EnqueueTasks([EnqueueBody("x", reply_to="nobody")], ["t1"], "key"))
    assert unknown.fields["details"] == ["replyTo.channel: Expected one of ops"]


OPS, PAGER = '{"channel":"ops"}', '{"channel":"pager"}'


@pytest.mark.parametrize(("reply_to", "default", "told"), [("", PAGER, []), (PAGER, "", []), (PAGER, OPS, ["ops"])])
def test_a_task_of_earlier_opens_no_alarm_with_its_answer(reply_to: str, default: str, told: list[str]) -> None:
    routes = Routes(("ops", "pager"), reply_to=default, joining=("pager",))
    box = OutboxDraft(routes, Now(9, 9), (), {})
    add_answer(box, Event(1, "info", "task.done", "TaskQueue", "m", {}, "t1"), Task("t1", reply_to=reply_to))
    add_progress(box, Progress("t1", 1, 9, progress='"half way"'), Task("t1", reply_to=reply_to))
    assert sorted({row.channel for row in box.changed.values()}) == told


def test_progress_that_comes_while_its_message_is_sent_is_not_lost():
    asker = Asker()
    asker.claim()
    asker.bench.pass_time(2_000)
    (outgoing,) = asker.bench.ask(TakeNotice("ops"))
    asker.progress("half way")
    asker.bench.ask(SettleNotice(outgoing.notice, Sent("ref")))
    asker.wait(4_000)
    assert asker.said == [("progress", "Working on it …\nhalf way")]
    assert asker.desk.got[0].edits == "ref"


def reused(asker: Asker, reply_to: Any) -> None:
    """The task is forgotten before its notices are, and somebody else uses its id."""
    asker.bench.pass_time(1_000)
    asker.bench.ask(PurgeRows("task", asker.bench.clock.now_ms()))
    asker.desk.got.clear()
    (answer,) = asker.bench.ask(EnqueueTasks([EnqueueBody("Secret?", reply_to=reply_to)], ["t1"], "other"))
    assert not isinstance(answer, BaseException), answer


def test_a_task_whose_id_was_used_before_is_told_in_its_own_place():
    asker = Asker({"channel": "ops", "chat": "OLD"})
    asker.claim()
    asker.wait(3_000)
    asker.report()
    asker.wait(5_000)
    reused(asker, {"channel": "ops", "chat": "NEW"})
    asker.claim()
    asker.progress("private")
    asker.wait(3_000)
    asker.report(output="Secret.")
    asker.wait(5_000)
    assert {message.chat for message in asker.desk.got} == {"NEW"}
    assert [text for _, text in asker.said] == ["Working on it …\nprivate", "Secret.", "Done."]


@pytest.mark.parametrize("name", ["task.cancelled", "takeover.kept", "takeover.interim"])
def test_a_task_whose_id_was_used_before_has_messages_of_its_own(name: str) -> None:
    event = Event(1, "info", name, "TaskQueue", "m", {"taskId": "t1"}, "t1")
    box = OutboxDraft(Routes(("ops",)), Now(9, 9), (), {})
    for queued_at in (1, 5):
        add_answer(box, event, Task("t1", reply_to='{"channel":"ops"}', queued_at=queued_at))
    assert len(box.changed) == 2


def test_a_message_of_a_task_that_is_no_more_does_not_tell_the_answer_of_another_one():
    asker = Asker({"channel": "ops", "chat": "OLD"})
    asker.desk.says.append(Refused("channel_not_found"))
    asker.claim()
    asker.report()
    asker.wait(1_000)
    (dead,) = rows(asker.bench, state="dead")
    reused(asker, None)
    asker.claim()
    asker.report(output="Secret.")
    asker.bench.ask(ResendNotice(dead.id, "me"))
    asker.wait(1_000)
    assert asker.said == [("answer", "This task is finished; its result is no longer kept.")]


def test_an_answer_without_a_text_of_its_own_has_no_link():
    asker = Asker(public_url="https://hub.example")
    asker.bench.ask(CommandTask("cancel", "t1", "me"))
    asker.wait(1_000)
    assert [message.link_full for message in asker.desk.got if message.kind == "answer"] == [""]


def test_a_link_shows_the_interim_answer_until_there_is_a_result():
    asker = Asker(public_url="https://hub.example")
    now = asker.bench.clock.now_ms()
    link = Link(hash_of_link("usl_one"), "read", "t1", now, now + 1_000_000)
    asker.bench.store.transaction(lambda transaction: transaction.save_many([link]))

    def shown():
        return asker.bench.store.read(lambda reader: shown_by(reader, "usl_one", asker.bench.clock.now_ms()))

    with pytest.raises(EmptyLinkError):
        shown()
    done = TaskTakeover("t1", interim_answer='"Perhaps."', interim_at=now)
    asker.bench.store.transaction(lambda transaction: transaction.save_many([done]))
    assert (shown().text, shown().degraded) == ("Perhaps.", True)
    asker.claim()
    asker.report()
    assert (shown().text, shown().degraded) == ("Fine.", False)


def test_a_link_to_an_answer_shows_the_answer_of_no_other_task():
    asker = Asker(public_url="https://hub.example")

    def shown(message: Message) -> str:
        secret = message.link_full.rpartition("/")[2]
        return asker.bench.store.read(lambda reader: shown_by(reader, secret, asker.bench.clock.now_ms())).text

    asker.claim()
    asker.report()
    asker.wait(1_000)
    (first,) = asker.desk.got
    assert shown(first) == "Fine."
    reused(asker, PLACE)
    asker.claim()
    asker.report(output="Secret.")
    asker.wait(1_000)
    assert shown(asker.desk.got[0]) == "Secret."
    with pytest.raises(EmptyLinkError):
        shown(first)


@pytest.mark.parametrize(("parts", "at"), [(1, 0), (3, 0), (3, 1)])
def test_an_answer_that_changes_while_it_is_sent_is_not_lost(parts: int, at: int, monkeypatch: Any) -> None:
    asker = Asker()
    asker.desk.parts = parts
    asker.claim()
    asker.report(success=False, output=None, error="too long", failure=FailureBody("timed_out", final=True))
    take = asker.desk._take

    def taken(said: Said) -> Any:
        if len(asker.desk.tried) == at:
            asker.report()
        return take(said)

    monkeypatch.setattr(asker.desk, "_take", taken)
    asker.wait(8_000)
    told = [(said.part, said.message.text, said.message.edits) for said in asker.desk.tried]
    assert told == [
        *((part, "This failed: too long", "") for part in range(at + 1)),
        *((part, "Fine.", "ref-1") for part in range(parts)),
    ]
    assert [row.state for row in rows(asker.bench, kind="answer")] == ["sent"]


def test_an_answer_that_changes_before_its_text_is_made_is_sent_once(monkeypatch: Any) -> None:
    asker = Asker()
    asker.claim()
    asker.report(success=False, output=None, error="too long", failure=FailureBody("timed_out", final=True))
    perform = asker.desk._perform

    def performed(effect: Any) -> Any:
        answer = perform(effect)
        if isinstance(effect, TakeNotice) and not asker.desk.tried:
            asker.report()
        return answer

    monkeypatch.setattr(asker.desk, "_perform", performed)
    asker.wait(8_000)
    assert asker.said == [("answer", "Fine.")]
    assert [row.state for row in rows(asker.bench, kind="answer")] == ["sent"]


# ---- messages and links of a hub of an earlier version, which knows nothing of the instant of a task


FINAL_KEY = notice_id("final", "t1", "5", "ops")
STATUS_KEY = notice_id("status", "t1", "ops")
WAITING_TASK = Task("t1", reply_to='{"channel":"ops"}', token=5, queued_at=3)


def earlier(key: str, kind: str, cause: str, state: str) -> Notice:
    row = Notice(key, "ops", kind, cause, "info", task_id="t1", facts='{"state":"started"}', state=state, created_at=4)
    return replace(row, ref="ref-1", sent_at=5) if state == "sent" else row


def ended(name: str) -> Event:
    return Event(9, "info", name, "TaskQueue", "m", {"taskId": "t1"}, "t1")


def test_progress_changes_the_message_of_a_hub_of_an_earlier_version() -> None:
    known = earlier(STATUS_KEY, "progress", "task.claimed", "sent")
    box = OutboxDraft(Routes(("ops",)), Now(9_000, 9_000), (known,), {})
    add_progress(box, Progress("t1", 5, 9, '"reading"'), WAITING_TASK)
    (row,) = box.changed.values()
    assert (row.id, row.state, row.ref) == (STATUS_KEY, "waiting", "ref-1")


@pytest.mark.parametrize(("state", "becomes"), [("sent", "waiting"), ("waiting", "folded")])
def test_an_answer_closes_the_message_of_a_hub_of_an_earlier_version(state: str, becomes: str) -> None:
    known = earlier(STATUS_KEY, "progress", "task.claimed", state)
    box = OutboxDraft(Routes(("ops",)), Now(9_000, 9_000), (known,), {})
    add_answer(box, ended("task.done"), WAITING_TASK)
    assert {row.id: row.state for row in box.changed.values()} == {STATUS_KEY: becomes, FINAL_KEY: "waiting"}


def test_a_late_result_takes_the_place_of_the_failure_that_a_hub_of_an_earlier_version_told() -> None:
    box = OutboxDraft(Routes(("ops",)), Now(9, 9), (earlier(FINAL_KEY, "answer", "task.failed", "sent"),), {})
    add_answer(box, ended("task.done"), WAITING_TASK)
    (row,) = box.changed.values()
    assert (row.id, row.cause, row.ref, row.state) == (FINAL_KEY, "task.done", "ref-1", "waiting")


@pytest.mark.parametrize("name", ["takeover.kept", "takeover.interim"])
def test_what_a_hub_of_an_earlier_version_has_told_is_told_once(name: str) -> None:
    known = earlier(notice_id(name, "t1", "5", "ops"), "answer", name, "sent")
    box = OutboxDraft(Routes(("ops",)), Now(9, 9), (known,), {})
    add_answer(box, ended(name), WAITING_TASK)
    assert box.changed == {}


def test_a_task_has_its_own_messages_to_the_end_though_those_of_an_older_one_are_removed_meanwhile() -> None:
    older = replace(WAITING_TASK, queued_at=1)
    box = OutboxDraft(Routes(("ops",)), Now(9, 9), (), {})
    for task in (older, WAITING_TASK):
        add_progress(box, Progress("t1", 5, 9, '"reading"'), task)
    first, second = box.changed
    assert first == STATUS_KEY
    box = OutboxDraft(Routes(("ops",)), Now(9, 9), (box.rows[second],), {})
    add_progress(box, Progress("t1", 5, 9, '"writing"'), WAITING_TASK)
    assert list(box.changed) == [second]


def test_a_hub_of_an_earlier_version_finds_the_task_of_a_link() -> None:
    asker = Asker(public_url="https://hub.example")
    asker.claim()
    asker.report()
    asker.wait(1_000)
    asker.bench.clock.jump(-3_600_000)
    asker.wait(60_000)
    secret = asker.desk.got[0].link_full.rpartition("/")[2]
    (link,) = asker.bench.store.read(lambda reader: reader.load_many(Link, (hash_of_link(secret),)))
    assert link.subject == "t1"
    assert asker.bench.store.read(lambda reader: shown_by(reader, secret, asker.bench.clock.now_ms())).text == "Fine."


@pytest.mark.parametrize(("more", "state"), [({}, "folded"), ({"state": "sent"}, "sent"), ({"attempts": 1}, "waiting")])
def test_a_failure_that_nobody_has_read_is_not_told_once_its_task_is_tried_again(more: Any, state: str) -> None:
    box = OutboxDraft(Routes(("ops",)), Now(9, 9), (), {})
    add_answer(box, ended("task.failed"), WAITING_TASK)
    (row,) = box.changed.values()
    box = OutboxDraft(Routes(("ops",)), Now(9, 9), (replace(row, **more),), {})
    add_answer(box, ended("task.retrying"), WAITING_TASK)
    assert box.rows[row.id].state == state
    box = OutboxDraft(Routes(("ops",)), Now(9, 9), (box.rows[row.id],), {})
    add_answer(box, ended("task.failed"), WAITING_TASK)
    assert box.rows[row.id].state == ("waiting" if state == "folded" else state)


def test_the_same_event_again_adds_nothing():
    box = OutboxDraft(Routes(("ops",)), Now(1, 1), (), {})
    task = Task("t1", reply_to='{"channel":"ops"}', token=5)
    event = Event(1, "info", "task.done", "TaskQueue", "m", {"taskId": "t1"}, "t1")
    add_answer(box, event, task)
    (row,) = box.changed.values()
    later = OutboxDraft(Routes(("ops",)), Now(9, 9), (replace(row, state="sent"),), {})
    add_answer(later, event, task)
    assert later.changed == {}
