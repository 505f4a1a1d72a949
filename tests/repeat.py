"""`make repeat RUNS=20`: the suite again and again, in the ways in which suites fail; each run in a fresh clone.

Ways in turn (WAYS="load space" chooses; LANES=2 makes two runs at once): as it is; beside two busy loops; as an
ordinary user (where root runs this); in a path with spaces; with SIGINT ignored; in Tokyo; with LANG=C; all of that at
once. Each run has a seed of its own (the first is 0, which is `make test`), is told with what failed, and may leave no
process.
"""

from __future__ import annotations

import argparse
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil

ROOT = Path(__file__).resolve().parent.parent
ORDINARY_USER = "nobody"
RUN_S_MAX = 1_800
BUSY_LOOPS = 2
MARK = "TESTS_RUN"  # in the environment of every process of a run
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_SUMMARY = re.compile(r"^(?:=+ )?(\d+ (?:passed|failed|error).*?)(?: =+)?$", re.MULTILINE)


class Way(NamedTuple):
    """How a run differs from an ordinary one."""

    is_loaded: bool = False
    is_ordinary_user: bool = False
    has_spaces: bool = False
    ignores_sigint: bool = False
    environ: tuple[tuple[str, str], ...] = ()


TOKYO, PLAIN_C = ("TZ", "Asia/Tokyo"), ("LANG", "C")
WAYS = {
    "plain": Way(),
    "load": Way(is_loaded=True),
    "user": Way(is_ordinary_user=True),
    "space": Way(has_spaces=True),
    "sigint": Way(ignores_sigint=True),
    "tokyo": Way(environ=(TOKYO,)),
    "lang-c": Way(environ=(PLAIN_C,)),
    "all": Way(True, True, True, True, (TOKYO, PLAIN_C)),
}


