"""The exercise in searching that every store must pass: what people see is found, not the JSON that it lies in."""

from __future__ import annotations

from itertools import product
from typing import Any
from unicodedata import normalize

import msgspec
import pytest

from tests.store.conformance import T0, queued
from understudy.coordinator.changes import Event
from understudy.coordinator.nouns import TaskBody
from understudy.store.base import EventFilter, Store, TaskFilter
from understudy.store.search import event_text, folded, task_text

ENQUEUED = {
    "content": 'Say "Grüße"\r\nand\tC:\\temp 100%_ ｶﾞｷﾞ Ｔａｓｋ \x1b[31mre\x1b[0md か\u3099 STRASSE',
    "type": "Research-Note",
    "metadata": {"thread": "17.42", "chat": 98765, "tags": ["Überfällig"], "empty": None, "flag": True},
}
SHOWN_OF_A_TASK = (
    'say "grüße"', "GRÜSSE", 'grüße"\r\nand', 'Grüße" and', "and\tc", "c:\\TEMP", "100%_",
    "ガギ", "ｶﾞ", "か\u3099", "が", "task", "ｔａｓｋ", " red ", "straße",
    "research-note", "17.42", "98765", "überfällig", "U\u0308berf", "CHAT", "T-1",
)  # fmt: skip
OF_ITS_JSON = (
    "content",
    "metadata",
    "tags",
    "{",
    '":',
    "\\n",
    '\\"',
    "u001b",
    "[31m",
    "null",
    "true",
    "grüße%temp",
    "1_.42",
)
MESSAGE = "Réseau\nperdu"
FIELDS = {"taskId": "t-9", "error": 'the "disk" is\nfull', "parts": ["a\\b"], "count": 3, "none": None}
SHOWN_OF_AN_EVENT = (
    "TASK.lost", "[queue] RÉSEAU PERDU", "taskid=T-9", 'the "DISK" is full', 'error="the \\"disk\\"',
    "a\\b", '["a\\\\b"]', "count=3", "ｔａｓｋＩｄ",
)  # fmt: skip
OF_ITS_STORED_FORM = ('"taskId"', '":', "none", "null", "t%9", "t_9")
TEXTS = (
    "Straße",
    "ΌΣΟΣ ός",
    "ﾊﾟﾝﾀﾞ ぱんだ",
    "検索 株式会社 ㍿",
    "ﬁnal ﬁ",
    "é E\u0301 e",
    "한국 각",
    "Й и\u0306",
    "İstanbul ı",
    "K K å Å",
)


class SearchExercise:
    """Subclasses offer the fixture `store`: an empty store."""

    def tasks(self, store: Store, needle: str) -> list[str]:
        return [task.id for task in store.read(lambda tx: tx.list_tasks(TaskFilter(text=needle)))]

    def keep(self, store: Store, specs: dict[str, str]) -> None:
        rows = [row for n, key in enumerate(specs) for row in (queued(key, n), TaskBody(key, specs[key]))]
        store.transaction(lambda tx: tx.save_many(rows))

    @pytest.mark.parametrize("needle", SHOWN_OF_A_TASK)
    def test_a_task_is_found_by_what_is_seen(self, store: Store, needle: str) -> None:
        body = TaskBody("t-1", msgspec.json.encode(ENQUEUED).decode())
        store.transaction(lambda tx: tx.save_many((queued("t-1", 1, source="Chat"), body)))
        self.keep(store, {"x2": '{"content":"another"}'})
        assert self.tasks(store, needle) == ["t-1"]

    def test_long_tasks_are_searched_one_by_one(self, store: Store) -> None:
        """A page of them would be 64 MiB at once."""
        bodies = {f"t{n}": msgspec.json.encode({"content": "x" * 70_000 * (n % 2) + f" Größe {n}"}) for n in range(6)}
        rows = [queued(key, n, size_bytes=len(body) + 1_000) for n, (key, body) in enumerate(bodies.items())]
        store.transaction(lambda tx: tx.save_many([*rows, *(TaskBody(key, bodies[key].decode()) for key in bodies)]))
        brought: list[int] = []

        def search(tx: Any) -> list[str]:
            fetch = tx._fetch

            def noted(query: str, values: Any = ()) -> list[Any]:
                found: list[Any] = fetch(query, values)
                brought.append(sum(len(value) for row in found for value in row if isinstance(value, str)))
                return found

            tx._fetch = noted
            return [task.id for task in tx.list_tasks(TaskFilter(text="GRÖSSE"))]

        try:
            assert store.read(search) == ["t5", "t4", "t3", "t2", "t1", "t0"]
        finally:
            store.read(lambda tx: tx.__dict__.pop("_fetch", None))  # one reader of some stores is used again
        assert max(brought, default=0) < 2 * 70_000
        assert self.tasks(store, "GRÖSSE 3") == ["t3"]

    @pytest.mark.parametrize("needle", OF_ITS_JSON)
    def test_a_task_is_not_found_by_the_json_that_holds_it(self, store: Store, needle: str) -> None:
        self.keep(store, {"t-1": msgspec.json.encode(ENQUEUED).decode()})
        assert self.tasks(store, needle) == []

    @pytest.mark.parametrize("spec", ["{", "[]", "", "7", '{"content": 7}', "[" * 5000])
    def test_a_task_that_cannot_be_read_hides_no_other(self, store: Store, spec: str) -> None:
        self.keep(store, {"bad": spec, "t2": '{"content":"Bad"}'})
        assert self.tasks(store, "BAD") == ["t2", "bad"]

    @pytest.mark.parametrize("needle", SHOWN_OF_AN_EVENT + OF_ITS_STORED_FORM)
    def test_an_event_is_found_by_the_line_that_is_shown(self, store: Store, needle: str) -> None:
        event = Event(T0, "info", "task.lost", "Queue", MESSAGE, FIELDS)
        store.transaction(lambda tx: tx.append_events([event, Event(T0, "info", "other", "Part", "Nothing", {})]))
        found = store.read(lambda tx: tx.list_events(EventFilter(text=needle)))
        assert [row.event for row in found] == [event] * (needle in SHOWN_OF_AN_EVENT)

    def test_no_short_cut_of_a_store_loses_what_the_rule_finds(self, store: Store) -> None:
        """Every part of many texts, in every form of Unicode and every case."""
        specs = {f"{n}": msgspec.json.encode({"content": text}).decode() for n, text in enumerate(TEXTS)}
        self.keep(store, specs)
        events = [Event(T0, "info", "n", "P", text, {"text": text}) for text in TEXTS]
        store.transaction(lambda tx: tx.append_events(events))
        forms = [normalize(form, text) for form, text in product(("NFC", "NFD", "NFKC", "NFKD"), TEXTS)]
        parts = {text[at : at + 3] for text in (*TEXTS, *forms) for at in range(len(text))}
        for needle in sorted({change(part) for part in parts for change in (str, str.upper, str.lower)}):
            wanted = [key for key, spec in specs.items() if folded(needle) in task_text(key, "", spec)]
            assert sorted(self.tasks(store, needle)) == wanted, needle
            rows = store.read(lambda tx: tx.list_events(EventFilter(text=needle)))  # noqa: B023 - read at once
            seen = [e for e in events if folded(needle) in event_text(e.name, e.component, e.message, e.fields)]
            assert [row.event for row in rows] == seen, needle
