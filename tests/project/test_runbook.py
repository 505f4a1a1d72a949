"""The runbook: each of its blocks is typed in order on a machine with services, and answers as it shows."""

from __future__ import annotations

import ast
import re
import shlex
import signal
import subprocess
from functools import cache
from typing import Any

import pytest

from tests.cli.program import Done
from tests.cli.services import ServicedMachine, on_linux
from tests.hub_process import ADMIN_KEY, KEY
from tests.ports import free_port
from tests.project.console import Block, Exchange, blocks, is_as_shown, plain_words
from tests.project.tree import SOURCES, documents
from tests.waiting import eventually

RUNBOOKS = {"en": "docs/runbook.md", "ja": "docs/ja/runbook.md"}
TABLE_ROW = re.compile(r"^\| [^|]+ \| (?P<names>`[^|]+) \| [^|]+ \|$", re.MULTILINE)


@pytest.fixture
def machine(tmp_path):
    """Hub and daemon will run here as services, as the runbook installs them."""
    port = str(free_port())
    keys = {"UNDERSTUDY_API_KEY": KEY, "ADMIN_API_KEY": ADMIN_KEY}
    place = {"UNDERSTUDY_HUB": f"http://127.0.0.1:{port}", "UNDERSTUDY_PORT": port}
    with on_linux(tmp_path, **keys, **place, UNDERSTUDY_DAEMON_ID="mini") as machine:
        (machine.system.bin / "understudy").write_text(f'#!/bin/sh\nexec {shlex.join(program())} "$@"\n')
        (machine.system.bin / "understudy").chmod(0o755)
        yield machine


def program() -> list[str]:
    from tests.cli.program import PROGRAM

    return PROGRAM


def typed(machine: ServicedMachine, exchange: Exchange, where: str) -> None:
    done = machine(*words) if (words := plain_words(exchange.command)) else by_shell(machine, exchange.command)
    assert done.code == 0, f"{where}: {exchange.command}\n{done.out}{done.err}"
    shown = f"{where}: {exchange.command}\nshown:\n{exchange.answer}\ncame:\n{done.out}"
    assert is_as_shown(exchange.answer, done.out), shown


def by_shell(machine: ServicedMachine, command: str) -> Done:
    done = subprocess.run(
        ["sh", "-c", command],
        env=machine.environ,
        cwd=machine.folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def watched(machine: ServicedMachine, exchange: Exchange, where: str) -> None:
    """A command that goes on until Ctrl-C: what it shows comes by itself."""
    path = machine.folder / "live.txt"
    with path.open("wb") as out:
        process = subprocess.Popen(["sh", "-c", f"exec {exchange.command}"], env=machine.environ, stdout=out)
        try:
            eventually(lambda: is_as_shown(exchange.answer, path.read_text() + "\n"), within_s=20, what=where)
            assert process.poll() is None
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def run_blocks(name: str) -> list[Block]:
    return [block for block in blocks({name: documents()[name]}) if "runbook" in block.marks]


def test_the_runbooks_answer_as_they_show(machine):
    """Block after block, each in both languages; what installs and restarts is done once, and looked at in Japanese."""
    english, japanese = (run_blocks(name) for name in RUNBOOKS.values())
    assert len(english) == len(japanese) >= 12
    for block, translated in zip(english, japanese, strict=True):
        for exchange, other in zip(block.exchanges, translated.exchanges, strict=True):
            answer = watched if "live" in block.marks else typed
            machine.environ.pop("UNDERSTUDY_LANG", None)  # the tests' language is English
            answer(machine, exchange, block.where)
            if "tail" in exchange.command and exchange.answer == other.answer:
                continue  # the log has one language
            machine.environ["UNDERSTUDY_LANG"] = "ja"
            done_before = re.sub(r"service (install|restart)", "service status", other.command)
            answer(machine, Exchange(done_before, other.answer), translated.where)


def test_both_languages_have_the_same_commands():
    english, japanese = (
        [exchange.command for block in blocks({name: documents()[name]}) for exchange in block.exchanges]
        for name in RUNBOOKS.values()
    )
    assert english == japanese


@cache
def names_of_findings() -> frozenset[str]:
    """What `doctor --json` can call a finding, read from its source."""
    names: set[str] = set()
    for path in (SOURCES / "cli/findings").glob("*.py"):
        module = ast.parse(path.read_text("utf-8"))
        constants: dict[str, Any] = {
            target.id: node.value.value
            for node in module.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                first = node.args[0]
                names.add(str(first.value if isinstance(first, ast.Constant) else constants[first.id]))  # type: ignore[attr-defined]
    return frozenset(names)


@pytest.mark.parametrize("name", RUNBOOKS.values())
def test_every_cause_that_doctor_finds_is_in_the_tables_and_no_other(name):
    tables = documents()[name].partition("`--fix`")[2]
    told = {word for row in TABLE_ROW.finditer(tables) for word in re.findall(r"`([a-z_]+)`", row["names"])}
    assert told - {"doctor"} == names_of_findings()  # the head of each table says `doctor`
