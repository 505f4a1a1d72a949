"""No regular expression takes more than linear time, whatever a stranger writes: each is found and read by itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from re import _parser

import pytest

import understudy.wire
from tests.project.patterns import FUNCTIONS, Place, cost, miscounted, modules, pattern_at, places, rooms
from understudy.redact.redactor import RULES
from understudy.wire import limits
from understudy.worker.executors import failures

WIRE = Path(understudy.wire.__path__[0])
WHOLE = [found for file in WIRE.glob("*.py") for found in re.findall(r'whole\(r"([^"]+)"\)', file.read_text("utf-8"))]
STEPS_MAX = 200_000  # a try; nearly all stay below 3,000
# Where a variable stands for the pattern: everything that it can be.
BY_VARIABLE = {
    ("understudy.redact.rules", "pattern"): [p for r in RULES for p in (r.pattern, *getattr(r, "forms", ()))],
    ("understudy.worker.executors.failures", "pattern"): [pattern for pattern, _ in failures._BY_WORDS],
    ("understudy.wire.limits", "pattern + NO_LAST_NEWLINE"): [
        pattern + limits.NO_LAST_NEWLINE for pattern in (*WHOLE, limits.ID_PATTERN, limits.EXECUTOR_PATTERN)
    ],
    ("understudy.simulation.edge", r"_PARAMETER.sub('(?P<\\1>[^/]+)', e.path)"): [],  # of a simulation's own paths
}


def patterns_of(place: Place) -> list[str | bytes]:
    found = pattern_at(place)
    if found is None:
        return BY_VARIABLE[place.module, place.expression]
    return [found if isinstance(found, str | bytes) else found.pattern]


@pytest.mark.parametrize("room", rooms())
def test_a_try_takes_a_bounded_number_of_steps(room):
    for place in places(room):
        for pattern in patterns_of(place):
            assert cost(pattern).steps <= STEPS_MAX, place


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+b", "a*b", "a++b", "(?:a|a++)b", "(?:a++b)++", "x{0,900}y{0,900}z", "(?=a++)b", r"\S*://\S*", "a[ab]*+c",
        "keychain.*lock", "^a*$", "a.*?b",
    ],
)  # fmt: skip
def test_a_pattern_that_is_not_linear_is_seen(pattern):
    with pytest.raises(AssertionError):
        assert cost(pattern).steps <= STEPS_MAX


@pytest.mark.parametrize("room", rooms())
def test_a_pattern_means_the_same_to_every_python_3_11(room):
    for place in places(room):
        for pattern in patterns_of(place):
            assert not [*miscounted(_parser.parse(pattern))], place


@pytest.mark.parametrize("pattern", ["(?:ab)++", "(?:ab|c){0,9}+", "x(?=(?:ab|c)?+)", "((?:a++b)*+)?"])
def test_a_pattern_that_does_not_is_seen(pattern):
    assert [*miscounted(_parser.parse(pattern))]


HOOK = """
import importlib, re, sys
compiled, seen = re._compile, set()
def noted(pattern, flags):
    frame = sys._getframe(1)
    while frame.f_code.co_filename == re.__file__:
        frame = frame.f_back
    if frame.f_globals.get("__name__", "").startswith("understudy."):
        seen.add(pattern)
    return compiled(pattern, flags)
re._compile = noted
for name in sys.argv[1:]:
    importlib.import_module(name)
for pattern in seen:
    print(ascii(pattern if isinstance(pattern, (str, bytes)) else pattern.pattern))
"""


def test_what_is_compiled_is_what_was_found():
    """The source is read for calls of `re`; what a module compiles while it is imported must be among them."""
    command = [sys.executable, "-c", HOOK, *modules()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, encoding="utf-8")
    compiled = set(ran.stdout.splitlines())
    assert len(compiled) > 20
    found = {ascii(pattern) for room in rooms() for place in places(room) for pattern in patterns_of(place)}
    assert compiled <= found


def test_no_module_takes_functions_out_of_re():
    """`from re import …` would hide a call; so would another module of expressions."""
    for name in modules():
        module = sys.modules[name]
        foreign = {f for f in FUNCTIONS - {"compile"} if getattr(getattr(module, f, None), "__module__", "") == "re"}
        assert not foreign, name
