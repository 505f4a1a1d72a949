"""`make check`: the steps before the tests run side by side; if one fails, no test runs. pytest's summary is last."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = sys.executable
FLOORS = "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c(['--no-logo']))"
WORKERS = 3  # of the tests: many wait for processes and instants, so two cores have room for a third


def files_with_generated_parts() -> list[str]:
    """Documents with a part that cog writes, as paths relative to the repository."""
    documents = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
    return [str(path.relative_to(ROOT)) for path in documents if "[[[cog" in path.read_text("utf-8")]


def cog(*arguments: str) -> list[str]:
    """The command that checks or writes the generated parts; `-c ''` where there are none."""
    files = files_with_generated_parts()
    return [PYTHON, "-m", "cogapp", "-P", *arguments, *files] if files else [PYTHON, "-c", ""]


def collect() -> list[str]:
    """The command that keeps the byte code of all tests: else each worker makes it; `-c ''` where it is there."""
    is_kept = any(ROOT.glob("tests/coordinator/__pycache__/*pytest*.pyc"))
    return [PYTHON, "-c", ""] if is_kept else [PYTHON, "-m", "pytest", "--collect-only", "-qq"]


def steps() -> dict[str, list[str]]:
    """Command by name of the step, in the order of telling: the quick ones first."""
    return {
        "format": [PYTHON, "-m", "ruff", "format", "--check", "--quiet", "--output-format=concise", "."],
        "lint": [PYTHON, "-m", "ruff", "check", "--quiet", "--output-format=concise", "."],
        "types": [PYTHON, "-m", "mypy", "--no-error-summary"],
        "floors": [PYTHON, "-c", FLOORS],
        "docs": cog("--check", "--verbosity=1", "--check-fail-msg=`make docs` writes it anew."),
        "collect": collect(),
        "browser": [PYTHON, "tests/browser/chromium.py"],
        "tests": [PYTHON, "-m", "pytest", "-n", str(WORKERS), "--dist", "worksteal"],
    }


def run_beside(commands: dict[str, list[str]]) -> int:
    """Run all at the same time → the exit status of the first in order that failed, 0 if none did.

    Of each its name and the time until it ended; its output if it fails. The browser's words are for everybody.
    """
    started = time.monotonic()
    failed = 0
    running = {}
    for name, command in commands.items():
        said = tempfile.TemporaryFile()  # noqa: SIM115 - closed below; a pipe could be full before it is read
        running[name] = said, subprocess.Popen(command, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
    for name, (said, process) in running.items():
        status = process.wait()
        with said:
            said.seek(0)
            words = said.read().decode() if status or name == "browser" else ""
        print(f"── {name} {time.monotonic() - started:.1f} s", *filter(None, [words.rstrip()]), sep="\n", flush=True)
        if status:
            print(f"── {name} failed", flush=True)
        failed = failed or status
    return failed


def run_tests(command: list[str]) -> int:
    """Exit status of the tests, which speak for themselves."""
    print("── tests", flush=True)
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def main(arguments: list[str]) -> int:
    """Run the steps named, all if none is; 0 if they pass."""
    if arguments == ["--write-docs"]:
        return subprocess.run(cog("-r", "--verbosity=1"), cwd=ROOT, check=False).returncode
    todo = steps()
    if unknown := [name for name in arguments if name not in todo]:
        print(f"no step {unknown[0]!r}: {', '.join(todo)}")
        return 2
    wanted = arguments or list(todo)
    status = run_beside({name: todo[name] for name in wanted if name != "tests"})
    return status or (run_tests(todo["tests"]) if "tests" in wanted else 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
