"""Every regular expression of the code base, found by reading its source; and what a search with one costs at most."""

from __future__ import annotations

import ast
import functools
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from re import _constants as c
from re import _parser
from typing import NamedTuple

import understudy
from tests.project.tree import nodes

SOURCE = Path(understudy.__file__).parent
FUNCTIONS = {"compile", "match", "search", "sub", "subn", "fullmatch", "findall", "finditer", "split"}
REPEATS = (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT)
ONE_CHARACTER = ([c.LITERAL], [c.NOT_LITERAL], [c.IN], [c.ANY])


class Place(NamedTuple):
    """One call that is given a pattern: `expression` is what stands there."""

    module: str
    line: int
    expression: str


NOT_HERE = ("__main__", "cloudflare.entry", "cloudflare.javascript")  # the last two: inside a Worker only


@functools.cache
def modules() -> tuple[str, ...]:
    """All of ours, but the one that would start the program, and those that cannot be imported here."""
    found = pkgutil.walk_packages([str(SOURCE)], "understudy.")
    return tuple(module.name for module in found if not module.name.endswith(NOT_HERE))


def rooms() -> list[str]:
    """The modules and packages below `understudy`, by name: a cheap list to choose tests by."""
    names = (found.name for found in pkgutil.iter_modules([str(SOURCE)]))
    return sorted(f"understudy.{name}" for name in names if name != "__main__")


@functools.cache
def places(room: str) -> tuple[Place, ...]:
    """Every call of `re`, and every pattern of a field, in the modules of a room."""
    names = (name for name in modules() if f"{name}.".startswith(f"{room}."))
    return tuple(place for name in names for place in _places_of(name))


def _places_of(name: str) -> Iterator[Place]:
    text = Path(importlib.import_module(name).__file__ or "").read_text("utf-8")
    if "re." not in text and "pattern=" not in text:
        return
    for node in nodes(text):
        if isinstance(node, ast.Call) and (pattern := _pattern_of(node)) is not None:
            yield Place(name, node.lineno, ast.unparse(pattern))


def _pattern_of(call: ast.Call) -> ast.expr | None:
    function = call.func
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "re":
        return call.args[0] if function.attr in FUNCTIONS else None
    named = [keyword.value for keyword in call.keywords if keyword.arg == "pattern"]
    return named[0] if named and isinstance(function, ast.Name) and function.id == "Meta" else None


def pattern_at(place: Place) -> re.Pattern[str] | re.Pattern[bytes] | str | bytes | None:
    """What the expression is worth in its module; None if only a run can tell."""
    try:
        return eval(place.expression, vars(importlib.import_module(place.module)))
    except NameError:
        return None


class Cost(NamedTuple):
    """Of one try: steps at most, whether it can fail, whether what comes last has no end."""

    steps: int
    can_fail: bool
    is_open: bool = False


class NotBoundedError(AssertionError):
    """A try may take as many steps as the text is long, and fail then: a search is quadratic or worse."""


def cost(pattern: str | bytes) -> Cost:
    """What one try from one place costs at most; NotBoundedError.

    A part without end may be followed by what can fail if no match can begin within it: no other try reads it again.
    """
    tree = _parser.parse(pattern)
    return of_sequence(tree, frozenset(beginnings(tree)))


def of_sequence(items, begins=None) -> Cost:
    steps, can_fail, is_open = 0, False, False
    for item in reversed(list(items)):
        one = of_item(item, begins)
        if one.is_open:
            if can_fail and (begins is None or begins & chars([item])):
                raise NotBoundedError(f"what follows {item} may fail after any number of steps")
            is_open = True
        op, args = item
        spread = 1
        if op in (c.MAX_REPEAT, c.MIN_REPEAT):
            spread = args[1] - args[0] + 1  # each length is tried with all that follows
        if op is c.BRANCH:
            spread = len(args[1])
        steps = one.steps + (spread * steps if steps else 0)
        can_fail = can_fail or one.can_fail
    return Cost(steps, can_fail, is_open)


