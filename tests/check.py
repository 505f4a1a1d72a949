"""`make check`: each step prints its name and stops at the first that fails; pytest's summary comes last."""

from __future__ import annotations

import subprocess
import sys
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


def steps() -> dict[str, list[str]]:
    """Command by name of the step, in the order of running: the quick ones first."""
    return {
        "format": [PYTHON, "-m", "ruff", "format", "--check", "--quiet", "--output-format=concise", "."],
        "lint": [PYTHON, "-m", "ruff", "check", "--quiet", "--output-format=concise", "."],
        "types": [PYTHON, "-m", "mypy", "--no-error-summary"],
        "floors": [PYTHON, "-c", FLOORS],
        "docs": cog("--check", "--verbosity=1", "--check-fail-msg=`make docs` writes it anew."),
        "browser": [PYTHON, "tests/browser/chromium.py"],
        "tests": [PYTHON, "-m", "pytest", "-n", str(WORKERS), "--dist", "worksteal"],
    }


def run_step(name: str, command: list[str]) -> int:
    """Exit status of the step; its output only if it fails, except for the steps that speak while they run."""
    started = time.monotonic()
    speaks = name in ("browser", "tests")
    print(f"── {name}", end="\n" if speaks else "", flush=True)
    captured = None if speaks else subprocess.PIPE
    done = subprocess.run(command, cwd=ROOT, stdout=captured, stderr=captured and subprocess.STDOUT, check=False)
    if not speaks:
        print(f" {time.monotonic() - started:.1f} s" + (f"\n{done.stdout.decode()}" if done.returncode else ""))
        if done.returncode:
            print(f"── {name} failed")
    return done.returncode


def main(arguments: list[str]) -> int:
    """Run the steps named, all if none is; 0 if they pass."""
    if arguments == ["--write-docs"]:
        return subprocess.run(cog("-r", "--verbosity=1"), cwd=ROOT, check=False).returncode
    todo = steps()
    for name in arguments or todo:
        if name not in todo:
            print(f"no step {name!r}: {', '.join(todo)}")
            return 2
        if status := run_step(name, todo[name]):
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
