"""What must go goes, wherever it stands; what must stay stays."""

from __future__ import annotations

import io
import json

import pytest

from tests.redact.corpus import GONE, STAYS, Gone
from understudy.clock import SystemClock
from understudy.log import Log, json_line, pretty_line
from understudy.redact import Redactor

REDACTOR = Redactor()


def parts(secret: str) -> list[str]:
    """No piece of it either: the lines of a key, the first and the second half."""
    pieces = [piece for line in secret.replace("\\n", "\n").split("\n") for piece in (line[:12], line[-12:])]
    return [piece for piece in pieces if len(piece) > 4 and "-----" not in piece]


def test_the_corpus_is_as_large_as_promised():
    assert len({case.kind for case in GONE}) >= 40
    assert len(set(STAYS)) >= 40


def seen_in(case: Gone, text: str) -> list[str]:
    """The pieces of the secret that a text still has."""
    return [f"{case.kind}: {part}" for part in parts(case.secret) if part in text]


def test_a_secret_goes_and_the_rest_stays():
    assert [case.kind for case in GONE if REDACTOR.clean(case.text) != case.left] == []


def test_a_secret_goes_in_the_middle_of_a_text():
    around = "first line\n{}\nlast line"
    wrong = [case.kind for case in GONE if REDACTOR.clean(around.format(case.text)) != around.format(case.left)]
    assert wrong == []


def test_a_secret_goes_inside_json_which_stays_json():
    for case in GONE:
        text = json.dumps({"n": 1, "output": f"before\n{case.text}\nafter", "list": [case.text]}, ensure_ascii=False)
        left = json.loads(REDACTOR.clean(text))
        assert left["n"] == 1, case.kind
        assert left["output"].startswith("before"), case.kind
        assert left["output"].endswith("after"), case.kind
        assert seen_in(case, json.dumps(left, ensure_ascii=False)) == []


def test_a_secret_goes_from_a_nested_value():
    for case in GONE:
        value = {"output": [{"text": case.text}], "ok": True, "count": 7}
        left = REDACTOR.clean_value(value)
        assert left == {"output": [{"text": case.left}], "ok": True, "count": 7}, case.kind


@pytest.mark.parametrize("form", [pretty_line, json_line])
def test_a_secret_goes_from_a_log_line(form):
    for case in GONE:
        line = REDACTOR.clean(form(1, "warning", "Daemon", "It failed", {"task": "task-1", "error": case.text, "n": 3}))
        assert "task-1" in line, case.kind
        assert seen_in(case, line) == []


def test_to_clean_twice_changes_nothing_more():
    once = {case.kind: REDACTOR.clean(case.text) for case in GONE}
    assert {kind: REDACTOR.clean(text) for kind, text in once.items()} == once


def test_a_look_alike_stays():
    assert [text for text in STAYS if REDACTOR.clean(text) != text] == []


def test_a_look_alike_stays_in_company():
    for text in STAYS:
        for around in (f"before\n{text}\nafter", f"It said: {text}", json.dumps({"output": f"a\n{text}\nb"})):
            assert REDACTOR.clean(around) == around


def test_a_look_alike_stays_in_values_and_lines():
    for text in STAYS:
        assert REDACTOR.clean_value({"output": [text]}) == {"output": [text]}
        line = json_line(1, "info", "Daemon", "Said", {"text": text})
        assert REDACTOR.clean(line) == line


def test_a_log_lets_no_secret_through():
    stream = io.StringIO()
    log = Log(SystemClock(), stream)
    for case in GONE:
        log.emit("info", "Daemon", "Output", text=case.text)
    for case in GONE:
        for part in parts(case.secret):
            assert part not in stream.getvalue()
            assert not any(part in line for line in log.recent)
