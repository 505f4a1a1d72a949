"""The exercise that every store must pass, written against the seam alone; each backend's test file runs it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import fields, replace

from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import (
    Attempt,
    Boot,
    Daemon,
    Evidence,
    Hearing,
    Incident,
    Key,
    Memory,
    Notice,
    Period,
    Progress,
    Result,
    Task,
    TaskBody,
)
from understudy.coordinator.samples import Sample
from understudy.coordinator.takeover import Reach
from understudy.coordinator.takeover_nouns import UNTOLD_PROVIDES, Reservation, TakeoverState, TaskTakeover
from understudy.errors import StoreError
from understudy.store.base import Candidates, EventFilter, Store, TaskFilter, Transaction
from understudy.store.dialect import json_text
from understudy.store.queries import (
    BY_DEDUP,
    CLAIMED_WITH,
    FINISHED_TASKS,
    HELD_BY,
    INCIDENTS,
    INCIDENTS_BEFORE,
    INCIDENTS_SINCE,
    LAST_ATTEMPTS_OF,
    MESSAGES,
    OPEN_CALLS,
    READY,
    SAMPLED,
    SUPERSEDED_BOOTS,
    WAITING_FOR,
    Part,
    queue_front,
)
from understudy.store.reading import JSON
from understudy.store.tables import TABLES, StoreCopy

T0 = 1_770_000_000_000
MACHINE = '["machine"]'
BIGGEST = (1 << 53) - 1


def queued(task_id: str, order: int = 0, **values: object) -> Task:
    return Task(task_id, order_key=order, queued_at=T0 + order, **values)  # type: ignore[arg-type]


def leased(task_id: str, **values: object) -> Task:
    base = queued(task_id, status="leased", ready=0, token=5, expires_h=T0 + 10)
    return replace(base, **values)


def filled(noun: type[Struct]) -> Struct:
    """A row with a telling value in each column."""
    values = {}
    for n, field in enumerate(fields(noun)):
        values[field.name] = {str: f"値 {field.name} '\"", int: BIGGEST - n, bytes: b"\x00\xff"}[field.type]
    fixed = {Task: {"status": "queued", "ready": 0, "waiting_for": "d", "finished_at": 0}, Daemon: {"state": "late"}}
    fixed[Hearing] = {"id": 1}
    fixed[Notice] = {"state": "sent"}
    fixed[TakeoverState] = fixed[StoreCopy] = {"id": 1}
    fixed[Incident] = {"state": "late"}
    fixed[Notice]["level"] = "info"
    columns = {f.encode_name: f.name for f in fields(noun)}
    named = {columns[name]: stand_in for name, (_, stand_in) in JSON.get(noun, {}).items()}  # JSON has to be JSON
    return noun(**{**values, **named, **fixed.get(noun, {})})


class StoreConformance:
    """Subclasses offer the fixture `store`: an empty store."""

    def save(self, store: Store, *rows: Struct) -> None:
        store.transaction(lambda tx: tx.save_many(rows))

    @pytest.mark.parametrize("noun", list(TABLES), ids=lambda noun: noun.__name__)
    def test_every_noun_comes_back_as_it_was_saved(self, store: Store, noun: type[Struct]) -> None:
        row = filled(noun)
        self.save(store, row)
        key = TABLES[noun].key_of(row)
        assert store.read(lambda tx: tx.load_many(noun, (key,))) == [row]

    def test_saving_again_replaces_and_absent_keys_are_left_out(self, store: Store) -> None:
        self.save(store, queued("a"), queued("b"))
        self.save(store, queued("a", note="twice"))
        found = store.read(lambda tx: tx.load_many(Task, ("a", "b", "nobody")))
        assert {task.id: task.note for task in found} == {"a": "twice", "b": ""}

    def test_saving_a_sample_again_adds_its_counts_and_raises_its_maxima(self, store: Store) -> None:
        self.save(store, Sample(T0, 5, 1, 700, beats=6, requests=60, commits=3, commit_ms=30, commit_max_ms=20))
        self.save(store, Sample(T0, 4, 2, 800, beats=1, requests=10, commits=2, commit_ms=20, commit_max_ms=15))
        (found,) = store.read(lambda tx: tx.load_many(Sample, (T0,)))
        assert found == Sample(T0, 5, 2, 800, beats=7, requests=70, commits=5, commit_ms=50, commit_max_ms=20)

    def test_rows_are_gathered_by_buckets_of_time_within_their_bounds(self, store: Store) -> None:
        self.save(store, *(Sample(T0 + at, waiting=at, beats=1) for at in (-1, 0, 99, 100, 250, 400)))
        found = store.read(lambda tx: tx.gathered(SAMPLED, T0, T0 + 400, 100))
        assert {bucket: (values[0], values[3]) for bucket, values in found.items()} == {
            0: (99, 2), 1: (100, 1), 2: (250, 1),
        }  # fmt: skip
        assert store.read(lambda tx: tx.gathered(SAMPLED, T0 + 500, T0 + 900, 100)) == {}

    def test_finished_tasks_are_gathered_from_when_they_could_be_claimed(self, store: Store) -> None:
        times = {"status": "done", "ready": 0}
        self.save(
            store,
            queued("quick", claimed_at=T0 + 10, finished_at=T0 + 30, **times),
            queued("delayed", available_at=T0 + 40, claimed_at=T0 + 70, finished_at=T0 + 80, **times),
            queued("never claimed", finished_at=T0 + 90, **times),
            queued("waits"),
        )
        found = store.read(lambda tx: tx.gathered(FINISHED_TASKS, T0, T0 + 100, 100))
        assert found == {0: (2, 10 + 30, 30, 20 + 10, 20)}

    def test_a_transaction_that_raises_keeps_nothing(self, store: Store) -> None:
        def half(tx: Transaction) -> None:
            tx.save_many((queued("a"),))
            raise LookupError

        with pytest.raises(LookupError):
            store.transaction(half)
        assert store.read(lambda tx: tx.ready_ids(10)) == []

    @pytest.mark.parametrize(
        "impossible",
        [
            queued("x", status="done"),
            queued("x", status="leased", ready=1),
            queued("x", waiting_for="d", ready=1),
            queued("x", status="leased", ready=0),
            queued("x", status="sleeping"),
        ],
        ids=["done but not finished", "leased but ready", "reserved but ready", "leased without token", "no status"],
    )
    def test_impossible_rows_are_refused_by_the_store_too(self, store: Store, impossible: Task) -> None:
        with pytest.raises(StoreError):
            self.save(store, impossible)

    def test_claimable_covers_needs_in_the_order_of_the_queue(self, store: Store) -> None:
        self.save(
            store,
            queued("late", 30),
            queued("early", 10),
            queued("text", 20, needs="[]"),
            queued("gpu", 5, needs='["gpu","machine"]'),
            queued("delayed", 1, ready=0),
        )
        find = lambda tags: store.read(lambda tx: [t.id for t in tx.claimable(frozenset(tags), 10)])  # noqa: E731
        assert find(["machine"]) == ["early", "text", "late"]
        assert find([]) == ["text"]
        assert find(["machine", "gpu"]) == ["gpu", "early", "text", "late"]

    def test_claimable_has_a_limit_and_finds_many_different_needs(self, store: Store) -> None:
        self.save(store, *(queued(f"t{n:04}", n, needs=f'["tag{n:04}"]') for n in range(1_200)))
        provides = frozenset(f"tag{n:04}" for n in range(1_200))
        found = store.read(lambda tx: tx.claimable(provides, 1_150))
        assert [task.id for task in found] == [f"t{n:04}" for n in range(1_150)]

    def test_claimable_keeps_the_order_across_sets_of_needs(self, store: Store) -> None:
        sets = ["[]", '["a"]', '["a"]', '["a"]', '["b"]', '["hidden"]']
        self.save(store, *(queued(f"t{n:03}", n, needs=sets[n * n % 11 % 6]) for n in range(120)))
        wanted = [f"t{n:03}" for n in range(120) if sets[n * n % 11 % 6] != '["hidden"]']
        for limit in (1, 7, 60, 120):
            found = store.read(lambda tx, limit=limit: tx.claimable(frozenset({"a", "b"}), limit))
            assert [task.id for task in found] == wanted[:limit]

    def test_claims_of_different_tags_find_together_what_each_finds_alone(self, store: Store) -> None:
        sets = ["[]", '["a"]', '["a","b"]', '["b"]', '["b","c"]', '["hidden"]']
        self.save(store, *(queued(f"t{n:03}", n, needs=sets[n * n % 11 % 6]) for n in range(90)))
        asked = [frozenset(tags) for tags in ("", "a", "b", "ab", "bc", "abc", "xyz")]
        claims = {(tags, frozenset({f"w{n}"})): 5 for n, tags in enumerate(asked)}
        together, _ = store.read(lambda tx: tx.offered(claims))
        alone = store.read(lambda tx: {tags: tx.claimable(tags, 5 * len(asked)) for tags in asked})
        assert together == alone
        assert len(together[frozenset("abc")]) == 5 * len(asked)

    def test_claims_of_different_tags_read_the_beginning_of_no_other_line(self, store: Store) -> None:
        self.save(store, *(queued(f"t{n:02}", n, needs=f'["{tag}"]') for n, tag in enumerate("abcdefgh")))

        def heads(*asked: str) -> list[str]:
            read: list[str] = []

            def note(tx: Any) -> None:
                of_store = tx._heads
                tx._heads = lambda covered: read.extend(covered) or of_store(covered)
                found = tx.claimable_of_each([frozenset(tags) for tags in asked], 10)
                assert [sorted(t.needs[2] for t in found[frozenset(tags)]) for tags in asked] == [[*t] for t in asked]

            store.read(note)
            return sorted(read)

        assert heads("a", "b") == [], "a single line of each claimant is read with its tasks"
        assert heads("abc", "bcd", "h") == ['["a"]', '["b"]', '["c"]', '["d"]']

    def test_needs_are_new_that_no_unfinished_task_has(self, store: Store) -> None:
        self.save(
            store,
            queued("q", needs='["q"]', ready=0),
            leased("l", needs='["l"]'),
            queued("f", needs='["f"]', status="done", ready=0, finished_at=1),
        )
        asked = {'["q"]', '["l"]', '["f"]', '["n"]'}
        assert store.read(lambda tx: tx.new_needs(asked, 9)) == ({'["f"]', '["n"]'}, 2)
        assert store.read(lambda tx: tx.new_needs({'["q"]'}, 9)) == (set(), 0)

    def test_a_reserved_task_is_found_only_by_its_daemon(self, store: Store) -> None:
        self.save(store, queued("kept", ready=0, waiting_for="mini"))
        assert store.read(lambda tx: tx.claimable(frozenset({"machine"}), 10)) == []
        assert store.read(lambda tx: tx.find(WAITING_FOR, ("other",), limit=10)) == []
        assert [t.id for t in store.read(lambda tx: tx.find(WAITING_FOR, ("other", "mini"), limit=10))] == ["kept"]

    def test_reserved_tasks_are_those_that_a_claimant_covers_as_many_as_it_may_get(self, store: Store) -> None:
        self.save(
            store,
            *(queued(f"gpu{n}", n, ready=0, waiting_for="mini", needs='["gpu"]') for n in range(5)),
            *(queued(f"text{n}", 10 + n, ready=0, waiting_for="mini", needs="[]") for n in range(5)),
            *(queued(f"o{n}", 20 + n, ready=0, waiting_for="other", needs='["gpu"]') for n in range(2)),
            queued("text", 15),
        )

        def found(*claims: tuple[str, str, int]) -> list[str]:
            asked = {(frozenset(tags.split()), frozenset(names.split())): count for tags, names, count in claims}
            return [task.id for task in store.read(lambda tx: tx.reserved(asked))]

        assert found(("", "mini", 2)) == ["text0", "text1"]
        assert found(("gpu", "mini", 6)) == ["gpu0", "gpu1", "gpu2", "gpu3", "gpu4", "text0"]
        assert found(("gpu", "mini other", 1)) == ["gpu0", "o0"], "so many of each name"
        assert found(("", "mini", 1), ("gpu", "other", 1)) == ["text0", "o0"]
        assert found(("", "mini", 1), ("gpu", "mini", 1)) == ["gpu0", "gpu1", "text0", "text1"]
        assert found(("gpu", "nobody", 9)) == found(("", "other", 9)) == []

    def test_however_many_choices_the_claims_of_a_name_cover_each_finds_its_own(self, store: Store) -> None:
        tags = [f"t{n:02}" for n in range(20)]
        self.save(
            store,
            *(queued(f"{n}{tag}", n, ready=0, waiting_for="d", needs=f'["{tag}"]') for tag in tags for n in (0, 1)),
        )
        for count in (3, len(tags)):
            claims = {(frozenset([tag]), frozenset({"d"})): 1 for tag in tags[:count]}
            found = store.read(lambda tx, claims=claims: {task.id for task in tx.reserved(claims)})
            assert found == {f"{n}{tag}" for tag in tags[:count] for n in (0, 1)}

    def test_leases_are_found_by_daemon_and_by_request(self, store: Store) -> None:
        self.save(store, leased("a", daemon_id="d1", request_id="r1"), leased("b", daemon_id="d2"))
        assert [t.id for t in store.read(lambda tx: tx.find(HELD_BY, ("d1",)))] == ["a"]
        assert [t.id for t in store.read(lambda tx: tx.find(CLAIMED_WITH, ("r1", "r9")))] == ["a"]

    def test_due_is_half_open_and_deadlines_are_the_nearest(self, store: Store) -> None:
        self.save(
            store,
            leased("soon", expires_h=T0 + 10),
            leased("later", expires_h=T0 + 20),
            queued("waits", ready=0, available_at=T0 + 30),
            Daemon("d1", deadline_h=T0 + 15),
            Daemon("quiet", deadline_h=0),
        )
        due = store.read(lambda tx: tx.due(T0 + 10, T0 + 29, 10))
        assert ([t.id for t in due.leases], due.delayed, due.daemons) == (["soon"], [], [])
        due = store.read(lambda tx: tx.due(T0 + 15, T0 + 30, 10))
        assert ([t.id for t in due.delayed], [d.id for d in due.daemons]) == (["waits"], ["d1"])
        nearest = store.read(lambda tx: tx.next_deadlines())
        assert (nearest.lease_h, nearest.health_h, nearest.available_at) == (T0 + 10, T0 + 15, T0 + 30)

    def test_an_idempotency_key_is_unique_a_submitter(self, store: Store) -> None:
        self.save(store, queued("a", submitter="k1", dedup_key="x"), queued("b", submitter="k2", dedup_key="x"))
        assert [t.id for t in store.read(lambda tx: tx.find(BY_DEDUP, "k2", "x"))] == ["b"]
        with pytest.raises(StoreError):
            self.save(store, queued("c", submitter="k1", dedup_key="x"))

    def test_daemons_are_gathered_by_what_takeover_asks_about(self, store: Store) -> None:
        self.save(
            store,
            Daemon("a", state="down", since_at=5, first_seen_at=1, last_seen_at=3),
            Daemon("b", state="down", since_at=4, first_seen_at=2, last_seen_at=9),
            Daemon("c", state="down", paused=1),
            Daemon("d", state="healthy", provides='["gpu"]', capabilities='["x"]'),
        )
        found = store.read(lambda tx: tx.daemon_groups())
        assert [(row.state, row.paused, row.count, row.daemon_id) for row in found] == [
            ("down", 0, 2, "a"),
            ("down", 1, 1, "c"),
            ("healthy", 0, 1, "d"),
        ]
        assert (found[0].since_at, found[0].first_seen_at, found[0].last_seen_at) == (5, 2, 9)
        assert (found[2].provides, found[2].capabilities) == ('["gpu"]', '["x"]')

    def test_what_daemons_provide_is_read_whole_unless_too_many_provide_very_much(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("understudy.store.takeover.LONG_MAX", 3)
        long = [json_text(["machine", f"{n}" * 60, *(f"tag{k:04}" for k in range(200))]) for n in range(4)]
        groups = lambda: store.read(lambda tx: [(row.provides, row.count) for row in tx.daemon_groups()])  # noqa: E731
        self.save(store, *(Daemon(f"{n}{twin}", "down", provides=long[n]) for n in range(3) for twin in "ab"))
        self.save(store, Daemon("short", "down", provides='["gpu"]', capabilities='["x"]'))
        assert sorted(groups()) == sorted([*((one, 2) for one in long[:3]), ('["gpu"]', 1)])
        self.save(store, Daemon("one more", "down", provides=long[3]))
        assert sorted(groups()) == [(UNTOLD_PROVIDES, 7), ('["gpu"]', 1)]

    def test_takeover_finds_what_it_may_answer_in_the_order_of_the_queue(self, store: Store) -> None:
        self.save(
            store,
            queued("late", 30, needs="[]", source="slack"),
            queued("early", 10, needs="[]", source="slack"),
            queued("never", 5, needs="[]", takeover="never", source="slack"),
            queued("resting", 6, needs="[]", source="slack"),
            TaskTakeover("resting", not_before_h=101),
            queued("other", 7, needs="[]", source="cron"),
            queued("delayed", 8, needs="[]", ready=0, source="slack"),
            queued("desk", 9, source="slack"),
            queued("kept", 3, ready=0, waiting_for="mini", source="slack"),
            queued("answered", 4, source="slack"),
            TaskTakeover("answered", interim_at=1),
        )

        def found(h: int = 100, **wanted: object) -> list[str]:
            asked = Candidates(**{"sources": ("slack",), "others": False, "text": True, **wanted})  # type: ignore[arg-type]
            return store.read(lambda tx: [task.id for task in tx.candidates(asked, h)])

        assert found() == ["early", "late"]
        assert found(101) == ["resting", "early", "late"]
        assert found(limit=1) == ["early"]
        assert found(others=True) == ["other"]
        assert found(text=False) == ["kept", "desk"]
        assert found(text=False, sources=()) == []

    def test_takeover_looks_at_suspects_last(self, store: Store) -> None:
        ids = [f"suspect-{n}" for n in range(9)]
        self.save(
            store,
            *(queued(task_id, n, needs="[]") for n, task_id in enumerate(ids)),
            *(TaskTakeover(task_id, tries=3, not_before_h=100) for task_id in ids),
            queued("a", 20, needs="[]"),
            queued("b", 30, needs="[]"),
            TaskTakeover("b", tries=2),
        )
        asked = Candidates((), others=True, text=True, limit=4)
        found = store.read(lambda tx: [task.id for task in tx.candidates(asked, 100)])
        assert found == ["a", "b", "suspect-0", "suspect-1"]
        assert store.read(lambda tx: [task.id for task in tx.candidates(asked, 99)]) == ["a", "b"]

    def test_takeover_looks_past_tasks_whose_needs_somebody_here_covers(self, store: Store) -> None:
        self.save(
            store,
            *(queued(f"gpu-{n}", n, needs='["gpu"]') for n in range(9)),
            queued("gpu-kept", 20, ready=0, waiting_for="big", needs='["gpu"]'),
            *(queued(f"nobody-{n}", 30 + n, needs='["tape"]') for n in range(9)),
            queued("desk", 50, needs='["machine"]'),
            queued("desk-kept", 60, ready=0, waiting_for="mini", needs='["machine"]'),
            queued("both", 70, needs='["gpu","machine"]'),
        )
        desk, gpu = frozenset({"machine"}), frozenset({"gpu"})

        def found(away: frozenset[str], here: frozenset[str]) -> list[str]:
            asked = Candidates((), others=True, text=False, reach=Reach(frozenset({away}), frozenset({here})))
            return store.read(lambda tx: [task.id for task in tx.candidates(asked, 100)])

        assert found(desk, gpu) == ["desk", "desk-kept"]
        assert found(desk | gpu, gpu) == ["desk", "desk-kept", "both"]
        assert found(gpu, desk) == [f"gpu-{n}" for n in range(8)]
        assert found(desk, desk) == []

    def test_the_front_of_the_queue_holds_reserved_tasks_too(self, store: Store) -> None:
        self.save(store, queued("b", 2), queued("a", 1, ready=0, waiting_for="mini"), queued("c", 3, ready=0))
        assert store.read(lambda tx: [task.id for task in queue_front(tx, 10)]) == ["a", "b"]
        assert store.read(lambda tx: [task.id for task in queue_front(tx, 1)]) == ["a"]

    def test_open_calls_are_those_that_nobody_has_settled(self, store: Store) -> None:
        call = Reservation("c1", "t", 5, "hub/x", "m", 100, 10, 2)
        self.save(store, call, replace(call, id="c2", at=1), replace(call, id="c3", settled_at=9, outcome="cut"))
        assert store.read(lambda tx: [row.id for row in tx.find(OPEN_CALLS, limit=10)]) == ["c2", "c1"]

    def test_events_get_growing_places_and_are_found_again(self, store: Store) -> None:
        def event(n: int, level: str = "info") -> Event:
            return Event(T0 + n, level, f"name.{n}", "Part", f"Message Nr {n} 眠", {"n": n}, task_id=f"t{n % 2}")

        first = store.transaction(lambda tx: tx.append_events([event(1), event(2, "critical")]))
        second = store.transaction(lambda tx: tx.append_events([event(3)]))
        places = [stored.id for stored in (*first, *second)]
        assert places == sorted(set(places))

        def found(**wanted: object) -> list[int]:
            rows = store.read(lambda tx: tx.list_events(EventFilter(**wanted)))  # type: ignore[arg-type]
            return [row.event.fields["n"] for row in rows]

        assert found(limit=2) == [2, 3]
        assert found(after_id=places[0], limit=1) == [2]
        assert found(before_id=places[2]) == [1, 2]
        assert found(text="message nr 2") == [2]
        assert found(text="眠", levels=("critical",)) == [2]
        assert found(task_id="t1", since_at=T0 + 2) == [3]
        assert store.read(lambda tx: tx.list_events(EventFilter(limit=1)))[0].event == event(3)
        named = store.read(lambda tx: tx.list_events(EventFilter(after_id=places[0], names_only=True)))
        assert [(row.id, row.event.name, row.event.message) for row in named] == [
            (places[1], "name.2", ""), (places[2], "name.3", ""),
        ]  # fmt: skip

    def test_lists_are_newest_first_and_go_on_after_a_cursor(self, store: Store) -> None:
        self.save(
            store, *(queued(f"t{n}", n, source="chat") for n in range(5)), TaskBody("t3", '{"content":"find me"}')
        )
        page = store.read(lambda tx: tx.list_tasks(TaskFilter(limit=2)))
        assert [t.id for t in page] == ["t4", "t3"]
        after = TaskFilter(before_key=page[-1].queued_at, before_id=page[-1].id, limit=2, source="chat")
        assert [t.id for t in store.read(lambda tx: tx.list_tasks(after))] == ["t2", "t1"]
        assert [t.id for t in store.read(lambda tx: tx.list_tasks(TaskFilter(text="find me")))] == ["t3"]
        assert store.read(lambda tx: tx.list_tasks(TaskFilter(daemon_id="mini"))) == []

    def test_attempts_boots_incidents_and_memory_are_listed(self, store: Store) -> None:
        self.save(
            store,
            Attempt("a", 2, "w", "d", "b", T0),
            Attempt("a", 1, "w", "d", "b", T0),
            Boot("d", "b1", T0),
            Incident("i1", "d", "late", T0, T0, late_h=50),
            Incident("i2", "d", "down", T0 + 1, T0, late_h=60),
            Memory("m1", "u", "slack", "user", "one", "", "", T0),
            Memory("m2", "u", "line", "user", "two", "", "", T0 + 1),
        )
        read = store.read
        assert [a.token for a in read(lambda tx: tx.find(LAST_ATTEMPTS_OF, "a"))] == [2, 1]
        assert [b.boot_id for b in read(lambda tx: tx.find(SUPERSEDED_BOOTS, ("d",)))] == ["b1"]
        assert [i.id for i in read(lambda tx: tx.find(INCIDENTS, limit=10))] == ["i2", "i1"]
        assert [i.id for i in read(lambda tx: tx.find(INCIDENTS_BEFORE, T0 + 1, "i2", limit=10))] == ["i1"]
        assert read(lambda tx: tx.count(INCIDENTS_SINCE, 60, limit=9)) == 1
        assert [m.id for m in read(lambda tx: tx.find(MESSAGES, "u", "", "", "", limit=10))] == ["m2", "m1"]
        assert [m.id for m in read(lambda tx: tx.find(MESSAGES, "u", "", "slack", "slack", limit=10))] == ["m1"]
        assert sorted(read(lambda tx: tx.message_ids("u"))) == ["m1", "m2"]

    def test_the_last_messages_are_read_as_far_as_there_is_room(self, store: Store) -> None:
        said = [
            Memory(f"m{n:02}", "u", "slack", "user", f"{n:02}" + "\u4e16" * 98, "s", "{}", T0 + n) for n in range(40)
        ]
        self.save(store, *said, Memory("other", "u", "line", "user", "x", "", "", T0 + 99, "key"))

        def last(part: Part, limit: int = 200, owner: str = "", channel: str = "slack") -> list[Memory]:
            return store.read(lambda tx: tx.last_said((owner, "u", channel), part, limit))

        assert last(Part(1_000, 10_000)) == [replace(one, metadata="") for one in reversed(said)]
        assert [one.id for one in last(Part(1_000, 201))] == ["m39", "m38", "m37"]
        assert [one.id for one in last(Part(1_000, 200))] == ["m39", "m38"]
        assert [one.content for one in last(Part(2, 3))] == ["39", "38"]
        assert len(last(Part(1, 30))) == 30
        assert len(last(Part(1_000, 10_000), limit=9)) == 9
        assert [one.id for one in last(Part(9, 9), owner="key", channel="")] == ["other"]
        assert last(Part(9, 9), owner="nobody") == []

    def test_progress_is_shown_without_what_is_too_long(self, store: Store) -> None:
        said = '"\u4e16\u754c"'
        self.save(store, Progress("a", 1, T0, said, '"long"'), Progress("b", 2, T0, '"too long"', "1"))
        shown = store.read(lambda tx: tx.progress_shown(["a", "b", "c"], len(said)))
        assert sorted(shown, key=lambda row: row.task_id) == [Progress("a", 1, T0, said), Progress("b", 2, T0)]
        assert store.read(lambda tx: tx.progress_shown([], 9)) == []

    def test_last_events_are_of_a_daemon_or_of_all_and_of_these_names(self, store: Store) -> None:
        def event(name: str, daemon_id: str) -> Event:
            return Event(T0, "info", name, "C", "m", {}, daemon_id=daemon_id)

        store.transaction(
            lambda tx: tx.append_events([event("a.b", "d1"), event("a.c", "d1"), event("a.b", "d2"), event("a.b", "")])
        )

        def found(daemon_id: str, *names: str, limit: int = 9) -> list[tuple[str, str]]:
            rows = store.read(lambda reader: reader.last_events_of(daemon_id, limit, names))
            return [(row.event.name, row.event.daemon_id) for row in rows]

        assert found("d1") == [("a.b", "d1"), ("a.c", "d1")]
        assert found("d1", "a.b", "x") == [("a.b", "d1")]
        assert found("", "a.b", limit=2) == [("a.b", "d2"), ("a.b", "")]

    def test_counts_are_bounded_or_exact_as_named(self, store: Store) -> None:
        self.save(store, *(queued(f"t{n}", n) for n in range(7)), leased("x"))
        assert store.read(lambda tx: tx.count(READY, limit=5)) == 5
        assert store.read(lambda tx: tx.ready_ids(3)) == ["t0", "t1", "t2"]

    def test_rows_are_deleted_by_key(self, store: Store) -> None:
        self.save(store, Key("k", "n", "h", "read", T0), Period("d", T0, "late"), Period("d", T0 + 1, "down"))
        store.transaction(lambda tx: (tx.delete_many(Key, ("k",)), tx.delete_many(Period, (("d", T0),))))
        assert store.read(lambda tx: tx.load_all(Key, 10)) == []
        assert [p.state for p in store.read(lambda tx: tx.load_all(Period, 10))] == ["down"]

    def test_evidence_stays_as_it_was_first_kept(self, store: Store) -> None:
        first, second = (Evidence(key, "t0", 1, "w", T0, "late", "{}") for key in ("e1", "e2"))
        self.save(store, queued("t0"), first)
        self.save(store, Evidence("e1", "t0", 2, "other", T0 + 1, "again", "[]"), second)
        assert store.read(lambda tx: tx.load_all(Evidence, 9)) == [first, second]

    def test_retention_removes_the_oldest_in_bounded_portions_with_all_that_belongs_to_them(self, store: Store) -> None:
        done = [queued(f"t{n}", n, status="done", ready=0, finished_at=T0 + n, dedup_key=f"k{n}") for n in range(4)]
        self.save(
            store,
            *done,
            *(TaskBody(t.id, "{}") for t in done),
            *(Result(t.id, 1) for t in done),
            queued("alive"),
            Evidence("e", "t0", 1, "w", T0, "late", "{}"),
        )
        purge = lambda what, before, limit: store.transaction(lambda tx: tx.purge(what, before, limit))  # noqa: E731
        assert purge("dedup", T0 + 1, 10) == 1
        assert purge("task", T0 + 3, 2) == 2
        assert purge("task", T0 + 3, 2) == 1
        assert purge("evidence", T0 + 1, 10) == 1
        left = store.read(lambda tx: tx.load_all(Task, 10))
        assert [(t.id, t.dedup_key) for t in left] == [("alive", ""), ("t3", "k3")]
        assert [b.task_id for b in store.read(lambda tx: tx.load_all(TaskBody, 10))] == ["t3"]
        self.save(store, *(Memory(f"m{n}", f"u{n % 2}", "c", "user", "x", "", "", T0 + n) for n in range(6)))
        assert purge("memory_overflow", 2, 10) == 2
        assert [m.id for m in store.read(lambda tx: tx.find(MESSAGES, "u0", "", "", "", limit=9))] == ["m4", "m2"]
        store.transaction(lambda tx: tx.append_events([Event(T0, "info", "n", "c", "m", {}) for _ in range(5)]))
        assert purge("event_overflow", 3, 10) == 2
        assert purge("event", T0 + 1, 2) == 2

    def test_each_user_keeps_the_newest_messages_also_of_one_instant(self, store: Store) -> None:
        counts = {("u0", ""): 9, ("u0", "key"): 4, ("u1", ""): 3, ("u2", "key"): 1, ("u3", ""): 7}
        said = [
            Memory(f"{user}-{owner}-{n:02}", user, "c", "user", "x", "", "", T0 + n // 3, owner)
            for (user, owner), count in counts.items()
            for n in range(count)
        ]
        self.save(store, *said[::2], *said[1::2])
        purge = lambda: store.transaction(lambda tx: tx.purge("memory_overflow", 3, 4))  # noqa: E731
        assert [purge() for _ in range(4)] == [4, 4, 3, 0]
        left = [f"{user}-{owner}-{n:02}" for (user, owner), c in counts.items() for n in range(max(c - 3, 0), c)]
        assert sorted(row.id for row in store.read(lambda tx: tx.load_all(Memory, 99))) == sorted(left)

    def test_events_of_a_clock_that_was_ahead_keep_no_others_longer(self, store: Store) -> None:
        def save(*ats: int) -> None:
            store.transaction(lambda tx: tx.append_events([Event(at, "info", "n", "c", "m", {}) for at in ats]))

        purge = lambda before: store.transaction(lambda tx: tx.purge("event", before, 3))  # noqa: E731
        ahead = T0 + 10**9
        save(*[ahead] * 7)
        assert purge(T0) == 0
        save(T0 + 1, T0 + 2, ahead, T0 + 3)
        assert purge(T0 + 1) == 0, "what was written after them is not old"
        assert [purge(T0 + 3) for _ in range(4)] == [3, 3, 3, 0]
        left = store.read(lambda tx: tx.list_events(EventFilter(limit=9)))
        assert [row.event.at for row in left] == [ahead, T0 + 3], "it is not before one that is old"
        assert [purge(T0 + 4) for _ in range(2)] == [2, 0]

    def test_revoked_keys_go_by_age_and_beyond_a_number_and_valid_ones_stay(self, store: Store) -> None:
        keys = [Key(f"k{n}", "n", f"h{n}", "read", T0, revoked_at=(T0 + n) * (n % 2)) for n in range(8)]
        self.save(store, *keys)
        purge = lambda what, before: store.transaction(lambda tx: tx.purge(what, before, 10))  # noqa: E731
        assert purge("api_key", T0 + 2) == 1
        assert purge("api_key_overflow", 1) == 2
        assert {key.id for key in store.read(lambda tx: tx.load_all(Key, 9))} == {"k0", "k2", "k4", "k6", "k7"}