class Outcome(NamedTuple):
    """What came of one run."""

    is_passed: bool
    summary: str
    failed: tuple[str, ...]
    left: tuple[str, ...]


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many processes that do nothing but use a core."""
    loop = f"import os\nwhile os.getppid() == {os.getpid()}: pass"  # ends with us, also when we are killed
    loops = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def interpreter_for(way: Way) -> str:
    """Ours, or the system's of the same version where the ordinary user may not run ours (it is in root's home)."""
    if not is_other_user(way):
        return sys.executable
    named = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin:/opt/homebrew/bin")
    for python in filter(None, (sys.executable, named)):
        try:
            command = [os.path.realpath(python), "-c", "import venv"]
            if subprocess.run(command, check=False, capture_output=True, cwd="/", **identity_of(way)).returncode == 0:
                return python
        except PermissionError:
            continue
    raise SystemExit(f"{ORDINARY_USER} can run no python3.{sys.version_info.minor} on this machine")


def clone(folder: Path, python: str) -> Path:
    """What is committed, with an interpreter that knows its sources and our installed packages → its interpreter."""
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True)
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder / ".venv")], check=True)
    (packages,) = (folder / ".venv/lib").glob("python*/site-packages")
    ours = Path(next(path for path in sys.path if path.endswith("site-packages")))
    for entry in ours.iterdir():  # one by one, as if installed: an update takes its dependencies from there
        if "understudy" not in entry.name or entry.name.endswith(".dist-info"):
            (packages / entry.name).symlink_to(entry)
    (packages / "clone.pth").write_text(f"{folder / 'src'}\n", "utf-8")
    return folder / ".venv/bin/python"


def belonging_to(user: str, folder: Path) -> None:
    """Give the folder with all that is in it to this user."""
    entry = pwd.getpwnam(user)
    for path in (folder, *folder.rglob("*")):  # links are not followed
        os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)


def options_of(way: Way) -> dict[str, Any]:
    """What `Popen` is told so that the run is of this way."""

    def prepare() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN if way.ignores_sigint else signal.SIG_DFL)

    return {"preexec_fn": prepare, "start_new_session": True, **identity_of(way)}


def identity_of(way: Way) -> dict[str, Any]:
    """As whom `Popen` shall run it."""
    if not is_other_user(way):
        return {}
    entry = pwd.getpwnam(ORDINARY_USER)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def is_other_user(way: Way) -> bool:
    """Whether the run gives up being root."""
    return way.is_ordinary_user and os.geteuid() == 0


def left_over(mark: str) -> list[psutil.Process]:
    """Processes of a run that outlived it."""

    def is_ours(process: psutil.Process) -> bool:
        try:
            return bool(process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE)
        except (psutil.Error, OSError):
            return False

    return [process for process in psutil.process_iter() if is_ours(process)]


def run_once(way: Way, seed: int, log: Path, workers: int) -> Outcome:
    """One suite in a folder of its own, which is gone afterwards."""
    scratch = Path(tempfile.mkdtemp(prefix="us-"))
    place = scratch / ("a clone with spaces" if way.has_spaces else "clone")
    mark = uuid.uuid4().hex
    try:
        python = clone(place, interpreter_for(way))
        (scratch / "home").mkdir()
        (scratch / "t").mkdir()  # short, because the names of sockets below it have at most 107 bytes
        if is_other_user(way):
            belonging_to(ORDINARY_USER, scratch)
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "PYTEST_"))}
        environ |= {"HOME": str(scratch / "home"), "TMPDIR": str(scratch / "t"), MARK: mark}
        environ |= {"TESTS_SEED": str(seed), "PYTHONHASHSEED": str(seed), **dict(way.environ)}
        command = [str(python), "-m", "pytest", "-n", str(workers), "--dist", "worksteal"]
        with log.open("wb") as out, busy_loops(BUSY_LOOPS if way.is_loaded else 0):
            code = run_to_end(command, out, cwd=place, env=environ, **options_of(way))
        left = left_over(mark)
        said = log.read_text("utf-8", "replace")
        named = tuple(f"{process.pid} {' '.join(process.cmdline())[:120]}" for process in left)
        summary = (_SUMMARY.findall(said) or [f"no summary, exit code {code}"])[-1]
        return Outcome(code == 0 and not left, summary, tuple(_FAILED.findall(said)), named)
    finally:
        for process in left_over(mark):
            process.kill()
        shutil.rmtree(scratch, ignore_errors=True)


def run_to_end(command: list[str], out: Any, **options: Any) -> int:
    """Its exit code; killed where it takes longer than any run should."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **options)
    try:
        return process.wait(RUN_S_MAX)
    except BaseException as error:
        process.kill()
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            return -signal.SIGKILL
        raise


def tell(line: str) -> None:
    """One line, at once."""
    print(line, flush=True)


def repeat(
    runs: int, names: list[str], logs: Path, workers: int, lanes: int = 1, run: Callable[..., Outcome] = run_once
) -> int:
    """All runs, as many at once as there are lanes, each reported when it ends; 0 if every one passed."""
    logs.mkdir(parents=True, exist_ok=True)

    def one(number: int) -> bool:
        name = names[number % len(names)]
        log = logs / f"{number + 1:02}-{name}.log"
        started = time.monotonic()
        outcome = run(WAYS[name], number, log, workers)
        verdict = "passed" if outcome.is_passed else "FAILED"
        took = f"{time.monotonic() - started:.0f} s"
        named = (*outcome.failed, *(f"left running: {process}" for process in outcome.left))
        first = f"{number + 1:>3}/{runs} {name:<7} seed {number:<3} {verdict} in {took}: {outcome.summary}"
        tell("\n".join((first, *(f"        {line}" for line in named))))
        return outcome.is_passed

    with ThreadPoolExecutor(lanes) as pool:
        passed = sum(pool.map(one, range(runs)))
    tell(f"{passed} of {runs} runs passed; logs are in {logs}")
    return 0 if passed == runs else 1


def main(arguments: list[str]) -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=[], metavar="WAY", help=f"of {', '.join(WAYS)}")
    parser.add_argument("--logs", type=Path, default=ROOT / "var/repeat")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--lanes", type=int, default=1, help="runs at once, each a load for the others")
    told = parser.parse_args(arguments)
    return repeat(told.runs, told.ways or list(WAYS), told.logs, told.workers, told.lanes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
