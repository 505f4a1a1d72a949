"""Each public class has a name of its own, so that nobody takes one for another, wherever its name is read."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Mapping

import pytest

from tests.project.tree import SOURCES, nodes


def shared_names(modules: Mapping[str, str]) -> dict[str, list[str]]:
    """Modules by the name of a public class that is made more than once in these sources."""
    found: dict[str, list[str]] = defaultdict(list)
    for module, source in modules.items():
        for node in nodes(source):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(module)
    return {name: where for name, where in found.items() if len(where) > 1}


def test_every_public_class_has_a_name_of_its_own() -> None:
    modules = {str(path.relative_to(SOURCES)): path.read_text("utf-8") for path in sorted(SOURCES.rglob("*.py"))}
    assert len(modules) > 300
    assert shared_names(modules) == {}


@pytest.mark.parametrize(
    "planted", ["class Task: ...", "def made():\n    class Task: ...", "if x:\n    class Task(Y): ..."]
)
def test_a_second_class_of_one_name_is_seen(planted: str) -> None:
    assert shared_names({"a/tasks.py": "class Task: ...", "b/work.py": planted}) == {
        "Task": ["a/tasks.py", "b/work.py"]
    }


@pytest.mark.parametrize("other", ["class TaskToRun: ...", "from a.tasks import Task", "class _Task: ..."])
def test_another_name_a_use_and_a_private_class_are_no_sin(other: str) -> None:
    assert shared_names({"a/tasks.py": "class Task: ...\nclass _Task: ...", "b/work.py": other}) == {}
