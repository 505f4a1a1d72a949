"""As much of pytest as the exercises of tests/store use, for the inside of a Worker, and a runner of their classes."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class _Mark:
    """`pytest.mark`."""

    @staticmethod
    def parametrize(names: str, values: Any, ids: Any = None) -> Callable[[Any], Any]:  # noqa: ARG004 - pytest has it
        """Note the values; the runner makes a test of each."""

        def noted(test: Any) -> Any:
            test.parameters = [*getattr(test, "parameters", ()), ([n.strip() for n in names.split(",")], list(values))]
            return test

        return noted


mark = _Mark()


@contextmanager
def raises(kind: Any, match: str = "") -> Iterator[None]:
    """The error that must come."""
    seen = ""
    try:
        yield
    except kind as error:
        seen = repr(error)
    assert seen, f"{kind} did not come"
    assert re.search(match, seen), f"{seen} does not say {match!r}"


# Recursion ends the whole Worker there ("Maximum call stack size exceeded"); the API takes no such text (NESTING_MAX).
TOO_DEEP = "[" * 5000


def run(exercise: type, make_store: Callable[[], Any]) -> dict[str, str]:
    """Every test of a class, each on a store of its own → what failed, by name."""
    failed = {"": "0"}
    for name in sorted(n for n in dir(exercise) if n.startswith("test")):
        for given in _cases(getattr(exercise, name)):
            failed[""] = str(int(failed[""]) + 1)
            try:
                getattr(exercise(), name)(store=make_store(), **given)
            except Exception:  # noqa: BLE001 - it is what the runner tells
                failed[f"{name}{given or ''}"] = traceback.format_exc()[-1500:]
    return failed


def _cases(test: Any) -> Iterator[dict[str, Any]]:
    cases: list[dict[str, Any]] = [{}]
    for names, values in getattr(test, "parameters", ()):
        rows = [value if len(names) > 1 else (value,) for value in values]
        cases = [case | dict(zip(names, row, strict=True)) for case in cases for row in rows]
    yield from (case for case in cases if TOO_DEEP not in case.values())
