"""The hub inside workerd in the place of the one in this process: the same tests ask it the same questions.

Those that reach past HTTP are left out: nobody moves the clock of a Durable Object, or looks into its storage.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from itertools import count
from types import CodeType, ModuleType
from typing import Any

from tests.api.hubs import ENVIRONMENT, Hub
from tests.api.wire import Client
from tests.cloudflare.workerd import Workerd

OUT_OF_REACH = frozenset(
    {
        "advance",
        "begin_stop",
        "clock",
        "connections",
        "crowd",
        "freeze",
        "jump",
        "log",
        "now",
        "runtime",
        "store",
        "thread",
    }
)
# By HTTP alone, but of a hub whose time stands still, or of a server.
LEFT_OUT = {
    "test_a_beat_that_is_repeated_does_nothing_the_second_time": "two answers at one instant",
    "test_a_directive_comes_with_each_answer_until_a_beat_names_it": "a rest of time to the second",
    "test_a_result_may_have_eight_mebibytes": "a row of an object holds 2 MB",
    "test_a_right_key_is_never_refused_for_its_address": "20 answers that wait a second each",
    "test_an_endless_request_head_is_refused": "workerd refuses it, in its own words",
    "test_an_instant_with_a_blank_is_read": "the date of the tests' clock",
    "test_daemons_are_listed_and_shown_alike": "two answers at one instant",
    "test_head_is_the_same_without_a_body": "workerd gives HEAD no length",
    "test_looks_are_answered_while_searches_stand": "a reader that is held",
    "test_messages_are_ordered_by_when_they_were_said": "the date of the tests' clock",
    "test_nothing_that_is_asked_for_makes_a_new_series": "some thousand requests",
    "test_the_document_is_openapi_3_1_of_this_version": "the version of the tests' hub",
    "test_the_sizes_of_batches_sum_up_to_what_was_decided": "an alarm that commits nothing meanwhile",
}
GIVEN = frozenset({"hub", "shared_hub"})
SETTINGS = {**ENVIRONMENT, "UNDERSTUDY_RATE_PER_S": "1000", "UNDERSTUDY_RATE_BURST": "1000000"}


class HubThere(Hub):
    """A hub on an empty storage."""

    def __init__(self, worker: Workerd) -> None:
        status, said = worker.ask("POST", "/test/reset")
        assert (status, said) == (200, b"well"), worker.said()[-3000:]
        self.port = worker.port
        self.is_stopped = False
        self._ids = (f"t{n}" for n in count(1))
        self._seqs = count(1)
        self._clients: list[Client] = []
        self.client = self.new_client()

    def close(self) -> None:
        for client in self._clients:
            client.close()


def asked_of_any_hub(module: ModuleType) -> dict[str, Callable[..., None]]:
    """The tests of a module that ask by HTTP alone, and need no clock of their own."""
    tests = {name: thing for name, thing in vars(module).items() if name.startswith("test_")}
    return {name: test for name, test in tests.items() if name not in LEFT_OUT and _asks_by_http_alone(test)}


def _asks_by_http_alone(test: Callable[..., None]) -> bool:
    marks = {mark.name: mark for mark in getattr(test, "pytestmark", ())}
    if marks.keys() - {"parametrize", "sqlite"}:
        return False
    asked = set(inspect.signature(test).parameters) - _parametrized(test)
    return bool(asked) and asked <= GIVEN and OUT_OF_REACH.isdisjoint(_names(test, set()))


def _parametrized(test: Callable[..., None]) -> set[str]:
    marks = [mark for mark in getattr(test, "pytestmark", ()) if mark.name == "parametrize"]
    names = [mark.args[0] for mark in marks]
    return {n.strip() for given in names for n in (given.split(",") if isinstance(given, str) else given)}


def _names(function: Any, seen: set[Any]) -> Iterator[str]:
    """Every name that a function uses, and the functions of its module that it calls."""
    seen.add(function)
    for name in _names_of_code(function.__code__):
        yield name
        used = function.__globals__.get(name)
        if inspect.isfunction(used) and used not in seen and used.__module__ == function.__module__:
            yield from _names(used, seen)


def _names_of_code(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_of_code(constant)
