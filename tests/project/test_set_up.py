"""`make` on machines unlike ours: an old python3, a newer one beside it, no venv, a space in the path."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.project.tree import ROOT, files
from tests.waiting import allowed_s

TOOLS = ("sh", "make", "awk", "cat", "sort", "dirname", "uname", "rm")
OLD = '#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.6" && exit 0\nexit 1\n'
TELLS_ITS_NAME = f'#!/bin/sh\nif [ "$2" = venv ]; then echo "made by $0" && exit 9; fi\nexec "{sys.executable}" "$@"\n'
WITHOUT_VENV = f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\nexec "{sys.executable}" "$@"\n'


class Machine:
    """A copy of what `make` reads, under a path with a space, and a PATH that holds a few tools only."""

    def __init__(self, folder: Path) -> None:
        self.copy = folder / "a clone with spaces"
        self.tools = folder / "bin"
        self.tools.mkdir(parents=True)
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, f"{tool} is needed"
            (self.tools / tool).symlink_to(found)
        for file in (path for path in files() if path.parent in (ROOT, ROOT / "tools")):
            target = self.copy / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)

    def install(self, name: str, script: str) -> None:
        (self.tools / name).write_text(script)
        (self.tools / name).chmod(0o755)

    def make(self, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": str(self.tools), "HOME": os.environ["HOME"], "LANG": "C.UTF-8"}
        command = ["make", *arguments]
        return subprocess.run(
            command,
            cwd=self.copy,
            env=environ,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def sentences(stderr: str) -> list[str]:
    """What we said: make's own line is not ours."""
    return [line for line in stderr.splitlines() if not line.startswith("make")]


def test_a_python_that_is_too_old_gets_one_sentence_with_the_mend(machine):
    machine.install("python3", OLD)
    (machine.tools / "uname").unlink()
    machine.install("uname", "#!/bin/sh\necho Darwin\n")
    done = machine.make("run")
    (said,) = sentences(done.stderr)
    assert done.returncode
    assert "Python 3.9.6" in said
    assert "brew install python@3.13" in said
    assert "make run PYTHON=python3.13" in said


def test_no_python_at_all_gets_the_same_sentence(machine):
    (said,) = sentences(machine.make("run").stderr)
    assert "found no python3" in said


def test_a_newer_python_beside_an_old_python3_is_used(machine):
    machine.install("python3", OLD)
    machine.install("python3.12", TELLS_ITS_NAME)
    assert f"made by {machine.tools}/python3.12" in machine.make("run").stdout


def test_a_python_that_was_asked_for_is_taken_before_all(machine):
    machine.install("python3", TELLS_ITS_NAME)
    machine.install("python3.13", TELLS_ITS_NAME)
    assert f"made by {machine.tools}/python3.13" in machine.make("run", "PYTHON=python3.13").stdout


def test_a_python_without_venv_names_the_package(machine):
    machine.install("python3", WITHOUT_VENV)
    (said,) = sentences(machine.make("run").stderr)
    assert "apt install python3-venv" in said


def test_plain_make_lists_every_target(machine):
    listed = set(re.findall(r"^  make ([\w-]+) ", machine.make().stdout, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert phony
    assert listed == set(phony[1].split()) - {"stale"}
    assert listed >= {"help", "run", "test", "check", "soak", "bench", "sim"}


def ready(machine: Machine) -> None:
    """As after a set-up, with a program that says what it was called with."""
    (machine.copy / ".venv/bin").mkdir(parents=True)
    python = machine.copy / ".venv/bin/python"
    python.write_text('#!/bin/sh\nfor word; do printf "<%s>" "$word"; done\n')
    python.chmod(0o755)
    (machine.copy / ".venv/ready-run").write_text(f"{machine.copy.resolve()}\n")


def test_arguments_reach_the_program_below_a_path_with_spaces(machine):
    ready(machine)
    done = machine.make("run", 'ARGS=--port 9000 --data "a b"')
    assert done.stdout == "<-P><-m><understudy><up><--data><./var><--port><9000><--data><a b>"
    assert done.stderr == ""


def test_a_second_start_costs_less_than_100_ms(machine):
    ready(machine)
    costs_s = []
    for _ in range(5):
        started = time.perf_counter()
        machine.make("run")
        costs_s.append(time.perf_counter() - started)
    assert min(costs_s) < allowed_s(0.1)


def test_a_clone_that_was_moved_is_set_up_again(machine):
    ready(machine)
    (machine.copy / ".venv/ready-run").write_text("/somewhere/else\n")
    assert "found no python3" in machine.make("run").stderr


def test_a_changed_pin_is_set_up_again(machine):
    ready(machine)
    later = time.time() + 10
    os.utime(machine.copy / "constraints.txt", (later, later))
    assert "found no python3" in machine.make("run").stderr


def test_simulations_are_chosen_by_seeds_or_one_seed(machine):
    ready(machine)
    assert machine.make("sim", "SEEDS=7").stdout == "<-P><-m><understudy><verify><--seeds><7>"
    assert machine.make("sim", "SEED=42").stdout == "<-P><-m><understudy><verify><--seed><42>"


def test_ctrl_c_reaches_the_program_and_make_says_nothing(machine):
    ready(machine)
    # it stops as a real program does, not in the same instant: then GNU make may complain of a child it reaped itself
    stop = "lambda *_: (time.sleep(0.7), exit(0))"
    code = f"import signal, time; signal.signal(signal.SIGINT, {stop}); print('up', flush=True); signal.pause()"
    program = f'#!/bin/sh\nexec "{sys.executable}" -c "{code}"\n'  # the path of the interpreter may contain a space
    (machine.copy / ".venv/bin/python").write_text(program)
    environ = {"PATH": str(machine.tools), "HOME": os.environ["HOME"]}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(["make", "run"], cwd=machine.copy, env=environ, start_new_session=True, **pipes) as make:
        assert make.stdout.readline() == "up\n"
        os.killpg(make.pid, signal.SIGINT)
        said = make.communicate(timeout=60)
    assert said == ("", "")
