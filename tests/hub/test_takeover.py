"""Takeover opens when every daemon is away, answers what needs no machine, and gives way to whoever comes back."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from tests.hub.standing_in import ANSWERED, StandIn
from understudy.coordinator.calls import LEASE_MARGIN_MS, NoCall
from understudy.coordinator.prices import Price, Tokens
from understudy.coordinator.takeover import CallOutcome
from understudy.hub.calls import CutCalls, ReserveCall, TakeoverCall
from understudy.hub.claims import ClaimTasks
from understudy.hub.daemons import ConfigureDaemon, PauseDaemon
from understudy.hub.heartbeats import RecordHeartbeat
from understudy.hub.memory import SaveMemory
from understudy.hub.results import ReportResult
from understudy.hub.takeover import RecordProbe, SwitchTakeover
from understudy.hub.task_commands import CommandTask
from understudy.store.queries import MESSAGES
from understudy.wire.daemons import HeartbeatBody, SettingsBody, SleepWindow
from understudy.wire.memory import MemorySaveBody
from understudy.wire.tasks import ClaimBody, ResultBody

AGAIN = CallOutcome("again", "overloaded")


@pytest.fixture
def standing_in():
    benches = []

    def make(**decided):
        benches.append(StandIn(**decided))
        return benches[-1]

    yield make
    for bench in benches:
        bench.store.close()


def test_a_text_task_is_answered_under_a_lease_and_labelled(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    job = hub.job()
    assert hub.task().status == "leased"
    assert hub.settle(job) == {"success": True}
    result = hub.result()
    assert (result.success, result.output, result.executor, result.degraded) == (1, '"four"', "hub/claude-api", 1)
    assert result.cost_micro_usd == 150
    assert hub.names() == ["takeover.opened", "takeover.answered"]


def test_an_answer_that_a_full_store_cuts_is_an_answer(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    job = hub.job()
    hub.engine.policy = replace(hub.engine.policy, store_bytes_max=1)
    assert hub.settle(job, replace(ANSWERED, text="four" * 10_000)) == {"success": True, "cut": True}
    assert "bytes left out" in hub.result().output
    assert hub.names() == ["takeover.opened", "takeover.answered"]


def test_nothing_is_answered_while_a_daemon_is_there(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.beat()
    assert hub.reserve() == NoCall("no_task")
    hub.pass_time(200_000)  # late
    assert isinstance(hub.reserve(), NoCall)


def test_nothing_is_answered_where_there_never_was_a_daemon(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.pass_time(3_600_000)
    assert isinstance(hub.reserve(), NoCall)


def test_a_living_standby_is_preferred(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.beat("mini")
    for _ in range(35):
        hub.pass_time(10_000)
        hub.beat("other")
    assert isinstance(hub.reserve(), NoCall)


def test_a_daemon_that_stopped_as_planned_is_away_after_a_while(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.beat(state="stopping", planned_for_sec=0)
    hub.pass_time(899_000)
    assert isinstance(hub.reserve(), NoCall)
    hub.pass_time(2_000)
    assert isinstance(hub.reserve(), TakeoverCall)


def go_away(hub, how):
    """A daemon is away, takeover is open, and nothing more is heard."""
    if how == "planned":
        hub.beat(state="stopping", planned_for_sec=3_600)
        hub.pass_time(901_000)
    elif how == "asleep":
        hub.beat()  # at 02:40
        hub.ask(ConfigureDaemon("mini", SettingsBody(expected_sleep=[SleepWindow("02:42", "03:10")])))
        hub.pass_time(180_000 + 901_000)
    elif how == "draining":
        for _ in range(92):
            hub.beat(state="draining")
            hub.pass_time(10_000)
    else:
        hub.beat(auth={"claude_code": "logged_out"})


@pytest.mark.parametrize("how", ["planned", "asleep", "draining", "stuck"])
def test_no_silence_of_a_daemon_that_is_away_shuts_it_and_its_next_word_does(standing_in, how):
    hub = standing_in()
    go_away(hub, how)
    assert hub.look().is_open
    while not hub.events("daemon.down"):
        hub.pass_time(10_000)
        assert hub.look().is_open
    assert len(hub.events("daemon.late")) == 1
    hub.beat()
    assert not hub.look().is_open
    assert hub.names() == ["takeover.opened", "takeover.closed"]


@pytest.mark.parametrize("how", ["planned", "draining", "stuck"])
def test_a_daemon_that_is_away_and_falls_asleep_as_expected_shuts_nothing(standing_in, how):
    hub = standing_in()
    go_away(hub, how)
    assert hub.look().is_open
    hub.ask(ConfigureDaemon("mini", SettingsBody(expected_sleep=[SleepWindow("02:41", "12:00")])))
    while not hub.events("daemon.asleep"):
        hub.pass_time(10_000)
        assert hub.look().is_open
    hub.pass_time(10_000)
    assert hub.look().is_open
    assert hub.names() == ["takeover.opened"]


@pytest.mark.parametrize("said", ["stopping", "running"])
def test_a_word_of_a_daemon_that_was_away_shuts_it_until_it_is_down(standing_in, said):
    hub = standing_in()
    go_away(hub, "planned")
    assert hub.look().is_open
    hub.beat(state=said)
    for _ in range(29):
        assert not hub.look().is_open
        hub.pass_time(10_000)
    hub.pass_time(10_000)
    assert hub.look().is_open


def test_a_daemon_that_was_late_before_its_expected_sleep_is_away_after_a_while_of_that(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.beat()  # at 02:40
    hub.ask(ConfigureDaemon("mini", SettingsBody(expected_sleep=[SleepWindow("02:44", "09:00")])))
    hub.pass_time(300_000 + 899_000)
    assert isinstance(hub.reserve(), NoCall)
    hub.pass_time(2_000)
    assert isinstance(hub.reserve(), TakeoverCall)
    assert (len(hub.events("daemon.late")), hub.events("daemon.down")) == (1, [])


@pytest.mark.parametrize("said", ["stopping", "draining"])
def test_a_daemon_that_stopped_and_has_not_come_back_is_away_once_it_is_down(standing_in, said):
    hub = standing_in()
    hub.enqueue()
    hub.beat(state=said)
    hub.pass_time(299_000)
    assert isinstance(hub.reserve(), NoCall)
    hub.pass_time(2_000)
    assert isinstance(hub.reserve(), TakeoverCall)


def test_a_daemon_that_goes_on_draining_is_away_after_a_while(standing_in):
    hub = standing_in()
    hub.enqueue()
    for _ in range(90):
        hub.beat(state="draining")
        hub.pass_time(10_000)
    assert isinstance(hub.reserve(), TakeoverCall)


def test_a_paused_daemon_keeps_it_shut(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.beat()
    hub.ask(PauseDaemon("mini", paused=True))
    hub.pass_time(3_600_000)
    assert isinstance(hub.reserve(), NoCall)


def test_a_probe_must_succeed_first_where_one_is_configured(standing_in):
    hub = standing_in(probes=True)
    hub.enqueue()
    hub.lose_daemon()
    verdict = hub.look()
    assert (verdict.wants_probe, verdict.is_open) == (True, False)
    assert isinstance(hub.reserve(), NoCall)
    hub.ask(RecordProbe())
    assert hub.look().is_open
    assert isinstance(hub.reserve(), TakeoverCall)


def test_what_only_an_absent_machine_can_do_is_probed_for_as_well_while_others_live(standing_in):
    hub = standing_in(probes=True, mode="interim")
    hub.enqueue(needs=None)
    hub.lose_daemon()
    hub.beat("other", provides=["text"])
    assert hub.look().wants_probe
    hub.ask(RecordProbe())
    assert not hub.look().wants_probe
    assert hub.job().token == 0


def test_after_a_gap_daemons_are_given_time_to_be_heard_again(standing_in):
    hub = standing_in()
    hub.lose_daemon()
    hub.enqueue()
    hub.clock.advance(3_600_000)  # no hub ran
    assert isinstance(hub.reserve(), NoCall)
    hub.pass_time(31_000)
    assert isinstance(hub.reserve(), TakeoverCall)


def test_a_machine_task_is_never_closed_by_the_hub(standing_in):
    hub = standing_in()
    hub.enqueue(needs=None)
    hub.lose_daemon()
    assert hub.reserve() == NoCall("no_task")
    assert hub.task().status == "queued"
    (kept,) = hub.events("takeover.kept")
    assert (kept["position"], kept["reason"], kept["daemonId"]) == (1, "machine", "mini")
    hub.look()
    assert len(hub.events("takeover.kept")) == 1


def test_interim_answers_a_machine_task_meanwhile_and_leaves_it_queued(standing_in):
    hub = standing_in(mode="interim")
    hub.enqueue(needs=None)
    hub.lose_daemon()
    job = hub.job()
    assert job.token == 0
    assert "provisional" in job.prompt.system
    assert isinstance(hub.reserve(), NoCall)  # one call at a time for one task
    hub.settle(job)
    assert (hub.task().status, hub.result(), hub.done().interim_answer) == ("queued", None, '"four"')
    assert hub.events("takeover.interim")[0]["text"] == "four"
    assert isinstance(hub.reserve(), NoCall)  # once


@pytest.mark.parametrize("hidden_by", ["gpu", "tape"])
def test_tasks_that_wait_for_somebody_else_do_not_hide_the_one_whose_machine_is_away(standing_in, hidden_by):
    """Eight of them in front of it: it was never looked at."""
    hub = standing_in(mode="interim")
    for n in range(9):
        hub.enqueue(f"other-{n}", needs=[hidden_by])
    hub.enqueue("m", needs=["machine"])
    hub.beat("mini")
    for _ in range(31):
        hub.pass_time(10_000)
        hub.beat("big", provides=["gpu"])
    assert hub.job().task_id == "m"


def test_behind_tasks_that_are_too_dear_the_next_ones_are_looked_at_at_once(standing_in):
    """A minute for every eight of them: an answer behind eighty came ten minutes late."""
    hub = standing_in()
    for n in range(9):
        hub.enqueue(f"dear-{n}", content="x" * 95_000)
    hub.enqueue("short")
    hub.lose_daemon()
    assert hub.reserve() == NoCall("no_task", pause_ms=0)
    assert hub.job().task_id == "short"
    assert hub.reserve() == NoCall("no_task")


def test_as_many_interim_answers_are_asked_for_at_once_as_the_owner_allows(standing_in):
    hub = standing_in(mode="interim", calls_at_once=12)
    for n in range(13):
        hub.enqueue(f"t{n}", needs=["machine"])
    hub.lose_daemon()
    assert len({hub.job().task_id for _ in range(12)}) == 12
    assert hub.reserve() == NoCall("busy")


def test_a_provisional_answer_that_comes_after_the_machine_is_not_given(standing_in):
    hub = standing_in(mode="interim")
    hub.enqueue(needs=None)
    hub.lose_daemon()
    job = hub.job()
    hub.beat()
    hub.ask(ClaimTasks(ClaimBody(daemon_id="mini", boot_id="b", provides=["machine"]), "mini"))
    hub.settle(job)
    assert hub.done().interim_answer == ""
    assert hub.events("takeover.interim") == []
    assert hub.spent() == 150


def test_notify_tells_senders_and_calls_nobody(standing_in):
    hub = standing_in(mode="notify", has_key=False, price=None)
    hub.enqueue("a")
    hub.enqueue("b", needs=None)
    hub.lose_daemon()
    assert hub.reserve() == NoCall("notify")
    assert [(k["taskId"], k["position"]) for k in hub.events("takeover.kept")] == [("a", 1), ("b", 2)]


def test_without_a_key_or_a_price_it_is_off(standing_in):
    for lack, why in (({"has_key": False}, "no_key"), ({"price": None}, "no_price")):
        hub = standing_in(**lack)
        hub.enqueue()
        hub.lose_daemon()
        assert hub.reserve() == NoCall(why)
        assert hub.events("takeover.kept") == []


def test_modes_are_chosen_by_source(standing_in):
    hub = standing_in(mode="", sources=(("slack", "answer"), ("mail", "notify")))
    for source in ("cron", "mail", "slack"):
        hub.enqueue(source, source=source)
    hub.lose_daemon()
    assert hub.job().task_id == "slack"
    assert hub.reserve() == NoCall("no_task")
    assert [k["taskId"] for k in hub.events("takeover.kept")] == ["mail"]


def test_off_outweighs_every_source(standing_in):
    hub = standing_in(mode="off", sources=(("slack", "answer"),))
    hub.enqueue(source="slack")
    hub.lose_daemon()
    assert hub.reserve() == NoCall("notify")
    assert not hub.look().is_open
    assert hub.names() == []


def test_a_task_that_forbids_it_is_left_alone(standing_in):
    hub = standing_in()
    hub.enqueue(takeover="never")
    hub.lose_daemon()
    assert isinstance(hub.reserve(), NoCall)
    assert hub.events("takeover.kept") == []


def test_a_daemon_that_returns_shuts_it_and_gets_what_is_left(standing_in):
    hub = standing_in()
    hub.enqueue("a")
    hub.enqueue("b")
    hub.lose_daemon()
    job = hub.job()
    hub.beat()
    assert isinstance(hub.reserve(), NoCall)
    (claimed,) = hub.ask(ClaimTasks(ClaimBody(daemon_id="mini", boot_id="b"), "mini"))
    assert claimed["taskId"] == "b"
    assert hub.settle(job) == {"success": True}  # what runs is finished
    assert hub.task("a").status == "done"
    assert hub.names() == ["takeover.opened", "takeover.closed", "takeover.answered"]


def test_a_result_of_a_daemon_that_wakes_after_takeover_changes_nothing(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.beat()
    (claimed,) = hub.ask(ClaimTasks(ClaimBody(daemon_id="mini", boot_id="b"), "mini"))
    hub.pass_time(301_000)
    job = hub.job()
    late = ResultBody(success=True, token=claimed["lease"]["token"], output="from the grave")
    assert hub.ask(ReportResult("t", late))[0].status == 409
    hub.settle(job)
    assert hub.ask(ReportResult("t", late))[0].status == 409
    assert hub.result().output == '"four"'


def test_an_answer_that_comes_after_the_daemon_has_the_task_changes_nothing(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    job = hub.job()
    hub.pass_time(91_000)  # its lease is over
    hub.beat()
    (claimed,) = hub.ask(ClaimTasks(ClaimBody(daemon_id="mini", boot_id="b"), "mini"))
    assert hub.settle(job).status == 409
    assert (hub.task().status, hub.task().token) == ("leased", claimed["lease"]["token"])
    assert hub.events("takeover.answered") == []


def test_a_daemon_that_is_heard_in_the_same_batch_keeps_it_shut(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    hub.look()
    beat = RecordHeartbeat(HeartbeatBody(daemon_id="mini", machine_id="m-mini", boot_id="b", seq=99))
    assert isinstance(hub.ask(beat, ReserveCall("hub/test"))[1], NoCall)


def test_a_failed_call_gives_the_task_back_and_takeover_rests(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    hub.settle(hub.job(), AGAIN)
    assert (hub.task().status, hub.task().ready) == ("queued", 1)
    resting = hub.reserve()
    assert (resting.reason, 4_000 <= resting.pause_ms <= 5_000) == ("resting", True)
    hub.pass_time(6_000)
    assert hub.job().task_id == "t"


def test_a_service_that_says_when_to_come_back_is_obeyed(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    hub.settle(hub.job(), CallOutcome("again", "rate_limited", wait_ms=120_000))
    assert hub.reserve() == NoCall("resting", 120_000)


def test_a_task_rests_after_three_tries_and_others_go_on(standing_in):
    hub = standing_in()
    hub.enqueue("a")
    hub.lose_daemon()
    for _ in range(3):
        hub.settle(hub.job(), AGAIN)
        hub.pass_time(61_000)
    hub.enqueue("b")
    assert hub.job().task_id == "b"
    assert hub.task("a").losses == 0
    hub.pass_time(600_000)
    assert hub.job().task_id == "a"


def test_another_model_answers_while_the_first_is_overloaded(standing_in):
    hub = standing_in(fallback_model="other", fallback_price=Price(2, 10))
    hub.enqueue("a")
    hub.enqueue("b")
    hub.lose_daemon()
    hub.settle(hub.job(), AGAIN)
    hub.pass_time(6_000)
    job = hub.job()
    assert (job.prompt.model, hub.calls()[-1].model) == ("other", "other")
    hub.settle(job)
    assert hub.result("a").cost_micro_usd == 300
    assert hub.job().prompt.model == "m"


def test_another_model_of_unknown_price_is_not_asked(standing_in):
    hub = standing_in(fallback_model="other")
    hub.enqueue()
    hub.lose_daemon()
    hub.settle(hub.job(), AGAIN)
    hub.pass_time(6_000)
    assert hub.job().prompt.model == "m"


@pytest.mark.parametrize("reason", ["authentication", "permission", "credit", "model", "request"])
def test_the_circuit_opens_with_one_event_and_tasks_stay_queued(standing_in, reason):
    hub = standing_in()
    hub.enqueue("a")
    hub.enqueue("b")
    hub.lose_daemon()
    jobs = (hub.job(), hub.job())
    for job in jobs:
        hub.settle(job, CallOutcome("stop", reason, said="no"))
    assert [event["reason"] for event in hub.events("takeover.circuit_open")] == [reason]
    assert {hub.task("a").status, hub.task("b").status} == {"queued"}
    assert hub.reserve() == NoCall(reason)
    assert {kept["reason"] for kept in hub.events("takeover.kept")} == {reason}
    hub.pass_time(3_600_000)
    assert hub.reserve() == NoCall(reason)
    hub.ask(SwitchTakeover("resume", "owner"))
    assert isinstance(hub.reserve(), TakeoverCall)


@pytest.mark.parametrize("absent_ms", [0, 700_000])
def test_after_a_refusal_that_may_be_about_one_task_the_next_call_is_for_another(standing_in, absent_ms):
    hub = standing_in()
    hub.enqueue("a")
    hub.enqueue("b")
    hub.lose_daemon()
    hub.settle(hub.job(), CallOutcome("stop", "request", is_suspect=True))
    assert isinstance(hub.reserve(), NoCall)
    hub.pass_time(absent_ms)
    hub.ask(SwitchTakeover("resume", "owner"))
    job = hub.job()
    assert job.task_id == "b"
    hub.settle(job)
    hub.pass_time(600_000)
    assert hub.job().task_id == "a"


def test_a_suspect_is_behind_those_that_may_get_an_interim_answer(standing_in):
    hub = standing_in(mode="interim")
    hub.enqueue("a")
    hub.enqueue("b", needs=["machine"])
    hub.lose_daemon()
    hub.settle(hub.job(), CallOutcome("stop", "request", is_suspect=True))
    hub.pass_time(700_000)
    hub.ask(SwitchTakeover("resume", "owner"))
    assert hub.job().task_id == "b"


def test_an_answer_whose_cost_nobody_counted_is_given_at_the_price_of_its_worst_case(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    job = hub.job()
    (call,) = hub.calls()
    hub.settle(job, CallOutcome("answered", text="four", billed="unknown"))
    assert (hub.spent(), hub.result().output) == (call.reserved_micro_usd, '"four"')
    assert json.loads(hub.result().usage) == {"model": "m", "costMicroUsd": call.reserved_micro_usd}


def test_the_circuit_closes_when_the_key_is_another_one(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    hub.settle(hub.job(), CallOutcome("stop", "authentication"))
    hub.decide(access="b")
    assert isinstance(hub.reserve(), TakeoverCall)
    assert hub.events("takeover.circuit_closed") == [{"why": "changed"}]


FALLBACK = {"fallback_model": "other", "fallback_price": Price(2, 10), "fallback_access": "f"}


@pytest.mark.parametrize(
    ("is_fallback", "changed", "closes"),
    [
        (False, {"fallback_model": "third", "fallback_access": "g"}, False),
        (False, {"model": "third", "access": "b"}, True),
        (True, {"fallback_model": "third", "fallback_access": "g"}, True),
        (True, {"model": "third", "access": "b"}, False),
        (True, {"access": "b", "fallback_access": "g"}, True),
    ],
)
def test_the_circuit_closes_when_the_model_that_was_refused_is_another_one(standing_in, is_fallback, changed, closes):
    hub = standing_in(**FALLBACK)
    hub.enqueue()
    hub.lose_daemon()
    if is_fallback:
        hub.settle(hub.job(), CallOutcome("again", "overloaded"))
        hub.pass_time(61_000)
    job = hub.job()
    assert job.prompt.model == ("other" if is_fallback else "m")
    hub.settle(job, CallOutcome("stop", "model"))
    assert isinstance(hub.reserve(), NoCall), "what has not changed closes nothing"
    hub.decide(**changed)
    assert isinstance(hub.reserve(), TakeoverCall if closes else NoCall)


def test_an_enforced_spend_limit_holds_until_the_next_month(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    hub.settle(hub.job(), CallOutcome("stop", "spend_limit"))
    until = hub.state().circuit_until_at
    assert until == 1_772_323_200_000  # 2026-03-01T00:00Z
    hub.clock.advance(until - hub.clock.now_ms() - 1)
    assert isinstance(hub.reserve(), NoCall)
    hub.pass_time(40_000)
    assert isinstance(hub.reserve(), TakeoverCall)


def test_an_owner_may_pause_it(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    hub.ask(SwitchTakeover("pause", "owner"))
    hub.ask(SwitchTakeover("pause", "owner"))
    assert hub.reserve() == NoCall("paused")
    assert hub.names().count("takeover.paused") == 1


def test_a_refusal_ends_the_task(standing_in):
    hub = standing_in()
    hub.enqueue(max_attempts=3)
    hub.lose_daemon()
    hub.settle(hub.job(), CallOutcome("failed", "refused", tokens=Tokens(50, 1), billed="tokens"))
    assert hub.task().status == "failed"
    assert '"refused"' in hub.result().failure
    assert hub.result().degraded == 1


def test_a_truncated_answer_says_so(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    hub.settle(hub.job(), CallOutcome("answered", text="fo", is_truncated=True, tokens=Tokens(5, 5), billed="tokens"))
    assert '"truncated":true' in hub.result().usage
    assert hub.events("takeover.answered")[0]["truncated"]


def test_a_task_that_was_cancelled_meanwhile_stays_cancelled(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    job = hub.job()
    hub.ask(CommandTask("cancel", "t", "key"))
    hub.settle(job)
    assert (hub.task().status, hub.result().success) == ("cancelled", 0)
    assert hub.spent() == 150


def test_settling_twice_changes_nothing_the_second_time(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    job = hub.job()
    hub.settle(job)
    before = (hub.spent(), hub.task(), hub.result(), hub.done())
    hub.settle(job)
    assert (hub.spent(), hub.task(), hub.result(), hub.done()) == before


def test_an_interim_answer_that_is_settled_twice_or_comes_after_another_changes_nothing(standing_in):
    hub = standing_in(mode="interim")
    hub.enqueue(needs=None)
    hub.lose_daemon()
    late = hub.job()
    hub.pass_time(late.timeout_ms + LEASE_MARGIN_MS)
    hub.look()  # its call was cut
    job = hub.job()
    hub.settle(job)
    before = (hub.spent(), hub.done())
    hub.settle(job)
    hub.settle(late, replace(ANSWERED, text="five"))
    assert (hub.spent(), hub.done()) == before
    assert [said["text"] for said in hub.events("takeover.interim")] == ["four"]


def test_a_failed_call_that_is_settled_twice_is_one_try(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    job = hub.job()
    assert hub.settle(job, AGAIN) == {"success": True}
    before = (hub.spent(), hub.task(), hub.done())
    hub.settle(job, AGAIN)
    assert (hub.spent(), hub.task(), hub.done()) == before
    assert hub.done().tries == 1


def test_a_call_that_a_crash_cut_is_spent_and_its_task_is_free(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    job = hub.job()
    (call,) = hub.calls()
    hub.ask(CutCalls("hub/test"))
    assert hub.spent() == call.reserved_micro_usd
    assert (hub.task().status, hub.task().losses) == ("queued", 1)
    again = hub.job()
    assert again.token > job.token
    assert hub.settle(job).status == 409  # the dead call's answer, if it came


def test_a_call_that_nobody_settles_is_spent_when_its_lease_is_over(standing_in):
    hub = standing_in()
    hub.enqueue()
    hub.lose_daemon()
    hub.job()
    (call,) = hub.calls()
    hub.pass_time(91_000)
    hub.look()
    assert hub.spent() == call.reserved_micro_usd
    assert hub.calls()[0].outcome == "cut"


def test_the_conversation_is_given_and_the_answer_is_remembered(standing_in):
    hub = standing_in()
    for n, (role, text) in enumerate((("user", "I am Ada"), ("assistant", "Hello Ada"))):
        hub.ask(SaveMemory(MemorySaveBody(user_id="u", channel="slack", role=role, content=text), f"m{n}"))
        hub.clock.advance(10)
    hub.enqueue(content="Who am I?", conversation={"channel": "slack", "user_id": "u"})
    hub.lose_daemon()
    job = hub.job()
    said = [(m["role"], m["content"][0]["text"]) for m in job.prompt.messages]
    assert said == [("user", "I am Ada"), ("assistant", "Hello Ada"), ("user", "Who am I?")]
    hub.settle(job)
    kept = hub.store.read(lambda tx: tx.find(MESSAGES, "u", "", "slack", "slack", limit=10))
    assert {m.content for m in kept} == {"four", "Who am I?", "Hello Ada", "I am Ada"}


def test_a_task_that_is_kept_in_the_look_that_cuts_its_call_does_not_forget_what_that_cost(standing_in):
    hub = standing_in(mode="interim")
    hub.lose_daemon()
    hub.enqueue(needs=None)
    job = hub.job()
    hub.ask(SwitchTakeover("pause", "owner"))
    hub.pass_time(job.timeout_ms + LEASE_MARGIN_MS)
    hub.look()
    (call,) = hub.calls()
    assert call.outcome == "cut"
    assert (bool(hub.done().kept_at), hub.done().spent_micro_usd) == (True, call.reserved_micro_usd)
