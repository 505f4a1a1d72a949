"""What the documents say to type works: marked blocks are run, every other command at least exists."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests import prepared
from tests.cli.program import Done, prepared_one, understudy
from tests.project.console import Block, Exchange, blocks, exchanges, is_as_shown, our_commands, plain_words
from tests.project.tree import documents
from tests.waiting import eventually

BLOCKS = blocks(documents())
RUN = [block for block in BLOCKS if "test" in block.marks]
SHOWN = [
    (block.where, words) for block in BLOCKS for exchange in block.exchanges for words in our_commands(exchange.command)
]


@cache
def help_of(words: tuple[str, ...]) -> str:
    given = (*words, "--help")
    can_be = prepared.can_be(os.environ)
    done = prepared_one(given, os.environ, None, 60) if can_be else understudy(*given, within_s=60)
    return done.out if done.code == 0 else ""


def sub_command(words: list[str]) -> tuple[str, ...]:
    """`daemons list --json` is `daemons list`: as many leading words as are commands."""
    leading = [word for word in words[:2] if word.replace("-", "a").isalpha() and word[0].isalpha() and word.islower()]
    return next((tuple(leading[:n]) for n in (2, 1) if len(leading) >= n and help_of(tuple(leading[:n]))), ())


@pytest.mark.parametrize(("where", "words"), SHOWN, ids=[f"{where} {' '.join(words)}" for where, words in SHOWN])
def test_a_command_that_is_shown_exists_with_its_options(where, words):
    command = sub_command(words)
    assert command or words[0].startswith("-"), f"{where}: there is no command {words[0]!r}"
    ours = words[: words.index("--")] if "--" in words else words
    options = {word.partition("=")[0] for word in ours if word.startswith("-")}
    assert {option for option in options if option not in help_of(command)} == set()


@pytest.fixture
def shell(tmp_path):
    """A working directory and a PATH on which `understudy` is this one."""
    program = tmp_path / "bin/understudy"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m understudy "$@"\n')
    program.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    names = {"XDG_DATA_HOME": "data", "XDG_CONFIG_HOME": "config", "XDG_STATE_HOME": "state"}
    folders = {name: str(home / folder) for name, folder in names.items()}
    return {**os.environ, **folders, "HOME": str(home), "PATH": f"{program.parent}:{os.environ['PATH']}"}


@pytest.fixture
def up(request, shell, tmp_path):
    """`understudy up` beside the block, if it is marked so; ended by Ctrl-C."""
    if "up" not in request.getfixturevalue("block").marks:
        yield
        return
    command = ["understudy", "up", "--port", "0", "--data", str(tmp_path / "var")]  # its clients know where it is
    said = tmp_path / "up.log"
    with said.open("wb") as log:
        running = subprocess.Popen(command, env=shell, stdout=log, stderr=log, cwd=tmp_path)
    try:
        eventually(lambda: "Ctrl-C stops" in said.read_text(), within_s=60, what="hub and daemon at work")
        yield
    finally:
        running.send_signal(signal.SIGINT)
        running.wait(60)


@pytest.mark.parametrize("block", RUN, ids=[block.where for block in RUN])
@pytest.mark.usefixtures("up")
def test_a_marked_block_answers_as_shown(block: Block, shell: dict[str, str], tmp_path: Path):
    for command, answer in block.exchanges:
        done = answered(command, shell, tmp_path)
        assert done.code == 0, f"{command}\n{done.out}{done.err}"
        assert is_as_shown(answer, done.out), f"{command}\nshown: {answer}\ncame: {done.out}"


def answered(command: str, shell: dict[str, str], place: Path) -> Done:
    """By a prepared program, unless a shell has to read the line."""
    if words := plain_words(command):
        return understudy(*words, env=shell, cwd=place)
    done = subprocess.run(
        ["sh", "-c", command], cwd=place, env=shell, capture_output=True, text=True, timeout=60, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def test_a_block_is_read_as_commands_and_answers():
    text = "$ understudy --version\nunderstudy …\n$ true\n"
    assert exchanges(text) == (Exchange("understudy --version", "understudy …\n"), Exchange("true", ""))
    (block,) = blocks({"x.md": f"one\n\n```console test up\n{text}```\n"})
    assert (block.where, block.marks) == ("x.md:3", ("test", "up"))


@pytest.mark.parametrize(
    ("shown", "came", "same"),
    [
        ("understudy …", "understudy 0.1.0\n", True),
        ("", "anything", True),
        ("a … d", "a b\nc d", True),
        ("a", "a b", False),
        ("1.0", "110", False),
    ],
)
def test_an_answer_is_compared_with_the_one_shown(shown, came, same):
    assert is_as_shown(shown, came) is same


def test_calls_of_the_program_are_found_in_a_line():
    assert our_commands('echo hi | understudy submit - --wait; (understudy task "a b") >out  # why') == [
        ["submit", "-", "--wait"],
        ["task", "a b"],
    ]
    assert our_commands("make run") == []


def test_a_line_that_needs_no_shell_is_known():
    assert plain_words('understudy submit "Is it?" --wait') == ("submit", "Is it?", "--wait")
    for line in (
        "understudy tasks | head",
        "understudy tail >x",
        "understudy task $ID",
        "A=b understudy up",
        "make run",
    ):
        assert plain_words(line) == ()
