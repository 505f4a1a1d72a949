"""What a terminal gets: nothing that steers it, columns that fit, durations that people read."""

from __future__ import annotations

import io
import json
import sys

import pytest

from understudy.cli import terminal
from understudy.cli.progress import CLEAR_LINE, ProgressLine
from understudy.texts import _chosen


def test_control_characters_never_reach_the_terminal():
    evil = "a\x1b]0;title\x07b\x9b31mc\r\nd\u202ee\x85\ud83d"
    assert terminal.safe(evil) == r"abc d\u202ee\x85" + "\ufffd"
    assert terminal.safe_lines("x\ty\n\x1b[2Jz") == "x\ty\nz"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_our_codes_and_no_others(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    terminal.say("\x1b[H\x1b[2J\x1b[31;1mred\x1b[0m \x1b[5mblink\x1b]0;t\x07 \x9b2J\u202e")
    assert sys.stdout.getvalue() == "\x1b[31;1mred\x1b[0m blink " + r"\u202e" + "\n"


def test_a_pipe_gets_bytes_as_they_are_but_no_half_characters(capsys):
    terminal.say("\x1b[5m raw \x9b \ud83d")
    assert capsys.readouterr().out == "\x1b[5m raw \x9b \ufffd\n"


def test_json_says_the_same_and_steers_nothing(capsys):
    value = {"daemonId": "m\x9b2J\x1b[31m\u202e\u2066\u200f\x7f\x85\n😀"}
    terminal.say_json(value)
    said = capsys.readouterr().out
    assert json.loads(said) == value
    assert said.strip().isprintable()


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "euc_jp", "utf-8"])
def test_no_encoding_loses_a_part_of_json(monkeypatch, encoding):
    """Of no command: documents, and the lines of `tail` and `status --watch`."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding, errors="replace"))
    value = {"message": "é タスク 😀"}
    terminal.say_json(value)
    terminal.say(terminal.json_of(value))
    sys.stdout.flush()
    lines = sys.stdout.buffer.getvalue().splitlines()
    assert [json.loads(line.decode(encoding)) for line in lines] == [value, value]
    assert (b"\\u" in lines[1]) == (encoding != "utf-8")


def test_widths_of_a_million_columns_take_a_moment():
    """They were counted anew for each character, and by recursion for each colour."""
    for text in ("a" * 10**6, "あ" * 10**6, "\x1b[31m" * 10**5, "\x1b[" * 10**5, "\u0301" * 10**5):
        terminal.columns(text)
        terminal.cut(text, 80)
        terminal.wrapped(text)
    assert terminal.table(("A", "B"), [("x" * 10**6, "y" * 10**6)])
    assert terminal.cut("あい", 3) == "あ…"
    assert (terminal.cut("abc", 3), terminal.cut("abcd", 3)) == ("abc", "ab…")


def test_wide_characters_take_two_columns():
    assert terminal.columns("タスク") == 6
    assert terminal.columns("\x1b[31mab\x1b[0m") == 2
    assert terminal.cut("タスクを", 5) == "タス…"
    lines = terminal.table(("A", "B"), [("日本", "x"), ("y", "z")]).splitlines()
    assert lines == ["A     B", "日本  x", "y     z"]


def test_there_are_no_colours_without_a_terminal(capsys):
    assert terminal.paint("x", "red") == "x"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_there_are_no_colours_where_none_are_wanted(monkeypatch, name, value):
    class Terminal:
        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert terminal.is_coloured(Terminal())
    monkeypatch.setenv(name, value)
    assert not terminal.is_coloured(Terminal())


@pytest.fixture
def progress(monkeypatch):
    """What a long command writes on a terminal of so many columns."""

    def written(columns, term):
        monkeypatch.setattr(sys, "stderr", Terminal())
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setenv("TERM", term)
        monkeypatch.setattr("understudy.cli.progress.ON_TERMINAL_S", 0)
        monkeypatch.setattr("understudy.cli.progress.ELSEWHERE_S", 0)
        line = ProgressLine(1_000_000)
        line.ahead("task", 250)
        line.end()
        return sys.stderr.getvalue()

    return written


@pytest.mark.parametrize("columns", ["1", "20"])
def test_progress_takes_one_line_of_a_narrow_terminal(progress, columns):
    """What wraps would stand there for good: only the last line is cleared."""
    _, shown, end = progress(columns, "xterm").split(CLEAR_LINE)
    assert terminal.columns(shown) <= max(int(columns) - 1, 1)
    assert end == ""
    assert progress("200", "xterm").count("(0 %)") == 1


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_obeys_nothing_gets_lines_of_progress(progress, term):
    assert progress("80", term) == "task: 250 of 1,000,000 rows (0 %)\n"


@pytest.mark.parametrize(
    ("chosen", "width"), [("20", 20), ("0", 100), ("x", 100), ("9" * 5_000, 999_999_999), (None, 100)]
)
def test_the_width_is_a_number_whatever_columns_says(monkeypatch, chosen, width):
    monkeypatch.delenv("COLUMNS", raising=False)
    if chosen is not None:
        monkeypatch.setenv("COLUMNS", chosen)
    assert terminal.width_of(Terminal()) == width


def test_a_table_in_a_pipe_has_no_endless_lines():
    from understudy.cli.terminal import PIPED_COLUMNS, table

    shown = table(["ID", "CONTENT"], [["task-1", "x" * 5000]])
    assert max(map(len, shown.splitlines())) == PIPED_COLUMNS
    assert shown.endswith("…")


def test_no_column_makes_a_line_of_a_table_endless():
    shown = terminal.table(["ID", "B", "C"], [["i" * 5000, "あ" * 5000, "x" * 5000]])
    assert max(map(terminal.columns, shown.splitlines())) <= 2 * terminal.CELL_COLUMNS_MAX + terminal.PIPED_COLUMNS
    assert "i" * 255 + "…" in shown


def test_a_pipe_gets_long_lines_in_pieces_with_all_of_them_and_a_terminal_as_they_are(capsys, monkeypatch):
    lines = ["  " + "x" * 5000, "あ" * 121, "", "y" * 240, "  short"]
    terminal.say_lines(lines)
    said = capsys.readouterr().out.splitlines()
    assert max(map(terminal.columns, said)) == terminal.PIPED_COLUMNS
    assert all(line.startswith("  x") for line in said[:22])
    assert "".join(line.strip() for line in said) == "".join(line.strip() for line in lines)
    assert said[-5:] == ["あ" * 120, "あ", *lines[2:]]
    monkeypatch.setattr(sys, "stdout", Terminal())
    terminal.say_lines(lines)
    assert sys.stdout.getvalue() == "\n".join(lines) + "\n"


def test_a_task_of_a_megabyte_is_shown_in_lines_that_people_read(capsys, monkeypatch):
    """Its text is begun, its answer is whole; no line is longer than a table's."""
    from understudy.cli import tasks

    record = {
        "id": "t1", "status": "done", "content": "c" * 10**6 + "\nd" * 30, "note": "n" * 5000,
        "progress": {"text": "p" * 5000},
        "needs": [], "onLoss": None, "result": {"success": True, "output": "r" * 10**5},
        "history": [{"at": "2026-01-01T00:00:00Z", "level": "info", "message": "h" * 5000}],
    }  # fmt: skip

    class Hub:
        def get(self, path):
            return record

    monkeypatch.setattr(tasks, "connect", Hub)
    tasks.task.callback("t1", as_json=False)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= terminal.PIPED_COLUMNS
    assert (said.count("r"), said.count("c")) >= (10**5, tasks.CONTENT_COLUMNS - 1)
    assert len(said) < 140_000
    tasks.task.callback("t1", as_json=True)
    assert json.loads(capsys.readouterr().out) == record


def test_the_history_of_a_task_is_aligned_in_japanese_too(capsys, monkeypatch):
    from understudy.cli import tasks

    monkeypatch.setenv("UNDERSTUDY_LANG", "ja")
    _chosen.cache_clear()
    times = ("00:00:00", "00:00:00.01", "00:00:42", "01:02:00", "23:59:59")
    history = [{"at": f"2026-01-01T{at}Z", "level": "info", "message": "m"} for at in times]
    try:
        said = tasks._history({"history": history})[2:]
    finally:
        _chosen.cache_clear()
    assert any("時間" in line for line in said)
    assert len({terminal.columns(line) for line in said}) == 1


def test_doctor_does_not_advise_to_run_doctor():
    from understudy.cli.exits import UnreachableError
    from understudy.cli.findings.finding import said
    from understudy.texts import t

    error = UnreachableError(t("cli.client.unreachable", url="http://h", reason="refused"))
    assert said(error) == "the hub http://h does not answer (refused)."
    assert "`understudy doctor`" not in said(UnreachableError(t("cli.client.unavailable", message="full")))
