"""The floors hold because a forbidden import is seen: planted in a copy, each must turn the check red."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.check import FLOORS
from tests.project.tree import ROOT, SOURCES, nodes

PLANTED = {
    "the coordinator reads the environment": ("coordinator/planted_environment.py", "os"),
    "the coordinator reads a clock": ("coordinator/planted_clock.py", "time"),
    "a hub noun starts a thread": ("hub/planted_thread.py", "threading"),
    "the hub speaks SQL": ("hub/planted_sql.py", "sqlite3"),
    "the store looks up": ("store/planted.py", "understudy.hub"),
    "the wire knows the store": ("wire/planted.py", "understudy.store"),
    "the API knows its host": ("api/planted.py", "understudy.runtime.hub.runtime"),
    "the hub runs what is the machine's": ("runtime/hub/planted_machine.py", "understudy.runtime.machine.drive"),
    "the machine runs what is the hub's": ("runtime/machine/planted.py", "understudy.runtime.hub.loops"),
    "what both use knows one of them": ("runtime/stepper.py", "understudy.runtime.machine.drive"),
    "the daemon runs what is the hub's": ("daemon/planted_loops.py", "understudy.runtime.hub.loops"),
    "the daemon knows the store": ("daemon/planted_store.py", "understudy.store"),
    "the worker knows the hub": ("worker/planted.py", "understudy.hub"),
    "a loop starts a thread": ("worker/claim.py", "threading"),
    "the hub's process knows the worker": ("runtime/hub/planted_worker.py", "understudy.worker.state"),
}


def floors(copy: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FLOORS.replace("'--no-logo'", "'--no-logo', '--no-cache'")]
    environ = {"PYTHONPATH": str(copy / "src"), "PATH": "", "LANG": "C.UTF-8"}
    return subprocess.run(command, cwd=copy, env=environ, capture_output=True, text=True, timeout=60, check=False)


def copied(folder: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copytree(SOURCES, folder / "src/understudy", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What is said of a copy with all of them planted, and a room: each is named by itself."""
    copy = copied(tmp_path_factory.mktemp("planted"))
    (copy / "src/understudy/helpers.py").write_text("VALUE = 1\n")
    for name, imported in PLANTED.values():
        with (copy / "src/understudy" / name).open("a") as planted:
            planted.write(f"\nimport {imported}\n")
    done = floors(copy)
    assert done.returncode == 1, done.stdout
    return " ".join(done.stdout.split())  # long lines are wrapped


@pytest.mark.parametrize("what", PLANTED)
def test_a_forbidden_import_is_seen(what, seen):
    name, imported = PLANTED[what]
    module = f"understudy.{name.removesuffix('.py').replace('/', '.')}"
    assert f"{module} -> {imported} (l." in seen


def test_a_room_that_nobody_declared_is_seen(seen):
    assert "understudy.helpers" in seen


def test_the_floors_hold(tmp_path):
    done = floors(copied(tmp_path))
    assert done.returncode == 0, done.stdout


def names_from_clock(file: Path) -> set[str]:
    imports = [n for n in nodes(file.read_text("utf-8")) if isinstance(n, ast.ImportFrom)]
    return {name.name for n in imports if n.module == "understudy.clock" for name in n.names}


@pytest.mark.parametrize("room", ["coordinator", "hub"])
def test_the_core_takes_only_the_writing_of_instants_from_the_clock(room):
    given = {"Clock"} if room == "hub" else set()  # a type: the clock itself is passed in
    taken = {name for file in (SOURCES / room).rglob("*.py") for name in names_from_clock(file)}
    assert taken <= {"iso", "moment", "parse_iso", *given}


def hub_sources() -> list[tuple[str, str]]:
    return [(file.name, file.read_text("utf-8")) for file in sorted((SOURCES / "hub").glob("*.py"))]


def events_made_in(source: str) -> set[str]:
    """The functions that make events, as far as this module calls them."""
    called = {node.func for node in nodes(source) if isinstance(node, ast.Call)}
    names = {func.id if isinstance(func, ast.Name) else getattr(func, "attr", "") for func in called}
    return names & {"Event", "make_event", "health_event", "task_event", "takeover_event"}


def test_every_event_is_made_by_a_rule():
    made = {
        file.name: found
        for file in (SOURCES / "hub").glob("*.py")
        if (found := events_made_in(file.read_text("utf-8")))
    }
    assert made == {}


@pytest.mark.parametrize(
    "planted", ["Event(1, *words)", "event = health.health_event(daemon, now)", "changes.make_event(now, name)"]
)
def test_an_event_that_an_operation_makes_is_seen(planted):
    assert events_made_in(planted)


NO_NOUNS = {  # these change no noun of the coordinator: bodies, messages, what a batch came to, the time; one compares
    "alarm.py",
    "batch.py",
    "beside.py",
    "cut_results.py",
    "delivery.py",
    "takeover_loop.py",
}


def changes_structs(source: str) -> bool:
    imports = [node for node in nodes(source) if isinstance(node, ast.ImportFrom)]
    return any(node.module == "msgspec.structs" and "replace" in {name.name for name in node.names} for node in imports)


def test_every_noun_is_changed_by_a_rule():
    assert {
        file.name for file in (SOURCES / "hub").glob("*.py") if changes_structs(file.read_text("utf-8"))
    } == NO_NOUNS


def test_a_noun_that_an_operation_changes_is_seen():
    assert changes_structs("from msgspec.structs import asdict, replace\n\nreplace(task, ready=1)")


def attributes_set_later(source: str) -> set[str]:
    """The attributes of `self` that an operation sets after it was made, as `Class.method: attribute`."""
    found = set()
    for noun in (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)):
        if not any(isinstance(base, ast.Name) and base.id in OPERATIONS for base in noun.bases):
            continue
        for method in (node for node in noun.body if isinstance(node, ast.FunctionDef) and node.name != "__init__"):
            for node in ast.walk(method):
                if (
                    isinstance(node, ast.Attribute)
                    and isinstance(node.ctx, ast.Store)
                    and ast.unparse(node.value) == "self"
                ):
                    found.add(f"{noun.name}.{method.name}: {node.attr}")
    return found


OPERATIONS = {"Operation", "OwnerOperation", "KeyChange", "Report"}


def test_operations_are_data_and_nothing_flows_back_through_a_request():
    assert {
        found for file in (SOURCES / "hub").glob("*.py") for found in attributes_set_later(file.read_text("utf-8"))
    } == set()


def test_an_operation_that_remembers_is_seen():
    planted = "class Claim(Operation):\n    def more(self, work, needs):\n        self.provides = set()\n"
    assert attributes_set_later(planted) == {"Claim.more: provides"}