def of_item(item, begins=None) -> Cost:
    op, args = item
    if op in REPEATS:
        return of_repeat(op, *args, begins)
    if op is c.ATOMIC_GROUP and len(args) == 1 and args[0][0] is c.MAX_REPEAT:
        return of_repeat(c.POSSESSIVE_REPEAT, *args[0][1], begins)
    if op in (c.SUBPATTERN, c.ATOMIC_GROUP):
        return of_sequence(args[-1] if op is c.SUBPATTERN else args, begins)
    if op is c.BRANCH:
        costs = [of_sequence(branch, begins) for branch in args[1]]
        return Cost(
            sum(one.steps for one in costs),
            all(one.can_fail for one in costs),
            any(one.is_open for one in costs),
        )
    if op in (c.ASSERT, c.ASSERT_NOT):
        inner = of_sequence(args[1], begins)
        if inner.is_open:
            raise NotBoundedError(f"{item} looks ahead without end")
        return Cost(inner.steps, can_fail=True)
    return Cost(1, can_fail=True)


def of_repeat(op, least, most, inner, begins=None) -> Cost:
    one = of_sequence(inner, begins)
    has_end = most is not c.MAXREPEAT
    if not has_end and op is not c.POSSESSIVE_REPEAT:
        raise NotBoundedError(f"{inner} is tried in every length")
    if has_end and one.is_open and most > 8:
        raise NotBoundedError(f"{inner} is repeated and has no end")
    return Cost(one.steps * (most if has_end else max(least, 1)), least > 0, not has_end or one.is_open)


ALL = frozenset(range(0x300)) | {0x2028, 0x3042, 0xD800, 0xFEFF, 0x1F600}
_CATEGORIES = {
    c.CATEGORY_DIGIT: r"\d", c.CATEGORY_NOT_DIGIT: r"\D", c.CATEGORY_SPACE: r"\s",
    c.CATEGORY_NOT_SPACE: r"\S", c.CATEGORY_WORD: r"\w", c.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


def chars(items) -> frozenset[int]:
    """All characters that these may read (of `ALL`, which has every kind)."""
    return frozenset().union(*(_chars_of(*item) for item in items))


def _chars_of(op, args) -> frozenset[int]:  # noqa: PLR0911 - a kind of item each
    if op is c.LITERAL:
        return frozenset({args})
    if op is c.NOT_LITERAL:
        return ALL - {args}
    if op is c.IN:
        is_not = args[0][0] is c.NEGATE
        inside = chars(args[is_not:])
        return ALL - inside if is_not else inside
    if op is c.RANGE:
        return frozenset(code for code in ALL if args[0] <= code <= args[1])
    if op is c.CATEGORY:
        return frozenset(code for code in ALL if re.match(_CATEGORIES[args], chr(code)))
    if op in (c.AT, c.ASSERT, c.ASSERT_NOT):
        return frozenset()
    inner = inner_of(op, args)
    return ALL if inner is None else frozenset().union(*map(chars, inner))


def inner_of(op, args):
    """The sequences in an item that has any; None if it has none."""
    if op in REPEATS:
        return [args[2]]
    if op is c.BRANCH:
        return args[1]
    if op is c.SUBPATTERN:
        return [args[-1]]
    return [args] if op is c.ATOMIC_GROUP else None


def beginnings(items) -> frozenset[int]:
    """With which characters a match may begin; of one that begins with a line, the end of the line before."""
    found: frozenset[int] = frozenset()
    for op, args in items:
        if op is c.AT and args in (c.AT_BEGINNING, c.AT_BEGINNING_STRING):
            return found | {ord("\n")}
        if op in (c.AT, c.ASSERT, c.ASSERT_NOT):
            continue
        inner = inner_of(op, args)
        found |= _chars_of(op, args) if inner is None else frozenset().union(*map(beginnings, inner))
        if not is_empty_possible(op, args):
            return found
    return found if len(items) else ALL


def is_empty_possible(op, args) -> bool:
    """Whether an item may be passed without reading anything."""
    if op in (c.AT, c.ASSERT, c.ASSERT_NOT):
        return True
    if op in REPEATS and args[0] == 0:
        return True
    inner = inner_of(op, args)
    return inner is not None and any(all(is_empty_possible(*one) for one in sequence) for sequence in inner)


def miscounted(items):
    """Each possessive repeat of more than one character, which Python before 3.11.5 matches wrongly (cpython 106052).

    `(?>(?:…){0,9})` says the same, and is right everywhere.
    """
    for op, args in items:
        if op is c.POSSESSIVE_REPEAT and [one for one, _ in args[2]] not in ONE_CHARACTER:
            yield args[2]
        inner = [args[1]] if op in (c.ASSERT, c.ASSERT_NOT) else inner_of(op, args) or []
        for sequence in inner:
            yield from miscounted(sequence)
